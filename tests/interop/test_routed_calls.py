"""Queues, exchanges and routes: where each kind sends to, and what each kind's workers take."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import redis as redis_client
from amqp.exceptions import NotFound

from places import BROKERS, channel, url_of
from processes import Producer, Worker
from test_wire import masked

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 40
FLAVOURS = ("celery", "celeriac")
#: A call, and the exchange and routing key of each message that a worker then takes.
CALLS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "a queue by name": ("plain.apply_async((KEY,), queue='Q-heavy')", [("", "Q-heavy")]),
    "a queue nobody declared": ("plain.apply_async((KEY,), queue='Q-made')", [("", "Q-made")]),
    "no option": ("plain.delay(KEY)", [("", "Q")]),
    "an exchange and a key": (
        "plain.apply_async((KEY,), exchange='Q-work', routing_key='heavy')",
        [("Q-work", "heavy")],
    ),
    "an exchange object": (
        "plain.apply_async((KEY,), exchange=app.amqp.queues['Q-heavy'].exchange,"
        " routing_key='heavy')",
        [("Q-work", "heavy")],
    ),
    "a topic queue": ("plain.apply_async((KEY,), queue='Q-feed')", [("Q-news", "feed.#")]),
    "a topic key": (
        "plain.apply_async((KEY,), queue='Q-feed', routing_key='feed.a.b')",
        [("Q-news", "feed.a.b")],
    ),
    "a topic key of two queues": (
        "plain.apply_async((KEY,), queue='Q-feed', routing_key='feed.sport')",
        [("Q-news", "feed.sport"), ("Q-news", "feed.sport")],
    ),
    "one of several bindings": (
        "plain.apply_async((KEY,), queue='Q-many', exchange='Q-passing', routing_key='two.a.b')",
        [("Q-passing", "two.a.b")],
    ),
    "a binding to another exchange": (
        "plain.apply_async((KEY,), queue='Q-many', exchange='Q-work', routing_key='many')",
        [("Q-work", "many")],
    ),
    "an exact route": ("exact.delay(KEY)", [("Q-news", "feed.exact")]),
    "a glob": ("glob.delay(KEY)", [("", "Q-heavy")]),
    "a regular expression": ("regex.delay(KEY)", [("", "Q-made")]),
    "a function": ("function.delay(KEY)", [("", "Q-made")]),
    "an object by its path": ("object.delay(KEY)", [("", "Q-heavy")]),
    "an option beside a route": (
        "exact.apply_async((KEY,), routing_key='feed.other')",
        [("Q-news", "feed.other")],
    ),
    "a queue instead of a route": ("glob.apply_async((KEY,), queue='Q')", [("", "Q")]),
}
QUEUES = ("", "-heavy", "-feed", "-sport", "-many", "-made")
EXCHANGES = ("", "-work", "-news", "-passing", "-made", "-all")


class Stage(NamedTuple):
    """Producers of both kinds, and who consumes, on queues of their own."""

    broker: str
    queue: str
    producers: dict[str, Producer]
    workers: list[Worker]
    redis: redis_client.Redis

    def send(self, flavour: str, call: str, key: str = "") -> None:
        """Send a call of one of the routed tasks; `KEY` and `Q` stand for names of this stage."""
        text = call.replace("KEY", repr(key)).replace("'Q", f"'{self.queue}")
        name, rest = text.split(".", 1)
        self.producers[flavour].text(f"tasks.routed[{name!r}].{rest}.id")

    def said(self, key: str, count: int) -> list[Any]:
        """What that many tasks have said."""
        found = []
        while len(found) < count:
            answer = self.redis.blpop([key], timeout=WAIT_S)
            assert answer is not None, f"{len(found)} of {count} came: {found}"
            found.append(json.loads(answer[1]))
        return found


@pytest.fixture(scope="module", params=BROKERS)
def broker(request: pytest.FixtureRequest) -> str:
    return request.param


def opened(
    broker: str, redis_url: str, workers: list[tuple[str, str]], consumes: str
) -> Iterator[Stage]:
    queue = f"routed-{uuid.uuid4().hex[:8]}"
    url = url_of(broker, redis_url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTEROP_ROUTED", "1")
        also = ",".join(f"{queue}{word}" for word in consumes.split())
        started = [
            Worker(flavour, url, queue, pool, "-n", f"{number}@here", also=also)
            for number, (flavour, pool) in enumerate(workers)
        ]
        producers = {flavour: Producer(flavour, url, queue) for flavour in FLAVOURS}
    with redis_client.Redis.from_url(redis_url, socket_timeout=WAIT_S + 10) as client:
        yield Stage(broker, queue, producers, started, client)
    for producer in producers.values():
        producer.stop()
    codes = [worker.stop() for worker in started]
    if broker == "rabbitmq":
        for word in (*QUEUES, "-other", *EXCHANGES):
            with suppress(NotFound), channel() as own:
                own.queue_delete(f"{queue}{word}")
                own.exchange_delete(f"{queue}{word}")
    assert codes == [0] * len(started)


@pytest.fixture(scope="module")
def silent(broker: str, session_redis_url: str) -> Iterator[Stage]:
    """Nobody consumes."""
    yield from opened(broker, session_redis_url, [], "")


@pytest.fixture(scope="module", params=["celery", "celeriac"])
def stage(request: pytest.FixtureRequest, broker: str, session_redis_url: str) -> Iterator[Stage]:
    """A worker of each kind in turn consumes what is not broadcast."""
    consumes = "-heavy -feed -sport -many -made"
    yield from opened(broker, session_redis_url, [(request.param, "solo")], consumes)


@pytest.fixture(scope="module")
def listeners(broker: str, session_redis_url: str) -> Iterator[Stage]:
    """Workers of both kinds listen to one broadcast."""
    workers = [("celery", "solo"), ("celeriac", "solo"), ("celeriac", "prefork")]
    yield from opened(broker, session_redis_url, workers, "-all")


@pytest.mark.parametrize("producer", FLAVOURS)
@pytest.mark.parametrize("case", CALLS)
def test_a_worker_takes_it_from_the_queue_that_it_was_routed_to(stage, producer, case):
    call, expected = CALLS[case]
    key = f"said-{uuid.uuid4().hex}"
    stage.send(producer, call, key)
    found = [(exchange, routing_key) for _, exchange, routing_key in stage.said(key, len(expected))]
    named = [
        (exchange.replace("Q", stage.queue, 1), routing_key.replace("Q", stage.queue, 1))
        for exchange, routing_key in expected
    ]
    assert found == named


def raw(stage: Stage) -> dict[str, list[str]]:
    """All that waits in the queues of a stage, by queue; removed."""
    if stage.broker == "redis":
        found = {}
        for key in sorted(stage.redis.scan_iter(f"{stage.queue}*", _type="list")):
            found[key.decode()] = [item.decode() for item in stage.redis.lrange(key, 0, -1)]
            stage.redis.delete(key)
        return found
    found = {}
    for word in QUEUES:
        with suppress(NotFound), channel() as own:
            while (message := own.basic_get(f"{stage.queue}{word}", no_ack=True)) is not None:
                headers = message.properties.pop("application_headers")
                parts = [message.delivery_info["exchange"], message.delivery_info["routing_key"]]
                parts += [dict(sorted(message.properties.items())), dict(sorted(headers.items()))]
                text = json.dumps([*parts, message.body], default=repr)
                found.setdefault(f"{stage.queue}{word}", []).append(text)
    return found


def arrived(stage: Stage, count: int) -> dict[str, list[str]]:
    """The same, once that many are there: Celery does not wait until a server has it."""
    found: dict[str, list[str]] = {}
    deadline_s = time.monotonic() + WAIT_S
    while sum(map(len, found.values())) < count:
        assert time.monotonic() < deadline_s, f"{found} instead of {count} messages"
        for queue, items in raw(stage).items():
            found.setdefault(queue, []).extend(map(masked, items))
    return found


@pytest.mark.parametrize("case", CALLS)
def test_a_message_lies_in_the_same_queue_with_the_same_text(silent, case):
    call, expected = CALLS[case]
    # So that the exchanges are there, whoever comes first.
    words = ("heavy", "feed", "sport", "many")
    for word in words:
        silent.send("celery", f"plain.apply_async(('',), queue='Q-{word}')")
    arrived(silent, len(words))
    lies = {}
    for flavour in FLAVOURS:
        silent.send(flavour, call, "key")
        lies[flavour] = arrived(silent, len(expected))
    assert lies["celeriac"] == lies["celery"]


@pytest.mark.parametrize("producer", FLAVOURS)
def test_a_broadcast_reaches_every_worker_once(listeners, producer):
    key = f"said-{uuid.uuid4().hex}"
    # Compat: a Celery that has not declared the exchange over its own connection takes it for a
    # direct one on Redis, and loses the message.
    declare = "declare=[app.amqp.queues['Q-all'].exchange]"
    call = f"plain.apply_async((KEY,), queue='Q-all', {declare})"
    for _ in range(2):
        listeners.send(producer, call, key)
    hosts = [host for host, *_ in listeners.said(key, 6)]
    assert sorted(hosts) == ["0@here", "0@here", "1@here", "1@here", "2@here", "2@here"]
    assert listeners.redis.llen(key) == 0


def test_a_sender_of_a_broadcast_need_not_declare_it(listeners):
    key = f"said-{uuid.uuid4().hex}"
    listeners.send("celeriac", "plain.apply_async((KEY,), queue='Q-all')", key)
    hosts = [host for host, *_ in listeners.said(key, 3)]
    assert sorted(hosts) == ["0@here", "1@here", "2@here"]
