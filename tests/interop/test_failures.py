"""Exceptions, refusals and expiry between the real Celery and celeriac, each way."""

from __future__ import annotations

import pytest

from processes import RemoteError

BUILT_IN = [
    ("'KeyError', 'k', 1", "builtins.KeyError", "('k', 1)"),
    ("'ValueError', 'text'", "builtins.ValueError", "('text',)"),
    ("'ZeroDivisionError'", "builtins.ZeroDivisionError", "()"),
    ("'OSError', 2, 'gone'", "builtins.FileNotFoundError", "(2, 'gone')"),
]


@pytest.mark.parametrize(("call", "name", "args"), BUILT_IN, ids=[name for _, name, _ in BUILT_IN])
def test_a_built_in_exception_is_raised_again_with_its_arguments(pair, call, name, args):
    with pytest.raises(RemoteError) as raised:
        pair.ask(f"tasks.fail.delay({call}).get(timeout=20)")
    assert (raised.value.name, raised.value.args_text) == (name, args)


def test_a_users_exception_is_raised_again_as_its_own_class(pair):
    with pytest.raises(RemoteError) as raised:
        pair.ask("tasks.fail_custom.delay(7, 'seven').get(timeout=20)")
    assert raised.value.name == "errors.CustomError"
    assert raised.value.args_text == "(7, 'seven')"


def test_an_unpicklable_exception_still_tells_its_class_and_text(pair):
    with pytest.raises(RemoteError) as raised:
        pair.ask("tasks.fail_unpicklable.delay('stuck').get(timeout=20)")
    assert "UnpicklableError" in raised.value.name + raised.value.text
    assert "stuck" in raised.value.text


def test_a_failure_is_a_state_with_the_exception_and_its_traceback(pair):
    result = "(lambda r: (r.get(timeout=20, propagate=False), r.state, r.failed(), r.traceback))"
    text = pair.producer.text(f"{result}(tasks.fail.delay('KeyError', 'k'))")
    assert text.startswith("(KeyError('k'), 'FAILURE', True, 'Traceback (most recent call last):")
    assert "in fail" in text


def test_a_result_that_json_cannot_carry_fails_the_task(pair):
    with pytest.raises(RemoteError) as raised:
        pair.ask("tasks.unencodable.delay().get(timeout=20)")
    assert raised.value.name.endswith(".EncodeError")
    assert "set" in raised.value.text


def test_an_unknown_task_fails_as_not_registered(pair):
    with pytest.raises(RemoteError) as raised:
        pair.ask("app.send_task('tasks.nowhere').get(timeout=20)")
    assert raised.value.name.endswith("exceptions.NotRegistered")
    assert "tasks.nowhere" in raised.value.text


def test_an_argument_json_cannot_carry_is_refused_at_the_call(pair):
    with pytest.raises(RemoteError) as raised:
        pair.ask("tasks.echo.delay({1, 2})")
    assert any(base.endswith(".EncodeError") for base in raised.value.bases)


def test_wrong_arguments_are_refused_at_the_call(pair):
    with pytest.raises(RemoteError) as raised:
        pair.ask("tasks.add.delay(1)")
    assert raised.value.name == "builtins.TypeError"


def test_an_expired_task_ends_revoked(pair):
    with pytest.raises(RemoteError) as raised:
        pair.ask("tasks.add.apply_async((1, 2), expires=-1).get(timeout=20)")
    assert raised.value.name.endswith("exceptions.TaskRevokedError")
    assert raised.value.args_text == "('expired',)"


def test_a_rejected_task_keeps_the_worker_alive(pair):
    pair.ask("tasks.reject.delay().id")
    assert pair.ask("tasks.add.delay(1, 2).get(timeout=20)") == 3


def test_an_ignored_task_stores_no_result(pair):
    task_id = pair.ask("tasks.ignore.delay().id")
    assert pair.ask("tasks.add.delay(1, 2).get(timeout=20)") == 3
    assert pair.ask(f"app.AsyncResult({task_id!r}).state") == "PENDING"


def test_an_errback_in_the_new_style_gets_request_exception_and_traceback(pair):
    key = f"{pair.queue}:errback"
    call = f"tasks.fail.apply_async(('KeyError', 'k'), link_error=tasks.note_failure.s({key!r}))"
    task_id = pair.ask(f"{call}.id")
    answer = pair.redis.blpop([key], timeout=20)
    assert answer is not None
    assert answer[1].decode() == f"{task_id} KeyError('k') True"


def test_an_errback_in_the_old_style_gets_the_task_id(pair):
    key = f"{pair.queue}:errback-by-id"
    errback = f"tasks.note_failure_by_id.s({key!r})"
    task_id = pair.ask(f"tasks.fail.apply_async(('KeyError', 'k'), link_error={errback}).id")
    answer = pair.redis.blpop([key], timeout=20)
    assert answer is not None
    assert answer[1].decode() == task_id
