"""The same two tasks for the other queues: RIVAL says which package they are built on."""

import os
import time
from pathlib import Path

RIVAL, URL = os.environ["RIVAL"], os.environ["RIVAL_URL"]


def forget(x, y):
    return x + y


def stamp(path):
    """Write down when this ran."""
    Path(path).write_text(repr(time.time()))


if RIVAL == "tarsk":
    import tarsk

    app = tarsk.App(broker=URL)
    forget, stamp = app.task()(forget), app.task()(stamp)
    send_forget, send_stamp = forget.send, stamp.send
elif RIVAL == "dramatiq":
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    dramatiq.set_broker(RedisBroker(url=URL))
    forget, stamp = dramatiq.actor(forget), dramatiq.actor(stamp)
    send_forget, send_stamp = forget.send, stamp.send
elif RIVAL == "huey":
    from huey import RedisHuey

    app = RedisHuey(url=URL, results=False)
    forget, stamp = app.task()(forget), app.task()(stamp)
    send_forget, send_stamp = forget, stamp


def fill(count):
    """Send tasks between two that write down when they ran."""
    first, last = os.environ["RIVAL_STAMPS"].split(os.pathsep)
    send_stamp(first)
    for _ in range(count):
        send_forget(1, 1)
    send_stamp(last)
