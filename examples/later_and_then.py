"""A task that runs later, one that is followed by another, and one that is not worth running."""

import time

from celeriac import Celery
from celeriac.exceptions import TaskRevokedError
from worker_process import WorkerProcess

app = Celery("later_and_then")


@app.task
def add(x: int, y: int) -> int:
    return x + y


if __name__ == "__main__":
    with WorkerProcess(__file__):
        started_s = time.perf_counter()
        later = add.apply_async((1, 2), countdown=0.5)
        print(f"{later.get(timeout=10)} after {time.perf_counter() - started_s:.1f} s")

        followed = add.apply_async((2, 2), link=add.s(16).set(task_id="the-next-one"))
        print("first:", followed.get(timeout=10))
        print("then:", app.AsyncResult("the-next-one").get(timeout=10))

        try:
            add.apply_async((1, 1), expires=-1).get(timeout=10)
        except TaskRevokedError as error:
            print("not run:", error)
