"""Producers and workers of both kinds, started once."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest
import redis as redis_client

from processes import Producer, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pair(NamedTuple):
    """A producer, the worker that serves it, their queue, and a look at their server."""

    producer: Producer
    worker: Worker
    queue: str
    redis: redis_client.Redis

    def ask(self, expression: str) -> object:
        """Value of an expression in the producer's process."""
        return self.producer.ask(expression)


# The pair of two Celerys is the control: it shows that a test asks for what Celery really does.
PAIRS = [
    pytest.param(("celery", "celery", "solo"), id="control"),
    pytest.param(("celery", "celeriac", "prefork"), id="celery-to-celeriac-prefork"),
    pytest.param(("celery", "celeriac", "solo"), id="celery-to-celeriac-solo"),
    pytest.param(("celeriac", "celery", "solo"), id="celeriac-to-celery"),
    pytest.param(("celeriac", "celeriac", "prefork"), id="celeriac-to-celeriac"),
]


@pytest.fixture(scope="session", params=PAIRS)
def pair(request: pytest.FixtureRequest, session_redis_url: str) -> Iterator[Pair]:
    """A producer and a worker, in separate processes, on a queue of their own."""
    producer_flavour, worker_flavour, pool = request.param
    queue = f"interop-{uuid.uuid4().hex[:8]}"
    options = ["-c", "2"] if pool == "prefork" else []
    worker = Worker(worker_flavour, session_redis_url, queue, pool, *options)
    producer = Producer(producer_flavour, session_redis_url, queue)
    with redis_client.Redis.from_url(session_redis_url) as client:
        yield Pair(producer, worker, queue, client)
    producer.stop()
    assert worker.stop() == 0, worker.lines.text()


@pytest.fixture(scope="module")
def producers(session_redis_url: str) -> Iterator[dict[str, Producer]]:
    """A producer of each kind on a queue that nobody consumes."""
    queue = f"interop-{uuid.uuid4().hex[:8]}"
    both = {flavour: Producer(flavour, session_redis_url, queue) for flavour in FLAVOURS}
    yield both
    for producer in both.values():
        producer.stop()


FLAVOURS = ("celery", "celeriac")


@pytest.fixture(scope="session")
def control(session_redis_url: str) -> Iterator[Pair]:
    """A Celery producer and a Celery worker, to compare with."""
    queue = f"interop-{uuid.uuid4().hex[:8]}"
    worker = Worker("celery", session_redis_url, queue)
    producer = Producer("celery", session_redis_url, queue)
    with redis_client.Redis.from_url(session_redis_url) as client:
        yield Pair(producer, worker, queue, client)
    producer.stop()
    worker.stop()


@pytest.fixture
def session_redis(session_redis_url: str) -> Iterator[redis_client.Redis]:
    """A plain client of the database the processes share."""
    with redis_client.Redis.from_url(session_redis_url) as client:
        yield client
