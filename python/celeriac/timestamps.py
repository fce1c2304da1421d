"""Times as they are written on the wire, and the zones they are in.

Source:
    celery/utils/time.py; protocol: ISO-8601 as Python's ``isoformat`` writes it.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

from celeriac.exceptions import ImproperlyConfigured

UTC = timezone.utc


def zone(name: str | tzinfo | None) -> tzinfo:
    """Find a time zone.

    Args:
        name: Its name (``Europe/Paris``), a tzinfo, or None for UTC.

    Returns:
        The zone.

    Raises:
        ImproperlyConfigured: There is no such zone.
    """
    if name is None or (isinstance(name, str) and name.upper() == "UTC"):
        return UTC
    if isinstance(name, tzinfo):
        return name
    # Loaded where needed: it costs a tenth of our import time.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"Time zone {name!r} is unknown. Use a name such as 'UTC' or 'Europe/Paris'."
        raise ImproperlyConfigured(message) from None


_ISO = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9})\d*)?)?)?"
    r"\s*(Z|z|[+-]\d\d(?::?\d\d)?)?"
)


def parse_iso(text: str) -> datetime:
    """Read an ISO-8601 time.

    Args:
        text: In extended or basic form, with ``T`` or a space; seconds, fraction and offset (``Z``,
            ``+01:00``, ``+0100``) may be missing.

    Returns:
        The time; naive if it has no offset.

    Raises:
        ValueError: It is none.
    """
    match = _ISO.fullmatch(text.strip())
    if match is None:
        message = f"{text!r} is not an ISO-8601 time, such as '2026-11-22T07:46:13+01:00'."
        raise ValueError(message)
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    moment = datetime(  # noqa: DTZ001 - the offset follows
        int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int((fraction or "0").ljust(6, "0")[:6]),
    )
    return moment if offset is None else moment.replace(tzinfo=_offset(offset))


def _offset(text: str) -> tzinfo:
    if text in {"Z", "z"}:
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes)) if minutes else UTC


def maybe_iso8601(dt: datetime | str | None) -> datetime | None:
    """Read a time that may be one already.

    Returns:
        A time, or None for None.
    """
    return parse_iso(dt) if isinstance(dt, str) else dt


def is_naive(dt: datetime) -> bool:
    """Say whether a time lacks an offset.

    Returns:
        Whether it does.
    """
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def make_aware(dt: datetime, tz: tzinfo) -> datetime:
    """Say which zone a naive time is in.

    Returns:
        The time with that zone.
    """
    return dt.replace(tzinfo=tz)


def maybe_make_aware(
    dt: datetime,
    tz: tzinfo | None = None,
    naive_as_utc: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
) -> datetime:
    """Give a naive time an offset.

    Args:
        dt: A time.
        tz: The zone of the result; None for UTC.
        naive_as_utc: Whether a naive time is in UTC (then converted), or in `tz`.

    Returns:
        The time, with an offset; one that had it already is returned as it is.
    """
    if not is_naive(dt):
        return dt
    if naive_as_utc:
        dt = dt.replace(tzinfo=UTC)
        return dt if tz is None else dt.astimezone(tz)
    return dt.replace(tzinfo=tz or UTC)


def to_utc(dt: datetime) -> datetime:
    """Convert to UTC; a naive time is taken to be in UTC.

    Returns:
        The time in UTC.
    """
    return maybe_make_aware(dt).astimezone(UTC)


def maybe_timedelta(delta: float | timedelta) -> timedelta:
    """Turn a number of seconds into a timedelta.

    Returns:
        A timedelta.
    """
    return delta if isinstance(delta, timedelta) else timedelta(seconds=delta)


def seconds(value: Any) -> float | None:
    """Turn a duration into seconds.

    Args:
        value: A number of seconds, a timedelta, or None.

    Returns:
        Seconds, or None.
    """
    if value is None:
        return None
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def absolute(value: Any, now: datetime) -> datetime | None:
    """Turn a number of seconds from now, or a time, into a time.

    Args:
        value: Seconds, a timedelta, a time, ISO text, or None.
        now: The present, with the zone of the result.

    Returns:
        A time; explicit ones are returned as they were given.
    """
    if value is None or isinstance(value, datetime):
        return value
    if isinstance(value, str):
        return parse_iso(value)
    return later(now, maybe_timedelta(value))


def later(moment: datetime, delta: timedelta) -> datetime:
    """Add elapsed time.

    Python adds to what the clock on the wall shows: where that is set forward in between, an hour
    too little passes.

    Args:
        moment: A time; a naive one is added to as it is.
        delta: How long.

    Returns:
        A time in the same zone.
    """
    if is_naive(moment):
        return moment + delta
    return (moment.astimezone(UTC) + delta).astimezone(moment.tzinfo)


_UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def humanize_seconds(
    secs: float,
    prefix: str = "",
    sep: str = "",
    now: str = "now",
    microseconds: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
) -> str:
    """Say a number of seconds as people do.

    Args:
        secs: Seconds.
        prefix: Put in front, except of `now`.
        sep: Put between prefix and number.
        now: What zero is called.
        microseconds: Whether to give fractions of a second.

    Returns:
        Such as ``in 2.00 minutes``.
    """
    secs = float(f"{float(secs):.2f}")
    for length, unit in _UNITS:
        if secs >= length:
            count = secs / length
            return f"{prefix}{sep}{count:.2f} {unit}{'s' if count > 1 else ''}"
    return f"{prefix}{sep}{secs:.2f} seconds" if microseconds and secs > 0 else now


def utcoffset() -> float:
    """Say how far local time is behind UTC now, as events carry it.

    Returns:
        Hours, negative east of Greenwich.
    """
    return (time.altzone if time.localtime().tm_isdst else time.timezone) / 3600


def adjust_timestamp(timestamp: float, offset_h: float) -> float:
    """Move the time of somebody else's event as Celery's receivers do.

    Args:
        timestamp: Its seconds since 1970.
        offset_h: Its sender's `utcoffset`.

    Returns:
        The same with the difference of both zones added.
    """
    return timestamp - (offset_h - utcoffset()) * 3600
