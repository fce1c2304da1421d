"""Etas that wait in the broker, and what becomes of them beside Celery and after celeriac."""

from __future__ import annotations

import json
import time
import uuid

import amqp
import pytest

from places import REACH, Place, channel, delete, url_of
from processes import Producer, Worker

pytestmark = pytest.mark.timeout(180)
WAIT_S = 60.0
COUNT = 5
#: Seconds. Far enough for a worker to be killed before, and beyond the visibility timeout.
COUNTDOWN_S = 6
TIMEOUT_S = 2


@pytest.fixture
def queue():
    return f"far-{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=REACH, ids="-".join)
def place(request, session_redis_url, queue):
    """A version of Celery and a broker."""
    version, broker = request.param
    yield Place(version, broker, url_of(broker, session_redis_url))
    delete(broker, queue, f"{queue}-other")


@pytest.fixture(params=["redis", "rabbitmq"])
def any_broker(request, session_redis_url, queue):
    """Both brokers, with the version of Celery that is beside celeriac."""
    yield Place("5.7", request.param, url_of(request.param, session_redis_url))
    delete(request.param, queue, f"{queue}-other")


@pytest.fixture
def settings(monkeypatch):
    """Sets what both kinds of processes are started with."""

    def use(place, **conf):
        if place.broker == "redis":
            conf["broker_transport_options"] = {
                "visibility_timeout": TIMEOUT_S,
                "unacked_restore_interval": 1,
                "unacked_restore_throttle": 1,
            }
        monkeypatch.setenv("INTEROP_CONF", json.dumps(conf))

    return use


@pytest.fixture
def started():
    """What was started and is still there is stopped."""
    processes = []
    yield processes
    for one in processes:
        if isinstance(one, Producer):
            one.stop()
        elif one.process.poll() is None:
            one.kill()


def until(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def delayed(place, queue, redis):
    """How many messages wait for their eta in the broker."""
    if place.broker == "redis":
        return redis.zcard(f"unacked_delayed.{queue}")
    with channel() as opened:
        levels = (f"celery_delayed_{level}" for level in range(4))
        return sum(opened.queue_declare(level, passive=True).message_count for level in levels)


def is_handed_over(place, queue, redis):
    try:
        return delayed(place, queue, redis) >= COUNT
    except amqp.exceptions.NotFound:  # its queues are not all declared yet
        return False


def send(producer, key):
    """Sends the tasks; says when they are due."""
    begun_s = time.time()
    call = f"tasks.late.apply_async(({key!r}, i, 'nobody'), countdown={COUNTDOWN_S})"
    producer.text(f"[{call} for i in range({COUNT})]")
    return begun_s + COUNTDOWN_S


def done(redis, key):
    return sorted(int(number) for number in redis.lrange(key, 0, -1))


def wait_done(redis, key, place):
    until(lambda: len(set(done(redis, key))) == COUNT)
    if place.broker == "redis":
        until(lambda: not redis.exists("unacked"))
    assert done(redis, key) == list(range(COUNT))


@pytest.mark.parametrize("producer_kind", ["celery", "celeriac"])
def test_after_the_last_celeriac_worker_celery_delivers_them(
    any_broker, queue, settings, started, session_redis, producer_kind
):
    place, key = any_broker, f"{queue}:done"
    settings(place, worker_eta_horizon=0.5)
    worker = Worker("celeriac", place.url, queue, "prefork", "-c", "1")
    started.append(worker)
    producer = Producer(producer_kind, place.url, queue)
    started.append(producer)
    due_s = send(producer, key)
    until(lambda: is_handed_over(place, queue, session_redis))
    worker.kill()
    assert time.time() < due_s, "the machine is too slow for this test's times"
    started.append(Worker(place.celery, place.url, queue, "solo"))
    until(lambda: done(session_redis, key))
    assert time.time() >= due_s
    wait_done(session_redis, key, place)


def test_a_stop_of_the_worker_leaves_them_to_the_next_one(
    any_broker, queue, settings, started, session_redis
):
    place, key = any_broker, f"{queue}:done"
    settings(place, worker_eta_horizon=0.5)
    first = Worker("celeriac", place.url, queue, "solo")
    started.append(first)
    producer = Producer("celery", place.url, queue)
    started.append(producer)
    due_s = send(producer, key)
    until(lambda: is_handed_over(place, queue, session_redis))
    assert first.stop() == 0, first.lines.text()
    started.append(Worker("celeriac", place.url, queue, "solo"))
    until(lambda: done(session_redis, key))
    assert time.time() >= due_s
    wait_done(session_redis, key, place)


@pytest.mark.parametrize("producer_kind", ["celery", "celeriac"])
def test_revoked_after_the_hand_over_they_end_revoked_when_they_are_due(
    any_broker, queue, settings, started, session_redis, producer_kind
):
    place, key = any_broker, f"{queue}:done"
    settings(place, worker_eta_horizon=0.5)
    started.append(Worker("celeriac", place.url, queue, "prefork", "-c", "1"))
    producer = Producer(producer_kind, place.url, queue)
    started.append(producer)
    call = f"tasks.late.apply_async(({key!r}, i, 'nobody'), countdown={COUNTDOWN_S})"
    ids = producer.ask(f"[{call}.id for i in range({COUNT})]")
    until(lambda: is_handed_over(place, queue, session_redis))
    *revoked, spared = ids
    producer.text(f"app.control.revoke({revoked!r})")
    assert producer.ask(f"app.AsyncResult({spared!r}).get(timeout=30)") == COUNT - 1
    states = f"[app.AsyncResult(one).state for one in {revoked!r}]"
    until(lambda: producer.ask(states) == ["REVOKED"] * (COUNT - 1))
    assert done(session_redis, key) == [COUNT - 1]


def test_a_near_eta_is_delivered_once_however_often_the_visibility_timeout_passes(
    place, queue, settings, started, session_redis
):
    if place.broker != "redis":
        pytest.skip("RabbitMQ has no visibility timeout")
    key = f"{queue}:done"
    settings(place)
    started.append(Worker("celeriac", place.url, queue, "solo"))
    producer = Producer("celery", place.url, queue)
    started.append(producer)
    due_s = send(producer, key)
    until(lambda: session_redis.hlen("unacked") == COUNT)
    # It sweeps every second, with the same timeout.
    started.append(Worker(place.celery, place.url, queue, "solo", "-n", "celery@%h"))
    until(lambda: done(session_redis, key))
    assert time.time() >= due_s
    wait_done(session_redis, key, place)
