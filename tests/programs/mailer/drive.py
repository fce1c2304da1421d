"""What a program that sends mail does, and what it sees."""

import json
import os
import time

from celery.exceptions import NotRegistered, TimeoutError
from celery.result import AsyncResult
from celery.signals import after_task_publish, before_task_publish
from kombu.exceptions import OperationalError
from mailer import tasks
from mailer.app import app

published = []


@before_task_publish.connect
def stamp(sender=None, headers=None, body=None, **extra):
    headers.setdefault("campaign", "spring")
    published.append([sender, body[0], sorted(body[2])])


@after_task_publish.connect
def sent(sender=None, exchange=None, routing_key=None, **extra):
    prefix = os.environ["PROGRAM_QUEUE"]
    published.append(
        ["sent", (exchange or "").replace(prefix, ""), routing_key.replace(prefix, "")]
    )


def outcome(result):
    try:
        return [result.get(timeout=20), result.state, result.name]
    except Exception as exc:
        return [type(exc).__module__, type(exc).__name__, str(exc), result.state]


def rejected_state(result):
    try:
        result.get(timeout=0.3)
    except Exception as exc:
        return [type(exc).__name__, isinstance(exc, TimeoutError)]
    return result.state


def journal(parts):
    deadline = time.monotonic() + 20
    while True:
        with open(os.environ["PROGRAM_FOLDER"] + "/journal") as file:
            lines = sorted(file)
        if len(lines) >= parts or time.monotonic() > deadline:
            return [json.loads(line) for line in lines]
        time.sleep(0.05)


def unreachable():
    try:
        app.connection("redis://:secret@127.0.0.1:1/0").ensure_connection(max_retries=1, timeout=1)
    except OperationalError as exc:
        return [isinstance(exc, OperationalError), "secret" in str(exc)]


seen = {
    "send": outcome(tasks.send.delay("ada@example.com")),
    "send after two tries": outcome(tasks.send.delay("b@example.com", fails=2)),
    "send in vain": outcome(tasks.send.delay("c@example.com", fails=9)),
    "bulk": outcome(tasks.bulk_send.delay(7)),
    "announce": outcome(tasks.announce.delay("news")),
    "flaky": outcome(tasks.flaky.delay(0)),
    "gives up": outcome(tasks.gives_up.delay()),
    "ignored": rejected_state(tasks.ignored.delay()),
    "rejected": rejected_state(tasks.rejected.delay()),
    "resend": outcome(tasks.resend.delay("d@example.com")),
    "linked": outcome(tasks.flaky.apply_async((1,), link=tasks.report.s("linked"))),
    "errback": outcome(tasks.flaky.apply_async((0,), link_error=tasks.alarm.s())),
    "by name": outcome(app.send_task("mailer.tasks.flaky", (1,))),
    "found again": AsyncResult(tasks.flaky.delay(1).id, app=app).get(timeout=20),
    "unreachable": unreachable(),
    "unknown": "nothing registered" not in app.tasks and issubclass(NotRegistered, KeyError),
    "queues": sorted(name.removeprefix(os.environ["PROGRAM_QUEUE"]) for name in app.amqp.queues),
}
with app.connection_for_read() as connection:
    seen["left in the queue"] = connection.default_channel.queue_purge(app.conf.task_default_queue)
seen["published"] = published
seen["journal"] = journal(int(os.environ.get("PROGRAM_JOURNAL", "0")))
print(json.dumps(seen, sort_keys=True, default=str).replace(os.environ["PROGRAM_QUEUE"], "QUEUE"))
