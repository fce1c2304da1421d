"""What a call puts on the wire, by both paths, and what it gets when that fails."""

import datetime as dt
import json

import celery
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac import Celery, _current, broker, message, signals
from celeriac.app import sending
from celeriac.app.sending import Sender
from celeriac.exceptions import EncodeError, ImproperlyConfigured, OperationalError

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.timezone.utc)
CASES = {
    "plain": {"args": (1, 2)},
    "odd values": {"args": (1, "é\ud800", 2**70, float("nan")), "kwargs": {"a": [{"b": (2,)}]}},
    "countdown": {"countdown": 0.01, "expires": 60},
    "naive times": {"eta": dt.datetime(2020, 1, 1), "expires": dt.datetime(2031, 1, 1)},
    "priority": {"priority": 3, "headers": {"x": {"y": 1}}, "unheard_of": "bar"},
    "limits": {"time_limit": 3, "soft_time_limit": 2.5},
    "group": {"group_id": "G", "group_index": 2, "root_id": "R", "parent_id": "P", "shadow": "s"},
    "ignored": {"ignore_result": True},
    "retries": {"retries": 2, "reply_to": "rr", "correlation_id": "cc"},
    "stamps": {"stamped_headers": ["s"], "s": 5},
    "reprs": {"argsrepr": "A", "kwargsrepr": "B"},
    "exchange": {"exchange": "celery", "routing_key": "celery"},
    "transient": {"delivery_mode": 1},
    "msgpack": {"serializer": "msgpack", "args": (b"a", 1)},
    "chain": {"replaced_task_nesting": 2, "chain": [], "chord": {"task": "x"}},
    "origin": {"origin": "gen1@far"},
}


@pytest.fixture
def add(app):
    app.now = lambda: NOON
    return app.task(lambda *_a, **_k: 1, name="add", lazy=False)


@pytest.fixture
def listener():
    """Connect receivers for the time of a test."""
    connected = []

    def connect(signal, receiver):
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))
        return receiver

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


def without_tag(sent):
    return sent._replace(
        properties={k: v for k, v in sent.properties.items() if k != "delivery_tag"}
    )


@pytest.mark.parametrize("case", CASES)
def test_both_paths_send_the_same_message(app, add, sent, listener, case):
    add.delay()  # declares the queue, which one of the cases addresses by its exchange
    add.apply_async(task_id="ID", **CASES[case])
    listener(signals.before_task_publish, lambda **_kwargs: None)
    add.apply_async(task_id="ID", **CASES[case])
    _, fast, slow = (without_tag(one) for one in sent(app, 3))
    assert list(fast.headers.items()) == list(slow.headers.items())
    assert fast._replace(headers={}) == slow._replace(headers={})


COMPARED = [case for case in CASES if case not in {"priority", "ignored", "msgpack", "odd values"}]


@pytest.mark.parametrize("case", COMPARED)
def test_the_headers_are_celerys(app, add, listener, case):
    theirs = celery.Celery("proj", broker="memory://", set_as_current=False)
    options = dict(CASES[case])
    stamps = {"s": options.pop("s")} if "s" in options else {}
    built = theirs.amqp.as_task_v2(
        "ID", "add", options.pop("args", ()), options.pop("kwargs", {}), now=NOON,
        **{**options, **stamps},
    )  # fmt: skip
    captured = []

    def on(headers, **_kwargs):
        captured.append(headers)

    listener(signals.before_task_publish, on)
    add.apply_async(task_id="ID", **CASES[case])
    ours = captured[0]
    expected = {**built.headers, "ignore_result": False}
    if "origin" not in options:
        expected["origin"] = ours["origin"]
    assert list(ours) == list(expected)
    assert json.dumps(ours) == json.dumps(expected)


def test_the_headers_can_be_changed_before_they_leave(app, add, sent, listener):
    def on(headers, properties, **_kwargs):
        headers["tenant"] = "blue"
        properties["priority"] = 7

    listener(signals.before_task_publish, on)
    add.delay()
    (one,) = sent(app, 1, "celery")
    assert one.headers["tenant"] == "blue"
    assert one.properties["priority"] == 7


def test_after_publish_hears_the_name_and_the_destination(add, listener):
    heard = []

    def on(sender, headers, exchange, routing_key, **_kwargs):
        heard.append((sender, headers["id"], exchange, routing_key))

    listener(signals.after_task_publish, on)
    add.apply_async(task_id="ID")
    assert heard == [("add", "ID", "", "celery")]


@pytest.mark.parametrize("name", ["pickle", "yaml"])
def test_a_serializer_of_pythons_is_used_where_it_is_asked_for(app, add, sent, name):
    add.apply_async(([1],), serializer=name)
    (one,) = sent(app, 1)
    assert one.content_type == message.dumps(1, name)[0]


def test_a_task_sent_by_an_unknown_name_leaves_ignore_result_to_the_worker(app, sent):
    app.send_task("elsewhere.task", (1,))
    (one,) = sent(app, 1)
    assert one.headers["ignore_result"] is None


def test_a_task_inherits_root_and_parent_from_the_one_that_runs(app, add, sent):
    @app.task(bind=True)
    def outer(self):
        add.delay()
        return [child.id for child in self.request.children]

    children = outer.apply(task_id="OUTER").get()
    (one,) = sent(app, 1)
    assert (one.headers["root_id"], one.headers["parent_id"]) == ("OUTER", "OUTER")
    assert children == [one.headers["id"]]


def test_priority_is_inherited_where_that_is_set(app, add, sent):
    app.conf.task_inherit_parent_priority = True
    app.task(lambda: add.delay().id, name="outer").apply(priority=4)
    (one,) = sent(app, 1)
    assert one.properties["priority"] == 4


def test_a_changed_setting_reaches_the_next_message(app, add, sent):
    add.delay()
    app.conf.task_default_delivery_mode = 1
    add.delay()
    assert [one.properties["delivery_mode"] for one in sent(app, 2)] == [2, 1]


def test_a_changed_attribute_reaches_the_next_message(app, add, sent):
    add.delay()
    add.priority = 5
    add.delay()
    assert [one.properties.get("priority") or 0 for one in sent(app, 2)] == [0, 5]


def test_a_changed_route_reaches_the_next_message(app, add, sent):
    add.delay()
    app.conf.task_routes = {"add": "elsewhere"}
    add.delay()
    assert len(sent(app, 1)) == 1
    assert len(sent(app, 1, "elsewhere")) == 1


def test_what_json_cannot_carry_is_named_with_its_place(add):
    with pytest.raises(EncodeError, match=r'args\[1\]\["when"\] is of type object'):
        add.delay(1, {"when": object()})
    with pytest.raises(EncodeError, match=r'kwargs\["x"\]'):
        add.delay(x=object())


def test_the_slow_path_names_the_place_too(add, listener):
    listener(signals.before_task_publish, lambda **_kwargs: None)
    with pytest.raises(EncodeError, match=r'^args\[1\]\["when"\] is of type object'):
        add.delay(1, {"when": object()})


def test_a_window_sends_many_and_waits_when_it_is_left(app, add, sent):
    with app.publisher(window=8) as publisher:
        ids = [add.apply_async((n,), publisher=publisher).id for n in range(50)]
    assert [one.headers["id"] for one in sent(app, 50)] == ids


def test_a_window_takes_what_the_slow_path_builds(app, add, sent):
    with add.get_publisher() as publisher:
        add.apply_async((1,), publisher=publisher, serializer="pickle")
    assert sent(app, 1)[0].content_type == "application/x-python-serialize"


def test_the_pool_lends_a_connection(app, add, sent):
    with app.pool.acquire(block=True) as connection:
        add.apply_async((1,), connection=connection)
    assert len(sent(app, 1)) == 1
    assert connection.as_uri() == app.conf.broker_url


def test_an_unreachable_broker_is_an_operational_error_after_the_retries(monkeypatch):
    # Nothing listens on the discard port of this machine.
    app = Celery("x", broker="redis://127.0.0.1:9/0", set_as_current=False)
    task = app.task(lambda: 1, name="t")
    with pytest.raises(OperationalError):
        task.apply_async(retry_policy={"max_retries": 1, "interval_start": 0})


def test_a_publish_is_tried_again_as_the_policy_says():
    waits, tries = [], []

    def send():
        tries.append(1)
        raise OperationalError("down")

    with pytest.raises(OperationalError, match="down"):
        broker.publish_with_retries(send, None, retry=True, sleep=waits.append)
    assert (len(tries), waits) == (4, [0, 0.2, 0.2])


def test_a_publish_without_retries_is_tried_once():
    tries = []

    def send():
        tries.append(1)
        raise OperationalError("down")

    with pytest.raises(OperationalError):
        broker.publish_with_retries(send, None, retry=False, sleep=lambda _s: None)
    assert len(tries) == 1


def test_an_option_without_effect_is_named_once(add, caplog):
    sending._warn_without_effect.cache_clear()
    add.apply_async((1,), immediate=True)
    add.apply_async((1,), immediate=True)
    assert caplog.messages == ["The option immediate of apply_async has no effect in this version."]


def test_an_unknown_scheme_is_named_with_those_that_exist():
    app = Celery("x", broker="carrier-pigeon://coop", set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match=r"carrier-pigeon.*redis"):
        app.send_task("t")


def test_an_unknown_option_is_refused():
    app = Celery("x", broker="redis://127.0.0.1/0", set_as_current=False)
    app.conf.broker_transport_options = {"no_such_option": 1}
    with pytest.raises(ImproperlyConfigured, match="no_such_option"):
        app.send_task("t")


OPTIONS = st.fixed_dictionaries({}, optional={
    "countdown": st.integers(1, 10**6),
    "expires": st.floats(0, 10**6),
    "priority": st.integers(0, 9),
    "headers": st.dictionaries(st.text(min_size=1), st.integers()),
    "time_limit": st.one_of(st.none(), st.integers(1, 100)),
    "queue": st.sampled_from(["a", "b"]),
    "shadow": st.text(min_size=1),
})  # fmt: skip


@given(OPTIONS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_options_become_calls_without_loss(app, options):
    app.now = lambda: NOON
    call = Sender(app)._call("ID", dict(options))
    assert call["task_id"] == "ID"
    assert ("eta" in call) == ("countdown" in options)
    assert ("expires" in call) == ("expires" in options) == ("expiration" in call)
    if "expires" in options:
        assert int(call["expiration"]) == pytest.approx(options["expires"] * 1000, abs=1)
    assert call.get("headers") == options.get("headers")


def test_nothing_is_current_outside_of_tasks():
    assert _current.get_current_worker_task() is None
