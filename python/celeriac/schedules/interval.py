"""`schedule`: every so many seconds.

Source:
    celery/schedules.py ``schedule`` (names and arguments).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from celeriac.schedules.base import BaseSchedule, schedstate, seconds_left
from celeriac.schedules.forward import remaining
from celeriac.timestamps import humanize_seconds, maybe_timedelta

if TYPE_CHECKING:
    from collections.abc import Callable


class schedule(BaseSchedule):  # noqa: N801 - Celery's name
    """An interval.

    Args:
        run_every: Seconds, or a timedelta.
        relative: Whether it ends at round times (see `forward.remaining`).
        nowfun: Returns the time.
        app: The application.

    """

    relative: bool = False

    def __init__(
        self,
        run_every: float | timedelta | None = None,
        relative: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
    ) -> None:
        self.run_every: Any = None if run_every is None else maybe_timedelta(run_every)
        self.relative = relative
        super().__init__(nowfun=nowfun, app=app)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:  # noqa: D102 - inherited
        now = self.maybe_make_aware(self.now())
        return remaining(self.maybe_make_aware(last_run_at), self.run_every, now, self.relative)

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:  # noqa: D102 - inherited
        last_run_at = self.maybe_make_aware(last_run_at)
        left_s = seconds_left(self.remaining_estimate(last_run_at))
        if left_s:
            return schedstate(is_due=False, next=left_s)
        return schedstate(is_due=True, next=self._next_s(last_run_at))

    def _next_s(self, last_run_at: datetime) -> float:
        if not self.relative:
            return self.seconds
        # It may be late: the next round time is nearer than an interval.
        now = self.maybe_make_aware(self.now()).astimezone(last_run_at.tzinfo)
        left_s = self.remaining_estimate(now).total_seconds()
        return left_s if left_s > 0 else self.seconds

    @property
    def seconds(self) -> float:
        """The interval in seconds."""
        return seconds_left(self.run_every)

    @property
    def human_seconds(self) -> str:
        """The interval as people say it."""
        return humanize_seconds(self.seconds)

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, schedule):
            return bool(self.run_every == other.run_every)
        return bool(self.run_every == other)

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the application.

        Returns:
            The class and its arguments.
        """
        return type(self), (self.run_every, self.relative, self.nowfun)


def maybe_schedule(
    s: Any,
    relative: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
    app: Any = None,
) -> Any:
    """Make a schedule of what a setting holds.

    Args:
        s: Seconds, a timedelta, a schedule, or None.
        relative: Whether an interval ends at round times.
        app: The application.

    Returns:
        A schedule, or None.
    """
    if s is None:
        return None
    if isinstance(s, (int, float, timedelta)):
        return schedule(maybe_timedelta(s), relative, app=app)
    s.app = app
    return s
