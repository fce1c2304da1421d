"""A worker and a child in two processes, linked by a socket pair."""

import datetime as dt
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest

from celeriac import _native
from celeriac.exceptions import OperationalError

SLOT = 2
PATIENCE_S = 20.0


def publish(url, task_id, *args):
    publisher = _native.Publisher(url)
    template = _native.Template(task="t.work", origin="gen1@here", exchange="", routing_key="jobs")
    publisher.publish(template, args, {}, {"task_id": task_id}, None, PATIENCE_S)


@pytest.fixture
def url():
    return f"memory:///{uuid.uuid4()}"


@pytest.fixture
def intake(url):
    intake = _native.Intake(
        url, None, [{"name": "jobs"}], node="w@here", prefetch=100, results=_native.ResultStore(url)
    )
    intake.start()
    yield intake
    intake.close(PATIENCE_S)


@pytest.fixture
def child(intake):
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("link_child.py")), str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    theirs.close()
    link = _native.ChildLink(intake, SLOT, ours.detach())
    assert wait_for(intake, 1)[0].kind == "ready"
    yield process, link
    link.close()
    process.kill()
    process.wait(PATIENCE_S)


def wait_for(intake, count):
    """Waits for events; returns them in order."""
    events = []
    deadline = time.monotonic() + PATIENCE_S
    while len(events) < count:
        assert time.monotonic() < deadline, f"only {events}"
        for event in intake.next_events(count - len(events), 1.0):
            events += said(event)
    return events


class Said(NamedTuple):
    """One of the two events that "executed" stands for."""

    kind: str
    slot: int
    seq: int
    code: int = 0
    document: bytes | None = None
    detail: bytes = b""


def said(event):
    """Parts an event that came for several."""
    if getattr(event, "kind", "") != "executed":
        return [event]
    parts = []
    for seq, code, document, detail in event.executed:
        parts.append(Said("taken", event.slot, seq))
        parts.append(Said("outcome", event.slot, seq, code, document, detail or b""))
    return parts


def give(link, *jobs):
    """Sends jobs, each `(seq, delivery, extra)`, in one write."""
    for job in jobs:
        link.send(*job)
    link.flush()


def test_a_delivery_is_executed_by_the_child_and_its_outcome_comes_back(intake, child, url):
    _process, link = child
    publish(url, "id-1", 1, 2)
    (delivery,) = wait_for(intake, 1)
    assert (delivery.task, delivery.id, delivery.queue) == ("t.work", "id-1", "jobs")
    give(link, (5, delivery, b""))
    taken, outcome = wait_for(intake, 2)
    assert (taken.kind, taken.slot, taken.seq) == ("taken", SLOT, 5)
    assert (outcome.kind, outcome.slot, outcome.seq, outcome.code) == ("outcome", SLOT, 5, 7)
    assert outcome.document == b'{"id": "id-1"}'
    body_bytes = len(delivery.raw_body())
    assert outcome.detail.decode() == repr(("t.work", "id-1", "jobs", body_bytes, 2))


def test_the_document_is_stored_with_the_ack(intake, child, url):
    _process, link = child
    publish(url, "id-1")
    (delivery,) = wait_for(intake, 1)
    give(link, (1, delivery, b""))
    _taken, outcome = wait_for(intake, 2)
    intake.settle(delivery, "ack", document=outcome.document)
    assert intake.flush(PATIENCE_S)
    assert delivery.is_settled
    assert intake.held == 0
    assert _native.ResultStore(url).get("id-1", PATIENCE_S) == b'{"id": "id-1"}'


def test_a_killed_child_is_gone_and_what_it_took_up_is_known(intake, child, url):
    process, link = child
    for number in (1, 2):
        publish(url, f"id-{number}")
    first, second = wait_for(intake, 2)
    give(link, (1, first, b"hang"), (2, second, b""))
    (taken,) = wait_for(intake, 1)
    assert (taken.kind, taken.seq) == ("taken", 1)
    process.send_signal(signal.SIGKILL)
    (gone,) = wait_for(intake, 1)
    assert (gone.kind, gone.slot) == ("gone", SLOT)
    give(link, (3, second, b""))  # swallowed: "gone" was the answer


def test_a_recall_gives_back_what_is_not_taken_up(intake, child, url):
    process, link = child
    for number in range(4):
        publish(url, f"id-{number}")
    deliveries = wait_for(intake, 4)
    waiting = ((seq, delivery, b"") for seq, delivery in enumerate(deliveries[1:], 11))
    give(link, (10, deliveries[0], b"hang"), *waiting)
    (taken,) = wait_for(intake, 1)
    assert (taken.kind, taken.seq) == ("taken", 10)
    link.recall()
    (recalled,) = wait_for(intake, 1)
    assert (recalled.kind, recalled.seqs) == ("recalled", [11, 12, 13])
    process.kill()


def test_a_body_of_20_megabytes_reaches_the_child(intake, child, url):
    _process, link = child
    publish(url, "large", "x" * 20_000_000)
    (delivery,) = wait_for(intake, 1)
    give(link, (1, delivery, b""))
    _taken, outcome = wait_for(intake, 2)
    assert f" {len(delivery.raw_body())}, 1)" in outcome.detail.decode()
    assert len(delivery.raw_body()) > 20_000_000


def test_a_stopped_child_ends_after_its_jobs(intake, child, url):
    process, link = child
    publish(url, "id-1")
    (delivery,) = wait_for(intake, 1)
    give(link, (1, delivery, b""))
    link.stop()
    assert [event.kind for event in wait_for(intake, 3)] == ["taken", "outcome", "gone"]
    assert process.wait(PATIENCE_S) == 0


def test_a_child_whose_worker_closes_the_link_ends(child):
    process, link = child
    link.close()
    assert process.wait(PATIENCE_S) == 0
    with pytest.raises(OperationalError, match="the link to this child is closed"):
        link.recall()


@pytest.mark.parametrize("make", [os.pipe, lambda: (os.open(os.devnull, os.O_RDONLY), None)])
def test_a_descriptor_that_is_no_stream_socket_is_refused(make):
    fd, other = make()
    try:
        with pytest.raises(OSError, match="socket"):
            _native.ChildChannel(fd)
        os.fstat(fd)  # still open: it was not taken over
    finally:
        os.close(fd)
        if other is not None:
            os.close(other)


def test_a_closed_descriptor_is_refused():
    with pytest.raises(OSError, match="descriptor"):
        _native.ChildChannel(999_999)


def test_an_eta_is_handed_out_when_it_is_due(intake, url):
    publisher = _native.Publisher(url)
    template = _native.Template(task="t.work", origin="gen1@here", exchange="", routing_key="jobs")
    soon = dt.datetime.now(dt.timezone.utc).replace(microsecond=0) + dt.timedelta(minutes=5)
    for task_id, eta in (("near", soon.isoformat()), ("far", "2999-01-01T00:00:00+00:00")):
        publisher.publish(template, (), {}, {"task_id": task_id, "eta": eta}, None, PATIENCE_S)
    publish(url, "now")
    (now,) = wait_for(intake, 1)
    assert now.id == "now"
    # The broker keeps the far one.
    ((due_ms, delayed),) = intake.delayed()
    assert (due_ms, delayed.id) == (soon.timestamp() * 1000, "near")
    assert [delivery.id for delivery in intake.cancel_delayed("near")] == ["near"]
    assert intake.delay_until(delayed, 0)
    (due,) = wait_for(intake, 1)
    assert due.id == "near"
    assert not intake.delay_until(due, 32_472_144_000_000)


def test_what_is_unsettled_goes_back_to_its_queue_in_order_when_the_intake_closes(url):
    for number in range(3):
        publish(url, f"id-{number}")
    for _ in range(2):
        intake = _native.Intake(
            url, None, [{"name": "jobs"}], node="w@here", prefetch=10, results=None
        )
        intake.start()
        assert [event.id for event in wait_for(intake, 3)] == ["id-0", "id-1", "id-2"]
        intake.close(PATIENCE_S)


def test_an_unknown_verdict_names_those_that_exist(intake, url):
    publish(url, "id-1")
    (delivery,) = wait_for(intake, 1)
    with pytest.raises(ValueError, match='unknown verdict "drop": expected "ack", "requeue"'):
        intake.settle(delivery, "drop")
    assert not delivery.is_settled


def test_a_signal_ends_a_long_wait_at_once_through_the_wakeup_descriptor(intake):
    seen = []
    before = signal.signal(signal.SIGUSR2, lambda number, _frame: seen.append(number))
    fd = signal.set_wakeup_fd(intake.wakeup_fd)
    killer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR2))
    try:
        killer.start()
        started = time.monotonic()
        assert intake.next_events(10, PATIENCE_S) == []
        waited_s = time.monotonic() - started
        assert seen == [signal.SIGUSR2]
        assert waited_s < 0.9  # a slice is 1 s: only the descriptor can end it before
    finally:
        signal.set_wakeup_fd(fd)
        signal.signal(signal.SIGUSR2, before)
        killer.join()


def test_a_signal_without_the_descriptor_gets_its_handler_within_a_slice(intake):
    def interrupt(_number, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR2, interrupt)
    killer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR2))
    try:
        killer.start()
        with pytest.raises(KeyboardInterrupt):
            intake.next_events(10, PATIENCE_S)
    finally:
        signal.signal(signal.SIGUSR2, before)
        killer.join()


def test_an_intake_of_the_parent_is_refused_in_a_forked_child(intake):
    pid = os.fork()
    if pid == 0:
        try:
            intake.next_events(1, 0.0)
        except OperationalError:
            os._exit(0)
        except BaseException:  # noqa: BLE001 the child must not return into pytest
            os._exit(2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
