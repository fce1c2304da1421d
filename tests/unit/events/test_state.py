"""The state that monitors keep, event for event the same as Celery's."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
from celery.events.state import State as CelerysState
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac import pickles
from celeriac.events.state import State, Task, Worker, heartbeat_expires

NODES = ("w1@a", "w2@a")
IDS = ("1", "2", "3")
SUBJECTS = (
    "sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected", "custom"
)  # fmt: skip


def event(kind: str, clock: int = 1, **fields: Any) -> dict[str, Any]:
    now = fields.pop("timestamp", 1_000.0 + clock)
    common = {"hostname": "w1@a", "pid": 1, "timestamp": now, "local_received": now}
    return {**common, "clock": clock, **fields, "type": kind}


WORKER_EVENTS = st.builds(
    lambda word, node, clock: event(
        f"worker-{word}", clock, hostname=node, freq=2.0, active=clock, processed=1
    ),
    st.sampled_from(("online", "heartbeat", "offline")),
    st.sampled_from(NODES),
    st.integers(1, 50),
)
TASK_EVENTS = st.builds(
    lambda word, task_id, node, clock, parent: event(
        f"task-{word}",
        clock,
        uuid=task_id,
        hostname=node,
        **(
            {"name": f"t{task_id}", "args": str(clock), "parent_id": parent}
            if word in "sent received"
            else {}
        ),
        **({"result": str(clock), "runtime": 0.1} if word == "succeeded" else {}),
        **({"exception": f"E({clock})"} if word in "failed retried" else {}),
    ),
    st.sampled_from(SUBJECTS),
    st.sampled_from(IDS),
    st.sampled_from(NODES),
    st.integers(1, 50),
    st.sampled_from((None, *IDS)),
)


def known(state: Any) -> dict[str, Any]:
    """Everything that a state knows, without objects of either kind."""
    tasks = {
        task_id: {
            **{name: value for name, value in task.as_dict().items() if name != "worker"},
            "worker": task.worker and task.worker.hostname,
            "children": sorted(task.as_dict()["children"]),
            "origin": task.origin,
            "info": task.info(),
        }
        for task_id, task in state.itertasks()
    }
    fields = ("pid", "freq", "heartbeats", "active", "processed")
    workers = {
        name: {field: getattr(worker, field) for field in fields}
        for name, worker in state.workers.items()
    }
    return {
        "tasks": tasks,
        "workers": workers,
        "types": state.task_types(),
        "counts": (state.event_count, state.task_count),
    }


@settings(deadline=None, max_examples=50)
@given(st.lists(st.one_of(WORKER_EVENTS, TASK_EVENTS), max_size=30))
def test_whatever_comes_both_know_the_same(events: list[dict[str, Any]]) -> None:
    ours, theirs = State(), CelerysState()
    for each in events:
        ours.event(copy.deepcopy(each))
        theirs.event(copy.deepcopy(each))
    assert known(ours) == known(theirs)


@settings(deadline=None, max_examples=50)
@given(st.lists(TASK_EVENTS, max_size=20, unique_by=lambda each: each["clock"]))
def test_tasks_by_time_have_the_order_of_celerys(events: list[dict[str, Any]]) -> None:
    ours, theirs = State(), CelerysState()
    for each in events:
        ours.event(copy.deepcopy(each))
        theirs.event(copy.deepcopy(each))
    for reverse in (True, False):
        order = [task_id for task_id, _ in ours.tasks_by_time(reverse=reverse)]
        assert order == [task_id for task_id, _ in theirs.tasks_by_time(reverse=reverse)]
        for name in theirs.task_types():
            found = [task_id for task_id, _ in ours.tasks_by_type(name, reverse=reverse)]
            assert found == [task_id for task_id, _ in theirs.tasks_by_type(name, reverse=reverse)]


def test_a_worker_is_alive_until_two_heartbeats_are_missing() -> None:
    now = time.time()
    assert heartbeat_expires(100.0, freq=2.0) == 104.0
    assert Worker("w", freq=2.0, heartbeats=[now - 3.0]).alive
    assert not Worker("w", freq=2.0, heartbeats=[now - 5.0]).alive
    assert not Worker("w").alive


def test_joining_and_leaving_are_told_and_who_left_is_forgotten() -> None:
    joined: list[Any] = []
    left: list[Any] = []
    state = State(on_node_join=joined.append, on_node_leave=left.append)
    state.event(event("worker-online"))
    state.event(event("worker-heartbeat", 2))
    state.event(event("worker-offline", 3))
    assert [worker.hostname for worker in joined] == ["w1@a"] == [one.hostname for one in left]
    assert not state.workers


def test_no_more_tasks_and_places_are_kept_than_asked_for() -> None:
    state = State(max_tasks_in_memory=10)
    for number in range(100):
        state.event(event("task-received", number + 1, uuid=str(number), name="t"))
    assert sorted(state.tasks) == sorted(str(number) for number in range(90, 100))
    assert len(list(state.tasks_by_time())) == 10
    assert len(state._taskheap) == 40


def test_clearing_keeps_what_has_not_ended() -> None:
    state = State()
    for task_id, word in (("1", "started"), ("2", "succeeded")):
        state.event(event(f"task-{word}", uuid=task_id))
    state.clear_tasks()
    assert list(state.tasks) == ["1"]
    assert state.freeze_while(lambda: 5, clear_after=True) == 5
    assert not state.workers
    state.clear_tasks(ready=False)
    assert not state.tasks


def test_a_state_survives_pickling() -> None:
    state = State()
    state.event(event("task-received", uuid="1", name="t", root_id="1"))
    state.event(event("task-received", 2, uuid="2", name="t", parent_id="1", root_id="1"))
    again = pickles.loads(pickles.dumps(state))
    assert known(again) == {**known(state), "types": [], "counts": (0, 0)} | {
        "tasks": {
            task_id: {**one, "children": []} for task_id, one in known(state)["tasks"].items()
        }
    }
    assert {task.id for task in again.tasks_by_type["t"]} == {"1", "2"}


@pytest.mark.parametrize("group", ["custom", "task"])
def test_a_handler_of_a_group_takes_its_events(group: str) -> None:
    state = State()
    heard = []
    state.handlers[group] = lambda subject, fields: heard.append((subject, fields["n"]))
    state.event(event(f"{group}-progress", n=5, uuid="1"))
    assert heard == [("progress", 5)]
    assert not state.tasks


def test_an_event_of_an_unknown_group_changes_nothing_but_the_count() -> None:
    state = State()
    assert state.event(event("custom-thing")) is None
    assert (state.event_count, len(state.tasks)) == (1, 0)


def test_parent_and_root_are_found_where_they_are_known() -> None:
    state = State()
    state.event(event("task-received", uuid="2", name="t", parent_id="1", root_id="1"))
    assert state.tasks["2"].parent is None
    state.event(event("task-received", 2, uuid="1", name="t"))
    assert state.tasks["2"].parent is state.tasks["2"].root is state.tasks["1"]
    assert Task("x").parent is None
