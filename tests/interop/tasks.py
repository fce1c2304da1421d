"""One file of tasks for both sides: INTEROP_FLAVOUR says which package it is built on."""

import importlib
import os
import time

import errors

flavour = importlib.import_module(os.environ["INTEROP_FLAVOUR"])
exceptions = importlib.import_module(os.environ["INTEROP_FLAVOUR"] + ".exceptions")

broker = os.environ["INTEROP_URL"]
app = flavour.Celery("interop", broker=broker, backend=os.environ["INTEROP_RESULTS"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ["INTEROP_QUEUE"],
)
if broker.startswith("redis"):
    # Soon: a dead worker's messages are seen again after this, by workers of both kinds.
    app.conf.broker_transport_options = {
        "visibility_timeout": 3,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }


@app.task
def add(x, y):
    return x + y


@app.task
def echo(value):
    return value


@app.task
def seen(*args, **kwargs):
    """What the worker's side sees, as text."""
    return repr(args) + " " + repr(kwargs)


@app.task
def fail(name, *args):
    """Raise a built-in exception."""
    raise getattr(importlib.import_module("builtins"), name)(*args)


@app.task
def fail_custom(code, text):
    raise errors.CustomError(code, text)


@app.task
def fail_unpicklable(text):
    raise errors.UnpicklableError(text)


@app.task
def unencodable():
    return {1, 2}


@app.task
def reject():
    raise exceptions.Reject("because", requeue=False)


@app.task
def ignore():
    raise exceptions.Ignore


@app.task(track_started=True, bind=True)
def hold(self, gate, key, timeout_s=20):
    """Say on a Redis list that it runs, then wait until somebody pushes to another one."""
    with errors.connection() as client:
        client.rpush(gate, self.request.hostname)
        return client.blpop([key], timeout=timeout_s)[1].decode()


@app.task(bind=True)
def progress(self, gate, key, timeout_s=20):
    """Store a state of its own, then wait."""
    self.update_state(state="PROGRESS", meta={"done": 3, "of": 7})
    with errors.connection() as client:
        client.rpush(gate, "stored")
        client.blpop([key], timeout=timeout_s)


@app.task(ignore_result=True)
def silent(key):
    with errors.connection() as client:
        client.rpush(key, "done")


@app.task(bind=True, acks_late=True)
def late(self, key, number, slow_on):
    """Count itself; a worker of the named kind waits for its end while it has one in its hands."""
    with errors.connection() as client:
        if os.environ["INTEROP_FLAVOUR"] == slow_on:
            client.rpush(key + ":held", self.request.hostname)
            time.sleep(600)
        client.rpush(key, number)
    return number


@app.task(bind=True)
def context(self, *args, **kwargs):
    """The request as a task sees it."""
    request = self.request
    names = (
        "id root_id parent_id correlation_id group group_index retries is_eager eta expires"
        " timelimit callbacks errbacks chain chord delivery_info headers argsrepr kwargsrepr"
        " lang task ignore_result replaced_task_nesting stamped_headers stamps called_directly"
        " args kwargs shadow taskset utc"
    ).split()
    found = {name: getattr(request, name, "absent") for name in names}
    found["current_task"] = flavour.current_task.name
    found["reply_to_is_set"] = bool(request.reply_to)
    found["origin_is_a_generator"] = str(request.origin).startswith("gen")
    found["hostname_has_a_node"] = "@" in request.hostname
    return found


@app.task
def note(value, key):
    with errors.connection() as client:
        client.rpush(key, repr(value))


@app.task
def note_failure(request, exc, traceback, key):
    with errors.connection() as client:
        client.rpush(key, f"{request.id} {exc!r} {'Traceback' in str(traceback)}")


@app.task
def note_failure_by_id(task_id, key):
    with errors.connection() as client:
        client.rpush(key, task_id)
