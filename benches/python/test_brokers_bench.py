"""Publish and drain on the brokers that outlive a process, from Python, one round a whole batch."""

import os
import uuid

import pytest

from celeriac import _native

BATCH = 2_000
WAIT_S = 30.0


@pytest.fixture(params=["sqlite", "redis"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/queue.db"
    server = os.environ.get("CELERIAC_TEST_REDIS", "redis://127.0.0.1:6379")
    return f"{server}/15"


@pytest.fixture
def queue(url):
    name = f"bench-{uuid.uuid4()}"
    publisher = _native.Publisher(url)
    yield name
    publisher.purge(name, WAIT_S)
    publisher.close(WAIT_S)


def fill(url, queue):
    template = _native.Template(
        task="tasks.add", origin="gen1@host", exchange="", routing_key=queue, ignore_result=True
    )
    publisher = _native.Publisher(url)
    window = publisher.window()
    for number in range(BATCH):
        window.publish(template, (number, 1), {}, None, WAIT_S)
    assert window.flush(WAIT_S) == []
    publisher.close(WAIT_S)


def drain(url, queue):
    spec = {"name": queue}
    intake = _native.Intake(url, None, [spec], node="bench", prefetch=256, results=None)
    intake.start()
    seen = 0
    while seen < BATCH:
        for delivery in intake.next_events(256, WAIT_S):
            intake.settle(delivery, "ack")
            seen += 1
    assert intake.flush(WAIT_S)
    intake.close(WAIT_S)


@pytest.mark.benchmark(min_rounds=3)
def test_publish_a_batch_through_a_window(benchmark, url, queue):
    benchmark(fill, url, queue)


@pytest.mark.benchmark(min_rounds=3)
def test_drain_a_batch(benchmark, url, queue):
    benchmark.pedantic(drain, args=(url, queue), setup=lambda: fill(url, queue), rounds=3)
