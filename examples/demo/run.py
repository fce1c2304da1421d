"""`make demo`: a worker on the embedded queue, a few hundred tasks, and a look at them.

Exit code 0 only if every task was answered as expected and the worker stopped cleanly.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from view import REFRESH_S, Row, view_of  # noqa: E402

import tasks  # noqa: E402
from worker_process import WorkerProcess  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_S = 60.0


class Batch:
    """Tasks of one kind: how to send them, and what to expect of each."""

    def __init__(self, name: str, expects: str, count: int) -> None:
        self.row = Row(name, expects)
        self.count = count
        self.results: list[Any] = []

    def send(self, call: Callable[[int], Any]) -> None:
        for number in range(self.count):
            self.results.append(call(number))
            self.row.sent += 1

    def collect(self, expected: Callable[[int], object]) -> None:
        """Wait for every answer; a wrong or missing one is counted as a surprise."""
        for number, result in enumerate(self.results):
            try:
                answer = result.get(timeout=ANSWER_S, propagate=False)
            except Exception as error:  # noqa: BLE001 - shown, counted, and the exit code says so
                answer = error
            self.row.answered += 1
            self.row.last = repr(answer)
            self.row.surprises += repr(answer) != repr(expected(number))


def taste(number: int) -> ValueError:
    """What `tasks.fail` raises."""
    return ValueError(f"number {number} is not to my taste")


KINDS: list[tuple[Batch, Callable[[int], Any], Callable[[int], object]]] = [
    (Batch("add", "x + y", 800), lambda n: tasks.add.delay(n, n), lambda n: 2 * n),
    (Batch("count_primes", "168", 40), lambda _: tasks.count_primes.delay(1000), lambda _: 168),
    (Batch("nap", "0.01", 40), lambda _: tasks.nap.delay(0.01), lambda _: 0.01),
    (Batch("fail", "a ValueError", 20), tasks.fail.delay, taste),
    (
        Batch("add, in 0.5 s", "x + 1", 10),
        lambda n: tasks.add.apply_async((n, 1), countdown=0.5),
        lambda n: n + 1,
    ),
]


def serve(batch: Batch, call: Callable[[int], Any], expected: Callable[[int], object]) -> None:
    """Send one kind and wait for its answers: each kind has a thread of its own."""
    batch.send(call)
    batch.collect(expected)


def watch(worker: WorkerProcess) -> float:
    """Run all kinds at once and show them.

    Returns:
        Seconds from the first task sent to the last answer.
    """
    threads = [threading.Thread(target=serve, args=kind, daemon=True) for kind in KINDS]
    started_s = time.perf_counter()
    with view_of([batch.row for batch, _, _ in KINDS]) as view:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            view.refresh(worker.last_lines)
            threads[0].join(REFRESH_S) if threads[0].is_alive() else time.sleep(REFRESH_S)
        took_s = time.perf_counter() - started_s
        view.refresh(worker.last_lines)
    return took_s


def embedded_files() -> set[Path]:
    """Files of the embedded queue beside the tasks."""
    return set(HERE.glob("*.db*"))


def remove_what_is_new(before: set[Path]) -> None:
    """Leave no queue behind that was not there before."""
    for path in embedded_files() - before:
        if path.is_dir():
            for inner in path.iterdir():
                inner.unlink()
            path.rmdir()
        else:
            path.unlink()


def main() -> int:
    """Run the demo.

    Returns:
        The exit code.
    """
    before = embedded_files()
    with ExitStack() as stack:
        stack.callback(remove_what_is_new, before)
        worker = stack.enter_context(WorkerProcess(str(HERE / "tasks.py"), "-c", "2"))
        print("A worker with two processes runs on the embedded queue beside tasks.py.", flush=True)
        took_s = watch(worker)
    rows = [batch.row for batch, _, _ in KINDS]
    total, surprises = sum(row.answered for row in rows), sum(row.surprises for row in rows)
    print(f"{total} tasks sent, executed and answered in {took_s:.2f} s,", end=" ")
    print(f"{total / took_s:.0f} a second.")
    print("The worker stopped cleanly.")
    if surprises or total != sum(batch.count for batch, _, _ in KINDS):
        print(f"{surprises} answers were not what was expected.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
