"""One file of tasks for both sides: INTEROP_FLAVOUR says which package it is built on."""

import asyncio
import importlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import errors
import routes

flavour = importlib.import_module(os.environ["INTEROP_FLAVOUR"])
exceptions = importlib.import_module(os.environ["INTEROP_FLAVOUR"] + ".exceptions")

broker = os.environ["INTEROP_URL"]
app = flavour.Celery("interop", broker=broker, backend=os.environ["INTEROP_RESULTS"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ["INTEROP_QUEUE"],
    task_default_queue_type=os.environ["INTEROP_QUEUE_TYPE"],
    task_create_missing_queue_type=os.environ["INTEROP_QUEUE_TYPE"],
)
if broker.startswith("redis"):
    # Soon: a dead worker's messages are seen again after this, by workers of both kinds.
    app.conf.broker_transport_options = {
        "visibility_timeout": 3,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
# What a test asks for beside the URLs.
app.conf.update(json.loads(os.environ.get("INTEROP_CONF", "{}")))

# The same application as it speaks protocol 1.
protocol1 = flavour.Celery("interop", broker=broker, set_as_current=False)
protocol1.conf.update(
    task_protocol=1,
    task_default_queue=os.environ["INTEROP_QUEUE"],
    result_backend=os.environ["INTEROP_RESULTS"],
    accept_content=["json", "msgpack", "yaml"],
)
app.conf.accept_content = ["json", "msgpack", "yaml"]
if os.environ.get("INTEROP_ACCEPT"):
    app.conf.accept_content = os.environ["INTEROP_ACCEPT"].split(",")
    app.conf.result_serializer = os.environ["INTEROP_RESULT_SERIALIZER"]
    app.conf.result_compression = os.environ["INTEROP_RESULT_COMPRESSION"] or None


@app.task
def add(x, y):
    return x + y


gathered = []
all_gathered = asyncio.Event()


@app.task(bind=True)
async def gather(self, count):
    """Ends when so many are here; a Celery process only sends it."""
    gathered.append(self.request.id)
    if len(gathered) == count:
        all_gathered.set()
    await all_gathered.wait()
    return self.request.id


@app.task
async def linger():
    """Ends when somebody ends it."""
    await asyncio.Event().wait()


@app.task
def total(numbers):
    return sum(numbers)


def deep_total(value):
    return sum(map(deep_total, value)) if isinstance(value, list) else value


@app.task
def plus(value, number):
    """The sum of a number and of all numbers in a list of lists."""
    return deep_total(value) + number


@app.task(bind=True)
def replaced(self, number):
    return self.replace(add.s(number, 10))


@app.task(bind=True)
def replaced_by_a_chain(self, number):
    return self.replace(add.s(number, 10) | add.s(100))


@app.task(bind=True)
def replaced_by_a_group(self, *numbers):
    return self.replace(flavour.group(add.s(number, 1) for number in numbers))


@app.task(bind=True)
def one_more(self, number):
    self.add_to_chord(add.s(number, 100))
    return number


@app.task(bind=True)
def trail(self, before=()):
    """Say who has executed this, behind who has executed what comes before; stamps beside it."""
    stamps = self.request.stamps
    own = [os.environ["INTEROP_FLAVOUR"], stamps] if stamps else os.environ["INTEROP_FLAVOUR"]
    return [*before, own]


@app.task(bind=True)
def trail_replaced(self, queue):
    return self.replace(trail.s(trail.run()).set(queue=queue))


@app.task(bind=True)
def trail_retried(self, queues, before=()):
    """Retry in one queue after the other."""
    if not queues:
        return trail.run(before)
    raise self.retry(args=(queues[1:], trail.run(before)), queue=queues[0], countdown=0)


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


@app.task(acks_late=True)
def reject_late():
    raise exceptions.Reject("not mine", requeue=False)


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


@app.task(bind=True, acks_late=True, acks_on_failure_or_timeout=False)
def too_long_once(self, key):
    """The first time, take too long; the second time, note what is stored of the first."""
    name = f"celery-task-meta-{self.request.id}"
    with errors.connection() as client:
        if client.set(f"{key}:tried", 1, nx=True, ex=600):
            client.rpush(key, f"begins {self.request.id}")
            time.sleep(600)
        client.rpush(key, client.get(name) or "nothing")
        client.rpush(f"{key}:ends", "now")
    return "the second time"


@app.task(bind=True, acks_late=True)
def whose(self, key):
    """Say who executes it, slowly enough that others get their turn."""
    with errors.connection() as client:
        client.rpush(key, self.request.id)
    time.sleep(0.02)
    return self.request.hostname


@app.task(bind=True)
def flaky(self, failures):
    """Fail that many times, then say how many it were."""
    if self.request.retries < failures:
        raise self.retry(countdown=0.1, exc=KeyError("again"), max_retries=5)
    return self.request.retries


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


@app.task
def note_failed_id(task_id):
    """An errback of the old form: it takes the id alone."""
    with errors.connection() as client:
        client.rpush(os.environ["INTEROP_QUEUE"] + ":failed", task_id)


@app.task(bind=True)
def field(self, name):
    """One field of the request."""
    return getattr(self.request, name)


@app.task(bind=True)
def until_seen(self, key):
    """Store a state of its own again and again until somebody has seen it."""
    with errors.connection() as client:
        for step in range(200):
            self.update_state(state="PROGRESS", meta={"step": step})
            if client.blpop([key], timeout=0.1) is not None:
                return "seen"
    return "not seen"


@app.task(bind=True)
def custom_state(self):
    self.update_state(state="PROGRESS", meta={"done": 3})
    return 7


def in_threads(count):
    """Call a task in each of many threads, and wait there for its result."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda n: add.delay(n, n).get(timeout=30), range(count)))


if os.environ.get("INTEROP_ROUTED"):
    routed = routes.set_up(app, flavour, os.environ["INTEROP_QUEUE"])
