"""The producer's half of a round: one workload in a process of its own, figures as JSON.

Usage: producer.py WORKLOAD NUMBER. What measures runs for NUMBER seconds, what fills a queue sends
NUMBER tasks. Connections are made before the clock starts.
"""

import json
import os
import signal
import statistics
import sys
import time
from contextlib import contextmanager

import tasks
from process_tree import forget_peak, peak_mb

IS_CELERIAC = os.environ["VERSUS_FLAVOUR"] == "celeriac"
#: How much is sent between two looks at the clock.
PLAIN_BATCH = 50
LOOP_BATCH = 500
#: Celery gets a smaller one: it takes seconds, and its time is proportional.
GROUP = 10_000 if IS_CELERIAC else 1_000


def rate(seconds, batch, send):
    """Repeat `send` until the time is over; messages a second and what each cost here."""
    count = 0
    started_s, began_s = time.perf_counter(), time.process_time()
    while time.perf_counter() - started_s < seconds:
        send()
        count += batch
    return count, started_s, began_s


def figures(count, started_s, began_s):
    taken_s, spent_s = time.perf_counter() - started_s, time.process_time() - began_s
    return {"per_s": count / taken_s, "cpu_us": spent_s / count * 1e6}


def plain_with_results(seconds):
    """`delay()` after `delay()`, with results, as a web request does it."""
    return plain(seconds, tasks.add)


def plain_ignored(seconds):
    """`delay()` after `delay()` of a task whose result is ignored."""
    return plain(seconds, tasks.forget)


def plain(seconds, task):
    task.delay(0, 1)

    def send():
        for number in range(PLAIN_BATCH):
            task.delay(number, 1)

    return figures(*rate(seconds, PLAIN_BATCH, send))


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


def publisher(seconds):
    """A loop on one connection; leaving the block waits for what is not confirmed yet."""
    with one_connection() as options:
        tasks.forget.apply_async((0, 1), **options)
    with one_connection() as options:

        def send():
            for number in range(LOOP_BATCH):
                tasks.forget.apply_async((number, 1), **options)

        sent = rate(seconds, LOOP_BATCH, send)
    return figures(*sent)


def group(seconds):
    """Groups of 10,000 as Celery's users write them."""
    tasks.forget.delay(0, 1)

    def send():
        tasks.flavour.group(tasks.forget.s(number, 1) for number in range(GROUP)).apply_async()

    return figures(*rate(seconds, GROUP, send))


def payload(seconds):
    """`delay()` with VERSUS_PAYLOAD bytes, and the memory that one such call takes."""
    size = int(os.environ["VERSUS_PAYLOAD"])
    text = "x" * size
    tasks.swallow.delay("")
    before_mb = forget_peak("self")
    tasks.swallow.delay(text)
    bodies = (peak_mb("self") - before_mb) * 1e6 / size
    found = figures(*rate(seconds, 1, lambda: tasks.swallow.delay(text)))
    return {**found, "bodies": bodies} if size >= 1_000_000 else found


def latency(seconds):
    """`delay().get()`, one at a time; milliseconds."""
    tasks.add.delay(0, 0).get(timeout=30)
    taken_ms = []
    ends_s = time.perf_counter() + seconds
    while time.perf_counter() < ends_s or len(taken_ms) < 100:
        started_s = time.perf_counter()
        assert tasks.add.delay(1, 1).get(timeout=30) == 2
        taken_ms.append((time.perf_counter() - started_s) * 1000)
    return {
        "p50_ms": statistics.median(taken_ms),
        "p99_ms": statistics.quantiles(taken_ms, n=100)[98],
    }


def first(_):
    """The first `delay()` of a process: connections, modules that are loaded late."""
    started_s = time.perf_counter()
    tasks.forget.delay(1, 1)
    return {"first_ms": (time.perf_counter() - started_s) * 1000}


def fill(count):
    """Tasks for a drain between two that write down when they ran."""
    beginning, end = os.environ["VERSUS_STAMPS"].split(os.pathsep)
    work = tasks.add if os.environ["VERSUS_RESULTS"] == "yes" else tasks.forget
    arguments = (1, 1)
    if "VERSUS_PAYLOAD" in os.environ:
        work, arguments = tasks.swallow, ("x" * int(os.environ["VERSUS_PAYLOAD"]),)
    queues = os.environ.get("VERSUS_QUEUES", os.environ["VERSUS_QUEUE"]).split(",")
    with one_connection() as options:
        tasks.stamp.apply_async((beginning,), **options)
        for number in range(int(count)):
            queue = queues[number % len(queues)]
            work.apply_async(arguments, queue=queue, **options)
        tasks.stamp.apply_async((end,), **options)
    return {}


def paced(count):
    """Tasks one by one, 2 ms apart, so that none waits behind another; then a stamp."""
    for _ in range(int(count)):
        tasks.forget.delay(1, 1)
        time.sleep(0.002)
    tasks.stamp.delay(os.environ["VERSUS_STAMPS"].split(os.pathsep)[1])
    return {}


def slowly(count):
    """One task after the other, a tenth of a second apart."""
    for _ in range(int(count)):
        tasks.forget.delay(1, 1)
        time.sleep(0.1)
    return {}


def waiting(count):
    """Hold the handles of that many calls that nobody executes, until this process is ended."""
    queue = f"{os.environ['VERSUS_QUEUE']}-nobody"
    handles = [tasks.add.apply_async((1, 1), queue=queue) for _ in range(int(count))]
    signal.pause()
    return handles


def captured(_):
    """One message to look at, in the queue."""
    tasks.forget.delay(1, 1)
    return {}


if __name__ == "__main__":
    workload = {
        one.__name__: one
        for one in (
            plain_with_results, plain_ignored, publisher, group, payload, latency, first, fill,
            paced, slowly, waiting, captured,
        )
    }  # fmt: skip
    tasks.add.name  # noqa: B018 - the app is finalized outside of what is measured
    print(json.dumps(workload[sys.argv[1]](float(sys.argv[2]))))
