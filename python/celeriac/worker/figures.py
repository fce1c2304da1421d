"""Figures and descriptions that remote control answers with; JSON can carry all of them."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from celeriac.reprs import saferepr

__all__ = ("active_queue", "broker_figures", "plain", "rusage")

_RUSAGE = (
    "utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap", "inblock",
    "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw",
)  # fmt: skip


def rusage() -> dict[str, Any] | str:
    """Say what this process has used of the machine.

    Returns:
        The fields of ``getrusage``: ``utime`` and ``stime`` in seconds, ``maxrss`` in kB on Linux;
        a text where the system does not tell.
    """
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return "N/A"
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {name: getattr(used, f"ru_{name}") for name in _RUSAGE}


def broker_figures(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the broker, without its password.

    Args:
        url: Its URL.
        options: Its options.

    Returns:
        Celery's keys.
    """
    parts = urlsplit(url.partition(";")[0])
    return {
        "hostname": parts.hostname,
        "userid": unquote(parts.username) if parts.username else None,
        "virtual_host": unquote(parts.path.removeprefix("/")) or "/",
        "port": parts.port,
        "ssl": parts.scheme in {"rediss", "amqps"},
        "transport": parts.scheme.partition("+")[0],
        "transport_options": sorted(options),
        "uri_prefix": None,
        "heartbeat": options.get("heartbeat"),
        "alternates": [],
    }


def active_queue(queue: Any) -> dict[str, Any]:
    """Describe a queue.

    Args:
        queue: The queue.

    Returns:
        Its attributes by kombu's names.
    """
    described: dict[str, Any] = plain(queue.as_dict(recurse=True))
    return described


def plain(value: Any) -> Any:
    """Make a value of what JSON knows; anything else is its repr.

    Args:
        value: Any value.

    Returns:
        Text, numbers, lists and dictionaries.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return saferepr(value)
