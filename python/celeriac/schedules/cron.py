"""`crontab`: at times of day, on days of the week, month and year.

Source:
    celery/schedules.py ``crontab`` (names, arguments, which time comes next).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from celeriac.schedules import forward
from celeriac.schedules.base import BaseSchedule, schedstate, seconds_left
from celeriac.schedules.cron_parser import crontab_parser
from celeriac.timestamps import UTC, zone

if TYPE_CHECKING:
    from datetime import tzinfo

#: The longest February; the 30th of it never comes.
_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
#: After 400 years the calendar repeats itself, weekdays included.
_MAX_MONTHS = 400 * 12


class crontab(BaseSchedule):  # noqa: N801 - Celery's name
    """Times as crontab(5) writes them. A day must match all three of its fields.

    Args:
        minute: A number, several, or a pattern (``*/15``). The following likewise.
        hour: 0 to 23.
        day_of_week: 0 to 6, Sunday is 0; names such as ``mon-fri``.
        day_of_month: 1 to 31.
        month_of_year: 1 to 12; names such as ``jan``.
        **kwargs: ``nowfun`` and ``app``.

    Raises:
        ValueError: A value is out of range, or no month has such a day.
    """

    def __init__(
        self,
        minute: Any = "*",
        hour: Any = "*",
        day_of_week: Any = "*",
        day_of_month: Any = "*",
        month_of_year: Any = "*",
        **kwargs: Any,
    ) -> None:
        fields = (minute, hour, day_of_week, day_of_month, month_of_year)
        self._given = tuple("*" if field is None else field for field in fields)
        self._orig_kwargs = kwargs
        self.minute = _expand(self._given[0], 60)
        self.hour = _expand(self._given[1], 24)
        self.day_of_week = _expand(self._given[2], 7)
        self.day_of_month = _expand(self._given[3], 31, 1)
        self.month_of_year = _expand(self._given[4], 12, 1)
        if min(self.day_of_month) > max(_DAYS_IN_MONTH[m - 1] for m in self.month_of_year):
            message = (
                f"day_of_month {day_of_month!r} never comes in month_of_year {month_of_year!r}."
            )
            raise ValueError(message)
        super().__init__(**kwargs)

    @classmethod
    def from_string(cls, crontab: str) -> crontab:
        """Read a line of a crontab.

        Args:
            crontab: Minute, hour, day of month, month and day of week.

        Returns:
            The schedule.
        """
        minute, hour, day_of_month, month_of_year, day_of_week = crontab.split()
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    def remaining_delta(
        self,
        last_run_at: datetime,
        tz: str | tzinfo | None = None,
        ffwd: type = forward.ffwd,
    ) -> tuple[datetime, Any, datetime]:
        """Say what is to change in the time it last ran.

        Args:
            last_run_at: When it last ran.
            tz: The zone of the times of day; the schedule's by default.
            ffwd: The class of the change.

        Returns:
            When it last ran, the change, and now; in that zone.
        """
        local = zone(tz or self.tz)
        last = self.maybe_make_aware(last_run_at).astimezone(local)
        now = self.maybe_make_aware(self.now()).astimezone(local)
        return last, ffwd(**self._next(last), second=0, microsecond=0), now

    def _next(self, last: datetime) -> dict[str, int]:
        if self._is_on(last.date()):
            later = [minute for minute in self.minute if minute > last.minute]
            if last.hour in self.hour and later:
                return {"minute": min(later)}
            hours = [hour for hour in self.hour if hour > last.hour]
            if hours:
                return {"hour": min(hours), "minute": min(self.minute)}
        day = self._next_day(last.date())
        first = {"hour": min(self.hour), "minute": min(self.minute)}
        return {"year": day.year, "month": day.month, "day": day.day, **first}

    def _is_on(self, day: date) -> bool:
        return (
            day.month in self.month_of_year
            and day.day in self.day_of_month
            and day.isoweekday() % 7 in self.day_of_week
        )

    def _next_day(self, after: date) -> date:
        year, month, days = after.year, after.month, sorted(self.day_of_month)
        for _ in range(_MAX_MONTHS):
            if month in self.month_of_year:
                for number in days:
                    day = _date(year, month, number)
                    if day is not None and day > after and self._is_on(day):
                        return day
            year, month = (year, month + 1) if month < len(_DAYS_IN_MONTH) else (year + 1, 1)
        message = f"{self!r} has no next time."
        raise RuntimeError(message)

    def remaining_estimate(self, last_run_at: datetime, ffwd: type = forward.ffwd) -> timedelta:
        """Say how long it is until the next time.

        Args:
            last_run_at: When it last ran.
            ffwd: See `remaining_delta`.

        Returns:
            How long; negative if it is over.
        """
        return forward.remaining(*self.remaining_delta(last_run_at, ffwd=ffwd))

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        """Say whether a task is due.

        Args:
            last_run_at: When it last ran.

        Returns:
            Whether it is, and the seconds until the next time. What was missed longer ago than
            `beat_cron_starting_deadline` is not made up for.
        """
        left = self.remaining_estimate(last_run_at)
        if left > timedelta(0):
            return schedstate(is_due=False, next=left.total_seconds())
        is_due = not (left and self._is_too_late())
        return schedstate(is_due, seconds_left(self.remaining_estimate(self.now())))

    def _is_too_late(self) -> bool:
        deadline_s = self.app.conf.beat_cron_starting_deadline
        if deadline_s is None:
            return False
        now = self.maybe_make_aware(self.now())
        # What was due exactly at the deadline still counts.
        before = timedelta(seconds=deadline_s, microseconds=1)
        since = (now.astimezone(UTC) - before).astimezone(now.tzinfo)
        return self.remaining_estimate(since) > timedelta(0)

    def __repr__(self) -> str:
        minute, hour, day_of_week, day_of_month, month_of_year = self._given
        shown = f"{minute} {hour} {day_of_month} {month_of_year} {day_of_week}"
        return f"<crontab: {shown} (m/h/dM/MY/d)>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what was given.

        Returns:
            The class, its fields, and its keyword arguments.
        """
        return type(self), self._given, self._orig_kwargs

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__init__(**state)
        self._orig_kwargs = dict(state)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, crontab):
            return NotImplemented
        fields = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year", "nowfun")
        return all(getattr(self, name) == getattr(other, name) for name in fields)

    __hash__ = None


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _expand(field: Any, count: int, lowest: int = 0) -> set[int]:
    if isinstance(field, int):
        values = {field}
    elif isinstance(field, str):
        values = crontab_parser(count, lowest).parse(field)
    elif isinstance(field, Iterable):
        values = set(field)
    else:
        message = f"A field of a crontab is an int, text or several ints, not {type(field)!r}."
        raise TypeError(message)
    wrong = [value for value in values if not lowest <= value < lowest + count]
    if wrong:
        message = f"{wrong[0]!r} is out of range: it must be from {lowest} to {lowest + count - 1}."
        raise ValueError(message)
    return values
