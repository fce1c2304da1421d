"""Two workers of both kinds on one queue, one of them killed."""

from __future__ import annotations

import uuid

import pytest

from places import REACH, Place, delete, url_of
from processes import Producer, Worker

TASKS = 40


@pytest.fixture
def queue():
    return f"fleet-{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=REACH, ids="-".join)
def place(request, session_redis_url, queue):
    """A version of Celery and a broker."""
    version, broker = request.param
    yield Place(version, broker, url_of(broker, session_redis_url))
    delete(broker, queue, f"{queue}-other")


@pytest.fixture(params=["celery", "celeriac"])
def producer(request, place, queue):
    """A producer of each kind."""
    flavour = place.celery if request.param == "celery" else "celeriac"
    producer = Producer(flavour, place.url, queue)
    yield producer
    producer.stop()


@pytest.fixture
def workers(place, queue):
    """One worker of each kind on the same queue; whoever is still there is stopped."""
    started = {
        "celery": Worker(place.celery, place.url, queue, "solo", "-n", "one@%h"),
        "celeriac": Worker("celeriac", place.url, queue, "prefork", "-c", "1", "-n", "two@%h"),
    }
    yield started
    for worker in started.values():
        if worker.process.poll() is None:
            worker.stop()


def test_both_workers_take_their_share(producer, workers, queue):
    call = "[tasks.context.delay() for _ in range(60)]"
    producer.text(call)
    hosts = producer.ask("[tasks.add.delay(i, 1).get(timeout=30) for i in range(60)]")
    assert hosts == [number + 1 for number in range(60)]
    assert all(worker.process.poll() is None for worker in workers.values())


@pytest.mark.timeout(180)
@pytest.mark.parametrize("killed", ["celery", "celeriac"])
def test_what_a_killed_worker_held_is_finished_by_the_other(
    producer, workers, session_redis, queue, killed
):
    key = f"{queue}:done"
    producer.text(f"[tasks.late.delay({key!r}, i, {killed!r}) for i in range({TASKS})]")
    held = session_redis.blpop([f"{key}:held"], timeout=30)
    assert held is not None
    workers[killed].kill()
    done = set()
    while len(done) < TASKS:
        answer = session_redis.blpop([key], timeout=120)
        assert answer is not None, f"only {sorted(done)} of {TASKS} were done"
        done.add(int(answer[1]))
    assert done == set(range(TASKS))
