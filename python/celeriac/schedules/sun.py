"""`solar`: at sunrise, noon, sunset or twilight, where one is.

Source:
    celery/schedules.py ``solar`` (names and arguments); the ephem library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.exceptions import ImproperlyConfigured
from celeriac.schedules.base import BaseSchedule, schedstate, seconds_left
from celeriac.timestamps import UTC

if TYPE_CHECKING:
    from datetime import datetime, timedelta

_MAX_LATITUDE = 90
_MAX_LONGITUDE = 180


class _Event(NamedTuple):
    method: str
    horizon: str
    """Degrees and minutes of the sun above it."""
    use_center: bool
    """Of the sun's disc, instead of its upper edge."""


_EVENTS = {
    "dawn_astronomical": _Event("next_rising", "-18", use_center=True),
    "dawn_nautical": _Event("next_rising", "-12", use_center=True),
    "dawn_civil": _Event("next_rising", "-6", use_center=True),
    "sunrise": _Event("next_rising", "-0:34", use_center=False),
    "solar_noon": _Event("next_transit", "0", use_center=False),
    "sunset": _Event("next_setting", "-0:34", use_center=False),
    "dusk_civil": _Event("next_setting", "-6", use_center=True),
    "dusk_nautical": _Event("next_setting", "-12", use_center=True),
    "dusk_astronomical": _Event("next_setting", "-18", use_center=True),
}


class solar(BaseSchedule):  # noqa: N801 - Celery's name
    """An event of the sun. Needs the library ``ephem``.

    Args:
        event: ``sunrise``, ``sunset``, ``solar_noon``; ``dawn_`` or ``dusk_`` with ``civil``,
            ``nautical`` or ``astronomical``.
        lat: Degrees north.
        lon: Degrees east.
        **kwargs: ``nowfun`` and ``app``.

    Raises:
        ImproperlyConfigured: ``ephem`` is not installed.
        ValueError: There is no such event or place.
    """

    #: Days to look ahead for an event that does not come every day, as north of the polar circle.
    max_search_days = 366

    def __init__(self, event: str, lat: float, lon: float, **kwargs: Any) -> None:
        try:
            self.ephem: Any = importlib.import_module("ephem")
        except ImportError as exc:
            message = "solar(...) needs the library ephem: pip install ephem."
            raise ImproperlyConfigured(message) from exc
        if event not in _EVENTS:
            message = f"{event!r} is no event of the sun. There are: {', '.join(sorted(_EVENTS))}."
            raise ValueError(message)
        for name, value, limit in (("lat", lat, _MAX_LATITUDE), ("lon", lon, _MAX_LONGITUDE)):
            if not -limit <= value <= limit:
                message = f"{name} must be from -{limit} to {limit}, not {value!r}."
                raise ValueError(message)
        self.event, self.lat, self.lon = event, lat, lon
        self.cal = self.ephem.Observer()
        self.cal.lat, self.cal.lon = str(lat), str(lon)
        self.cal.elev = self.cal.pressure = 0
        self.cal.horizon = _EVENTS[event].horizon
        super().__init__(**kwargs)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Say how long it is until the next event.

        Args:
            last_run_at: When it last ran.

        Returns:
            How long; until the search has to go on, where there is no event in `max_search_days`.
        """
        start = self.ephem.Date(self.maybe_make_aware(last_run_at).astimezone(UTC))
        found: datetime = self._next_event(start).datetime()
        now = self.maybe_make_aware(self.now())
        return found.replace(tzinfo=UTC) - now.astimezone(UTC)

    def _next_event(self, start: Any) -> Any:
        for _ in range(self.max_search_days):
            found = self._event_of_day(start)
            if found is not None:
                return found
            start = self.cal.next_antitransit(self.ephem.Sun(), start=start)
        return start

    def _event_of_day(self, start: Any) -> Any:
        event = _EVENTS[self.event]
        options = {"use_center": True} if event.use_center else {}
        try:
            return getattr(self.cal, event.method)(self.ephem.Sun(), start=start, **options)
        except self.ephem.CircumpolarError:
            return None

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:  # noqa: D102 - inherited
        left_s = seconds_left(self.remaining_estimate(last_run_at))
        if left_s:
            return schedstate(is_due=False, next=left_s)
        return schedstate(is_due=True, next=seconds_left(self.remaining_estimate(self.now())))

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what was given.

        Returns:
            The class and its arguments.
        """
        return type(self), (self.event, self.lat, self.lon)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, solar):
            return NotImplemented
        return (self.event, self.lat, self.lon) == (other.event, other.lat, other.lon)

    __hash__ = None
