import re

import kombu
import kombu.common
import pytest

import celeriac
from celeriac import Celery
from celeriac.exceptions import ImproperlyConfigured, QueueNotFound
from celeriac.routing import Broadcast, Exchange, Queue, Queues, Router, destination, prepare


@pytest.fixture
def queues():
    return Queues([Queue("celery", Exchange("celery"), "celery")], Exchange("celery"))


def router(queues, routes=None):
    return Router(prepare(routes), queues)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.x", "qa"), ("b", "qb"), ("other", "celery"), ("feeds.import", "feeds")],
)
def test_a_rule_chooses_the_queue(queues, name, expected):
    routes = {"a.*": "qa", "b": {"queue": "qb"}, re.compile(r"feeds\..+"): "feeds"}
    assert router(queues, routes).route({}, name)["queue"].name == expected


def test_an_exact_name_wins_over_a_glob(queues):
    routes = {"a.*": "glob", "a.b": "exact"}
    assert router(queues, routes).route({}, "a.b")["queue"].name == "exact"


def test_the_options_of_the_call_win_over_the_rule(queues):
    found = router(queues, {"b": {"queue": "qb", "priority": 3}}).route({"queue": "mine"}, "b")
    assert (found["queue"].name, found["priority"]) == ("mine", 3)


def test_a_function_is_asked_with_the_arguments(queues):
    def choose(name, args, kwargs, options, task=None, **_kw):
        return {"queue": f"{name}-{args[0]}-{kwargs['k']}"}

    assert router(queues, [choose]).route({}, "t", (1,), {"k": 2})["queue"].name == "t-1-2"


def test_a_router_object_is_asked(queues):
    class Choose:
        def route_for_task(self, task, args=None, kwargs=None):
            return "from-object"

    assert router(queues, [Choose()]).route({}, "t")["queue"].name == "from-object"


def test_what_is_no_rule_is_refused():
    with pytest.raises(ImproperlyConfigured, match="task_routes has 3"):
        prepare([3])


def test_a_missing_queue_is_made_with_exchange_and_key_of_its_name(queues):
    assert queues["new"].as_spec() == {
        "name": "new", "exchange": "new", "exchange_type": "direct", "routing_key": "new",
        "durable": True, "auto_delete": False, "arguments": {},
    }  # fmt: skip


def test_a_missing_queue_is_an_error_where_that_is_switched_off():
    strict = Queues([Queue("a")], create_missing=False)
    with pytest.raises(QueueNotFound, match="'b' missing from task_queues"):
        strict.named("b")
    with pytest.raises(ImproperlyConfigured, match="task_create_missing_queues"):
        strict.select(["a", "b"])


def test_select_and_deselect_choose_what_is_consumed(queues):
    queues.select("a, b")
    assert list(queues.consume_from) == ["a", "b"]
    queues.deselect("a")
    assert list(queues.consume_from) == ["b"]
    queues.select_add("c")
    assert list(queues.consume_from) == ["b", "c"]


def test_kombus_queues_are_accepted():
    theirs = kombu.Queue(
        "q", kombu.Exchange("ex", "topic"), "a.#", max_priority=5, expires=2.5,
        queue_arguments={"x-mine": 1},
    )  # fmt: skip
    assert Queue.of(theirs).as_spec() == {
        "name": "q", "exchange": "ex", "exchange_type": "topic", "routing_key": "a.#",
        "durable": True, "auto_delete": False,
        "arguments": {"x-mine": 1, "x-max-priority": 5, "x-expires": 2500},
    }  # fmt: skip


@pytest.mark.parametrize("flavour", [celeriac, kombu], ids=["ours", "kombu"])
@pytest.mark.parametrize("way", ["bindings", "list as exchange"])
def test_a_queue_carries_each_of_its_bindings(flavour, way):
    passing = flavour.Exchange("passing", "topic", durable=False, auto_delete=True)
    headers = flavour.Exchange("h", "headers", no_declare=True, arguments={"x-own": 1})
    listed = [
        flavour.binding(passing, "a.#"),
        flavour.binding(headers, "", {"x-match": "any", "kind": "b"}),
    ]
    queue = flavour.Queue("q", **{"bindings" if way == "bindings" else "exchange": listed})
    spec = Queue.of(queue).as_spec()
    assert (spec["exchange"], spec["routing_key"]) == ("", "")
    assert sorted(spec["bindings"], key=repr) == [
        {
            "exchange": "h", "exchange_type": "headers", "routing_key": "",
            "exchange_options": {"no_declare": True, "arguments": {"x-own": 1}},
            "binding_arguments": {"x-match": "any", "kind": "b"},
        },
        {
            "exchange": "passing", "exchange_type": "topic", "routing_key": "a.#",
            "exchange_options": {"durable": False, "auto_delete": True},
        },
    ]  # fmt: skip


def test_a_queue_carries_how_its_exchange_is_declared():
    exchange = kombu.Exchange("e", "fanout", durable=False, passive=True)
    spec = Queue.of(kombu.Queue("q", exchange, no_declare=True)).as_spec()
    assert spec["exchange_options"] == {"durable": False, "passive": True}
    assert spec["no_declare"] is True


def test_the_exchange_of_a_call_is_declared_as_it_is(app):
    exchange = kombu.Exchange("news", "fanout", durable=False)
    (spec,) = destination({"exchange": exchange}, app.conf).declare
    assert spec["exchange_options"] == {"durable": False}


@pytest.mark.parametrize(
    "setting",
    [
        [Queue("a", Exchange("x", "topic"), "k")],
        [kombu.Queue("a", kombu.Exchange("x", "topic"), "k")],
        {"a": {"exchange": "x", "exchange_type": "topic", "binding_key": "k"}},
    ],
    ids=["ours", "kombu", "mapping"],
)
def test_task_queues_takes_every_form(setting):
    app = Celery("x", broker="memory://", set_as_current=False)
    app.conf.task_queues = setting
    spec = app.amqp.queues["a"].as_spec()
    assert (spec["exchange"], spec["exchange_type"], spec["routing_key"]) == ("x", "topic", "k")


def test_a_queue_without_exchange_gets_the_default_one():
    app = Celery("x", broker="memory://", set_as_current=False)
    app.conf.update(task_queues=[Queue("a"), Queue("b", routing_key="bb")], task_default_queue="a")
    shown = app.amqp.queues.format()
    assert shown.splitlines() == [
        ".> a                exchange=a(direct) key=a",
        ".> b                exchange=a(direct) key=bb",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"queue": Queue("q", Exchange("ex"), "k")}, ("", "q")),
        ({"queue": Queue("q", Exchange("ex"), "k"), "routing_key": "z"}, ("", "q")),
        (
            {"queue": Queue("q", Exchange("ex"), "k"), "exchange": "e", "routing_key": "z"},
            ("e", "z"),
        ),
        ({"queue": Queue("q", Exchange("ex", "topic"), "a.#")}, ("ex", "a.#")),
        (
            {"queue": Queue("q", Exchange("ex", "topic"), "a.#"), "routing_key": "a.b"},
            ("ex", "a.b"),
        ),
        ({"exchange": "e", "routing_key": "z"}, ("e", "z")),
        ({"exchange": "e"}, ("e", "celery")),
    ],
)  # fmt: skip
def test_a_direct_queue_is_addressed_by_name_and_others_by_their_exchange(app, options, expected):
    where = destination(options, app.conf)
    assert (where.exchange, where.routing_key) == expected


@pytest.mark.parametrize(
    ("given", "mode"), [("transient", 1), (1, 1), ("persistent", 2), (None, 2)]
)
def test_the_delivery_mode_is_read(app, given, mode):
    assert destination({"exchange": "e", "delivery_mode": given}, app.conf).delivery_mode == mode


@pytest.mark.parametrize("broadcast", [Broadcast("news"), kombu.common.Broadcast("news")])
def test_of_a_broadcast_its_sender_declares_the_exchange_alone(app, broadcast):
    where = destination({"queue": Queue.of(broadcast)}, app.conf)
    assert where.exchange == "news"
    assert [(spec["name"], spec["exchange_type"]) for spec in where.declare] == [("", "fanout")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"exchange_type": "topic"}, ("ex", "k")),
        ({"exchange_type": "topic", "routing_key": "z"}, ("ex", "z")),
        ({"exchange_type": "topic", "exchange": Exchange("e", "topic")}, ("e", "k")),
        ({"exchange_type": "direct", "exchange": "e"}, ("", "q")),
    ],
)
def test_the_type_of_the_exchange_decides_whether_a_queue_is_addressed_by_name(
    app, options, expected
):
    where = destination({"queue": Queue("q", Exchange("ex"), "k"), **options}, app.conf)
    assert (where.exchange, where.routing_key) == expected


def test_an_exchange_object_brings_its_delivery_mode(app):
    given = kombu.Exchange("e", "topic", delivery_mode="transient")
    assert destination({"exchange": given}, app.conf).delivery_mode == 1
