"""Results as messages (`rpc://`): declared, sent and received as Celery does it."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING

import amqp
import pytest

from processes import Producer, RemoteError, Worker
from test_rabbitmq import PAIRS, Server, server  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator

ARRIVES_WITHIN_S = 20.0
A_DAY_MS = 86_400_000


def delete(server: Server, queue: str) -> None:  # noqa: F811
    # The worker consumes both.
    for name in (queue, f"{queue}-other"):
        server.channel.queue_delete(name)
        server.channel.exchange_delete(name)


BROKERS = [
    pytest.param((broker, pair.values[0]), id=f"{broker}-{pair.id}")
    for broker in ("rabbitmq", "redis")
    for pair in PAIRS
]


@pytest.fixture(scope="module", params=BROKERS)
def asked(
    request: pytest.FixtureRequest,
    server: Server,  # noqa: F811
    session_redis_url: str,
) -> Iterator[Producer]:
    """A producer that waits for what a worker of one of the kinds sends."""
    broker, (producer_flavour, worker_flavour, pool) = request.param
    queue = f"interop-{uuid.uuid4().hex[:8]}"
    url = f"{server.url if broker == 'rabbitmq' else session_redis_url} rpc://"
    options = ["-c", "2"] if pool == "prefork" else []
    worker = Worker(worker_flavour, url, queue, pool, *options)
    producer = Producer(producer_flavour, url, queue)
    yield producer
    producer.stop()
    assert worker.stop() == 0, worker.lines.text()
    delete(server, queue)


STATES = (
    "(lambda seen: (tasks.custom_state.delay().get(timeout=30, on_message=seen.append),"
    " [m['status'] for m in seen], seen[0]['result']))([])"
)
CALLED = [
    ("tasks.add.delay(2, 3).get(timeout=30)", 5),
    ("tasks.echo.delay({'a': [1, None, 'ü']}).get(timeout=30)", {"a": [1, None, "ü"]}),
    ("[r.get(timeout=30) for r in [tasks.add.delay(n, n) for n in range(60)]][-1]", 118),
    # The last that was asked for is waited for first.
    ("[r.get(timeout=30) for r in [tasks.add.delay(n, n) for n in range(9)][::-1]][0]", 16),
    ("(lambda r: (r.get(timeout=30), r.get(timeout=3), r.state))(tasks.add.delay(1, 1))",
     (2, 2, "SUCCESS")),
    ("tasks.in_threads(8)", [0, 2, 4, 6, 8, 10, 12, 14]),
    (STATES, (7, ["PROGRESS", "SUCCESS"], {"done": 3})),
]  # fmt: skip


@pytest.mark.parametrize(("call", "value"), CALLED)
def test_a_result_reaches_its_caller(asked, call, value):
    assert asked.ask(call) == value


def test_a_failure_arrives_as_the_same_exception(asked):
    with pytest.raises(RemoteError, match="gone") as caught:
        asked.ask("tasks.fail.delay('KeyError', 'gone').get(timeout=30)")
    assert caught.value.name == "builtins.KeyError"


def test_the_result_of_somebody_elses_task_stays_pending(asked):
    foreign = f"app.AsyncResult({str(uuid.uuid4())!r})"
    assert asked.ask(f"({foreign}.state, {foreign}.ready(), {foreign}.result)") == (
        "PENDING", False, None,
    )  # fmt: skip
    with pytest.raises(RemoteError) as caught:
        asked.ask(f"{foreign}.get(timeout=0.2)")
    assert caught.value.name.endswith("exceptions.TimeoutError")


def test_groups_cannot_be_saved(asked):
    with pytest.raises(RemoteError) as caught:
        asked.ask("app.backend.save_group('gid', None)")
    assert caught.value.name == "builtins.NotImplementedError"


FLAVOURS = ("celery", "celeriac")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_clients_queue_is_declared_with_the_same_arguments(server, flavour):  # noqa: F811
    queue = f"interop-{uuid.uuid4().hex[:8]}"
    producer = Producer(flavour, f"{server.url} rpc://", queue)
    oid = producer.ask("(tasks.add.delay(1, 1), app.thread_oid)[1:]")[0]
    with amqp.Connection(**connection_of(server)) as connection:
        arguments = {"x-expires": A_DAY_MS}
        # Refused with 406 where anything is different.
        connection.channel().queue_declare(oid, durable=True, auto_delete=True, arguments=arguments)
    producer.stop()
    delete(server, queue)


def connection_of(server: Server) -> dict[str, str]:  # noqa: F811
    userinfo, _, place = server.url.removeprefix("amqp://").rpartition("@")
    user, _, password = userinfo.partition(":")
    host, _, vhost = place.partition("/")
    return {"host": host, "userid": user, "password": password, "virtual_host": vhost}


def replies(server: Server, flavour: str, calls: list[str], count: int) -> list[dict[str, object]]:  # noqa: F811
    """What a worker sends to a queue that is nobody's: properties, and the document."""
    queue, answers = f"interop-{uuid.uuid4().hex[:8]}", f"answers-{uuid.uuid4().hex[:8]}"
    server.channel.queue_declare(answers)
    # Two workers of one name cannot be: the mailbox of a name is exclusive.
    worker = Worker(flavour, f"{server.url} rpc://", queue, "solo", "-n", f"{queue}@here")
    producer = Producer("celery", f"{server.url} rpc://", queue)
    for call in calls:
        producer.text(call.replace("ANSWERS", repr(answers)))
    found: list[dict[str, object]] = []
    deadline_s = time.monotonic() + ARRIVES_WITHIN_S
    while len(found) < count:
        message = server.channel.basic_get(answers, no_ack=True)
        if message is None:
            assert time.monotonic() < deadline_s, worker.lines.text()
            time.sleep(0.02)
            continue
        properties = dict(message.properties)
        assert message.delivery_info["exchange"] == ""
        document = json.loads(message.body)
        document.update({name: bool(document[name]) for name in ("date_done", "traceback")})
        properties["correlation_id"] = properties["correlation_id"] == "the-correlation-id"
        found.append({"properties": properties, "document": list(document.items())})
    producer.stop()
    worker.stop()
    server.channel.queue_delete(answers)
    delete(server, queue)
    return found


MARKED = "reply_to=ANSWERS, task_id='T', correlation_id='the-correlation-id'"
ANSWERED = [
    f"tasks.custom_state.apply_async({MARKED})",
    f"tasks.fail.apply_async(('KeyError', 'k', 1), {MARKED})",
]


@pytest.mark.parametrize(("conf", "mode"), [({}, 1), ({"result_persistent": True}, 2)], ids=repr)
def test_a_reply_is_the_same_in_every_part(server, monkeypatch, conf, mode):  # noqa: F811
    monkeypatch.setenv("INTEROP_CONF", json.dumps(conf))
    ours = replies(server, "celeriac", ANSWERED, 3)
    assert ours == replies(server, "celery", ANSWERED, 3)
    assert [reply["properties"]["delivery_mode"] for reply in ours] == [mode] * 3
