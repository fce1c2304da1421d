"""The application of these tests, for workers and for who sends; CANVAS_TEST says what it uses."""

import contextlib
import json
import os
import time

import redis
from random_canvas import deep_total

from celeriac import Celery, signals

given = json.loads(os.environ["CANVAS_TEST"])
app = Celery("canvas", broker=given["broker"], backend=given["backend"])
app.conf.update(task_default_queue=given["queue"], **given.get("conf", {}))


@app.task
def plus(value, number):
    """The sum of a number and of all numbers in a list of lists."""
    time.sleep(given.get("pause_s", 0))
    return deep_total(value) + number


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def echo(value):
    return value


@app.task
def fail(*_args):
    raise KeyError("k")


@app.task
def unencodable(*_args):
    return {1, 2}


@app.task(bind=True, max_retries=2)
def flaky(self, *_args):
    raise self.retry(countdown=0, exc=KeyError("again"))


@app.task(bind=True)
def replaced_by_nothing(self, *_args):
    return self.replace(app.signature({"task": "celery.chain", "subtask_type": "chain",
        "args": [], "kwargs": {"tasks": []}, "options": {}, "immutable": False}))  # fmt: skip


def first_ids(sig):
    """Ids of the tasks that are sent when a signature is."""
    inside = sig["kwargs"]
    match sig.get("subtask_type"):
        case "chain":
            return first_ids(inside["tasks"][0])
        case "group":
            return [task_id for task in inside["tasks"] for task_id in first_ids(task)]
        case "chord":
            header = inside["header"]
            tasks = header["kwargs"]["tasks"] if isinstance(header, dict) else header
            return [task_id for task in tasks for task_id in first_ids(task)]
    return [sig["options"].get("task_id")]


if "record" in given:

    @signals.before_task_publish.connect
    def record(headers=None, body=None, **_):
        """Note who sends what, before it is sent: a process that dies has said what it may have."""
        embed = body[2] if isinstance(body, (list, tuple)) else {}
        chord = embed.get("chord")
        noted = {
            "id": headers["id"],
            "pid": os.getpid(),
            "group": headers.get("group") if chord else None,
            "body": first_ids(chord) if chord else None,
        }
        with contextlib.closing(redis.Redis.from_url(given["record"])) as client:
            client.rpush(f"{given['queue']}.sent", json.dumps(noted))
