"""What workers tell monitors: the table of outcomes, and real workers of each pool on SQLite."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from running import TASKS, Running, until

from celeriac import Celery
from celeriac.worker.call import Report
from celeriac.worker.events import TaskEvents, WorkerEvents
from celeriac.worker.outcome import (
    Expired,
    Failed,
    HandedBack,
    Ignored,
    NotRegisteredHere,
    Poisonous,
    Rejected,
    Retried,
    Revoked,
    Succeeded,
    TimedOut,
    WorkerLost,
)
from celeriac.worker.settle import AckPolicy

RAISED = {"exception": "KeyError('a')", "traceback": "Traceback ..."}
EARLY, LATE = AckPolicy(), AckPolicy(acks_late=True)
STRICT = AckPolicy(acks_late=True, acks_on_failure=False, acks_on_timeout=False)
AGAIN = AckPolicy(acks_late=True, reject_on_worker_lost=True)
FAILED = ("task-failed", RAISED)
LOST = WorkerLost("Worker exited prematurely: signal 9 (SIGKILL).")
LOST_TOLD = {"exception": f"WorkerLostError({LOST.cause!r})", "traceback": None}
TIMED_OUT = ("task-failed", {"exception": "TimeLimitExceeded(5)", "traceback": None})
REVOKED = {"terminated": False, "signum": None, "expired": False}


class Sent:
    """A dispatcher that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.flushed = 0

    def send(self, kind: str, **fields: Any) -> None:
        self.events.append((kind, fields))

    def flush(self) -> None:
        self.flushed += 1


def request(policy: AckPolicy = EARLY, *, sends: bool = True) -> Any:
    task = SimpleNamespace(send_events=sends)
    return SimpleNamespace(id="1", task=task, task_name="t", policy=policy)


def told_of(report: Report, policy: AckPolicy) -> list[Any]:
    sent = Sent()
    TaskEvents(sent, flushes_starts=False).ended(request(policy), report)
    assert all(fields.pop("uuid") == "1" for _, fields in sent.events)
    return sent.events


@pytest.mark.parametrize(
    ("report", "policy", "events"),
    [
        (
            Report(Succeeded(), None, {"result": "3", "runtime": 0.5}),
            EARLY,
            [("task-succeeded", {"result": "3", "runtime": 0.5})],
        ),
        (Report(Failed(), None, RAISED), EARLY, [FAILED]),
        (Report(Failed(), None, RAISED), LATE, [FAILED]),
        (
            Report(Failed(), None, RAISED),
            STRICT,
            [FAILED, ("task-rejected", {"requeue": False})],
        ),
        (Report(Retried(), None, RAISED), EARLY, [("task-retried", RAISED)]),
        (Report(Ignored(), None, RAISED), EARLY, []),
        (Report(Rejected(requeue=False), None, RAISED), EARLY, [FAILED]),
        (Report(Rejected(requeue=True), None, RAISED), EARLY, []),
        (
            Report(Rejected(requeue=True), None, RAISED),
            LATE,
            [("task-rejected", {"requeue": True})],
        ),
        (Report(Expired()), EARLY, [("task-revoked", {**REVOKED, "expired": True})]),
        (Report(Revoked("revoked")), EARLY, [("task-revoked", REVOKED)]),
        (Report(Revoked("terminated")), EARLY, []),
        (Report(LOST), EARLY, [("task-failed", LOST_TOLD)]),
        (Report(LOST), AGAIN, [("task-rejected", {"requeue": True})]),
        (Report(WorkerLost("", in_cold_stop=True)), LATE, [("task-cancelled", {})]),
        (Report(TimedOut(5.0)), LATE, [TIMED_OUT]),
        (Report(TimedOut(5.0)), STRICT, [TIMED_OUT, ("task-rejected", {"requeue": True})]),
        (Report(HandedBack()), LATE, []),
    ],
    ids=str,
)
def test_each_outcome_has_the_events_of_celery(
    report: Report, policy: AckPolicy, events: list[Any]
) -> None:
    assert told_of(report, policy) == events


def test_an_end_that_was_not_described_is_told_without_its_value() -> None:
    assert told_of(Report(Succeeded()), EARLY) == [
        ("task-succeeded", {"result": None, "runtime": None})
    ]


def test_a_task_that_sends_no_events_is_not_told_of() -> None:
    sent = Sent()
    events = TaskEvents(sent, flushes_starts=False)
    silent = request(sends=False)
    events.started(silent)
    events.ended(silent, Report(Succeeded()))
    events.revoked(silent)
    assert sent.events == []


def test_a_message_of_a_task_that_nobody_knows_is_a_failure_and_other_bad_ones_are_not() -> None:
    sent = Sent()
    events = TaskEvents(sent, flushes_starts=False)
    message: Any = SimpleNamespace(id="1", task="proj.gone")
    events.turned_away(message, NotRegisteredHere())
    events.turned_away(message, Poisonous("no id"))
    assert sent.events == [
        ("task-failed", {"uuid": "1", "exception": "NotRegistered('proj.gone')"})
    ]


def test_a_start_that_keeps_the_thread_is_sent_at_once() -> None:
    sent = Sent()
    TaskEvents(sent, flushes_starts=True).started(request())
    assert sent.flushed == 1


def test_nothing_is_made_while_nobody_wants_to_know(app: Celery) -> None:
    described: list[bool] = []
    loop = SimpleNamespace(events=None, census=None)
    pool = SimpleNamespace(name="solo", describe=lambda *, wanted: described.append(wanted))
    events = WorkerEvents(app, "w@h", loop, pool, 0)
    events.start(None, with_tasks=False)
    assert loop.events is None
    assert events.enable_tasks()
    assert not events.enable_tasks()
    assert isinstance(loop.events, TaskEvents)
    assert events.disable_tasks()
    assert not events.disable_tasks()
    assert loop.events is None
    assert described == [True, False]


# Real workers --------------------------------------------------------------------------------

WAIT_S = 20.0


class Watch:
    """All events on a broker, heard in a thread."""

    def __init__(self, app: Celery) -> None:
        self.events: list[dict[str, Any]] = []
        self._listens = threading.Event()
        self.receiver = app.events.Receiver(None, handlers={"*": self.events.append})
        self.receiver.on_consume_ready = lambda *_, **__: self._listens.set()
        self._thread = threading.Thread(target=self.receiver.capture, daemon=True)

    def __enter__(self) -> Watch:  # noqa: PYI034 - as its tests read it
        self._thread.start()
        assert self._listens.wait(WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.receiver.should_stop = True
        self._thread.join(WAIT_S)

    def types(self, task_id: str) -> list[str]:
        return [event["type"] for event in self.events if event.get("uuid") == task_id]

    def of(self, task_id: str, kind: str) -> dict[str, Any]:
        until(lambda: kind in self.types(task_id))
        return next(
            event for event in self.events if event.get("uuid") == task_id and event["type"] == kind
        )


@pytest.fixture
def proj(tmp_path: Any) -> Celery:
    (tmp_path / "proj.py").write_text(
        TASKS
        + """
@app.task(bind=True)
def progress(self):
    self.send_event("task-progress", percent=50)

@app.task
def fail():
    raise KeyError("a")
"""
    )
    url = f"sqlite:///{tmp_path}/q.db"
    return Celery("proj", broker=url, backend=url, set_as_current=False)


@pytest.mark.parametrize("pool", ["solo", "threads", "aio", "prefork"])
def test_a_worker_of_each_pool_tells_how_its_tasks_ended(
    proj: Celery, tmp_path: Any, pool: str
) -> None:
    with (
        Watch(proj) as watch,
        Running(tmp_path, "-E", "-P", pool, "-c", "1", "--without-heartbeat") as worker,
    ):
        worker.ready()
        task_id = proj.send_task("proj.add", (20, 22)).id
        ended = watch.of(task_id, "task-succeeded")
        assert ended["result"] == "42"
        assert 0 <= ended["runtime"] < WAIT_S
        assert watch.types(task_id) == ["task-received", "task-started", "task-succeeded"]
        failed = watch.of(proj.send_task("proj.fail").id, "task-failed")
        assert failed["exception"] == "KeyError('a')"
        assert failed["traceback"].endswith("raise KeyError(\"a\")\nKeyError: 'a'\n")
        progress = watch.of(proj.send_task("proj.progress").id, "task-progress")
        assert progress["percent"] == 50
        assert not [event for event in watch.events if event["type"].startswith("worker-")]


def test_without_being_asked_a_worker_tells_only_that_it_lives(proj: Celery, tmp_path: Any) -> None:
    with (
        Watch(proj) as watch,
        Running(tmp_path, "-P", "solo", "-n", "w@h", "--heartbeat-interval", "1") as worker,
    ):
        worker.ready()
        task_id = proj.send_task("proj.add", (1, 2)).id
        until(lambda: [e["type"] for e in watch.events].count("worker-heartbeat") >= 2)
        worker.signal(15)
        until(lambda: watch.events[-1]["type"] == "worker-offline")
        assert watch.types(task_id) == []
        assert {(event["hostname"], event["freq"]) for event in watch.events} == {("w@h", 1.0)}
        assert watch.events[-1]["processed"] == 1


def test_a_task_that_is_terminated_is_told_of_once(proj: Celery, tmp_path: Any) -> None:
    with (
        Watch(proj) as watch,
        Running(tmp_path, "-E", "-P", "prefork", "-c", "1", "-n", "w@h") as worker,
    ):
        worker.ready()
        task_id = proj.send_task("proj.hold", ("begun", "never")).id
        until((tmp_path / "begun").exists)
        proj.control.revoke(task_id, terminate=True, signal="SIGKILL", reply=True, timeout=WAIT_S)
        revoked = watch.of(task_id, "task-revoked")
        assert (revoked["terminated"], revoked["signum"], revoked["expired"]) == (True, 9, False)
        # What comes after it has passed the end of that task.
        watch.of(proj.send_task("proj.add", (1, 2)).id, "task-succeeded")
        assert watch.types(task_id) == ["task-received", "task-started", "task-revoked"]
