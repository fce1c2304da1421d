"""One measurement in a process of its own: ``measure.py CANVAS SIZE PHASE``, figures as JSON.

The peak of memory is what the phase adds to a process that has imported everything and has used
its connections once.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path

import canvases
import redis
from canvases import url

WAIT_S = 110.0


def memory_mb(name, pid="self"):
    """A line of a process's status, in megabytes (10**6 bytes)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) * 1024 / 1e6


def forget_peak(pid="self"):
    """Let the highest memory so far be that of now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def received_bytes():
    """What the server has been sent since it started."""
    with redis.Redis.from_url(url) as client:
        return client.info("stats")["total_net_input_bytes"]


def text_of(canvas):
    """The canvas as JSON, by the serializer that the package sends with."""
    if canvases.flavour.__name__ == "celeriac":
        from celeriac.serialization import dumps
    else:
        from kombu.serialization import dumps
    return dumps(canvas, "json")[2]


def phases(make, size, worker):
    """What is measured, by name; each has what it needs before the clock starts."""

    def build():
        return lambda: make(size)

    def freeze():
        canvas = make(size)
        return canvas.freeze

    def serialize():
        canvas = make(size)
        return lambda: text_of(canvas)

    def send():
        canvas = make(size)
        return canvas.apply_async

    def run():
        forget_peak(worker)
        return lambda: make(size).apply_async().get(timeout=WAIT_S)

    return {"build": build, "freeze": freeze, "serialize": serialize, "send": send, "run": run}


def main():
    name, size, phase = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    worker = os.environ.get("CANVAS_WORKER", "self")
    # Connections, scripts and modules that are loaded late.
    warm = canvases.chord_of(2) if phase == "run" else canvases.group_of(2)
    sent = warm.apply_async()
    if phase == "run":
        sent.get(timeout=WAIT_S)
    text_of(canvases.chain_of(2))
    work = phases(getattr(canvases, name), size, worker)[phase]()
    gc.collect()
    forget_peak()
    before_mb, before_bytes = memory_mb("VmRSS"), received_bytes()
    worker_before_mb = memory_mb("VmRSS", worker)
    started_s = time.perf_counter()
    result = work()
    figures = {"s": time.perf_counter() - started_s, "mb": memory_mb("VmHWM") - before_mb}
    if phase == "serialize":
        figures["bytes"] = len(result)
    if phase in {"send", "run"}:
        figures["bytes"] = received_bytes() - before_bytes
    if phase == "run":
        figures["worker_mb"] = memory_mb("VmHWM", worker) - worker_before_mb
        expected = canvases.value_of(name, size)
        assert expected is None or result == expected, result
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # not: the handles of what was sent, one by one
