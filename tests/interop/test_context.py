"""What a task sees of its request is the same on both workers."""

from __future__ import annotations

import ast
import uuid

import pytest

# Calls, and what `tasks.context` must report for each beyond the common ground.
CALLS = [
    {},
    {"args": (1, "x"), "kwargs": {"y": [2]}},
    {"headers": {"tenant": "blue", "n": 5}},
    {"priority": 3},
    {"shadow": "another-name"},
    {"root_id": "root", "parent_id": "parent"},
    {"group_id": "some-group", "group_index": 4},
    {"retries": 2},
    {"argsrepr": "(secret)", "kwargsrepr": "{hidden}"},
    {"correlation_id": "correlated"},
]
BASIS = {
    "retries": 0,
    "is_eager": False,
    "called_directly": False,
    "lang": "py",
    "task": "tasks.context",
    "group": None,
    "group_index": None,
    "eta": None,
    "expires": None,
    "timelimit": [None, None],
    "callbacks": None,
    "errbacks": None,
    "chain": None,
    "chord": None,
    "shadow": None,
    "parent_id": None,
    "ignore_result": False,
    "replaced_task_nesting": 0,
    "current_task": "tasks.context",
    "reply_to_is_set": True,
    "origin_is_a_generator": True,
    "hostname_has_a_node": True,
}


def test_the_request_of_a_plain_call(pair):
    task_id, seen = pair.ask("(lambda r: (r.id, r.get(timeout=20)))(tasks.context.delay(1, k=2))")
    assert {name: seen[name] for name in BASIS} == BASIS
    assert seen["id"] == seen["root_id"] == seen["correlation_id"] == task_id
    assert seen["args"] == [1]
    assert seen["kwargs"] == {"k": 2}
    assert seen["argsrepr"] == "(1,)"
    assert seen["kwargsrepr"] == "{'k': 2}"
    assert seen["delivery_info"] == {
        "exchange": "",
        "routing_key": pair.queue,
        "priority": 0,
        "redelivered": False,
    }


@pytest.mark.parametrize("options", CALLS, ids=str)
def test_the_request_is_what_celery_shows(pair, control, options):
    assert neutral(pair, options) == neutral(control, options)


def neutral(pair, options):
    """The request of a call, its own id and its queue replaced by words."""
    task_id = str(uuid.uuid4())
    call = f"tasks.context.apply_async(task_id={task_id!r}, **{options!r}).get(timeout=20)"
    seen = pair.producer.text(call)
    return ast.literal_eval(seen.replace(task_id, "<id>").replace(pair.queue, "<queue>"))
