"""Calls as data: signatures, and later what is composed of them."""

from celeriac.canvas.signature import Signature, maybe_signature, signature

__all__ = ["Signature", "maybe_signature", "signature"]
