"""What a client of RabbitMQ writes, octet for octet: messages as they pass over a wire."""

from __future__ import annotations

import struct
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

METHOD, HEADER = 1, 2
BASIC_PUBLISH = struct.pack(">HH", 60, 40)
ARRIVES_WITHIN_S = 20.0

#: By the bit of their flag, from the highest: the name, and the type ("t" a table of headers).
PROPERTIES = (
    ("content_type", "s"), ("content_encoding", "s"), ("headers", "t"), ("delivery_mode", "B"),
    ("priority", "B"), ("correlation_id", "s"), ("reply_to", "s"), ("expiration", "s"),
    ("message_id", "s"), ("timestamp", "Q"), ("type", "s"), ("user_id", "s"), ("app_id", "s"),
    ("cluster_id", "s"),
)  # fmt: skip
#: The letters of RabbitMQ's table types whose values have a fixed length.
FIXED = {
    "t": "?", "b": "b", "B": "B", "s": "h", "u": "H", "I": "i", "i": "I", "l": "q", "f": "f",
    "d": "d", "T": "Q", "V": "",
}  # fmt: skip


class Sent(NamedTuple):
    """One message: where it was sent, its flags, and its properties with the types of headers."""

    exchange: str
    routing_key: str
    mandatory: bool
    immediate: bool
    properties: dict[str, Any]


class Octets:
    """Reads AMQP's encoding from its front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, kind: str) -> Any:
        """A number of a kind of `struct`."""
        (value,) = struct.unpack_from(f">{kind}", self._data, self._at)
        self._at += struct.calcsize(f">{kind}")
        return value

    def octets(self, length_kind: str) -> bytes:
        """Octets with their length in front."""
        length = self.number(length_kind)
        self._at += length
        return self._data[self._at - length : self._at]

    def short(self) -> str:
        """A short string."""
        return self.octets("B").decode()

    def value(self) -> tuple[str, Any]:
        """A value of a table: the letter of its type, and the value."""
        # RabbitMQ reads both as signed, and hands on `l`; py-amqp writes `L`.
        letter = chr(self.number("B")).replace("L", "l")
        if letter in FIXED:
            return letter, self.number(FIXED[letter]) if FIXED[letter] else None
        octets = self.octets("I")
        if letter == "F":
            return letter, Octets(octets).table()
        if letter == "A":
            return letter, Octets(octets).values()
        if letter in "Sx":
            return letter, octets
        raise AssertionError(f"a table holds a value of type {letter!r}")

    def table(self) -> dict[str, tuple[str, Any]]:
        """A table without its length; it has no order, so it is sorted here."""
        found = []
        while self._at < len(self._data):
            found.append((self.short(), self.value()))
        names = [name for name, _ in found]
        assert len(set(names)) == len(names), f"a name is there twice: {names}"
        return dict(sorted(found, key=lambda one: one[0]))

    def values(self) -> list[tuple[str, Any]]:
        """A list without its length."""
        found = []
        while self._at < len(self._data):
            found.append(self.value())
        return found

    def properties(self) -> dict[str, Any]:
        """The properties of a content header, after class, weight and the size of the body."""
        flags = self.number("H")
        found: dict[str, Any] = {}
        for bit, (name, kind) in enumerate(PROPERTIES):
            if flags & 0x8000 >> bit:
                if kind == "s":
                    found[name] = self.short()
                elif kind == "t":
                    found[name] = Octets(self.octets("I")).table()
                else:
                    found[name] = self.number(kind)
        assert self._at == len(self._data), "octets behind the properties"
        return found


class Recorder:
    """Passes bytes on to a RabbitMQ, and keeps the messages that are published."""

    def __init__(self, url: str) -> None:
        self._sent: list[Sent] = []
        self._changed = threading.Condition()
        self._proxy = Proxy(url, watch=self._reader)
        self.url = self._proxy.url
        self.close = self._proxy.close

    def _reader(self) -> Callable[[bytes], None]:
        # The greeting, "AMQP" and a version, is no frame.
        pending, published, greeting_left = b"", {}, 8

        def read(data: bytes) -> None:
            nonlocal pending, greeting_left
            pending = self._take_frames(pending + data[greeting_left:], published)
            greeting_left = max(0, greeting_left - len(data))

        return read

    def _take_frames(self, data: bytes, published: dict[int, Octets]) -> bytes:
        while len(data) >= 7:
            kind, channel, length = struct.unpack(">BHI", data[:7])
            if len(data) < length + 8:
                break
            payload, end, data = data[7 : 7 + length], data[7 + length], data[8 + length :]
            assert end == 0xCE
            if kind == METHOD and payload.startswith(BASIC_PUBLISH):
                published[channel] = Octets(payload[6:])
            elif kind == HEADER:
                self._take(published.pop(channel), Octets(payload[12:]))
        return data

    def _take(self, method: Octets, header: Octets) -> None:
        exchange, routing_key, flags = method.short(), method.short(), method.number("B")
        sent = Sent(exchange, routing_key, bool(flags & 1), bool(flags & 2), header.properties())
        with self._changed:
            self._sent.append(sent)
            self._changed.notify_all()

    def take(self) -> Sent:
        """The next message."""
        deadline_s = time.monotonic() + ARRIVES_WITHIN_S
        with self._changed:
            while not self._sent:
                left_s = deadline_s - time.monotonic()
                assert left_s > 0, "nothing was published"
                self._changed.wait(left_s)
            return self._sent.pop(0)

    def nothing_more(self) -> bool:
        """Whether nothing else was published."""
        return not self._sent
