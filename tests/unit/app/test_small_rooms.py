"""States, node names, times, texts, retries, serializers: each against Celery's own."""

import datetime as dt
import itertools

import celery.states
import celery.utils.nodenames
import celery.utils.time
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import nodenames, reprs, states, timestamps
from celeriac.exceptions import (
    ContentDisallowed,
    DecodeError,
    EncodeError,
    ImproperlyConfigured,
    SerializerNotInstalled,
)
from celeriac.retry import backoff_s, delays_s
from celeriac.serialization import accepted, dumps, loads, serializer

UTC = dt.timezone.utc


@pytest.mark.parametrize("name", [name for name in vars(celery.states) if name.isupper()])
def test_a_state_table_is_celerys(name):
    assert getattr(states, name) == getattr(celery.states, name)


@pytest.mark.parametrize(
    ("low", "high"), list(itertools.permutations(["PENDING", "MINE", "SUCCESS"], 2))
)
def test_states_compare_by_precedence(low, high):
    ours, theirs = states.state(low), celery.states.state(low)
    compared = (ours < high, ours <= high, ours > high, ours >= high)
    assert compared == (theirs < high, theirs <= high, theirs > high, theirs >= high)


@pytest.mark.parametrize("form", ["%n-%h", "%d.log", "%i%I", "100%%", "%p", "a", "%"])
def test_a_node_format_expands_as_celerys(form):
    assert nodenames.node_format(form, "w1@host.example.org") == celery.utils.nodenames.node_format(
        form, "w1@host.example.org"
    )


def test_an_unknown_letter_is_an_error():
    with pytest.raises(ValueError, match="Unknown format %q"):
        nodenames.node_format("%q", "w@h")


@pytest.mark.parametrize("name", ["w@h", "h", "", None])
def test_a_node_name_is_completed_as_celerys(name):
    theirs = celery.utils.nodenames.default_nodename(name)
    assert nodenames.default_nodename(name) == theirs


def test_new_ids_are_uuid4():
    import uuid

    ids = {nodenames.new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {uuid.UUID(text).version for text in ids} == {4}
    assert {uuid.UUID(text).variant for text in ids} == {uuid.RFC_4122}


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T07:46:13.793443+01:00",
        "2026-11-22T07:46:13Z",
        "2026-11-22 07:46:13",
        "20261122T074613",
        "2026-11-22",
        "2026-11-22T07:46",
        "2026-11-22T07:46:13.5-0330",
    ],
)
def test_an_iso_time_is_read_as_celerys(text):
    theirs = celery.utils.time.maybe_iso8601(text.replace(" ", "T"))
    ours = timestamps.parse_iso(text)
    assert ours == theirs
    assert ours.utcoffset() == theirs.utcoffset()


@given(st.datetimes(min_value=dt.datetime(1000, 1, 1)), st.integers(-840, 840))
def test_every_isoformat_is_read_back(moment, minutes):
    aware = moment.replace(tzinfo=dt.timezone(dt.timedelta(minutes=minutes)))
    assert timestamps.parse_iso(aware.isoformat()) == aware
    assert timestamps.parse_iso(moment.isoformat()) == moment


@pytest.mark.parametrize("text", ["soon", "", "2026-13-01", "2026-11-22T25:00", "1"])
def test_what_is_no_time_is_an_error(text):
    with pytest.raises(ValueError, match=r"ISO-8601|month|hour"):
        timestamps.parse_iso(text)


def test_zones_are_found_by_name():
    assert timestamps.zone(None) is UTC
    assert timestamps.zone("utc") is UTC
    assert dt.datetime(2026, 1, 1, tzinfo=timestamps.zone("Europe/Paris")).utcoffset()
    with pytest.raises(ImproperlyConfigured, match="Nowhere/Land"):
        timestamps.zone("Nowhere/Land")


def test_a_naive_time_gets_an_offset():
    naive, paris = dt.datetime(2026, 6, 1, 12), timestamps.zone("Europe/Paris")
    assert timestamps.maybe_make_aware(naive) == naive.replace(tzinfo=UTC)
    assert timestamps.maybe_make_aware(naive, paris, naive_as_utc=False).hour == 12
    assert timestamps.maybe_make_aware(naive, paris).hour == 14


@pytest.mark.parametrize("secs", [0, 0.3, 1, 59.9, 60, 90, 3600, 5400, 86400, 200000])
def test_seconds_are_humanized_as_celerys(secs):
    theirs = celery.utils.time.humanize_seconds(secs, prefix="in", sep=" ")
    assert timestamps.humanize_seconds(secs, prefix="in", sep=" ") == theirs


def test_a_publish_is_retried_three_times_within_0_4_seconds():
    assert list(delays_s()) == [0, 0.2, 0.2]


def test_a_retry_policy_is_followed():
    policy = {"max_retries": 4, "interval_start": 1, "interval_step": 2, "interval_max": 4}
    assert list(delays_s(policy)) == [1, 3, 4, 4]
    endless = delays_s({"max_retries": None})
    assert len(list(itertools.islice(endless, 50))) == 50


@given(st.integers(1, 1000), st.integers(0, 10_000), st.integers(1, 10_000), st.floats(0, 0.999))
def test_a_backoff_stays_below_its_maximum(factor, retries, maximum, jitter):
    assert 0 <= backoff_s(factor, retries, maximum, jitter) <= maximum
    plain = celery.utils.time.get_exponential_backoff_interval(factor, min(retries, 900), maximum)
    assert backoff_s(factor, min(retries, 900), maximum, None) == plain


@pytest.mark.parametrize("name", ["json", "msgpack", "pickle", "yaml"])
def test_a_serializer_reads_what_it_writes(name):
    value = {"a": [1, "é", None, 2.5]}
    content_type, encoding, data = dumps(value, name)
    assert loads(data, content_type, encoding, accepted([name])) == value


def test_what_is_not_accepted_is_refused_by_name():
    content_type, encoding, data = dumps([1], "pickle")
    with pytest.raises(ContentDisallowed, match=r"pickle \(application/x-python-serialize\)"):
        loads(data, content_type, encoding, accepted(["json"]))


def test_plain_data_is_always_accepted():
    assert loads(b"\xff", "", None, accepted(["json"])) == b"\xff"
    assert loads(b"x", "application/text", "utf-8", accepted(["json"])) == "x"


@pytest.mark.parametrize(("name", "data"), [("json", b"{"), ("msgpack", b"\xc1"), ("pickle", b"x")])
def test_broken_data_is_a_decode_error(name, data):
    with pytest.raises(DecodeError):
        loads(data, serializer(name).content_type, "binary")


def test_what_pickle_cannot_carry_is_an_encode_error():
    with pytest.raises(EncodeError, match="pickle"):
        dumps(lambda: None, "pickle")


def test_an_unknown_serializer_is_named_with_those_that_exist():
    with pytest.raises(SerializerNotInstalled, match=r"'toml'.*json"):
        serializer("toml")


class Broken:
    def __repr__(self):
        raise ValueError("no")


def test_a_broken_repr_does_no_harm():
    assert reprs.reprcall("t", (1, Broken()), {"a": "x"}) == (
        "t(1, <Unrepresentable 'Broken': ValueError>, a='x')"
    )
