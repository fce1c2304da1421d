"""Options of a call that say how it is sent: where the limits are, who routes, what is declared."""

import socket
import time
import uuid

import kombu
import pytest

from celeriac import Broadcast, Celery, Exchange, Queue, broker, signals
from celeriac.exceptions import ImproperlyConfigured, OperationalError


@pytest.fixture
def add(app):
    return app.task(lambda *_a, **_k: 1, name="add", lazy=False)


@pytest.fixture
def silent():
    """An application whose broker takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        yield Celery("x", broker=url, set_as_current=False)


@pytest.mark.parametrize(
    "options",
    [{"timeout": 0.2}, {"confirm_timeout": 0.2}, {"timeout": 0.1, "confirm_timeout": 0.1}],
    ids=repr,
)
@pytest.mark.parametrize("is_seen", [False, True])
def test_a_call_waits_no_longer_than_its_timeouts(silent, options, is_seen):
    before = signals.before_task_publish.receivers
    if is_seen:  # takes the other path of a publish
        signals.before_task_publish.connect(lambda **_k: None, weak=False)
    began_s = time.monotonic()
    try:
        with pytest.raises(OperationalError):
            silent.send_task("t", retry=False, ignore_result=True, **options)
    finally:
        signals.before_task_publish.receivers = before
    # Connecting to such a server is given up after 5 s, a publish without limits after 30.
    assert time.monotonic() - began_s < 4


def test_a_timeout_in_a_window_is_the_messages_own(silent):
    began_s = time.monotonic()
    publisher = silent.publisher()
    silent.send_task("t", timeout=0.2, publisher=publisher, exchange="x", routing_key="k")
    with pytest.raises(OperationalError):
        publisher.flush(20)
    assert time.monotonic() - began_s < 15


class Elsewhere:
    """A router for one call."""

    def __init__(self, answer):
        self.answer = answer

    def route(self, options, name, args=(), kwargs=None, task_type=None):
        self.asked = name, args, kwargs, task_type
        return {**options, **self.answer}


@pytest.mark.parametrize(
    "queue",
    ["elsewhere", Queue("elsewhere"), kombu.Queue("elsewhere")],
    ids=["str", "own", "kombu"],
)
def test_a_router_of_the_call_routes_it(app, add, sent, queue):
    router = Elsewhere({"queue": queue, "priority": 7})
    add.apply_async((1,), {"b": 2}, router=router)
    assert router.asked == ("add", (1,), {"b": 2}, add)
    (found,) = sent(app, 1, "elsewhere")
    assert found.properties["priority"] == 7
    add.apply_async(task_id="next")
    assert sent(app, 1)[0].headers["id"] == "next"


def test_a_router_that_names_nothing_leaves_the_default_queue(app, add, sent):
    app.send_task("add", router=Elsewhere({}), task_id="here")
    assert sent(app, 1)[0].headers["id"] == "here"


def test_what_is_to_be_declared_is_there_before_the_message(app, add, sent):
    bound = Queue("mine", Exchange("events", "topic"), "a.#")
    add.apply_async(exchange="events", routing_key="a.b", declare=[bound], task_id="one")
    assert sent(app, 1, "mine")[0].headers["id"] == "one"
    # Compat: what is declared is that, and nothing else.
    add.apply_async(exchange="others", routing_key="k", declare=[], task_id="lost")
    with pytest.raises(OperationalError, match="no queue is bound to exchange"):
        add.apply_async(exchange="others", routing_key="k", mandatory=True)


@pytest.mark.parametrize("url", ["memory:///mandatory", "sqlite:///{tmp}/q.db", "{redis}"])
@pytest.mark.parametrize("is_seen", [False, True])
def test_a_mandatory_message_that_nobody_is_bound_for_is_an_error(
    tmp_path, redis_url, url, is_seen
):
    app = Celery("x", broker=url.format(tmp=tmp_path, redis=redis_url), set_as_current=False)
    before = signals.before_task_publish.receivers
    if is_seen:
        signals.before_task_publish.connect(lambda **_k: None, weak=False)
    try:
        app.send_task("t", exchange="nobody", routing_key="k", ignore_result=True)
        with pytest.raises(OperationalError, match="no queue is bound to exchange"):
            app.send_task(
                "t", exchange="nobody", routing_key="k", ignore_result=True, mandatory=True
            )
        queue = f"taken-{uuid.uuid4().hex[:8]}"
        app.send_task("t", queue=queue, ignore_result=True, mandatory=True)
        assert broker.publisher(app).depth(queue, 5.0) == 1
    finally:
        signals.before_task_publish.receivers = before
        app.close()


@pytest.mark.parametrize("url", ["memory:///headers", "sqlite:///{tmp}/q.db", "{redis}"])
def test_a_headers_exchange_is_refused_by_name_where_there_is_none(tmp_path, redis_url, url):
    app = Celery("x", broker=url.format(tmp=tmp_path, redis=redis_url), set_as_current=False)
    queue = Queue("q", Exchange("by-headers", "headers"), "k")
    with pytest.raises(ImproperlyConfigured, match=r'headers exchange "by-headers".*RabbitMQ'):
        app.send_task("t", queue=queue, ignore_result=True)
    with pytest.raises(ImproperlyConfigured, match=r'headers exchange "by-headers".*RabbitMQ'):
        app.send_task("t", exchange=queue.exchange, routing_key="k", ignore_result=True)


def test_a_broadcast_is_counted_in_no_queue_of_its_senders(app, add):
    add.apply_async(queue=Broadcast("news"))
    assert "bcast" not in " ".join(app.amqp.queues)
