"""Exceptions come back as what they are; an errback hears of them in the worker."""

from celeriac import Celery
from worker_process import WorkerProcess

app = Celery("when_it_fails")


@app.task
def divide(x: float, y: float) -> float:
    return x / y


@app.task
def mourn(request, exc, traceback) -> None:
    print(f"errback: task {request.id} failed with {exc!r}")


if __name__ == "__main__":
    with WorkerProcess(__file__) as worker:
        result = divide.apply_async((1, 0), link_error=mourn.s())
        try:
            result.get(timeout=10)
        except ZeroDivisionError as error:
            print("caught:", error)
        print("state:", result.state)
        print("the worker's traceback ends with:", result.traceback.strip().splitlines()[-1])
        assert divide.delay(1, 4).get(timeout=10) == 0.25
