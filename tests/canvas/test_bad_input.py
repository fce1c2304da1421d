"""What goes wrong on the way of a workflow fails its result: nobody waits for ever."""

from __future__ import annotations

import contextlib
import json

import pytest
from fleet import Process, places, worker

pytestmark = pytest.mark.timeout(120)
GOOD, LAST = "tasks.plus.s(1, 1)", "tasks.plus.s(1)"
BAD = {
    "tasks.app.signature('nowhere.task')": "NotRegistered: 'nowhere.task'",
    "tasks.unencodable.s()": "EncodeError: ",
    "tasks.flaky.s()": "KeyError: 'again'",
    "tasks.fail.s()": "KeyError: 'k'",
    "tasks.replaced_by_nothing.s()": "ImproperlyConfigured: canvas_tasks.replaced_by_nothing",
}
PLACES = {
    "end": f"{GOOD} | BAD",
    "middle": f"{GOOD} | BAD | {LAST}",
    "header": f"chord([{GOOD}, BAD], tasks.total.s()) | {LAST}",
    "chain in a header": f"chord([{GOOD} | BAD | {LAST}, {GOOD}], tasks.total.s()) | {LAST}",
    "body": f"chord([{GOOD}], BAD) | {LAST}",
    "before a group": f"{GOOD} | BAD | group({LAST}, {LAST}) | tasks.total.s()",
    "chord in a header": f"chord([chord([{GOOD}, BAD], tasks.total.s()), {GOOD}], tasks.total.s())",
}


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_workflow_with_a_bad_part_fails(broker, redis_url, tmp_path):
    cells = [(canvas.replace("BAD", bad), bad) for bad in BAD for canvas in PLACES.values()]
    with contextlib.ExitStack() as stack:
        given = stack.enter_context(places(broker, redis_url, tmp_path))
        stack.enter_context(worker(given, "solo")).wait_for(" ready.")
        sender = stack.enter_context(Process(given, "sender.py"))
        sender.process.stdin.write(json.dumps([f"({text})" for text, _ in cells]).encode() + b"\n")
        sender.process.stdin.flush()
        sender.wait_for("all done", 100)
        found = [line for line in sender.text.splitlines() if line.startswith("canvas ")]
    assert len(found) == len(cells)
    for line, (text, bad) in zip(found, cells, strict=True):
        error = json.loads(line.split(" ", 2)[2]).get("error", line)
        # Who asks for the last of several parts hears of the first, or of the chord it failed.
        assert error.startswith((BAD[bad], "ChordError: Dependency")), (text, error)
