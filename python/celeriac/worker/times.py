"""When a message says it is to start, or is too late."""

from celeriac._native import parse_iso_ms

__all__ = ("unix_ms_of",)


def unix_ms_of(text: str) -> int:
    """Read an ``eta`` or ``expires`` header.

    Args:
        text: An ISO-8601 time.

    Returns:
        Milliseconds since 1970, rounded up: nothing starts early. A DecodeError says that ``text``
        is not such a time.

    Source:
        Compat: Celery's worker takes a time without an offset to be in UTC, whatever its zone
        (celery/worker/request.py, ``maybe_make_aware``), and only shows it in its own.
    """
    unix_ms, _ = parse_iso_ms(text)
    return unix_ms
