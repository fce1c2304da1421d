"""The smallest program: one task, one worker, one answer.

Runs on the embedded queue; with CELERY_BROKER_URL and CELERY_RESULT_BACKEND set to a Redis URL, the
same program runs there.
"""

from celeriac import Celery
from worker_process import WorkerProcess

app = Celery("first_steps")


@app.task
def add(x: int, y: int) -> int:
    return x + y


if __name__ == "__main__":
    with WorkerProcess(__file__):
        result = add.delay(2, 3)
        print("task", result.id, "was sent")
        print("2 + 3 =", result.get(timeout=10))
