"""Send thousands of tasks through a publisher: confirmed, but waited for once a window."""

import time

from celeriac import Celery
from worker_process import WorkerProcess

app = Celery("many_at_once")
COUNT = 5_000


@app.task
def square(x: int) -> int:
    return x * x


if __name__ == "__main__":
    started_s = time.perf_counter()
    with app.publisher() as publisher:
        results = [square.apply_async((n,), publisher=publisher) for n in range(COUNT)]
    sent_s = time.perf_counter() - started_s
    print(f"sent {COUNT} tasks, all of them confirmed, in {sent_s:.2f} s")
    with WorkerProcess(__file__):
        answers = [result.get(timeout=60) for result in results]
    assert answers == [n * n for n in range(COUNT)]
    print("all answers are right")
