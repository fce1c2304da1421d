"""Content types: which names exist, what they accept, and the codecs of Python's own.

JSON and msgpack are the Rust module's; pickle and yaml are only used where they are asked for.

Source:
    kombu/serialization.py (names, content types, what is refused).
"""

from __future__ import annotations

import sys
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from celeriac import _native, pickles
from celeriac.exceptions import (
    ContentDisallowed,
    DecodeError,
    EncodeError,
    SerializerNotInstalled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Serializer(NamedTuple):
    """A named way to turn values into bytes and back."""

    name: str
    content_type: str
    content_encoding: str
    encode: Callable[[Any], Any]
    decode: Callable[[bytes], Any]

    @property
    def is_native(self) -> bool:
        """Whether the Rust module encodes and decodes it without a detour through Python."""
        return self.encode in _NAMES_PLACES


def _yaml() -> Any:
    try:
        import yaml  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415 - optional
    except ImportError:
        message = "The serializer yaml needs PyYAML: pip install 'celeriac[yaml]'."
        raise SerializerNotInstalled(message) from None
    return yaml


_SERIALIZERS: dict[str, Serializer] = {}


def register(
    name: str,
    encoder: Callable[[Any], Any],
    decoder: Callable[[bytes], Any],
    content_type: str,
    content_encoding: str = "utf-8",
) -> None:
    """Add a serializer, or replace one.

    Args:
        name: As in `task_serializer` and `accept_content`.
        encoder: Turns a value into bytes, or into text, which leaves as UTF-8.
        decoder: Turns bytes into a value.
        content_type: As in a message's `content_type`.
        content_encoding: As in a message's `content_encoding`: ``utf-8`` or ``binary``.
    """
    _SERIALIZERS[name] = Serializer(name, content_type, content_encoding, encoder, decoder)


def unregister(name: str) -> None:
    """Remove a serializer.

    Args:
        name: Its name.

    Raises:
        SerializerNotInstalled: There is none of this name.
    """
    if name not in _SERIALIZERS:
        message = f"No serializer is called {name!r}, so none can be removed."
        raise SerializerNotInstalled(message)
    del _SERIALIZERS[name]


register("json", _native.encode_json, _native.decode_json, "application/json")
register(
    "msgpack", _native.encode_msgpack, _native.decode_msgpack, "application/x-msgpack", "binary"
)
register(
    "pickle",
    pickles.dumps,
    pickles.loads,
    "application/x-python-serialize",
    "binary",
)
register(
    "yaml",
    lambda value: _yaml().safe_dump(value).encode(),
    lambda data: _yaml().safe_load(data),
    "application/x-yaml",
)
# These say where in the value the trouble is, in the caller's words.
_NAMES_PLACES: dict[Any, Callable[..., bytes]] = {
    _native.encode_json: _native.encode_json,
    _native.encode_msgpack: _native.encode_msgpack,
}
_ALWAYS_ACCEPTED = frozenset({"", "application/data", "application/text"})


def serializer(name: str) -> Serializer:
    """Look a serializer up.

    Args:
        name: Its name, or its content type.

    Returns:
        The serializer.

    Raises:
        SerializerNotInstalled: There is none of this name.
    """
    found = _find(name)
    if found is None:
        names = ", ".join(sorted(_SERIALIZERS))
        message = (
            f"No serializer is called {name!r}. There are: {names}; "
            "celeriac.serialization.register adds others."
        )
        raise SerializerNotInstalled(message)
    return found


def _find(name: str) -> Serializer | None:
    found = _SERIALIZERS.get(name)
    if found is None:
        found = next((s for s in _SERIALIZERS.values() if s.content_type == name), None)
    return _of_kombu(name) if found is None else found


def _of_kombu(name: str) -> Serializer | None:
    # A program that registered its serializer with a kombu it has loaded means us, too.
    registry: Any = getattr(sys.modules.get("kombu.serialization"), "registry", None)
    try:
        short = registry.type_to_name.get(name, name)
        content_type, content_encoding, encode = registry._encoders[short]  # noqa: SLF001 - it has no other door
        decode = registry._decoders[content_type]  # noqa: SLF001
    except (AttributeError, KeyError):
        return None
    return Serializer(short, content_type, content_encoding, encode, decode)


def is_native(content_type: str) -> bool:
    """Say whether the Rust module decodes a content type by itself.

    Args:
        content_type: A message's.

    Returns:
        Whether it does, and nobody has registered another codec for it.
    """
    found = next((s for s in _SERIALIZERS.values() if s.content_type == content_type), None)
    return found is not None and found.is_native


def accepted(names: Iterable[str] | None) -> frozenset[str] | None:
    """Turn `accept_content` into content types.

    Args:
        names: Names or content types; None accepts all.

    Returns:
        Content types, or None.
    """
    if names is None:
        return None
    return frozenset(n if "/" in n else serializer(n).content_type for n in names)


def dumps(value: Any, name: str, what: str = "value") -> tuple[str, str, bytes]:
    """Encode a value.

    Args:
        value: Any value the serializer can carry.
        name: The serializer's name.
        what: What an error calls the value (``args`` in ``args[1]["when"]``).

    Returns:
        Content type, content encoding and bytes.

    Raises:
        EncodeError: The serializer cannot carry it.
        SerializerNotInstalled: There is none of this name, or its library is missing.
    """
    chosen = serializer(name)
    try:
        native = _NAMES_PLACES.get(chosen.encode)
        data = chosen.encode(value) if native is None else native(value, what=what)
    except (EncodeError, SerializerNotInstalled):
        raise
    except Exception as exc:
        message = f"{chosen.name} cannot carry {what}: {type(exc).__name__}: {exc}"
        raise EncodeError(message) from exc
    if isinstance(data, str):  # Compat: kombu's encoders may return text
        data = data.encode()
    return chosen.content_type, chosen.content_encoding, data


def loads(
    data: bytes,
    content_type: str | None,
    content_encoding: str | None = None,
    accept: frozenset[str] | None = None,
) -> Any:
    """Decode a value, if its content type is accepted.

    Args:
        data: The bytes.
        content_type: A content type or a serializer's name; missing means plain data.
        content_encoding: ``binary``, or the charset of text.
        accept: What `accepted` made; None accepts all.

    Returns:
        The value; bytes or text for content types that are no serializer's.

    Raises:
        ContentDisallowed: The content type is not accepted.
        DecodeError: The bytes are not what the content type says.
        SerializerNotInstalled: The serializer's library is missing.
    """
    kind = content_type or "application/data"
    chosen = _find(kind)
    mime = chosen.content_type if chosen else kind
    if accept is not None and mime not in accept and mime not in _ALWAYS_ACCEPTED:
        label = chosen.name if chosen else mime
        message = f"Refusing to deserialize untrusted content of type {label} ({mime})"
        raise ContentDisallowed(message)
    try:
        if chosen:
            return chosen.decode(data)
        if content_encoding is None or content_encoding == "binary":
            return data
        return data.decode(content_encoding)
    except (DecodeError, SerializerNotInstalled):
        raise
    except Exception as exc:
        message = f"The body is not {mime}: {type(exc).__name__}: {exc}"
        raise DecodeError(message) from exc


_JSON_ENCODERS: dict[type, tuple[str | None, Callable[[Any], Any]]] = {}
_JSON_DECODERS: dict[str, Callable[[Any], Any]] = {}
_BUILTIN_TYPES = (datetime, date, time, Decimal, UUID, bytes)
_BUILTIN_MARKERS = frozenset({"datetime", "date", "time", "decimal", "uuid", "bytes", "base64"})


def register_type(
    cls: type,
    marker: str | None,
    encoder: Callable[[Any], Any],
    decoder: Callable[[Any], Any] = lambda value: value,
) -> None:
    """Teach JSON a type; the other side must know it under the same marker.

    Args:
        cls: The type; its subclasses count.
        marker: Stands for the type on the wire, in ``{"__type__": marker, "__value__": …}``; None
            puts what `encoder` returns there alone.
        encoder: Turns an object into what JSON can carry.
        decoder: Turns that back into an object.

    Source:
        kombu/utils/json.py ``register_type``.
    """
    _JSON_ENCODERS[cls] = (marker, encoder)
    if marker is not None:
        _JSON_DECODERS[marker] = decoder
    replaces_builtin = any(issubclass(known, _BUILTIN_TYPES) for known in _JSON_ENCODERS)
    come_first = replaces_builtin or not _BUILTIN_MARKERS.isdisjoint(_JSON_DECODERS)
    _native.set_json_hooks(_registered_form, _registered_value, come_first=come_first)


def _registered_form(value: Any) -> Any:
    for cls, (marker, encoder) in _JSON_ENCODERS.items():
        if isinstance(value, cls):
            form = encoder(value)
            return form if marker is None else {"__type__": marker, "__value__": form}
    return NotImplemented


def _registered_value(marker: str, value: Any) -> Any:
    decoder = _JSON_DECODERS.get(marker)
    return NotImplemented if decoder is None else decoder(value)
