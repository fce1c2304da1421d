"""What a wrong option of a call says, and that nothing was sent."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import Exchange, Queue, broker
from celeriac.app.checking import check_options, check_policy
from celeriac.retry import delays_s

WRONG = [
    ("countdown", "5", TypeError, "number of seconds"),
    ("countdown", float("nan"), ValueError, "finite"),
    ("countdown", float("inf"), ValueError, "finite"),
    ("countdown", float("-inf"), ValueError, "finite"),
    ("countdown", 1e12, ValueError, "9999"),
    ("countdown", -1e12, ValueError, "9999"),
    ("eta", 5, TypeError, "datetime"),
    ("eta", dt.timedelta(1), TypeError, "datetime"),
    ("eta", "tomorrow", ValueError, "ISO 8601"),
    ("eta", "10000-01-01T00:00:00", ValueError, "ISO 8601"),
    ("eta", "2030-02-30T00:00:00", ValueError, "ISO 8601"),
    ("expires", "tomorrow", ValueError, "ISO 8601"),
    ("expires", b"1", TypeError, "timedelta"),
    ("expires", float("nan"), ValueError, "finite"),
    ("expires", float("-inf"), ValueError, "finite"),
    ("expires", dt.timedelta.max, ValueError, "9999"),
    ("expiration", "5", TypeError, "seconds"),
    ("expiration", -1, ValueError, "0 or more"),
    ("priority", -1, ValueError, "0 to 255"),
    ("priority", 256, ValueError, "0 to 255"),
    ("priority", 3.5, TypeError, "0 to 255"),
    ("queue", 5, TypeError, "a Queue"),
    ("queue", b"q", TypeError, "a Queue"),
    ("queue", ["a"], TypeError, "a Queue"),
    ("exchange", 5, TypeError, "an Exchange"),
    ("routing_key", b"k", TypeError, "text"),
    ("exchange_type", "odd", ValueError, "fanout"),
    ("exchange_type", 5, TypeError, "fanout"),
    ("delivery_mode", "odd", ValueError, "persistent"),
    ("delivery_mode", 3, ValueError, "persistent"),
    ("delivery_mode", [1], TypeError, "persistent"),
    ("headers", "x", TypeError, "mapping"),
    ("headers", [1], TypeError, "mapping"),
    ("task_id", 5, TypeError, "text"),
    ("shadow", 5, TypeError, "text"),
    ("reply_to", 5, TypeError, "text"),
    ("root_id", 5, TypeError, "text"),
    ("parent_id", 5, TypeError, "text"),
    ("group_id", 5, TypeError, "text"),
    ("group_index", "x", TypeError, "whole number"),
    ("retries", "x", TypeError, "whole number"),
    ("retries", -1, ValueError, "0 or more"),
    ("time_limit", dt.timedelta(1), TypeError, "seconds"),
    ("time_limit", -1, ValueError, "0 or more"),
    ("soft_time_limit", "x", TypeError, "seconds"),
    ("link", 5, TypeError, "signature"),
    ("link", ["add"], TypeError, "signature"),
    ("link_error", 5, TypeError, "signature"),
    ("stamped_headers", "x", TypeError, "list of names"),
    ("retry_policy", 5, TypeError, "max_retries"),
    ("retry_policy", {"odd": 1}, ValueError, "interval_step"),
    ("retry_policy", {"max_retries": "x"}, TypeError, "max_retries"),
    ("retry_policy", {"interval_step": -1}, ValueError, "interval_step"),
    ("retry_policy", {"retry_errors": "x"}, TypeError, "exceptions"),
    ("router", 5, TypeError, "route"),
    ("declare", "q", TypeError, "Queue or an Exchange"),
    ("connection", 5, TypeError, "connection"),
    ("producer", 5, TypeError, "connection"),
    ("publisher", "redis://", TypeError, "app.publisher"),
]


@pytest.fixture
def add(app):
    return app.task(lambda *_a, **_k: 1, name="add", lazy=False)


@pytest.mark.parametrize(("name", "value", "error", "allowed"), WRONG, ids=repr)
def test_a_wrong_option_is_named_with_its_value_and_nothing_is_sent(
    app, add, sent, name, value, error, allowed
):
    with pytest.raises(error, match=allowed) as raised:
        add.apply_async((1, 2), **{name: value})
    shown = value if not isinstance(value, dict) else next(iter(value))
    shown = shown[0] if isinstance(shown, list) and name.startswith("link") else shown
    assert name in str(raised.value)
    assert (str(shown) if isinstance(value, dict) else repr(shown)) in str(raised.value)
    add.apply_async(task_id="next")
    assert sent(app, 1)[0].headers["id"] == "next"


def test_a_task_given_as_a_link_is_told_how_to_sign_it(add):
    with pytest.raises(TypeError, match=r"add\.s\("):
        add.apply_async(link=add)


#: Each is sent by the real Celery, and by us.
ACCEPTED = [
    {"countdown": -1},
    {"countdown": 0},
    {"countdown": 0.5},
    {"countdown": True},
    {"eta": "2030-01-01T00:00:00"},
    {"eta": dt.datetime(2030, 1, 1)},
    {"eta": dt.date(2030, 1, 1)},
    {"expires": -5},
    {"expires": "2030-01-01T00:00:00"},
    {"expires": 10, "countdown": 60},
    {"expiration": 5},
    {"priority": 0},
    {"priority": 255},
    {"queue": ""},
    {"queue": Queue("celery")},
    {"exchange_type": "topic"},
    {"delivery_mode": "persistent"},
    {"headers": [("a", 1)]},
    {"headers": {}},
    {"task_id": ""},
    {"retry": "no"},
    {"retry_policy": {"max_retries": None, "interval_start": 0}},
    {"retry_policy": {}},
    {"time_limit": 0},
    {"mandatory": True},
    {"declare": []},
    {"declare": [Queue("celery"), Exchange("celery")]},
    {"unheard_of": object},
]


@pytest.mark.parametrize("options", ACCEPTED, ids=repr)
def test_what_celery_accepts_is_accepted(app, add, options):
    if "unheard_of" in options:
        options = {"unheard_of": "property"}
    add.apply_async((1, 2), **options)
    assert broker.publisher(app).depth("celery", 5.0) == 1


def test_the_brokers_own_expiration_is_in_milliseconds_and_expires_wins(app, add, sent):
    add.apply_async(expiration=1.5)
    add.apply_async(expiration=1.5, expires=60)
    own, both = (one.properties["expiration"] for one in sent(app, 2))
    assert own == "1500"
    assert 59_000 < int(both) <= 60_000


@given(st.dictionaries(st.text().map("own-{}".format), st.none() | st.integers() | st.text()))
def test_options_that_nobody_knows_are_nobodys_business(options):
    check_options(options)


POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "max_retries": st.none() | st.integers(0, 20),
        "interval_start": st.floats(0, 10),
        "interval_step": st.floats(0, 10),
        "interval_max": st.floats(0, 10),
    },
)


@given(POLICIES)
def test_delays_grow_by_the_step_from_the_start_and_never_pass_the_maximum(policy):
    check_policy(policy)
    full = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
    full.update(policy)
    waits = list(itertools.islice(delays_s(policy), 25))
    assert len(waits) == (25 if full["max_retries"] is None else full["max_retries"])
    for number, wait_s in enumerate(waits):
        ideal = full["interval_start"] + number * full["interval_step"]
        assert wait_s == pytest.approx(min(ideal, full["interval_max"]))
    assert waits == sorted(waits)


def test_by_default_a_caller_waits_four_tenths_of_a_second_at_most():
    assert sum(delays_s()) == pytest.approx(0.4)
