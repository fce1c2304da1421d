"""The producer's half of a round: one workload in a process of its own, figures as JSON.

Usage: producer.py WORKLOAD COUNT
"""

import json
import os
import statistics
import sys
import time
from contextlib import contextmanager

import tasks

IS_CELERIAC = os.environ["VERSUS_FLAVOUR"] == "celeriac"


def publish(count):
    """`delay()` after `delay()`, with results, as a web request does it."""
    started_s = time.perf_counter()
    for number in range(count):
        tasks.add.delay(number, 1)
    return {"per_s": count / (time.perf_counter() - started_s)}


def publish_ignored(count):
    """`delay()` after `delay()` of a task whose result is ignored."""
    started_s = time.perf_counter()
    for number in range(count):
        tasks.forget.delay(number, 1)
    return {"per_s": count / (time.perf_counter() - started_s)}


@contextmanager
def one_connection():
    """Options for calls that share one connection, in each package's own words."""
    with tasks.app.pool.acquire(block=True) as connection:
        if IS_CELERIAC:
            with tasks.forget.get_publisher(connection) as publisher:
                yield {"publisher": publisher}
        else:
            with tasks.app.amqp.Producer(connection) as producer:
                yield {"producer": producer}


def publish_in_a_loop(count):
    """A loop on one connection; leaving the block waits for what is not confirmed yet."""
    started_s = time.perf_counter()
    with one_connection() as options:
        for number in range(count):
            tasks.forget.apply_async((number, 1), **options)
    return {"per_s": count / (time.perf_counter() - started_s)}


def latency(count):
    """`delay().get()`, one at a time; milliseconds."""
    tasks.add.delay(0, 0).get(timeout=30)
    taken_ms = []
    for number in range(count):
        started_s = time.perf_counter()
        assert tasks.add.delay(number, 1).get(timeout=30) == number + 1
        taken_ms.append((time.perf_counter() - started_s) * 1000)
    return {
        "p50_ms": statistics.median(taken_ms),
        "p99_ms": statistics.quantiles(taken_ms, n=100)[98],
    }


def fill(count):
    """Tasks for a drain between two that write down when they ran."""
    first, last = os.environ["VERSUS_STAMPS"].split(os.pathsep)
    work = tasks.add if os.environ["VERSUS_RESULTS"] == "yes" else tasks.forget
    with one_connection() as options:
        tasks.stamp.apply_async((first,), **options)
        for number in range(count):
            work.apply_async((number, 1), **options)
        tasks.stamp.apply_async((last,), **options)
    return {}


if __name__ == "__main__":
    workload = {
        one.__name__: one for one in (publish, publish_ignored, publish_in_a_loop, latency, fill)
    }
    tasks.add.name  # noqa: B018 - the app is finalized outside of what is measured
    print(json.dumps(workload[sys.argv[1]](int(sys.argv[2]))))
