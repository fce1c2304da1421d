"""What a hard time limit leaves behind, beside the real Celery."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from processes import Producer, Worker

pytestmark = pytest.mark.timeout(180)
WAIT_S = 60


@pytest.fixture(params=["celery", "celeriac"])
def flavour(request):
    return request.param


@pytest.fixture
def producer(flavour, session_redis_url):
    """A producer of tasks for a worker with one child."""
    queue = f"timeouts-{uuid.uuid4().hex[:8]}"
    worker = Worker(flavour, session_redis_url, queue, "prefork", "-c", "1")
    producer = Producer("celery", session_redis_url, queue)
    yield producer
    producer.stop()
    assert worker.stop() == 0, worker.lines.text()


def test_a_late_task_that_is_not_acknowledged_on_timeout_has_failed_and_runs_again(
    producer, session_redis
):
    key = f"timeouts:{uuid.uuid4().hex[:8]}"
    producer.text(
        f"tasks.too_long_once.apply_async(({key!r},), time_limit=1,"
        f" link_error=tasks.note_failure.s({key!r}))"
    )
    found = [session_redis.blpop([key], timeout=WAIT_S)[1].decode() for _ in range(3)]
    task_id = found[0].partition(" ")[2]
    assert found[0] == f"begins {task_id}"
    assert found[1] == f"{task_id} TimeLimitExceeded(1) False"
    between = json.loads(found[2])
    assert (between["status"], between["result"]["exc_type"]) == ("FAILURE", "TimeLimitExceeded")
    session_redis.blpop([f"{key}:ends"], timeout=WAIT_S)
    deadline_s = time.monotonic() + WAIT_S
    while producer.ask(f"app.AsyncResult({task_id!r}).state") != "SUCCESS":
        assert time.monotonic() < deadline_s
    assert producer.ask(f"app.AsyncResult({task_id!r}).get(timeout=20)") == "the second time"
    assert session_redis.lpop(key) is None
