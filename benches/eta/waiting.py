"""The worker of the bench: notes when each task ran, in files that the bench reads.

`ETA_URL` is the broker, `ETA_QUEUE` the queue, `ETA_FOLDER` where the files are, `ETA_CONF` more
settings as JSON. The files are mapped, so that children write to them, too, and
so that what a killed worker has noted is not lost.
"""

import json
import mmap
import os
import time
from pathlib import Path

from celeriac import Celery, signals

FOLDER = Path(os.environ["ETA_FOLDER"])


def mapped(name):
    """A file of the bench as memory."""
    with (FOLDER / name).open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0))


#: How often each task ran, and how late it was in seconds; early ones are below 0.
times = mapped("times")
late_s = mapped("late").cast("d")

app = Celery("waiting", broker=os.environ["ETA_URL"], set_as_current=False)
app.conf.update(task_ignore_result=True, task_default_queue=os.environ["ETA_QUEUE"])
app.conf.update(json.loads(os.environ.get("ETA_CONF", "{}")))


@app.task(name="eta.note")
def note(number, due_s):
    """Run."""
    late_s[number] = time.time() - due_s
    times[number] += 1


@app.task(name="eta.hello")
def hello():
    """Say that the worker works."""
    (FOLDER / "hello").touch()


@signals.worker_ready.connect
def ready(**_):
    """Say that the worker is ready."""
    (FOLDER / "ready").write_text(str(time.time()))
