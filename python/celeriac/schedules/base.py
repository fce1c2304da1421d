"""What all schedules have in common.

Source:
    celery/schedules.py ``BaseSchedule`` (names and arguments).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac._current import get_current_app
from celeriac.timestamps import maybe_make_aware

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta, tzinfo


class schedstate(NamedTuple):  # noqa: N801 - Celery's name
    """Whether a task is due, and in how many seconds to ask again."""

    is_due: bool
    next: float


class BaseSchedule:
    """A schedule; subclasses say how long it is until the next time.

    Args:
        nowfun: Returns the time; the application's by default.
        app: The application; the current one by default.

    """

    def __init__(self, nowfun: Callable[[], datetime] | None = None, app: Any = None) -> None:
        self.nowfun = nowfun
        self._app = app

    @property
    def app(self) -> Any:
        """The application."""
        return self._app or get_current_app()

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @cached_property
    def tz(self) -> tzinfo:
        """The zone of its times of day."""
        zone: tzinfo = self.app.timezone
        return zone

    @cached_property
    def utc_enabled(self) -> bool:
        """Whether the application's times are in UTC."""
        return bool(self.app.conf.enable_utc)

    def now(self) -> datetime:
        """Return the time.

        Returns:
            The time.
        """
        moment: datetime = (self.nowfun or self.app.now)()
        return moment

    def to_local(self, dt: datetime) -> datetime:
        """Convert a time to the machine's zone, unless the application uses UTC.

        Returns:
            The time.
        """
        return dt if self.utc_enabled else dt.astimezone()

    def maybe_make_aware(
        self,
        dt: datetime,
        naive_as_utc: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
    ) -> datetime:
        """Give a naive time the schedule's zone.

        Args:
            dt: A time.
            naive_as_utc: Whether a naive time is in UTC, and to be converted.

        Returns:
            An aware time.
        """
        return maybe_make_aware(dt, self.tz, naive_as_utc)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Say how long it is until the next time.

        Args:
            last_run_at: When it last ran.

        Returns:
            How long; negative if it is over.
        """
        raise NotImplementedError

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        """Say whether a task is due.

        Args:
            last_run_at: When it last ran.

        Returns:
            Whether it is, and in how many seconds to ask again.
        """
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BaseSchedule):
            return other.nowfun == self.nowfun
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]


def seconds_left(estimate: timedelta) -> float:
    """Turn what is left into seconds.

    Returns:
        Seconds; 0 if it is over.
    """
    return max(estimate.total_seconds(), 0)
