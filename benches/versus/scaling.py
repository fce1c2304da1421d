"""What a task costs the worker and the Redis together, as the surroundings grow.

Every measurement begins with idle workers that are ready. What they get was filled into queues
that nobody consumes from, which are then renamed: the whole backlog is there at once, and the cost
of filling it is in nobody's figures.
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from process_tree import cpu_s
from surroundings import Figures, Settings, Side, prepared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from surroundings import Round

HERE = Path(__file__).resolve().parent
PARKED = "parked."
#: What is measured of a deep queue.
PART = 10_000
#: One child's share of the prefetch, as in the rows of drains.
OPTIONS = ("--prefetch-multiplier", "64")
#: Messages for the crowd, one at a time.
SHOUTS = 50


def spread(figures: Figures) -> Figures:
    """Add the highest figure over the first, which is of the smallest size."""
    return {**figures, "growth": max(figures.values()) / next(iter(figures.values()))}


def deep(side: Side, depths: list[int]) -> Figures:
    """Queues of different depths. Of the deepest only the first part is executed."""
    return spread({f"cpu_us at {depth}": at_depth(side, depth) for depth in depths})


def at_depth(side: Side, depth: int) -> float:
    count = min(depth, PART)
    times = PART // count
    with prepared(side, Settings(results=False)) as this, client_of(this) as client:
        this.produce("fill", count)
        if depth > count:  # behind what is measured
            this.produce("fill", depth - count)
        client.rename(this.queue, PARKED)
        worker = this.ready_worker("solo", *OPTIONS)
        spent_us = cost_us(client, [worker.pid])
        for _ in range(times - 1):
            client.copy(PARKED, this.queue)
            this.until(lambda: is_done(client, [this.queue]), "the end of the queue")
        client.rename(PARKED, this.queue)
        if depth > count:
            this.stamped("last")
        else:
            this.until(lambda: is_done(client, [this.queue]), "the end of the queue")
        return (cost_us(client, [worker.pid]) - spent_us) / (times * count)


def alone(side: Side, count: int) -> Figures:
    """A queue that never holds more than one message: every task pays for waking the worker."""
    with prepared(side, Settings(results=False)) as this, client_of(this) as client:
        worker = this.ready_worker("solo", *OPTIONS)
        spent_us = cost_us(client, [worker.pid])
        this.produce("paced", count)
        this.stamped("last")
        spent_us = cost_us(client, [worker.pid]) - spent_us
    return {"cpu_us": spent_us / count}


def several_queues(side: Side, numbers: list[int], count: int) -> Figures:
    """One worker that consumes from several queues, with the same work in all."""
    return spread({
        f"cpu_us of {number}": drained_us(side, count, Settings(results=False, queues=number), 1)
        for number in numbers
    })  # fmt: skip


def several_workers(side: Side, numbers: list[int], count: int) -> Figures:
    """Several workers on one queue."""
    return spread({
        f"cpu_us with {number}": drained_us(side, count, Settings(results=False), number)
        for number in numbers
    })  # fmt: skip


def awaited(side: Side, numbers: list[int], count: int) -> Figures:
    """A client that waits for so many other results on the same server."""
    return spread({
        f"cpu_us beside {number}": drained_us(side, count, Settings(), 1, waiting=number)
        for number in numbers
    })  # fmt: skip


def drained_us(side: Side, count: int, settings: Settings, workers: int, waiting: int = 0) -> float:
    """What a task costs, in µs, from the moment the backlog is there until all is acknowledged."""
    with prepared(side, settings) as this, client_of(this) as client:
        this.produce("fill", count)
        queues = this.environment["VERSUS_QUEUES"].split(",")
        for queue in queues:
            client.rename(queue, f"{PARKED}{queue}")
        found = [this.ready_worker("solo", *OPTIONS).pid for _ in range(workers)]
        with waiters(this, client, waiting):
            spent_us = cost_us(client, found)
            with client.pipeline() as together:
                for queue in queues:
                    together.rename(f"{PARKED}{queue}", queue)
                together.execute()
            this.until(lambda: is_done(client, queues), "the end of the queues", 0.02)
            return (cost_us(client, found) - spent_us) / count


@contextmanager
def waiters(this: Round, client: redis.Redis, number: int) -> Iterator[None]:
    """A process that waits for results."""
    if not number:
        yield
        return
    process = this.producer("waiting", number)
    try:
        this.until(
            lambda: len(client.pubsub_channels("*celery-task-meta-*")) >= number,
            f"the subscription to {number} results",
            0.1,
        )
        yield
    finally:
        process.kill()
        process.communicate()


def crowd_scripts(side: Side, idle: int) -> Figures:
    """How many scripts a Redis executes for each message, with so many idle consumers."""
    with prepared(side) as this, client_of(this) as client:
        command = [sys.executable, str(HERE / "idle_crowd.py"), side.broker, this.queue, str(idle)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as crowd:
            assert crowd.stdout is not None
            assert crowd.stdin is not None
            try:
                assert crowd.stdout.readline() == b"ready\n"
                time.sleep(3.0)  # until the last of them has said that it is idle
                before, started_s = scripts(client), time.perf_counter()
                this.produce("slowly", SHOUTS)
                for _ in range(SHOUTS):
                    assert crowd.stdout.readline() == b"one\n"
                taken_s, during = time.perf_counter() - started_s, scripts(client) - before
                before = scripts(client)
                time.sleep(taken_s)
                silent = scripts(client) - before
                crowd.stdin.close()
                crowd.wait(60)
            except BaseException:
                crowd.kill()
                raise
    return {"scripts": (during - silent) / SHOUTS, "scripts_per_s_idle": silent / taken_s}


def scripts(client: redis.Redis) -> int:
    """How many scripts the server has executed."""
    stats = client.info("commandstats")
    names = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall")
    return sum(stats[name]["calls"] for name in names if name in stats)


@contextmanager
def client_of(this: Round) -> Iterator[redis.Redis]:
    """A client of the round's database."""
    with redis.Redis.from_url(this.side.broker, client_name=f"versus-{uuid.uuid4()}") as client:
        yield client


def is_done(client: redis.Redis, queues: list[str]) -> bool:
    """Whether nothing waits and nothing is leased."""
    return not client.exists(*queues, "unacked")


def cost_us(client: redis.Redis, workers: list[int]) -> float:
    """Processor time of workers and server so far, in µs."""
    server = client.info("cpu")
    server_s = server["used_cpu_user"] + server["used_cpu_sys"]
    return (server_s + sum(cpu_s(pid) for pid in workers)) * 1e6
