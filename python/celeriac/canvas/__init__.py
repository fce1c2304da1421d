"""Calls as data: signatures, and what is composed of them."""

from celeriac.canvas.chain import _chain, chain
from celeriac.canvas.chord import chord
from celeriac.canvas.group import group
from celeriac.canvas.mapping import chunks, xmap, xstarmap
from celeriac.canvas.signature import Signature, maybe_signature, signature
from celeriac.canvas.stamping import StampingVisitor

_chord = chord

__all__ = [
    "Signature",
    "StampingVisitor",
    "_chain",
    "_chord",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "signature",
    "xmap",
    "xstarmap",
]
