"""Tasks of the demo: some are quick, some compute, some wait, some fail."""

import time

from celeriac import Celery

app = Celery("demo")  # no broker, no backend: the embedded queue in a file beside this one


@app.task
def add(x: int, y: int) -> int:
    """Quick work: most of its time is the queue's."""
    return x + y


@app.task
def count_primes(below: int) -> int:
    """Work for the processor."""
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, below))


@app.task
def nap(seconds: float) -> float:
    """Work that waits for something else."""
    time.sleep(seconds)
    return seconds


@app.task
def fail(number: int) -> None:
    """Work that goes wrong; the caller gets the exception."""
    message = f"number {number} is not to my taste"
    raise ValueError(message)
