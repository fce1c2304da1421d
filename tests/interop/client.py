"""A producer in a process of its own: evaluates one expression a line, answers one JSON line.

The expressions come from the tests in this folder and see `tasks`, `app` and the modules below.
"""

import datetime as dt  # noqa: F401
import decimal  # noqa: F401
import gc
import importlib
import json
import os
import sys
import threading
import uuid  # noqa: F401

import errors
import tasks
from tasks import app, exceptions, flavour  # noqa: F401

app.conf.task_allow_error_cb_on_chord_header = True


def described(error):
    return {
        "class": type(error).__qualname__,
        "module": type(error).__module__,
        "bases": [base.__module__ + "." + base.__qualname__ for base in type(error).__mro__],
        "args": repr(error.args),
        "text": str(error),
    }


def tree(handle):
    """Ids of a handle: its own, its members', its parents'."""
    if handle is None:
        return None
    members = getattr(handle, "results", None)
    parent = tree(getattr(handle, "parent", None))
    return [handle.id, None if members is None else [tree(member) for member in members], parent]


def stamped(sig, **stamps):
    sig.stamp(**stamps)
    return sig


def erring(sig, *errbacks):
    for errback in errbacks:
        sig.link_error(errback)
    return sig


def through_a_producer(*numbers):
    """The guide's program, as far as both kinds have it."""
    with app.pool.acquire(block=True) as connection, app.amqp.Producer(connection) as producer:
        sent = [tasks.add.apply_async((n, n), producer=producer) for n in numbers]
    return [result.get(timeout=20) for result in sent]


def to_nobody(url):
    """Send to a broker that is away."""
    away = flavour.Celery("away", broker=url, set_as_current=False)
    away.send_task("tasks.add", (1, 2), retry=False, ignore_result=True)


def states_until_seen(key):
    """The states that `on_message` sees of a task that goes on until it has seen one of its own."""
    seen = []

    def note(meta):
        # Celery's client shows what arrives of other tasks, too.
        if meta["task_id"] != result.id:
            return
        seen.append((meta["status"], meta["result"]))
        if meta["status"] == "PROGRESS":
            with errors.connection() as client:
                client.rpush(key, "seen")

    result = tasks.until_seen.delay(key)
    return result.get(timeout=30, on_message=note, propagate=False), seen


def run_as_worker():
    """Execute tasks in this process, too, until the input ends."""
    app.conf.worker_redirect_stdouts = False
    worker = app.Worker(
        pool="threads", concurrency=2, quiet=True, queues=[app.conf.task_default_queue]
    )

    def answer():
        allowed = importlib.import_module(f"{flavour.__name__}.result").allow_join_result
        try:
            with allowed():
                main()
        finally:
            worker.stop()

    threading.Thread(target=answer).start()
    worker.start()


def main():
    # Celery 5.4 stops for ever where a result is collected while its client subscribes to another.
    gc.freeze()
    gc.disable()
    print(json.dumps({"ready": flavour.__name__}), flush=True)
    for line in sys.stdin:
        try:
            answer = {"value": repr(eval(json.loads(line), globals()))}
        except Exception as error:  # noqa: BLE001
            answer = {"error": described(error)}
        print(json.dumps(answer), flush=True)
        gc.collect()


if __name__ == "__main__":
    sys.modules["client"] = sys.modules["__main__"]
    assert tasks.app is app
    if os.environ["INTEROP_WORKER_INSIDE"]:
        run_as_worker()
    else:
        main()
