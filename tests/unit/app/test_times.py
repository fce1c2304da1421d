"""When a task may start: as Celery understands it, and never before, whatever the zone."""

from __future__ import annotations

import datetime as dt
import types
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from celeriac import Celery, signals
from celeriac.worker.times import unix_ms_of

celery = pytest.importorskip("celery")
from celery.worker.request import Request as CelerysRequest  # noqa: E402 - after the check

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
ZONES = (
    "UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu",
    "America/St_Johns", "Africa/Casablanca", "Pacific/Apia",
)  # fmt: skip

zones = st.sampled_from(ZONES)
walls = st.datetimes(dt.datetime(1975, 1, 1), dt.datetime(2037, 12, 31))
#: Around the hour that is left out, and the one that comes twice.
seams = st.builds(
    lambda hour, by: hour + by,
    st.sampled_from(
        [dt.datetime(2026, 3, 29, 1), dt.datetime(2026, 10, 25, 1), dt.datetime(2026, 4, 5, 1, 15)]
    ),
    st.timedeltas(dt.timedelta(), dt.timedelta(hours=3)),
)
naive = st.one_of(walls, seams)
in_zones = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=ZoneInfo(zone), fold=fold),
    naive,
    st.sampled_from(ZONES),
    st.integers(0, 1),
)
at_offsets = st.builds(
    lambda moment, minutes: moment.replace(tzinfo=dt.timezone(dt.timedelta(minutes=minutes))),
    naive,
    st.integers(-14 * 60, 14 * 60),
)
moments = st.one_of(naive, in_zones, at_offsets)


def idle():
    return None


def app_of(kind, zone, enable_utc):
    app = kind("times", broker="memory:///times", set_as_current=False)
    app.conf.timezone = zone
    app.conf.enable_utc = enable_utc
    return app


#: Celery's application and ours, by `timezone` and `enable_utc`.
APPS = {
    (zone, enable_utc): (app_of(celery.Celery, zone, enable_utc), app_of(Celery, zone, enable_utc))
    for zone in (None, *ZONES)
    for enable_utc in (True, False)
}
for _, our_app in APPS.values():
    our_app.task(idle, name="times.t", shared=False)
settings = st.sampled_from(list(APPS))
WITH_ZONE = [one for one in APPS if one[0] is not None]


@pytest.fixture(scope="module")
def headers():
    """What our producer has put on the wire."""
    written = []

    def note(headers, **_):
        written.append(headers)

    signals.before_task_publish.connect(note)
    yield written
    signals.before_task_publish.disconnect(note)


def written(app, headers, **options):
    app.tasks["times.t"].apply_async(**options)
    return headers.pop()


def micros(moment):
    return (moment - EPOCH) // dt.timedelta(microseconds=1)


def celerys_request(app, **times):
    """A message as Celery's worker understands it."""
    message = types.SimpleNamespace(
        headers={"id": "1", "task": "times.t", **times},
        body=b"[[], {}, {}]",
        payload=[[], {}, {}],
        content_type="application/json",
        content_encoding="utf-8",
        delivery_info={},
        properties={},
    )
    # With a task of its own it does not ask for the application's, nor for other tests' tasks.
    return CelerysRequest(message, app=app, task=types.SimpleNamespace(ignore_result=False))


@given(settings, moments)
def test_an_eta_is_written_and_understood_as_celery_does_and_is_never_early(headers, where, eta):
    theirs, ours = APPS[where]
    text = written(ours, headers, eta=eta)["eta"]
    assert text == theirs.amqp.as_task_v2("1", "times.t", (), {}, eta=eta).headers["eta"]
    start_us = micros(celerys_request(theirs, eta=text).eta)
    if eta.tzinfo is not None:
        assert start_us == micros(eta)
    late_us = unix_ms_of(text) * 1000 - start_us
    assert 0 <= late_us < 1000


@given(settings, moments)
def test_a_time_of_expiry_is_understood_as_celery_does(headers, where, expires):
    theirs, ours = APPS[where]
    text = written(ours, headers, expires=expires)["expires"]
    assert (
        text == theirs.amqp.as_task_v2("1", "times.t", (), {}, expires=expires).headers["expires"]
    )
    late_us = unix_ms_of(text) * 1000 - micros(celerys_request(theirs, expires=text).expires)
    assert 0 <= late_us < 1000


@given(
    st.sampled_from(WITH_ZONE),
    st.one_of(walls, seams),
    st.floats(0.000_001, 400 * 86_400.0, allow_subnormal=False),
)
@example(("Europe/Paris", True), dt.datetime(2026, 3, 29, 0, 30), 7200.0)
@example(("Europe/Paris", True), dt.datetime(2026, 10, 25, 0, 30), 7200.0)
def test_a_countdown_is_time_that_passes_whatever_the_clocks_on_the_wall_do(
    headers, where, now, countdown
):
    theirs, ours = APPS[where]
    now = now.replace(tzinfo=dt.timezone.utc)
    local = now.astimezone(ours.timezone)
    ours.now = lambda: local
    options = {"countdown": countdown, "expires": countdown + 1}
    sent = written(ours, headers, **options)
    expected = theirs.amqp.as_task_v2("1", "times.t", (), {}, now=local, **options).headers
    assert (sent["eta"], sent["expires"]) == (expected["eta"], expected["expires"])
    due_us = micros(now) + dt.timedelta(seconds=countdown) // dt.timedelta(microseconds=1)
    assert 0 <= unix_ms_of(sent["eta"]) * 1000 - due_us < 1000
