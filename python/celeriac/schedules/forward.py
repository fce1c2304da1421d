"""Moving forward in time as people do: to a wall clock's next value, across changes of the clock.

Source:
    celery/utils/time.py ``ffwd``, ``remaining``, ``delta_resolution`` (names, arguments, rules).
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime, timedelta
from typing import Any

from celeriac.timestamps import UTC, is_naive

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)
_FIELDS = ("year", "month", "day", "hour", "minute", "second", "microsecond")


class ffwd:  # noqa: N801 - Celery's name
    """What to change in a time it is added to: its fields, then its weekday, then its weeks.

    Args:
        year: The year; the following likewise.
        month: The month.
        weeks: How many weeks later.
        weekday: The next day that is one of these; Monday is 0.
        day: The day, or the month's last.
        hour: The hour.
        minute: The minute.
        second: The second.
        microsecond: The microsecond.
        **kwargs: Ignored.

    """

    def __init__(  # noqa: PLR0913, PLR0917 - Celery's signature
        self,
        year: int | None = None,
        month: int | None = None,
        weeks: int = 0,
        weekday: int | None = None,
        day: int | None = None,
        hour: int | None = None,
        minute: int | None = None,
        second: int | None = None,
        microsecond: int | None = None,
        **kwargs: Any,
    ) -> None:
        del kwargs
        self.year, self.month, self.day = year, month, day
        self.hour, self.minute, self.second, self.microsecond = hour, minute, second, microsecond
        self.weekday = weekday
        self.weeks = weeks
        self.days = weeks * 7

    def __repr__(self) -> str:
        shown = {**self._fields(), "weeks": self.weeks, "weekday": self.weekday}
        return f"ffwd({', '.join(f'{k}={v!r}' for k, v in shown.items() if v is not None)})"

    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, date):
            return NotImplemented
        year, month = self.year or other.year, self.month or other.month
        day = min(monthrange(year, month)[1], self.day or other.day)
        moved: Any = other.replace(**{**self._fields(), "year": year, "month": month, "day": day})
        ahead = 0 if self.weekday is None else (self.weekday - moved.weekday()) % 7
        return moved + timedelta(days=ahead + self.days)

    def _fields(self) -> dict[str, int]:
        return {name: value for name in _FIELDS if (value := getattr(self, name)) is not None}


def add_seconds_to_datetime(dt: datetime, seconds: float) -> datetime:
    """Add seconds that pass, not seconds on a wall clock.

    Args:
        dt: A time.
        seconds: Seconds.

    Returns:
        The time, in the same zone.
    """
    delta = timedelta(seconds=seconds)
    return dt + delta if is_naive(dt) else (dt.astimezone(UTC) + delta).astimezone(dt.tzinfo)


def delta_resolution(dt: datetime, delta: timedelta) -> datetime:
    """Round a time down to the unit of an interval.

    Args:
        dt: A time.
        delta: An interval.

    Returns:
        The day, hour or minute it is in; the time itself for intervals of seconds.
    """
    if delta >= _DAY:
        return dt.replace(hour=0, minute=0, second=0, microsecond=0)
    if delta >= _HOUR:
        return dt.replace(minute=0, second=0, microsecond=0)
    if delta >= _MINUTE:
        return dt.replace(second=0, microsecond=0)
    return dt


def remaining(
    start: datetime,
    ends_in: timedelta | ffwd,
    now: datetime | None = None,
    relative: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
) -> timedelta:
    """Say how long it is until an interval that began at `start` ends.

    Args:
        start: When it began; aware.
        ends_in: How long it is, or the wall clock's next value.
        now: The present.
        relative: Whether it ends at a round time: the last full day, hour or minute (whichever
            the interval's unit is) not after its end, but after its start.

    Returns:
        How long; negative if it is over.
    """
    moment = datetime.now(UTC) if now is None else now
    return _end(start, ends_in, relative=relative).astimezone(UTC) - moment.astimezone(UTC)


def _end(start: datetime, ends_in: timedelta | ffwd, *, relative: bool) -> datetime:
    if not isinstance(ends_in, timedelta):
        moved: datetime = start + ends_in
        return moved
    if not relative:
        return add_seconds_to_datetime(start, ends_in.total_seconds())
    if ends_in >= _DAY:
        return _round_day(start, ends_in)
    return _round_time(start, ends_in)


def _round_day(start: datetime, ends_in: timedelta) -> datetime:
    # Days are the calendar's: one may have 23 or 25 hours.
    end = start + ends_in
    return min(_after(start, _occurrences(end, ends_in)), default=end)


def _round_time(start: datetime, ends_in: timedelta) -> datetime:
    end = add_seconds_to_datetime(start, ends_in.total_seconds())
    candidates = _occurrences(end, ends_in)
    rounded = _last_until(end, candidates)
    if ends_in < _MINUTE or rounded.astimezone(UTC) > start.astimezone(UTC):
        return rounded
    # The clock was set back by a part of an hour: a full one may lie before the start.
    unit = _HOUR if ends_in >= _HOUR else _MINUTE
    for other in (end + unit, start + ends_in):
        candidates += _occurrences(other, ends_in)
    later = _after(start, candidates)
    return _last_until(end, later) if later else end


def _last_until(end: datetime, candidates: list[datetime]) -> datetime:
    limit = end.astimezone(UTC)
    return max((one for one in candidates if one <= limit), default=min(candidates))


def _after(start: datetime, candidates: list[datetime]) -> list[datetime]:
    begun = start.astimezone(UTC)
    return [one for one in candidates if one > begun]


def _occurrences(dt: datetime, delta: timedelta) -> list[datetime]:
    """When a clock on the wall shows the round time: twice where it is set back.

    Returns:
        Times in UTC; where the clock skips it, when it would have been.
    """
    wall = delta_resolution(dt, delta).replace(microsecond=0)
    both = [wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    shown = [one.astimezone(wall.tzinfo).replace(tzinfo=None) for one in both]
    real = [one for one, seen in zip(both, shown, strict=True) if seen == wall.replace(tzinfo=None)]
    return real or both[:1]
