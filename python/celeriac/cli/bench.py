"""``celeriac bench``: what this machine and this broker do, in half a minute."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from celeriac import broker
from celeriac._native import redacted
from celeriac.cli import bench_app
from celeriac.cli.output import fail
from celeriac.exceptions import ImproperlyConfigured, OperationalError
from celeriac.exceptions import TimeoutError as NoResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celeriac import Celery

__all__ = ("bench",)

#: Settings of the user's application that say how its servers are reached.
_CARRIED = (
    "broker_transport_options",
    "broker_use_ssl",
    "broker_failover_strategy",
    "broker_connection_timeout",
    "redis_backend_use_ssl",
    "result_backend_transport_options",
)
_WAIT_S = 60.0
#: Messages that lie in the user's broker at once, at most: 20 MB of them.
_MOST_WAITING = 20_000
_BATCH = 100
#: Tasks of the drain, for each second that the other measurements last.
_DRAINED_PER_S = 10_000
#: Two processes and large batches, as for short tasks.
_WORKER = ("-P", "prefork", "-c", "2", "--prefetch-multiplier", "64", "-l", "WARNING")

_Figures = dict[str, float]


@click.command("bench")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1, max=600),
    default=6.0,
    show_default=True,
    help="How long each of the measurements lasts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.pass_context
def bench(ctx: click.Context, /, *, seconds: float, as_json: bool) -> None:
    """Measure publishing, a worker and the round trip on your broker.

    It uses a queue of its own, which is emptied and removed; your queues are not touched. The
    broker is that of -A or -b.
    """
    queue = f"celeriac-bench-{uuid.uuid4()}"
    try:
        settings = _settings(ctx.obj.app)
        app = bench_app.make_app(queue, settings)
        figures = _measured(app, queue, settings, seconds)
    except (ImproperlyConfigured, OperationalError, NoResult, _WorkerFailed) as exc:
        fail(ctx, f"The bench did not finish: {exc}")
    if as_json:
        click.echo(json.dumps(figures, indent=1))
    else:
        click.echo(_table(figures))


class _WorkerFailed(Exception):  # noqa: N818 - said as the command's own failure
    pass


def _settings(app: Any) -> dict[str, Any]:
    # Results go to the broker where it can keep them.
    url = broker.embedded_url(app) if broker.is_embedded(app) else app.conf.broker_url
    url = url or broker.CELERY_DEFAULT_URL
    first = url if isinstance(url, str) else url[0]
    is_amqp = first.startswith(("amqp", "pyamqp"))
    carried = {name: app.conf[name] for name in _CARRIED if app.conf.is_set(name)}
    return {
        **carried,
        "broker_url": url,
        "result_backend": "rpc://" if is_amqp else first.split(";")[0],
    }


def _measured(app: Celery, queue: str, settings: dict[str, Any], seconds: float) -> dict[str, Any]:
    publisher = broker.publisher(app)
    url: str = publisher.url
    found: dict[str, Any] = {"broker": redacted(url), "seconds": seconds}
    try:
        publisher.declare(app.amqp.queues[queue].as_spec(), _WAIT_S)
        app.tasks["celeriac.bench.nothing"].delay()  # whatever the first one does for all others
        with _progress("delay(), one by one", seconds) as clock:
            found["delay"] = _plain(app, publisher, clock)
        with _progress("publisher context", seconds) as clock:
            found["publisher"] = _window(app, publisher, clock)
        if url.startswith("memory"):
            found["note"] = "memory:// lives in one process: a worker of its own cannot reach it"
        else:
            found |= _with_worker(app, queue, settings, seconds)
    finally:
        publisher.purge(queue, _WAIT_S)
        app.close()
    return found


def _plain(app: Celery, publisher: Any, is_over: Callable[[], bool]) -> _Figures:
    task = app.tasks["celeriac.bench.nothing"]
    taken_ms: list[float] = []
    waiting = 0
    while not is_over() or not taken_ms:
        if waiting >= _MOST_WAITING:
            publisher.purge(task.app.conf.task_default_queue, _WAIT_S)
            waiting = 0
        for _ in range(_BATCH):
            started_s = time.perf_counter()
            task.delay()
            taken_ms.append((time.perf_counter() - started_s) * 1e3)
            waiting += 1
    publisher.purge(task.app.conf.task_default_queue, _WAIT_S)
    return {"per_s": len(taken_ms) / sum(taken_ms) * 1e3, **_percentiles(taken_ms)}


def _window(app: Celery, publisher: Any, is_over: Callable[[], bool]) -> _Figures:
    task = app.tasks["celeriac.bench.nothing"]
    taken_s, sent = 0.0, 0
    while not is_over() or not sent:
        started_s = time.perf_counter()
        sent += _publish(app, _MOST_WAITING, is_over)
        taken_s += time.perf_counter() - started_s
        publisher.purge(task.app.conf.task_default_queue, _WAIT_S)
    return {"per_s": sent / taken_s}


def _publish(app: Celery, count: int, is_over: Callable[[], bool]) -> int:
    task = app.tasks["celeriac.bench.nothing"]
    sent = 0
    with app.publisher() as window:
        while sent < count:
            for _ in range(_BATCH):
                task.apply_async(publisher=window)
            sent += _BATCH
            if is_over():
                break
    return sent


def _with_worker(
    app: Celery, queue: str, settings: dict[str, Any], seconds: float
) -> dict[str, _Figures]:
    now = app.tasks["celeriac.bench.now"]
    with _progress("filling a queue", seconds) as clock:
        first = now.delay()
        count = _publish(app, int(_DRAINED_PER_S * seconds), clock)
        last = now.delay()
    with _worker(queue, settings) as answer_of:
        with _progress(f"a worker executes {count:,} tasks", seconds):
            begun_s, ended_s = answer_of(first), answer_of(last)
        with _progress("delay().get()", seconds) as clock:
            taken_ms: list[float] = []
            while not clock() or not taken_ms:
                started_s = time.perf_counter()
                answer_of(now.delay())
                taken_ms.append((time.perf_counter() - started_s) * 1e3)
    return {
        "worker": {"per_s": (count + 1) / (ended_s - begun_s), "tasks": count},
        "round_trip": {"per_s": len(taken_ms) / sum(taken_ms) * 1e3, **_percentiles(taken_ms)},
    }


@contextmanager
def _worker(queue: str, settings: dict[str, Any]) -> Iterator[Callable[[Any], float]]:
    """A worker in a process of its own.

    Yields:
        Waits for a result, and forgets it; fails at once when the worker is gone.
    """
    command = [sys.executable, "-m", "celeriac", "-q", "-A", f"{bench_app.__name__}:app", "worker"]
    given = json.dumps({"queue": queue, "settings": settings}, default=str)
    with tempfile.TemporaryDirectory(prefix="celeriac-bench-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 - our own worker
                [*command, *_WORKER, "-n", f"{queue}@%h", "--without-mingle"],
                env={**os.environ, bench_app.VARIABLE: given},
                stdout=file,
                stderr=file,
            )

        def answer_of(handle: Any) -> float:
            ends_s = time.monotonic() + _WAIT_S
            while True:
                try:
                    answer: float = handle.get(timeout=1.0)
                except NoResult:
                    if process.poll() is None and time.monotonic() < ends_s:
                        continue
                    said = log.read_text(errors="replace").strip()[-1_000:]
                    message = f"its worker executed nothing. The worker's log:\n{said}"
                    raise _WorkerFailed(message) from None
                handle.forget()
                return answer

        try:
            yield answer_of
        finally:
            process.terminate()
            try:
                process.wait(_WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _progress(what: str, seconds: float) -> Iterator[Callable[[], bool]]:
    """Show how far a measurement is, on standard error.

    Yields:
        Says whether the time is over, and moves the bar.
    """
    started_s = time.perf_counter()
    with click.progressbar(length=100, label=f"{what:34}", file=sys.stderr) as shown:

        def is_over() -> bool:
            part = (time.perf_counter() - started_s) / seconds
            percent = min(100, int(part * 100))
            if percent > shown.pos:
                shown.update(percent - shown.pos)
            return part >= 1.0

        yield is_over
        shown.update(100 - shown.pos)


def _percentiles(taken_ms: list[float]) -> _Figures:
    cuts = statistics.quantiles(taken_ms, n=100) if len(taken_ms) > 1 else taken_ms * 99
    return {"p50_ms": cuts[49], "p99_ms": cuts[98]}


_ROWS = {
    "delay": "delay(), one by one",
    "publisher": "publisher context",
    "worker": "worker of two processes, no-ops",
    "round_trip": "delay().get(), one by one",
}


def _table(figures: dict[str, Any]) -> str:
    lines = [
        f"broker  {figures['broker']}",
        "",
        f"{'':34}{'a second':>12}{'p50 ms':>10}{'p99 ms':>10}",
    ]
    for name, what in _ROWS.items():
        if name in figures:
            found = figures[name]
            parts = [f"{found[one]:10.2f}" if one in found else "" for one in ("p50_ms", "p99_ms")]
            lines.append(f"{what:34}{found['per_s']:12,.0f}{''.join(parts)}")
    return "\n".join([*lines, *([f"\n{figures['note']}"] if "note" in figures else [])])
