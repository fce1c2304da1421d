"""Messages and result documents of both kinds, compared as text. No difference is expected."""

from __future__ import annotations

import base64
import json
import re
import uuid
import zlib

import pytest

CALLS = [
    "tasks.add.apply_async((1, 2), task_id=ID)",
    "tasks.add.apply_async((1,), {'y': 2}, task_id=ID)",
    "tasks.add.delay(1.5, y='é\\u2603')",
    "tasks.echo.apply_async(([{'deep': [[[[1]]]]}],), task_id=ID)",
    "tasks.echo.apply_async(('x' * 3000,), task_id=ID)",
    "tasks.echo.apply_async((dt.datetime(2024, 1, 2, 3, 4, 5, 6, dt.timezone.utc),), task_id=ID)",
    "tasks.echo.apply_async((decimal.Decimal('1.10'), ), task_id=ID)",
    "tasks.echo.apply_async((b'\\xff',), task_id=ID)",
    "tasks.echo.apply_async((float('nan'),), task_id=ID)",
    "tasks.echo.apply_async((2**90,), task_id=ID)",
    "tasks.silent.apply_async(('key',), task_id=ID)",
    "tasks.add.apply_async((1, 2), task_id=ID, ignore_result=True)",
    "tasks.add.apply_async((1, 2), task_id=ID, countdown=600)",
    "tasks.add.apply_async((1, 2), task_id=ID, eta=dt.datetime(2100, 1, 2, 3, 4, 5))",
    "tasks.add.apply_async((1, 2), task_id=ID,"
    " eta=dt.datetime(2100, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc))",
    "tasks.add.apply_async((1, 2), task_id=ID, expires=600)",
    "tasks.add.apply_async((1, 2), task_id=ID, expires=600.5, countdown=3)",
    "tasks.add.apply_async((1, 2), task_id=ID,"
    " expires=dt.datetime(2030, 1, 2, tzinfo=dt.timezone.utc))",
    "tasks.add.apply_async((1, 2), task_id=ID, priority=7)",
    "tasks.add.apply_async((1, 2), task_id=ID, headers={'tenant': 'blue', 'deep': {'n': [1]}})",
    "tasks.add.apply_async((1, 2), task_id=ID, shadow='shown')",
    "tasks.add.apply_async((1, 2), task_id=ID, time_limit=30, soft_time_limit=20)",
    "tasks.add.apply_async((1, 2), task_id=ID, retries=3)",
    "tasks.add.apply_async((1, 2), task_id=ID, root_id='r', parent_id='p')",
    "tasks.add.apply_async((1, 2), task_id=ID, group_id='g', group_index=1)",
    "tasks.add.apply_async((1, 2), task_id=ID, argsrepr='(a)', kwargsrepr='{k}')",
    "tasks.add.apply_async((1, 2), task_id=ID, reply_to='reply')",
    "tasks.add.apply_async((1, 2), task_id=ID, correlation_id='other')",
    "tasks.add.apply_async((1, 2), task_id=ID, delivery_mode=1)",
    "tasks.add.apply_async((1, 2), task_id=ID, link=tasks.echo.s())",
    "tasks.add.apply_async((1, 2), task_id=ID, link=[tasks.echo.si(1), tasks.add.s(2)])",
    "tasks.add.apply_async((1, 2), task_id=ID, link_error=tasks.note_failure.s('k'))",
    "tasks.add.apply_async((1, 2), task_id=ID, unheard_of='property')",
    "tasks.add.apply_async((1, 2), task_id=ID, serializer='msgpack')",
    "tasks.add.apply_async((1, 2), task_id=ID, serializer='yaml')",
    "tasks.add.apply_async((1, 2), task_id=ID, serializer='pickle')",
    *[
        f"tasks.echo.apply_async(('a' * 3000,), task_id=ID, compression={name!r})"
        for name in ("brotli", "bzip2", "bzip", "lzma", "xz", "zstd", "zstandard")
    ],
    "tasks.add.apply_async((1, 2), task_id=ID, expiration=60)",
    "tasks.add.apply_async((1, 2), task_id=ID, expiration=60, expires=5)",
    "tasks.add.apply_async((1, 2), task_id=ID, retry=True, retry_policy={'max_retries': 1})",
    "tasks.add.apply_async((1, 2), task_id=ID, retry=False)",
    "tasks.add.apply_async((1, 2), task_id=ID, origin='gen1@elsewhere')",
    "tasks.add.apply_async((1, 2), task_id=ID, replaced_task_nesting=2)",
    "tasks.add.apply_async((1, 2), task_id=ID, add_to_parent=False)",
    "tasks.add.apply_async((1, 2), task_id=ID, time_limit=30)",
    "tasks.add.apply_async((1, 2), task_id=ID, soft_time_limit=2.5)",
    "tasks.add.apply_async((1, 2), task_id=ID, delivery_mode='transient')",
    "tasks.add.apply_async((1, 2), task_id=ID, delivery_mode='persistent')",
    "tasks.add.apply_async((1, 2), task_id=ID, priority=0)",
    "tasks.add.apply_async((1, 2), task_id=ID, priority=255)",
    "tasks.add.apply_async((1, 2), task_id=ID, queue=app.conf.task_default_queue)",
    "tasks.add.apply_async((1, 2), task_id=ID, queue=app.conf.task_default_queue, priority=4)",
    "tasks.add.apply_async((1, 2), task_id=ID, routing_key=app.conf.task_default_queue)",
    "tasks.add.apply_async((1, 2), task_id=ID, headers={'lang': 'rs', 'mine': True})",
    "tasks.add.apply_async((1, 2), task_id=ID, countdown=0.25)",
    "tasks.add.apply_async((1, 2), task_id=ID, countdown=0)",
    "tasks.add.apply_async((1, 2), task_id=ID, app_id='a', user_id='guest', type='t')",
    "tasks.add.apply_async((1, 2), task_id=ID, message_id='m', content_language='de')",
    "tasks.add.apply_async((1, 2), task_id=ID, link=tasks.echo.s().set(countdown=3))",
    "tasks.add.apply_async((1, 2), task_id=ID, link=tasks.add.s(1) | tasks.add.s(2))",
    "tasks.add.apply_async((1, 2), task_id=ID, link=[tasks.echo.s()],"
    " link_error=[tasks.note_failure.s('k'), tasks.echo.si(1)])",
    "tasks.add.apply_async((1, 2), task_id=ID, stamped_headers=['rank'], rank='gold')",
    "stamped(tasks.add.s(1, 2), colour=['red']).apply_async(task_id=ID)",
    "tasks.add.apply_async(args=None, kwargs={'x': 1, 'y': 2}, task_id=ID)",
    "tasks.add.apply_async((1, 2), task_id=ID, connection=app.connection_for_write())",
    "app.send_task('elsewhere.task', [1], task_id=ID, countdown=600, expires=900)",
    "app.send_task('elsewhere.task', [1], task_id=ID, shadow='s', headers={'h': 1})",
    "tasks.add.s(1, 2).set(priority=3).apply_async(task_id=ID)",
    "tasks.add.signature((1,), {'y': 3}, task_id=ID).delay()",
    "app.send_task('elsewhere.task', (1,), {'k': 2}, task_id=ID)",
    "app.send_task('elsewhere.task', task_id=ID, ignore_result=True)",
]
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def raw_message(producer, redis, expression, task_id):
    """The bytes that a call puts on the queue."""
    queue = producer.text("app.conf.task_default_queue").strip("'")
    keys = [queue, *(f"{queue}\x06\x16{step}" for step in (3, 6, 9))]
    producer.text(f"({expression.replace('ID', repr(task_id))}).id")
    found = [item for key in keys for item in redis.lrange(key, 0, -1)]
    redis.delete(*keys)
    assert len(found) == 1
    return found[0].decode()


def masked(text):
    """The text with what differs from call to call replaced: ids, the process, near times."""
    text = re.sub(UUID, "<uuid>", text)
    text = re.sub(r"gen\d+@", "gen<pid>@", text)
    text = re.sub(r'"expiration": "\d+"', '"expiration": "<ms>"', text)
    return re.sub(TIME, lambda found: found[0] if found[0] >= "2030" else "<time>", text)


@pytest.mark.parametrize("call", CALLS)
def test_a_message_is_the_same_text(producers, session_redis, call):
    task_id = str(uuid.uuid4())
    celerys = raw_message(producers["celery"], session_redis, call, task_id)
    ours = raw_message(producers["celeriac"], session_redis, call, task_id)
    assert masked(ours) == masked(celerys)


@pytest.mark.parametrize("call", CALLS)
def test_ids_are_repeated_in_the_same_places(producers, session_redis, call):
    def places(text):
        order = list(dict.fromkeys(re.findall(UUID, text)))
        return [order.index(found) for found in re.findall(UUID, text)]

    task_id = str(uuid.uuid4())
    celerys = raw_message(producers["celery"], session_redis, call, task_id)
    ours = raw_message(producers["celeriac"], session_redis, call, task_id)
    assert places(ours) == places(celerys)
    if "ID" in call:
        assert (task_id in ours) == (task_id in celerys)


@pytest.mark.parametrize("name", ["zlib", "gzip"])
def test_a_deflated_body_differs_in_nothing_but_how_it_is_deflated(producers, session_redis, name):
    call = f"tasks.echo.apply_async(('a' * 3000,), task_id=ID, compression={name!r})"
    task_id = str(uuid.uuid4())
    both = [
        json.loads(masked(raw_message(producers[kind], session_redis, call, task_id)))
        for kind in ("celery", "celeriac")
    ]
    bodies = [zlib.decompress(base64.b64decode(message.pop("body"))) for message in both]
    assert bodies[0] == bodies[1]
    assert both[0] == both[1]


def test_the_names_of_several_stamps_are_sorted_where_celery_has_them_in_any_order(
    producers, session_redis
):
    call = "stamped(tasks.add.s(1, 2), rank='gold', colour=['red']).apply_async(task_id=ID)"
    task_id = str(uuid.uuid4())
    celerys, ours = (
        json.loads(masked(raw_message(producers[kind], session_redis, call, task_id)))
        for kind in ("celery", "celeriac")
    )
    assert ours["headers"]["stamped_headers"] == ["colour", "rank"]
    celerys["headers"]["stamped_headers"].sort()
    assert ours == celerys


OUTCOMES = [
    "tasks.add.apply_async((1, 2), task_id=ID)",
    "tasks.echo.apply_async(([1.5, None, {'é': b'\\xff'}],), task_id=ID)",
    "tasks.fail.apply_async(('KeyError', 'k', 1), task_id=ID)",
    "tasks.fail_custom.apply_async((7, 'seven'), task_id=ID)",
    "tasks.fail_unpicklable.apply_async(('stuck',), task_id=ID)",
    "tasks.reject.apply_async(task_id=ID)",
    "tasks.add.apply_async((1, 2), task_id=ID, expires=-1)",
    "tasks.add.apply_async((1, 2), task_id=ID, parent_id='p', root_id='r')",
    "tasks.add.apply_async((1, 2), task_id=ID, group_id='g', group_index=1)",
    "tasks.echo.apply_async((1,), task_id=ID, link=tasks.echo.si(2).set(task_id='linked'))",
    "app.send_task('tasks.nowhere', task_id=ID)",
]


def stored(pair, call, task_id):
    """The document a worker stored for a call, and what it is made of; times and text masked."""
    wait = f".get(timeout=20, propagate=False) or app.AsyncResult({task_id!r}).state"
    pair.producer.text(f"({call.replace('ID', repr(task_id))}){wait}")
    text = pair.redis.get(f"celery-task-meta-{task_id}").decode()
    text = re.sub(r'"traceback": "(?:[^"\\]|\\.)*"', '"traceback": "<text>"', text)
    return masked(re.sub(r"at 0x[0-9a-f]+", "at <address>", text))


def test_the_one_difference_is_that_our_encode_error_says_where_the_value_is(pair, control):
    call = "tasks.unencodable.apply_async(task_id=ID)"
    message = r'"exc_message": \[.*\], "exc_module"'
    expected, found = (stored(one, call, str(uuid.uuid4())) for one in (control, pair))
    assert re.sub(message, "", found) == re.sub(message, "", expected)
    if pair.worker.flavour == "celeriac":
        assert "result is of type set" in found


@pytest.mark.parametrize("call", OUTCOMES)
def test_a_result_document_is_the_same_text(pair, control, call):
    task_id = str(uuid.uuid4())
    expected = stored(control, call, str(uuid.uuid4()))
    assert stored(pair, call, task_id) == expected
