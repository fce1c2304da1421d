"""Sends canvases, waits for their values, prints one JSON line for each.

With the argument ``inside`` and a pool, a worker runs in this process, for the memory broker.
"""

import json
import sys
import threading

import canvas_tasks as tasks

import celeriac as flavour
from celeriac import chain, chord, group

NAMES = {"tasks": tasks, "flavour": flavour, "chain": chain, "chord": chord, "group": group}


def outcome(handle):
    try:
        return {"value": handle.get(timeout=tasks.given.get("wait_s", 120))}
    except Exception as error:  # noqa: BLE001 - told to the test
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    if sys.argv[1:2] == ["inside"]:
        inside = tasks.app.Worker(pool=sys.argv[2], concurrency=3, loglevel="WARNING")
        threading.Thread(target=inside.start, daemon=True).start()
    texts = json.loads(sys.stdin.readline())
    handles = [eval(text, dict(NAMES)).apply_async() for text in texts]
    print("all sent", flush=True)
    for number, handle in enumerate(handles):
        print(f"canvas {number} {json.dumps(outcome(handle))}", flush=True)
    print("all done", flush=True)


if __name__ == "__main__":
    main()
