"""What a canvas puts on the wire, beside what the real Celery puts there for the same canvas."""

from __future__ import annotations

import base64
import json
import re

import pytest

ADD, SUM, ERR = "tasks.add.s", "tasks.total.s", "tasks.note_failure.s('k')"
TWO = "[tasks.add.s(1, 1), tasks.add.s(2, 2)]"
CHORD = f"flavour.chord({TWO}, tasks.total.s())"
CANVASES = [
    "(tasks.add.s(1, 2) | tasks.add.s(3) | tasks.add.s(4)).apply_async()",
    "flavour.chain(tasks.add.s(1, 2), tasks.add.s(3), tasks.add.s(4))()",
    "flavour.chain([tasks.add.s(1, 2)])()",
    "flavour.chain(tasks.add.s(1, 2)).apply_async()",
    "((tasks.add.s(1, 1) | tasks.add.s(2)) | (tasks.add.s(3) | tasks.add.s(4))).apply_async()",
    "(tasks.add.s(1) | tasks.add.s(2)).apply_async((5,))",
    "(tasks.add.si(1, 1) | tasks.add.si(2, 2)).delay()",
    "flavour.chain(tasks.add.s(1), flavour.chain(tasks.add.s(2), tasks.add.s(3))).delay(1)",
    f"(tasks.add.s(1, 2) | tasks.add.s(3)).apply_async(link=tasks.add.s(7), link_error={ERR})",
    "(tasks.add.s(1, 2) | tasks.add.s(3)).apply_async(task_id='fixed')",
    "(tasks.add.s(1, 2) | tasks.add.s(3)).set(priority=3).apply_async()",
    f"flavour.group({TWO}).apply_async()",
    "flavour.group(tasks.add.s(i, i) for i in range(3)).apply_async()",
    "flavour.group(tasks.add.s(1), tasks.add.s(2)).apply_async((10,))",
    "flavour.group(tasks.add.s(1, 1)).delay()",
    f"flavour.group(flavour.group({TWO}), tasks.add.s(3, 3)).apply_async()",
    f"flavour.group(tasks.add.s(1, 1) | flavour.group({TWO})).apply_async()",
    f"flavour.group({CHORD}, tasks.add.s(1, 1)).apply_async()",
    f"{CHORD}.apply_async()",
    f"flavour.chord({TWO})(tasks.total.s())",
    "flavour.chord((tasks.add.s(i, i) for i in range(3)), tasks.total.s())()",
    "flavour.chord([], tasks.total.s()).apply_async()",
    "flavour.chord([tasks.add.s(1, 1)], tasks.total.s()).apply_async()",
    "flavour.chord(flavour.group(tasks.add.s(1), tasks.add.s(2)), tasks.total.s())"
    ".apply_async((5,))",
    f"(flavour.group({TWO}) | tasks.total.s()).apply_async()",
    f"(flavour.group({TWO}) | tasks.total.s() | tasks.add.s(10)).apply_async()",
    f"(flavour.group({TWO}) | tasks.total.s() | tasks.add.s(10) | tasks.add.s(2)).apply_async()",
    f"(flavour.group({TWO}) | flavour.group(tasks.total.s(), tasks.total.s())).apply_async()",
    "(tasks.add.s(1, 1) | flavour.group(tasks.add.s(2), tasks.add.s(3))).apply_async()",
    "(tasks.add.s(1, 1) | flavour.group(tasks.add.s(2), tasks.add.s(3)) | tasks.total.s())"
    ".apply_async()",
    "(tasks.add.s(1, 1) | flavour.group(tasks.add.s(2), tasks.add.s(3)) | tasks.total.s()"
    " | tasks.add.s(10)).apply_async()",
    "(tasks.add.s(1, 1) | flavour.group(tasks.add.s(2)) | tasks.add.s(3)).apply_async()",
    "(tasks.add.s(1, 1) | flavour.group() | tasks.add.s(3)).apply_async()",
    f"(flavour.group({TWO}) | tasks.total.s() | flavour.group(tasks.add.s(1), tasks.add.s(2))"
    " | tasks.total.s()).apply_async()",
    "flavour.chord([tasks.add.s(1, 1) | tasks.add.s(2), tasks.add.s(2, 2)], tasks.total.s())"
    ".apply_async()",
    f"flavour.chord([{CHORD}, tasks.add.s(2, 2)], tasks.total.s()).apply_async()",
    f"flavour.chord([flavour.group({TWO}), tasks.add.s(3, 3)], tasks.total.s()).apply_async()",
    f"flavour.chord({TWO}, flavour.chord([tasks.add.s(1), tasks.add.s(2)], tasks.total.s()))"
    ".apply_async()",
    f"flavour.chord({TWO}, flavour.group(tasks.add.s(1), tasks.add.s(2))).apply_async()",
    f"({CHORD} | tasks.add.s(1)).apply_async()",
    f"({CHORD} | flavour.group(tasks.add.s(1), tasks.add.s(2))).apply_async()",
    f"({CHORD} | {CHORD}).apply_async()",
    f"flavour.chain({CHORD}, {CHORD}, {CHORD}).apply_async()",
    f"(tasks.add.s(1, 1) | {CHORD} | tasks.add.s(5)).apply_async()",
    f"{CHORD}.apply_async(link=tasks.add.s(1), link_error={ERR})",
    f"flavour.chord({TWO}, tasks.total.s() | tasks.add.s(1)).apply_async(link=tasks.add.s(1))",
    "tasks.add.map([1, 2]).apply_async()",
    "tasks.add.starmap([(1, 2), (2, 3)]).apply_async()",
    "tasks.add.chunks([(1, 2), (2, 3), (3, 4)], 2).apply_async()",
    "(tasks.add.chunks([(1, 2), (2, 3), (3, 4)], 2).group() | tasks.total.s()).apply_async()",
    "tasks.add.s(1, 1).apply_async(link=flavour.group(tasks.add.s(1), tasks.add.s(2)))",
    "(tasks.add.s(1, 1) | tasks.add.s(2)).apply_async(link=[tasks.add.s(3) | tasks.add.s(4)])",
    "flavour.signature(json.loads(json.dumps(tasks.add.s(1, 1) | tasks.add.s(2)))).apply_async()",
    f"flavour.signature(json.loads(json.dumps(flavour.group({TWO})))).apply_async()",
    f"flavour.signature(json.loads(json.dumps({CHORD}))).apply_async()",
    "stamped(tasks.add.s(1, 1), tenant='blue').apply_async()",
    "stamped(tasks.add.s(1, 1) | tasks.add.s(2), tenant='blue').apply_async()",
    f"stamped(flavour.group({TWO}), tenant='blue').apply_async()",
    f"stamped({CHORD}, tenant='blue').apply_async()",
]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def sent(producer, redis, canvas, *, with_handle=True):
    """The messages of a canvas and the chord sizes it stores, its ids numbered as they appear.

    Where a chord is frozen twice on its way, Celery's handle names a group id that no message has.
    """
    queue = producer.text("app.conf.task_default_queue").strip("'")
    keys = [queue, *(f"{queue}\x06\x16{step}" for step in (3, 6, 9))]
    handle = producer.text(f"tree({canvas})")
    raw = [item for key in keys for item in reversed(redis.lrange(key, 0, -1))]
    sizes = {key.decode(): redis.get(key).decode() for key in redis.keys("*taskset-meta-*.s")}
    redis.delete(*keys, *sizes)
    names = {}
    messages = numbered([handle * with_handle, [_shape(json.loads(item)) for item in raw]], names)
    ours = {key: size for key, size in sizes.items() if UUID.search(key)[0] in names}
    return messages, sorted(numbered([key, size], names) for key, size in ours.items())


def _shape(envelope):
    headers = {k: v for k, v in envelope["headers"].items() if k != "origin"}
    body = json.loads(base64.b64decode(envelope["body"]))
    names = ("reply_to", "correlation_id", "priority")
    return [headers, without_null_options(body), [envelope["properties"].get(n) for n in names]]


def without_null_options(value):
    """Celery writes some options as null that we leave out; both mean that there is none."""
    if isinstance(value, list):
        return [without_null_options(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {k: without_null_options(v) for k, v in item.items() if v is not None}
        if key == "options"
        else without_null_options(item)
        for key, item in value.items()
    }


def numbered(value, names):
    text = json.dumps(value, sort_keys=True, indent=1)
    return UUID.sub(lambda found: names.setdefault(found[0], f"id {len(names)}"), text)


@pytest.mark.parametrize("canvas", CANVASES)
def test_a_canvas_is_the_same_messages(producers, session_redis, canvas):
    expected = sent(producers["celery"], session_redis, canvas)
    assert sent(producers["celeriac"], session_redis, canvas) == expected
