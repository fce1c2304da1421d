"""Calls and values between the real Celery and celeriac, each way."""

from __future__ import annotations

import pytest

# Text of a value, and of what arrives: JSON has no tuples, and its keys are strings.
VALUES = [
    ("None", "None"),
    ("True", "True"),
    ("0", "0"),
    ("-1", "-1"),
    ("2**63", "9223372036854775808"),
    ("-(2**200)", str(-(2**200))),
    ("0.1", "0.1"),
    ("1e300", "1e+300"),
    ("float('inf')", "inf"),
    ("float('nan')", "nan"),
    ("''", "''"),
    ("'héllo ☃ 𝄞'", "'héllo ☃ 𝄞'"),
    ("'a\\x00\\n\"\\\\'", "'a\\x00\\n\"\\\\'"),
    ("'\\ud800'", "'\\ud800'"),
    ("[]", "[]"),
    ("(1, (2, 3))", "[1, [2, 3]]"),
    ("{}", "{}"),
    ("{'a': {'b': [None, {'c': 1.5}]}}", "{'a': {'b': [None, {'c': 1.5}]}}"),
    ("{2: 'a', None: 'b', True: 'c'}", "{'2': 'a', 'null': 'b', 'true': 'c'}"),
    (
        "dt.datetime(2024, 1, 2, 3, 4, 5, 678)",
        "datetime.datetime(2024, 1, 2, 3, 4, 5, 678)",
    ),
    (
        "dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.timezone.utc)",
        "datetime.datetime(2024, 1, 2, 3, 4, tzinfo=datetime.timezone.utc)",
    ),
    (
        "dt.datetime(2024, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))",
        "datetime.datetime(2024, 1, 2, 0, 0,"
        " tzinfo=datetime.timezone(datetime.timedelta(seconds=19800)))",
    ),
    ("dt.date(2024, 1, 2)", "datetime.date(2024, 1, 2)"),
    ("dt.time(3, 4, 5, 678)", "datetime.time(3, 4, 5, 678)"),
    ("decimal.Decimal('1.10')", "Decimal('1.10')"),
    ("uuid.UUID(int=5)", "UUID('00000000-0000-0000-0000-000000000005')"),
    ("b'text'", "b'text'"),
    ("b'\\xff\\x00'", "b'\\xff\\x00'"),
    ("[{'k': [decimal.Decimal('2'), b'x']}]", "[{'k': [Decimal('2'), b'x']}]"),
]


def test_a_call_returns_its_result(pair):
    assert pair.ask("tasks.add.delay(2, 3).get(timeout=20)") == 5


def test_arguments_arrive_by_position_and_by_name(pair):
    call = "tasks.seen.apply_async((1, 'a'), {'b': [2], 'c': None}).get(timeout=20)"
    assert pair.ask(call) == "(1, 'a') {'b': [2], 'c': None}"


@pytest.mark.parametrize(("sent", "arrived"), VALUES, ids=[sent for sent, _ in VALUES])
def test_a_value_arrives_as_the_same_value(pair, sent, arrived):
    assert pair.ask(f"tasks.seen.delay({sent}).get(timeout=20)") == f"({arrived},) {{}}"


@pytest.mark.parametrize(("sent", "arrived"), VALUES, ids=[sent for sent, _ in VALUES])
def test_a_result_comes_back_as_the_same_value(pair, sent, arrived):
    assert pair.producer.text(f"tasks.echo.delay({sent}).get(timeout=20)") == arrived


def test_a_hundred_calls_come_back_each_to_its_caller(pair):
    answers = pair.ask(
        "[r.get(timeout=30) for r in [tasks.add.delay(i, i) for i in range(100)]]",
    )
    assert answers == [2 * number for number in range(100)]


def test_a_task_on_a_queue_of_its_own_is_taken_from_there(pair):
    call = f"tasks.context.apply_async(queue='{pair.queue}-other').get(timeout=20)"
    delivery = pair.ask(call)["delivery_info"]
    assert delivery["routing_key"] == f"{pair.queue}-other"
    assert delivery["exchange"] == ""


def test_a_task_sent_by_name_needs_no_code(pair):
    assert pair.ask("app.send_task('tasks.add', (4, 5)).get(timeout=20)") == 9


def test_a_chosen_task_id_is_kept(pair):
    call = f"tasks.add.apply_async((1, 1), task_id='chosen-{pair.queue}').id"
    assert pair.ask(call) == f"chosen-{pair.queue}"
    assert pair.ask(f"app.AsyncResult('chosen-{pair.queue}').get(timeout=20)") == 2


def test_a_task_with_a_countdown_runs_not_before_its_time(pair):
    expression = (
        "(lambda start: (tasks.add.apply_async((1, 2), countdown=0.7).get(timeout=20),"
        " __import__('time').monotonic() - start))(__import__('time').monotonic())"
    )
    result, waited_s = pair.ask(expression)
    assert result == 3
    assert 0.7 <= waited_s < 8


def test_a_link_gets_the_result_in_front(pair):
    key = f"{pair.queue}:linked"
    pair.ask(f"tasks.add.apply_async((2, 3), link=tasks.note.s({key!r})).get(timeout=20)")
    assert pair.redis.blpop([key], timeout=20) == (key.encode(), b"5")


def test_celeriac_imports_nothing_of_celery(pair):
    if pair.producer.flavour == "celeriac":
        loaded = pair.ask("sorted(__import__('sys').modules)")
        assert not {"celery", "kombu", "amqp", "billiard", "vine"} & set(loaded)
    else:
        assert pair.ask("'celeriac' in __import__('sys').modules") is False
