"""States, ignored results, and results that the other side's client reads."""

from __future__ import annotations

import json

import pytest

from processes import Producer


@pytest.fixture(scope="module", params=["celery", "celeriac"])
def reader(request, pair):
    """A client that did not send the task, of each kind."""
    producer = Producer(request.param, pair.url, pair.queue)
    yield producer
    producer.stop()


def document(pair, task_id):
    return json.loads(pair.redis.get(f"celery-task-meta-{task_id}"))


def test_a_task_nobody_knows_is_pending(pair):
    assert pair.ask("app.AsyncResult('never-sent').state") == "PENDING"


def test_a_running_task_is_started_and_names_its_worker(pair):
    gate, key = f"{pair.queue}:gate", f"{pair.queue}:go"
    task_id = pair.ask(f"tasks.hold.delay({gate!r}, {key!r}).id")
    hostname = pair.redis.blpop([gate], timeout=20)[1].decode()
    assert pair.ask(f"app.AsyncResult({task_id!r}).state") == "STARTED"
    started = document(pair, task_id)
    pair.redis.rpush(key, "on")
    assert started["result"]["hostname"] == hostname
    assert isinstance(started["result"]["pid"], int)
    assert pair.ask(f"app.AsyncResult({task_id!r}).get(timeout=20)") == "on"


def test_a_state_of_the_tasks_own_is_seen_with_its_meta(pair):
    gate, key = f"{pair.queue}:progress", f"{pair.queue}:progress-go"
    task_id = pair.ask(f"tasks.progress.delay({gate!r}, {key!r}).id")
    pair.redis.blpop([gate], timeout=20)
    seen = pair.ask(f"(lambda r: (r.state, r.result))(app.AsyncResult({task_id!r}))")
    pair.redis.rpush(key, "on")
    assert seen == ("PROGRESS", {"done": 3, "of": 7})
    assert pair.ask(f"app.AsyncResult({task_id!r}).get(timeout=20)") is None


def test_a_success_is_ready_and_successful(pair):
    result = "(lambda r: (r.get(timeout=20), r.state, r.ready(), r.successful(), r.failed()))"
    assert pair.ask(f"{result}(tasks.add.delay(1, 2))") == (3, "SUCCESS", True, True, False)


def test_an_ignored_result_is_none_at_once_and_nothing_is_stored(pair):
    key = f"{pair.queue}:silent"
    task_id, value = pair.ask(
        f"(lambda r: (r.id, r.get(timeout=5)))(tasks.silent.delay({key!r}))",
    )
    assert value is None
    assert pair.redis.blpop([key], timeout=20) is not None
    assert pair.ask("tasks.add.delay(1, 2).get(timeout=20)") == 3
    assert pair.redis.get(f"celery-task-meta-{task_id}") is None


def test_ignore_result_can_be_asked_for_by_call(pair):
    task_id = pair.ask("tasks.add.apply_async((1, 2), ignore_result=True).id")
    assert pair.ask("tasks.add.delay(1, 2).get(timeout=20)") == 3
    assert pair.redis.get(f"celery-task-meta-{task_id}") is None


def test_a_forgotten_result_is_gone(pair):
    forget = "(lambda r: (r.get(timeout=20), r.forget(), r.state))(tasks.add.delay(1, 2))"
    assert pair.ask(forget) == (3, None, "PENDING")


def test_a_result_is_read_by_clients_of_both_kinds(pair, reader):
    task_id = pair.ask("(lambda r: (r.get(timeout=20), r.id))(tasks.echo.delay([1, None]))")[1]
    read = "(lambda r: (r.get(timeout=20), r.state, r.id))"
    assert reader.ask(f"{read}(app.AsyncResult({task_id!r}))") == ([1, None], "SUCCESS", task_id)


def test_a_failure_is_read_by_clients_of_both_kinds(pair, reader):
    call = "tasks.fail_custom.delay(7, 'seven')"
    task_id = pair.ask(f"(lambda r: (r.get(timeout=20, propagate=False) and r.id))({call})")
    read = f"app.AsyncResult({task_id!r}).get(timeout=20, propagate=False)"
    assert reader.text(read) == "CustomError(7, 'seven')"


def test_a_stored_result_has_an_expiry_of_a_day(pair):
    task_id = pair.ask("(lambda r: (r.get(timeout=20), r.id))(tasks.add.delay(1, 2))")[1]
    assert 86_300 < pair.redis.ttl(f"celery-task-meta-{task_id}") <= 86_400
