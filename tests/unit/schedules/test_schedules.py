"""Schedules beside the real Celery's, at random times."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import celery
import pytest
from celery import schedules as real
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import celeriac
from celeriac import schedules as ours

UTC = timezone.utc
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]

moments = st.datetimes(datetime(2020, 1, 1), datetime(2033, 1, 1)).map(
    lambda dt: dt.replace(tzinfo=UTC)
)
# Days around the changes of the clock come up more often than chance would have it.
changes = st.sampled_from([
    datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC), datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
])  # fmt: skip
near_changes = st.builds(
    lambda at, minutes: at + timedelta(minutes=minutes), changes, st.floats(-2000, 2000)
)
times = st.one_of(moments, near_changes)
zones = st.sampled_from(ZONES)


def apps(zone: str, **conf: Any) -> tuple[Any, Any]:
    made = celery.Celery(set_as_current=False), celeriac.Celery(set_as_current=False)
    for app in made:
        app.conf.update(timezone=zone, **conf)
    return made


APPS = {zone: apps(zone) for zone in ZONES}


def both(make: Any, zone: str, now: datetime) -> tuple[Any, Any]:
    one, other = APPS[zone]
    return make(real, lambda: now, one), make(ours, lambda: now, other)


def number(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(str)


def field(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    one = st.one_of(number(low, high), *([st.sampled_from(names)] if names else []))
    a_range = st.builds("{}-{}".format, one, one)
    step = st.integers(1, 9).map("/{}".format)
    part = st.one_of(
        st.just("*"), one, a_range, st.builds("{}{}".format, a_range, step), step.map("*{}".format)
    )
    return st.lists(part, min_size=1, max_size=3).map(",".join)


specs = st.tuples(
    field(0, 59),
    field(0, 23),
    field(0, 6, ("sun", "Monday", "fri")),
    field(1, 31),
    field(1, 12, ("jan", "Feb", "november")),
)
few_fields = st.lists(st.sampled_from(range(5)), max_size=3, unique=True)


@settings(max_examples=400, deadline=None)
@given(specs, few_fields, zones, times, st.timedeltas(timedelta(0), timedelta(days=800)))
def test_a_crontab_is_due_when_celerys_is(spec, fields, zone, last, passed) -> None:
    chosen = [text if n in fields else "*" for n, text in enumerate(spec)]
    now = last + passed
    try:
        theirs = real.crontab(*chosen, nowfun=lambda: now, app=APPS[zone][0])
    except ValueError:
        with pytest.raises(ValueError, match="never comes"):
            ours.crontab(*chosen)
        return
    mine = ours.crontab(*chosen, nowfun=lambda: now, app=APPS[zone][1])

    assert mine.remaining_estimate(last) == theirs.remaining_estimate(last)
    assert tuple(mine.is_due(last)) == tuple(theirs.is_due(last))


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 59),
    zones,
    times,
    st.timedeltas(timedelta(0), timedelta(hours=3)),
    st.integers(0, 7200),
)
def test_what_was_missed_too_long_ago_is_not_made_up_for(
    minute, zone, last, passed, deadline_s
) -> None:
    now = last + passed
    one, other = APPS[zone]
    one.conf.beat_cron_starting_deadline = other.conf.beat_cron_starting_deadline = deadline_s
    try:
        theirs = real.crontab(minute, nowfun=lambda: now, app=one).is_due(last)
        mine = ours.crontab(minute, nowfun=lambda: now, app=other).is_due(last)
    finally:
        one.conf.beat_cron_starting_deadline = other.conf.beat_cron_starting_deadline = None
    assert tuple(mine) == tuple(theirs)


@settings(max_examples=200, deadline=None)
@given(field(1, 12, ("jan", "dec")), st.sampled_from([(12, 1), (60, 0), (7, 0)]))
def test_the_parser_reads_what_celerys_reads(text, bounds) -> None:
    def read(module: Any) -> Any:
        try:
            return module.crontab_parser(*bounds).parse(text)
        except ValueError:
            return ValueError

    assert read(ours) == read(real)


@pytest.mark.parametrize("text", ["", "1,,2", "*/", "1-5/", "-3"])
def test_what_celerys_parser_cannot_read_is_a_parse_exception(text) -> None:
    for module in (real, ours):
        with pytest.raises(module.ParseException):
            module.crontab_parser().parse(text)


@pytest.mark.parametrize("text", ["frobday", "60", "5/2", "5-", "**", "1-99"])
def test_a_value_that_is_none_is_a_value_error(text) -> None:
    for module in (real, ours):
        with pytest.raises(ValueError, match=r"."):
            module.crontab_parser().parse(text)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(st.integers(0, 200_000), st.sampled_from([1, 60, 300, 3600, 7200, 86400, 604800])),
    st.booleans(),
    zones,
    times,
    st.timedeltas(timedelta(0), timedelta(days=9)),
)
def test_an_interval_is_due_when_celerys_is(every_s, relative, zone, last, passed) -> None:
    local = last.astimezone(ZoneInfo(zone))
    theirs, mine = both(
        lambda module, nowfun, app: module.schedule(every_s, relative, nowfun, app),
        zone,
        local + passed,
    )
    assert mine.remaining_estimate(local) == theirs.remaining_estimate(local)
    assert tuple(mine.is_due(local)) == tuple(theirs.is_due(local))
    assert mine.human_seconds == theirs.human_seconds
    assert repr(mine) == repr(theirs)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["sunrise", "sunset", "solar_noon", "dawn_civil", "dusk_astronomical"]),
    st.floats(-89, 89),
    st.floats(-180, 180),
    times,
    st.timedeltas(timedelta(0), timedelta(days=2)),
)
def test_the_sun_rises_when_celerys_does(event, lat, lon, last, passed) -> None:
    theirs, mine = both(
        lambda module, nowfun, app: module.solar(event, lat, lon, nowfun=nowfun, app=app),
        "UTC",
        last + passed,
    )
    assert mine.remaining_estimate(last) == theirs.remaining_estimate(last)
    assert tuple(mine.is_due(last)) == tuple(theirs.is_due(last))
    assert repr(mine) == repr(theirs)


@pytest.mark.parametrize("args", [("moonrise", 0, 0), ("sunset", 91, 0), ("sunset", 0, -181)])
def test_no_such_event_or_place_is_a_value_error(args) -> None:
    for module in (real, ours):
        with pytest.raises(ValueError, match=str(args[0]) if args[0] == "moonrise" else r"."):
            module.solar(*args)


@settings(max_examples=100, deadline=None)
@given(specs, specs)
def test_schedules_are_equal_when_celerys_are(one, two) -> None:
    try:
        theirs = real.crontab(*one), real.crontab(*two)
    except ValueError:
        assume(False)
    mine = ours.crontab(*one), ours.crontab(*two)
    assert (mine[0] == mine[1]) == (theirs[0] == theirs[1])
    assert repr(mine[0]) == repr(theirs[0])
    again = pickle.loads(pickle.dumps(mine[0]))
    assert again == mine[0]
    assert repr(again) == repr(mine[0])


def test_schedules_survive_pickling() -> None:
    for made in (ours.schedule(30, True), ours.solar("sunset", 1, 2), ours.crontab(5)):
        assert pickle.loads(pickle.dumps(made)) == made


def test_a_crontab_may_be_read_from_a_line() -> None:
    assert ours.crontab.from_string("5 4 1-7 * mon") == ours.crontab(5, 4, "mon", "1-7")
    assert repr(ours.crontab.from_string("5 4 1-7 * mon")) == repr(
        real.crontab.from_string("5 4 1-7 * mon")
    )


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(ValueError, match="never comes"):
        ours.crontab(day_of_month=30, month_of_year=2)
    with pytest.raises(TypeError, match="int, text or several"):
        ours.crontab(minute=1.5)
    with pytest.raises(ValueError, match="out of range"):
        ours.crontab(hour=24)


def test_the_29th_of_february_on_a_monday_is_found() -> None:
    last = datetime(2021, 1, 1, tzinfo=UTC)
    made = ours.crontab(0, 0, "mon", 29, 2, nowfun=lambda: last, app=APPS["UTC"][1])
    assert last + made.remaining_estimate(last) == datetime(2044, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize("value", [5, 2.5, timedelta(minutes=1)])
def test_numbers_are_intervals(value) -> None:
    made = ours.maybe_schedule(value, app=APPS["UTC"][1])
    assert made == ours.schedule(value)
    assert made.app is APPS["UTC"][1]
    assert ours.maybe_schedule(None) is None
    crontab = ours.crontab()
    assert ours.maybe_schedule(crontab) is crontab


def test_naive_times_are_in_utc() -> None:
    now = datetime(2026, 7, 1, 12, 0, 30, tzinfo=UTC)
    for module, app in ((real, APPS["Europe/Berlin"][0]), (ours, APPS["Europe/Berlin"][1])):
        made = module.crontab(hour=14, minute=1, nowfun=lambda: now, app=app)
        assert made.remaining_estimate(datetime(2026, 7, 1, 12)) == timedelta(seconds=30)
