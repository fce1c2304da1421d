"""Compression of bodies and results: kombu's methods under kombu's names, and the user's own.

The built-in ones are the Rust module's. Those that a program registers, here or with a kombu that
is loaded anyway, are called from Python.

Source:
    kombu/compression.py (names, content types, signatures).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from celeriac import _native
from celeriac.exceptions import DecodeError, EncodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: What a decompressed body or result may have at most, where no setting says otherwise: 256 MiB.
MAX_BYTES = 256 * 1024 * 1024
_RESULT_MAGIC = b"\x00celery-compressed\x00"


class CompressionNotFoundError(KeyError):
    """No compression has this name. A `KeyError`, as in Celery, with a sentence."""

    def __str__(self) -> str:
        return str(self.args[0])


class Method(NamedTuple):
    """A named way to make bytes smaller."""

    content_type: str
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]
    #: Whether the Rust module does it, and holds `max_bytes` while it does.
    is_native: bool = False


_METHODS: dict[str, Method] = {}
_ALIASES: dict[str, str] = {}


def register(
    encoder: Callable[[bytes], bytes],
    decoder: Callable[[bytes], bytes],
    content_type: str,
    aliases: Sequence[str] | None = None,
) -> None:
    """Add a compression method, or replace one. Both sides of a message must know it.

    Args:
        encoder: Makes bytes smaller.
        decoder: Gives them back. It is called with data from outside, and has to limit by itself
            what a small message may become.
        content_type: What the header ``compression`` says.
        aliases: What callers may name it.
    """
    _METHODS[content_type] = Method(content_type, encoder, decoder)
    _ALIASES.update(dict.fromkeys(aliases or (), content_type))


def _register_native(content_type: str, *aliases: str) -> None:
    def decode(data: bytes) -> bytes:
        return _native.decompress(data, content_type, MAX_BYTES)

    def encode(data: bytes) -> bytes:
        return _native.compress(data, content_type)

    _METHODS[content_type] = Method(content_type, encode, decode, is_native=True)
    _ALIASES.update(dict.fromkeys(aliases, content_type))


# Compat: what kombu calls gzip is a zlib stream.
_register_native("application/x-gzip", "gzip", "zlib")
_register_native("application/x-bz2", "bzip2", "bzip")
_register_native("application/x-brotli", "brotli")
_register_native("application/x-lzma", "lzma", "xz")
_register_native("application/zstd", "zstd", "zstandard")


def method(name: str) -> Method:
    """Look a method up.

    Args:
        name: One of its aliases, or its content type.

    Returns:
        The method.

    Raises:
        CompressionNotFoundError: There is none of this name.
    """
    found = _METHODS.get(_ALIASES.get(name, name)) or _of_kombu(name)
    if found is None:
        names = ", ".join(sorted(_ALIASES))
        message = (
            f"No compression is called {name!r}. There are: {names}; "
            "celeriac.compression.register adds others."
        )
        raise CompressionNotFoundError(message)
    return found


def _of_kombu(name: str) -> Method | None:
    # A program that registered its method with a kombu it has loaded means us, too.
    kombu = sys.modules.get("kombu.compression")
    if kombu is None or getattr(kombu, "register", None) is register:
        return None
    try:
        encode, content_type = kombu.get_encoder(name)
        return Method(content_type, encode, kombu.get_decoder(name))
    except (KeyError, AttributeError, TypeError):
        return None


def encoders() -> list[str]:
    """List the content types of all methods.

    Returns:
        Content types.
    """
    return list(_METHODS)


def get_encoder(t: str) -> tuple[Callable[[bytes], bytes], str]:
    """Look an encoder up.

    Args:
        t: An alias or content type.

    Returns:
        The encoder and the content type.
    """
    found = method(t)
    return found.encode, found.content_type


def get_decoder(t: str) -> Callable[[bytes], bytes]:
    """Look a decoder up.

    Args:
        t: An alias or content type.

    Returns:
        The decoder.
    """
    return method(t).decode


def compress(body: bytes | str, content_type: str) -> tuple[bytes, str]:
    """Make bytes smaller.

    Args:
        body: The bytes; text is taken as UTF-8.
        content_type: A method's alias or content type.

    Returns:
        The smaller bytes, and the content type.

    Raises:
        EncodeError: The method failed.
    """
    chosen = method(content_type)
    data = body.encode() if isinstance(body, str) else body
    try:
        return chosen.encode(data), chosen.content_type
    except EncodeError:
        raise
    except Exception as exc:
        message = f"{chosen.content_type} cannot compress this: {type(exc).__name__}: {exc}"
        raise EncodeError(message) from exc


def decompress(body: bytes, content_type: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Give bytes back as they were.

    Args:
        body: What was compressed.
        content_type: A method's alias or content type.
        max_bytes: How much it may become.

    Returns:
        The bytes.

    Raises:
        DecodeError: No method has this name, or the bytes are not its, or too much.
    """
    try:
        chosen = method(content_type)
    except CompressionNotFoundError as exc:
        raise DecodeError(str(exc)) from None
    if chosen.is_native:
        return _native.decompress(body, chosen.content_type, max_bytes)
    try:
        data = chosen.decode(body)
    except Exception as exc:
        message = f"malformed compressed body: {content_type}: {type(exc).__name__}: {exc}"
        raise DecodeError(message) from exc
    if len(data) > max_bytes:
        message = (
            f"malformed compressed body: {content_type}: its {len(body)} bytes become {len(data)}, "
            f"the setting decompressed_max_bytes allows {max_bytes}"
        )
        raise DecodeError(message)
    return data


def is_native(name: str | None) -> bool:
    """Say whether the Rust module handles a body's compression by itself.

    Args:
        name: The header ``compression``; None where nothing is compressed.

    Returns:
        Whether it does.
    """
    if name is None:
        return True
    found = _METHODS.get(_ALIASES.get(name, name))
    return found is not None and found.is_native


def pack_result(document: bytes, name: str | None) -> bytes:
    """Compress a result document.

    Args:
        document: The document.
        name: A method's alias or content type; None leaves it as it is.

    Returns:
        What is stored: it says by itself how it is compressed.

    Source:
        protocol: compression (Celery 5.7 ``result_compression``).
    """
    if not name:
        return document
    packed, content_type = compress(document, name)
    return b"".join((_RESULT_MAGIC, content_type.encode(), b"\x00", packed))


def unpack_result(stored: bytes, max_bytes: int = MAX_BYTES) -> bytes:
    """Give a result document back.

    Args:
        stored: What `pack_result` made, here or in a Celery process; also what is not compressed.
        max_bytes: How much it may become.

    Returns:
        The document. Raises `DecodeError` where its compression cannot be undone.
    """
    if not stored.startswith(_RESULT_MAGIC):
        return stored
    name, _, packed = stored[len(_RESULT_MAGIC) :].partition(b"\x00")
    return decompress(packed, name.decode("ascii", "replace"), max_bytes)
