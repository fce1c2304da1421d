"""Random canvases on every broker and pool: each gives the value of a plain evaluation.

``CELERIAC_TEST_CANVASES=200`` draws so many for each, ``CELERIAC_TEST_SEED`` others.
"""

from __future__ import annotations

import contextlib
import json
import os

import pytest
from fleet import Process, places, worker
from random_canvas import several

pytestmark = pytest.mark.timeout(600)
COUNT = int(os.environ.get("CELERIAC_TEST_CANVASES", "8"))
SEED = int(os.environ.get("CELERIAC_TEST_SEED", "1000"))
#: Chords in groups at the end of a header's chain: they were counted in the wrong group once.
HARD = (5004, 5037, 5042, 5060)
POOLS = ("solo", "threads", "prefork", "aio")
CELLS = [(broker, pool) for broker in ("sqlite", "redis", "rabbitmq") for pool in POOLS]
CELLS += [("memory", pool) for pool in POOLS if pool != "prefork"]  # memory ends with its process


@pytest.mark.parametrize(("broker", "pool"), CELLS)
def test_a_random_canvas_has_the_value_of_a_plain_evaluation(broker, pool, redis_url, tmp_path):
    canvases = [*several(SEED, COUNT), *(several(seed, 1)[0] for seed in HARD)]
    with contextlib.ExitStack() as stack:
        given = stack.enter_context(places(broker, redis_url, tmp_path))
        inside = ()
        if broker == "memory":
            inside = ("inside", pool)
        else:
            concurrency = () if pool == "solo" else ("-c", "2")
            stack.enter_context(worker(given, pool, *concurrency)).wait_for(" ready.")
        sender = stack.enter_context(Process(given, "sender.py", *inside))
        sender.process.stdin.write(json.dumps([c.text() for c in canvases]).encode() + b"\n")
        sender.process.stdin.flush()
        sender.wait_for("all done", 500)
        found = [line for line in sender.text.splitlines() if line.startswith("canvas ")]
    expected = [
        f"canvas {number} {json.dumps({'value': canvas.value(None)})}"
        for number, canvas in enumerate(canvases)
    ]
    assert found == expected
