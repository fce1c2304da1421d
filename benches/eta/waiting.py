"""The worker of the bench: notes when each task ran, and writes it down when it stops.

`ETA_URL` is the broker, `ETA_COUNT` how many tasks there are, `ETA_FOLDER` where the files go,
`ETA_CONF` more settings as JSON.
"""

import json
import os
import time
from array import array
from pathlib import Path

from celeriac import Celery, signals

FOLDER = Path(os.environ["ETA_FOLDER"])
COUNT = int(os.environ["ETA_COUNT"])

app = Celery("waiting", broker=os.environ["ETA_URL"], set_as_current=False)
app.conf.update(task_ignore_result=True, task_default_queue="eta-bench")
app.conf.update(json.loads(os.environ.get("ETA_CONF", "{}")))

#: How often each task ran, and how late it was in seconds; early ones are below 0.
times = bytearray(COUNT)
late_s = array("d")


@app.task(name="eta.note")
def note(number, due_s):
    """Run."""
    late_s.append(time.time() - due_s)
    times[number] += 1
    if len(late_s) == COUNT:
        (FOLDER / "all").touch()


@app.task(name="eta.hello")
def hello():
    """Say that the worker works."""
    (FOLDER / "hello").touch()


@signals.worker_ready.connect
def ready(**_):
    """Say that the worker is ready."""
    (FOLDER / "ready").write_text(str(time.time()))


@signals.worker_shutdown.connect
def write(**_):
    """Write down what ran."""
    ordered = sorted(late_s)
    at = len(ordered) - 1
    report = {
        "ran": len(ordered),
        "lost": times.count(0),
        "twice": sum(count > 1 for count in times),
        "early": sum(late < 0 for late in ordered),
    }
    if ordered:
        report |= {
            "late_ms": {
                name: round(ordered[int(at * part)] * 1000, 2)
                for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
            }
        }
    (FOLDER / "report").write_text(json.dumps(report))
