"""RabbitMQ: messages of both kinds side by side, and each kind's worker serving the other."""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

import amqp
import pytest

from processes import Producer, Worker
from test_wire import CALLS, masked

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAVOURS = ("celery", "celeriac")
ARRIVES_WITHIN_S = 10.0
QUEUE_CALLS = [
    "tasks.add.apply_async((1, 2), task_id=ID, queue=QUEUE)",
    "tasks.add.apply_async((1, 2), task_id=ID, queue=QUEUE, priority=3)",
    "tasks.add.apply_async((1, 2), task_id=ID, exchange=QUEUE, routing_key=QUEUE)",
    "app.send_task('elsewhere.task', task_id=ID, queue=QUEUE, ignore_result=True)",
]


class Server(NamedTuple):
    """A RabbitMQ, and a channel of a client that is neither of the two kinds."""

    url: str
    channel: amqp.Channel


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that does not answer is a failure, not a skip."""
    url = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
    userinfo, _, place = url.removeprefix("amqp://").rpartition("@")
    user, _, password = userinfo.partition(":")
    host, _, vhost = place.partition("/")
    connection = amqp.Connection(host, user, password, virtual_host=vhost, connect_timeout=5)
    try:
        connection.connect()
    except OSError as error:
        pytest.fail(f"no RabbitMQ at {host} ({error}); run `make test`", pytrace=False)
    with connection:
        yield Server(url, connection.channel())


@pytest.fixture(scope="module")
def queue(server: Server) -> Iterator[str]:
    """A queue's name, of this module's own; deleted with its exchange afterwards."""
    name = f"interop-{uuid.uuid4().hex[:8]}"
    yield name
    server.channel.queue_delete(name)
    server.channel.exchange_delete(name)


@pytest.fixture(scope="module")
def silent_producers(
    server: Server, queue: str, session_redis_url: str
) -> Iterator[dict[str, Producer]]:
    """A producer of each kind on a queue that nobody consumes."""
    url = f"{server.url} {session_redis_url}"
    both = {flavour: Producer(flavour, url, queue) for flavour in FLAVOURS}
    yield both
    for producer in both.values():
        producer.stop()


def sent(server: Server, producer: Producer, queue: str, call: str, task_id: str) -> dict[str, str]:
    """Everything about the one message that a call puts on the queue."""
    producer.text(f"({call.replace('ID', repr(task_id)).replace('QUEUE', repr(queue))}).id")
    # Celery does not wait until the server has it.
    deadline_s = time.monotonic() + ARRIVES_WITHIN_S
    while (message := server.channel.basic_get(queue, no_ack=True)) is None:
        assert time.monotonic() < deadline_s, "nothing arrived"
    assert server.channel.basic_get(queue, no_ack=True) is None
    properties = dict(message.properties)
    # A table of headers is a mapping: RabbitMQ itself changes the order in some queues.
    headers = dict(sorted(properties.pop("application_headers").items()))
    body = message.body if isinstance(message.body, str) else message.body.hex()
    parts = {
        "exchange": message.delivery_info["exchange"],
        "routing_key": message.delivery_info["routing_key"],
        "properties": json.dumps(dict(sorted(properties.items())), default=repr),
        "headers": json.dumps(headers, default=repr),
        "body": body,
    }
    return {name: masked(text) for name, text in parts.items()}


@pytest.mark.parametrize("call", CALLS + QUEUE_CALLS)
def test_a_message_is_the_same_in_every_part(server, queue, silent_producers, call):
    task_id = str(uuid.uuid4())
    celerys = sent(server, silent_producers["celery"], queue, call, task_id)
    ours = sent(server, silent_producers["celeriac"], queue, call, task_id)
    assert ours == celerys


PAIRS = [
    pytest.param(("celery", "celery", "solo"), id="control"),
    pytest.param(("celery", "celeriac", "prefork"), id="celery-to-celeriac-prefork"),
    pytest.param(("celery", "celeriac", "solo"), id="celery-to-celeriac-solo"),
    pytest.param(("celeriac", "celery", "solo"), id="celeriac-to-celery"),
    pytest.param(("celeriac", "celeriac", "prefork"), id="celeriac-to-celeriac"),
]


@pytest.fixture(scope="module", params=PAIRS)
def asked(
    request: pytest.FixtureRequest, server: Server, session_redis_url: str
) -> Iterator[Producer]:
    """A producer whose tasks a worker of one of the kinds runs."""
    producer_flavour, worker_flavour, pool = request.param
    queue = f"interop-{uuid.uuid4().hex[:8]}"
    url = f"{server.url} {session_redis_url}"
    options = ["-c", "2"] if pool == "prefork" else []
    worker = Worker(worker_flavour, url, queue, pool, *options)
    producer = Producer(producer_flavour, url, queue)
    yield producer
    producer.stop()
    assert worker.stop() == 0, worker.lines.text()
    left = server.channel.queue_declare(queue, passive=True).message_count
    # The worker consumes both.
    for name in (queue, f"{queue}-other"):
        server.channel.queue_delete(name)
        server.channel.exchange_delete(name)
    assert left == 0


CALLED = [
    ("tasks.add.delay(2, 3).get(timeout=30)", 5),
    ("tasks.add.apply_async((2, 3), countdown=1).get(timeout=30)", 5),
    ("[r.get(timeout=30) for r in [tasks.add.delay(n, n) for n in range(60)]][-1]", 118),
    ("tasks.echo.apply_async((b'\\xff',), priority=3).get(timeout=30)", b"\xff"),
]


@pytest.mark.parametrize(("call", "value"), CALLED)
def test_a_call_is_served_by_either_kind(asked, call, value):
    assert asked.ask(call) == value


def test_a_failure_arrives_as_the_same_exception(asked):
    with pytest.raises(Exception, match="gone") as caught:
        asked.ask("tasks.fail.delay('KeyError', 'gone').get(timeout=30)")
    assert caught.value.name == "builtins.KeyError"
