"""When a message says it is to start, or is too late."""

from datetime import datetime, timezone, tzinfo

from celeriac._native import parse_iso_ms

__all__ = ("unix_ms_of",)


def unix_ms_of(text: str, zone: tzinfo) -> int:
    """Read an ``eta`` or ``expires`` header.

    Args:
        text: An ISO-8601 time.
        zone: The app's zone, which a time without an offset is in.

    Returns:
        Milliseconds since 1970, rounded up: nothing starts early. A DecodeError says that ``text``
        is not such a time.

    Source:
        Celery attaches the *worker's* zone to a naive time.
    """
    unix_ms, has_offset = parse_iso_ms(text)
    if has_offset:
        return unix_ms
    naive = datetime.fromtimestamp(unix_ms / 1000, timezone.utc).replace(tzinfo=zone)
    offset = naive.utcoffset()
    return unix_ms if offset is None else unix_ms - round(offset.total_seconds() * 1000)
