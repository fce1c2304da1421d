"""What waits in Rust leaves Python to other threads."""

import socket
import threading

import pytest

from celeriac import Celery
from celeriac._native import ChildChannel, Intake

WAIT_S = 0.3
#: Python counts so far in a few milliseconds; a thread that gets no turn does not count at all.
SOME = 1_000


@pytest.fixture
def counted():
    """Says how far another thread counts while something is done."""

    def count(action):
        ends, begun, seen = threading.Event(), threading.Event(), [0]

        def go_on():
            while not ends.is_set():
                seen[0] += 1
                begun.set()

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            assert begun.wait(20)
            before = seen[0]
            action()
            return seen[0] - before
        finally:
            ends.set()
            thread.join()

    return count


def test_other_threads_run_while_a_worker_waits_for_events(tmp_path, counted):
    url = f"sqlite:///{tmp_path}/q.db"
    app = Celery("t", broker=url, set_as_current=False)
    queues = [queue.as_spec() for queue in app.amqp.queues.consume_from.values()]
    intake = Intake(url, None, queues, node="w1@here", prefetch=1, results=None)
    intake.start()
    try:
        assert counted(lambda: intake.next_events(1, WAIT_S)) > SOME
    finally:
        intake.close(20)


def test_other_threads_run_while_a_child_waits_for_a_job(counted):
    ours, theirs = socket.socketpair()
    with ours:
        channel = ChildChannel(theirs.detach())
        assert counted(lambda: channel.next(WAIT_S)) > SOME
