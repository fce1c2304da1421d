"""Producers and workers of both kinds, started once."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest
import redis as redis_client

from places import EVERYWHERE, REACH, REFERENCE, VERSIONS, delete, url_of
from processes import Producer, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Longer than any command that waits; redis-py would break those off after 5 s.
WAIT_S = 40.0


class Pair(NamedTuple):
    """A producer, the worker that serves it, their queue, and a look at their server.

    The versions are Celery's; None stands for celeriac.
    """

    producer: Producer
    worker: Worker
    queue: str
    redis: redis_client.Redis
    url: str
    producers_version: str | None
    workers_version: str | None

    def ask(self, expression: str) -> object:
        """Value of an expression in the producer's process."""
        return self.producer.ask(expression)


# The pair of two Celerys is the control: it shows that a test asks for what Celery really does. It
# says nothing of us, and is met by `make interop` only.
KINDS = {
    "control": ("celery", "celery", "solo"),
    "celery-to-celeriac-prefork": ("celery", "celeriac", "prefork"),
    "celery-to-celeriac-solo": ("celery", "celeriac", "solo"),
    "celeriac-to-celery": ("celeriac", "celery", "solo"),
    "celeriac-to-celeriac": ("celeriac", "celeriac", "prefork"),
}
#: What compares texts stays with the version that we write like.
OF_ONE_VERSION = {"test_wire", "test_context"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `pair` its places."""
    if "pair" not in metafunc.fixturenames:
        return
    at = REFERENCE if metafunc.module.__name__ in OF_ONE_VERSION else REACH
    cells = [
        pytest.param((version, broker, kind), id=f"{kind}-{version}-{broker}")
        for version, broker in at
        for kind in KINDS
        if kind != "control" or REACH is EVERYWHERE
    ]
    metafunc.parametrize("pair", cells, indirect=True, scope="session")


@pytest.fixture(scope="session")
def pair(request: pytest.FixtureRequest, session_redis_url: str) -> Iterator[Pair]:
    """A producer and a worker, in separate processes, on a queue of their own."""
    version, broker, kind = request.param
    flavours = {"celery": VERSIONS[version], "celeriac": "celeriac"}
    producer_kind, worker_kind, pool = KINDS[kind]
    queue = f"interop-{uuid.uuid4().hex[:8]}"
    url = url_of(broker, session_redis_url)
    options = ["-c", "2"] if pool == "prefork" else []
    worker = Worker(flavours[worker_kind], url, queue, pool, *options)
    producer = Producer(flavours[producer_kind], url, queue)
    with redis_client.Redis.from_url(session_redis_url, socket_timeout=WAIT_S) as client:
        versions = [version if kind == "celery" else None for kind in (producer_kind, worker_kind)]
        yield Pair(producer, worker, queue, client, url, *versions)
    producer.stop()
    assert worker.stop() == 0, worker.lines.text()
    delete(broker, queue, f"{queue}-other")


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
    with redis_client.Redis.from_url(session_redis_url, socket_timeout=WAIT_S) as client:
        yield Pair(producer, worker, queue, client, session_redis_url, "5.7", "5.7")
    producer.stop()
    worker.stop()


@pytest.fixture
def session_redis(session_redis_url: str) -> Iterator[redis_client.Redis]:
    """A plain client of the database the processes share."""
    with redis_client.Redis.from_url(session_redis_url, socket_timeout=WAIT_S) as client:
        yield client
