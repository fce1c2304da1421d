"""One file of tasks for both: VERSUS_FLAVOUR says which package it is built on."""

import importlib
import os
import time
from pathlib import Path

flavour = importlib.import_module(os.environ["VERSUS_FLAVOUR"])
signals = importlib.import_module(f"{flavour.__name__}.signals")

app = flavour.Celery(
    "versus", broker=os.environ["VERSUS_BROKER"], backend=os.environ["VERSUS_BACKEND"]
)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ["VERSUS_QUEUE"],
)
if os.environ["VERSUS_CONFIRMS"]:
    app.conf.broker_transport_options = {
        "confirm_publish": os.environ["VERSUS_CONFIRMS"] == "yes",
    }


@app.task
def add(x, y):
    return x + y


@app.task(ignore_result=True)
def forget(x, y):
    return x + y


@app.task(ignore_result=True)
def swallow(text):
    return len(text)


@app.task(ignore_result=True)
def stamp(path):
    """Write down when this ran."""
    Path(path).write_text(repr(time.time()))


@signals.worker_ready.connect
def ready(**_):
    """Write down when the worker was ready; each of several adds a line."""
    with Path(os.environ["VERSUS_READY"]).open("a") as file:
        file.write(f"{time.time()!r}\n")
