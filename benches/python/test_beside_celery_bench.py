"""Celery and celeriac in pairs: each group of the table is one piece of work, done by both.

Both have their defaults and the same task. Redis is 127.0.0.1:6379 or CELERIAC_TEST_REDIS; its
databases 14 and 15 are emptied. What is published is not consumed; the round trip has a worker of
the solo pool in a process of its own.
"""

import os
import subprocess
import sys

import celery
import pytest
import redis
from kombu import serialization as kombus

import celeriac
from celeriac import serialization as ours

PACKAGES = {"celery": celery, "celeriac": celeriac}
SERVER = os.environ.get("CELERIAC_TEST_REDIS", "redis://127.0.0.1:6379")
URLS = {"celery": f"{SERVER}/14", "celeriac": f"{SERVER}/15"}
MANY = 100
WAIT_S = 30
TASKS = """
from {flavour} import Celery
app = Celery("bench", broker="{url}", backend="{url}", set_as_current=False)
app.conf.broker_connection_retry_on_startup = True

@app.task(name="bench.add")
def add(x, y):
    return x + y
"""
VALUES = {
    "two integers": [2, 3],
    "a hundred records": [
        {"id": number, "name": f"user {number}", "score": number / 7, "tags": ["a", "b"]}
        for number in range(100)
    ],
}
each_package = pytest.mark.parametrize("flavour", PACKAGES)
each_value = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)


@pytest.fixture
def url(flavour):
    with redis.Redis.from_url(URLS[flavour]) as client:
        client.flushdb()
        yield URLS[flavour]
        client.flushdb()


def add(x, y):
    return x + y


def task_of(flavour, broker, backend=None):
    app = PACKAGES[flavour].Celery(
        "bench",
        broker=broker,
        backend=backend,
        set_as_current=False,
        task_ignore_result=not backend,
    )
    return app.task(name="bench.add", lazy=False)(add)


@pytest.mark.benchmark(group="delay(), broker in memory: all but the server")
@each_package
def test_publish_in_memory(benchmark, flavour):
    task = task_of(flavour, "memory:///beside" if flavour == "celeriac" else "memory://")
    benchmark.pedantic(task.delay, args=(2, 3), rounds=500, iterations=4, warmup_rounds=20)
    task.app.control.purge()
    task.app.close()


@pytest.mark.benchmark(group="delay(), Redis, result ignored")
@each_package
def test_publish_ignored(benchmark, flavour, url):
    task = task_of(flavour, url)
    benchmark.pedantic(task.delay, args=(2, 3), rounds=500, iterations=4, warmup_rounds=20)
    task.app.close()


@pytest.mark.benchmark(group="delay(), Redis, with its result")
@each_package
def test_publish_with_a_result(benchmark, flavour, url):
    task = task_of(flavour, url, url)
    benchmark.pedantic(task.delay, args=(2, 3), rounds=500, iterations=4, warmup_rounds=20)
    task.app.close()


@pytest.mark.benchmark(group=f"{MANY} calls over one connection, Redis")
@each_package
def test_publish_over_one_connection(benchmark, flavour, url):
    task = task_of(flavour, url)

    def with_celery():
        with task.app.producer_pool.acquire(block=True) as producer:
            for number in range(MANY):
                task.apply_async((number, 3), producer=producer)

    def with_celeriac():
        with task.app.publisher() as publisher:
            for number in range(MANY):
                task.apply_async((number, 3), publisher=publisher)

    benchmark.pedantic(locals()[f"with_{flavour}"], rounds=20, warmup_rounds=2)
    task.app.close()


@pytest.mark.benchmark(group="delay().get(), Redis, solo")
@each_package
def test_round_trip(benchmark, flavour, url, tmp_path):
    (tmp_path / "bench_tasks.py").write_text(TASKS.format(flavour=flavour, url=url))
    task = task_of(flavour, url, url)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-m", flavour, "-A", "bench_tasks", "worker", "-P", "solo"]
    with subprocess.Popen(
        [*command, "-l", "ERROR"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as worker:
        try:
            assert task.delay(2, 3).get(timeout=WAIT_S) == 5
            found = benchmark.pedantic(
                lambda: task.delay(2, 3).get(timeout=WAIT_S), rounds=300, warmup_rounds=20
            )
        finally:
            worker.terminate()
    assert found == 5
    task.app.close()


@pytest.mark.benchmark(group="arguments to JSON")
@each_value
@pytest.mark.parametrize("module", [kombus, ours], ids=PACKAGES)
def test_serialize(benchmark, module, value):
    benchmark.group += f": {value_name(value)}"
    assert benchmark(module.dumps, value, "json")


@pytest.mark.benchmark(group="arguments from JSON")
@each_value
@pytest.mark.parametrize("module", [kombus, ours], ids=PACKAGES)
def test_deserialize(benchmark, module, value):
    benchmark.group += f": {value_name(value)}"
    content_type, encoding, body = kombus.dumps(value, "json")
    arguments = (body, content_type, encoding)
    assert benchmark(module.loads, *arguments) == value


def value_name(value):
    return next(name for name, one in VALUES.items() if one is value)
