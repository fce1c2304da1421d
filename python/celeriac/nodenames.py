"""Names of workers, of processes that send tasks, and of tasks.

Source:
    celery/utils/nodenames.py.
"""

from __future__ import annotations

import functools
import os
from typing import Any

NODENAME_DEFAULT = "celery"
WORKER_DIRECT_EXCHANGE = "C.dq2"
WORKER_DIRECT_QUEUE_FORMAT = "{hostname}.dq2"


@functools.lru_cache(maxsize=1)
def gethostname() -> str:
    """Return this machine's name, asked for once.

    Returns:
        The host name.
    """
    if hasattr(os, "uname"):
        return os.uname().nodename
    # Loaded only where there is no other way: it costs a tenth of our import time.
    import socket  # noqa: PLC0415

    return socket.gethostname()


def new_id() -> str:
    """Make a task id: a UUID4, in a third of the time that `uuid.uuid4` takes.

    Returns:
        UUID text.
    """
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def nodename(name: str, hostname: str) -> str:
    """Join a node name.

    Returns:
        ``<name>@<hostname>``.
    """
    return f"{name}@{hostname}"


def nodesplit(name: str) -> tuple[str | None, str]:
    """Split a node name.

    Returns:
        The part before the ``@`` (None if there is none) and the host.
    """
    before, at, host = name.partition("@")
    return (before, host) if at else (None, name)


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """Name this process as a sender of tasks.

    Returns:
        ``gen<pid>@<hostname>``.
    """
    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def default_nodename(hostname: str | None, default_name: str = NODENAME_DEFAULT) -> str:
    """Complete a node name.

    Args:
        hostname: ``name@host``, a host, or None.
        default_name: The part before the ``@`` where there is none.

    Returns:
        A node name.
    """
    name, host = nodesplit(hostname or "")
    return nodename(name or default_name, host or gethostname())


def host_format(s: str, host: str | None = None, name: str | None = None, **extra: Any) -> str:
    """Expand ``%h`` (host), ``%n`` (name), ``%d`` (domain), ``%i`` and ``%I`` (child process).

    Args:
        s: A format.
        host: The full host name; this machine's by default.
        name: What ``%n`` and ``%N`` stand for.
        **extra: More letters.

    Returns:
        The text.

    Raises:
        ValueError: A letter has no meaning.
    """  # noqa: DOC502 - raised by `_expand`
    host = host or gethostname()
    short, _, domain = host.partition(".")
    keys = {"h": host, "n": name or short, "d": domain, "i": "0", "I": "", **extra}
    return _expand(s, {**keys, "N": name or short})


def node_format(s: str, name: str, **extra: Any) -> str:
    """Expand a format for a node.

    Args:
        s: A format (see `host_format`); ``%p`` is the full node name.
        name: The node name.
        **extra: More letters.

    Returns:
        The text.
    """
    short, host = nodesplit(name)
    return host_format(s, host, short or NODENAME_DEFAULT, p=name, **extra)


def _expand(s: str, keys: dict[str, Any]) -> str:
    parts = s.split("%")
    out = [parts[0]]
    rest = iter(parts[1:])
    for part in rest:
        if not part:
            out.append("%" + next(rest, ""))
        elif part[0] in keys:
            value = keys[part[0]]
            out.append(str(value() if callable(value) else value) + part[1:])
        else:
            message = f"Unknown format %{part[0]} in {s!r}; write %% for a percent sign."
            raise ValueError(message)
    return "".join(out)
