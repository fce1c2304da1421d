"""What worker and fork server say to each other, one packet a message."""

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = (
    "Exited",
    "Forked",
    "NotForked",
    "Order",
    "Said",
    "order_fork",
    "order_kill",
    "receive_order",
    "receive_reports",
    "report",
)

_PACKET = struct.Struct("<cqq")
_FORK, _KILL = b"F", b"K"
_FORKED, _EXITED, _NOT_FORKED = b"P", b"X", b"E"


@dataclass(frozen=True, slots=True)
class Order:
    """What the server is to do: fork a child on ``fd``, or send ``signum`` to one."""

    slot: int
    fd: int | None
    signum: int


@dataclass(frozen=True, slots=True)
class Forked:
    """A child exists."""

    slot: int
    pid: int


@dataclass(frozen=True, slots=True)
class Exited:
    """A child is no more; ``status`` is what ``waitpid`` said."""

    slot: int
    status: int


@dataclass(frozen=True, slots=True)
class NotForked:
    """The system refused to fork."""

    slot: int
    errno: int


Said: TypeAlias = Forked | Exited | NotForked


def order_fork(control: socket.socket, slot: int, fd: int) -> None:
    """Ask for a child.

    Args:
        control: The worker's end.
        slot: The child's number.
        fd: The child's end of its socket pair.
    """
    socket.send_fds(control, [_PACKET.pack(_FORK, slot, 0)], [fd])


def order_kill(control: socket.socket, slot: int, signum: int) -> None:
    """Ask for a signal to a child.

    Args:
        control: The worker's end.
        slot: The child's number.
        signum: The signal.
    """
    control.send(_PACKET.pack(_KILL, slot, signum))


def receive_order(control: socket.socket) -> Order | None:
    """Read one order.

    Args:
        control: The server's end, readable.

    Returns:
        The order; None when the worker has closed its end.
    """
    data, fds, _, _ = socket.recv_fds(control, _PACKET.size, 1)
    if not data:
        return None
    kind, slot, number = _PACKET.unpack(data)
    return Order(slot, fds[0] if kind == _FORK else None, number)


def report(control: socket.socket, said: Said) -> None:
    """Tell the worker.

    Args:
        control: The server's end.
        said: What happened.
    """
    control.send(_packed(said))


def _packed(said: Said) -> bytes:
    match said:
        case Forked(slot, pid):
            return _PACKET.pack(_FORKED, slot, pid)
        case Exited(slot, status):
            return _PACKET.pack(_EXITED, slot, status)
        case NotForked(slot, errno):
            return _PACKET.pack(_NOT_FORKED, slot, errno)


_KINDS: dict[bytes, Callable[[int, int], Said]] = {
    _FORKED: Forked,
    _EXITED: Exited,
    _NOT_FORKED: NotForked,
}


def receive_reports(control: socket.socket) -> list[Said]:
    """Read all reports that are there, without waiting.

    Args:
        control: The worker's end.

    Returns:
        The reports, in order.

    Raises:
        ConnectionError: The server is gone.
    """
    found: list[Said] = []
    while True:
        try:
            data = control.recv(_PACKET.size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return found
        if not data:
            if found:
                return found
            message = "the fork server is gone"
            raise ConnectionError(message)
        kind, slot, number = _PACKET.unpack(data)
        found.append(_KINDS[kind](slot, number))
