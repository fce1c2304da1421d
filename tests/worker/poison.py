"""Messages that no producer should send, and what becomes of each; the headers are JSON text."""

from __future__ import annotations

import base64
import bz2
import json
import lzma
import pickle
import zlib
from dataclasses import dataclass

JSON, MSGPACK = "application/json", "application/x-msgpack"
YAML, PICKLE = "application/x-yaml", "application/x-python-serialize"
PLAIN_END = b'{"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
BODY = b'[["odd"], {}, ' + PLAIN_END
#: What becomes of a message: it is set aside as malformed, it is kept with words of its own, it is
#: dropped with a line in the log, its task is executed, or it fails without that.
ASIDE, KEPT, DROPPED, RUNS, FAILS = "aside", "kept", "dropped", "runs", "fails"
HUGE = "9" * 5_000
BIG_TEXT = "x" * 100_000


@dataclass(frozen=True)
class Odd:
    """A message; ``ID`` in its headers or body becomes an id of its own."""

    name: str
    fate: str
    headers: str = '{"task": "proj.note", "id": "ID"}'
    body: bytes = BODY
    content_type: str = JSON
    content_encoding: str = "utf-8"
    #: What AMQP's tables cannot hold, or RabbitMQ does not take: it has no NaN and no infinity.
    not_on_amqp: bool = False


def with_header(name, value, fate, **more):
    return Odd(
        f"{name}: {value[:40]}",
        fate,
        f'{{"task": "proj.note", "id": "ID", "{name}": {value}}}',
        **more,
    )


def with_body(name, body, fate, **more):
    return Odd(name, fate, body=body if isinstance(body, bytes) else body.encode(), **more)


def with_embed(embed, fate):
    return with_body(f"embed {embed[:50]}", f'[["odd"], {{}}, {embed}]', fate)


def compressed(mime, body, fate, **more):
    headers = f'{{"task": "proj.note", "id": "ID", "compression": "{mime}"}}'
    return Odd(f"{mime}: {body[:12]!r}", fate, headers, body, **more)


def nested(depth, inner="1"):
    return "[" * depth + inner + "]" * depth


#: The table of docs "Poison messages": what stops or passes the real Celery 5.7.
CELERYS = [
    Odd("no id", ASIDE, '{"task": "proj.note"}'),
    Odd("an id that is null", ASIDE, '{"task": "proj.note", "id": null}'),
    Odd("an empty id", ASIDE, '{"task": "proj.note", "id": ""}'),
    with_body("a body of two", "[[1, 2], {}]", ASIDE),
    with_body("a body of four", "[[1], {}, {}, {}]", ASIDE),
    with_body("a body of none", "[]", ASIDE),
    with_body("a body that is a number", "5", ASIDE),
    with_body("a body that is a text", '"[[], {}, {}]"', ASIDE),
    with_body("a body that is null", "null", ASIDE),
    # It is read as one of protocol 1 under headers of protocol 2.
    with_body("a body that is an object", '{"args": []}', FAILS),
    with_body("no content type", BODY, ASIDE, content_type=""),
    with_body("plain data", BODY, ASIDE, content_type="application/data"),
    with_body("plain text", BODY, ASIDE, content_type="text/plain"),
    with_body("a content type of nobody", BODY, KEPT, content_type="application/x-of-nobody"),
    with_body("a refused pickle", pickle.dumps([[], {}, {}]), KEPT, content_type=PICKLE),
    with_header("eta", '"tomorrow"', KEPT),
    with_header("expires", '"2024-13-01"', KEPT),
    with_body("no body", b"", KEPT),
    with_body("half a body", BODY[:20], KEPT),
    with_body("a body in Latin-1", b'[["\xe9"], {}, {}]', KEPT),
    # Seen by who executes them: they are acknowledged by then.
    with_body("a body after a byte order mark", b"\xef\xbb\xbf" + BODY, DROPPED),
    with_body("a body that only ends like one", b"oops, " + PLAIN_END, DROPPED),
    compressed("application/x-of-nobody", BODY, KEPT),
    Odd("no task, and a list", KEPT, "{}", b"[1, 2]"),
    Odd("no task, and an object without one", KEPT, "{}", b'{"id": "ID"}'),
    Odd("no task, and noise", KEPT, "{}", b"\x00\xff"),
    Odd("an unknown task", KEPT, '{"task": "proj.gone", "id": "ID"}'),
    with_body("keyword arguments that are a list", "[[1], [2], {}]", ASIDE),
    with_body("keyword arguments that are null", "[[1], null, {}]", ASIDE),
    with_body("arguments that are an object", '[{"a": 1}, {}, {}]', ASIDE),
    with_body("arguments that are a text", '["odd", {}, {}]', ASIDE),
]

HEADERS = [
    Odd("a task that is a number", ASIDE, '{"task": 5, "id": "ID"}'),
    Odd("a task that is a list", ASIDE, '{"task": ["proj.note"], "id": "ID"}'),
    Odd("an id that is a number", ASIDE, '{"task": "proj.note", "id": 5}'),
    Odd("an id with a line break", RUNS, '{"task": "proj.note", "id": "ID\\n\\u0000\\u2028"}'),
    Odd("a long task", KEPT, f'{{"task": "{BIG_TEXT}", "id": "ID"}}'),
    with_header("retries", '"many"', ASIDE),
    with_header("retries", "-1", ASIDE),
    with_header("retries", "1.5", ASIDE),
    with_header("retries", "4294967296", ASIDE),
    with_header("timelimit", "[1]", ASIDE),
    with_header("timelimit", '"soon"', ASIDE),
    with_header("timelimit", "[NaN, null]", ASIDE, not_on_amqp=True),
    with_header("timelimit", "[1e999, 1e999]", RUNS, not_on_amqp=True),
    with_header("timelimit", "[-1, -1]", ASIDE),
    with_header("timelimit", "[1e300, 1e300]", RUNS),
    with_header("eta", "5", ASIDE),
    with_header("eta", '"0001-01-01T00:00:00+23:59"', RUNS),
    with_header("eta", f'"{BIG_TEXT}"', KEPT),
    with_header("expires", '"9999-12-31T23:59:59.999999-23:59"', RUNS),
    with_header("expires", '"0001-01-01T00:00:00+23:59"', DROPPED),
    with_header("shadow", "5", RUNS),
    with_header("argsrepr", "[5]", RUNS),
    with_header("origin", "{}", RUNS),
    with_header("root_id", "5", RUNS),
    with_header("parent_id", "[[]]", RUNS),
    with_header("group", "{}", RUNS),
    with_header("group_index", '"first"', RUNS),
    with_header("stamped_headers", "5", RUNS),
    with_header("stamps", "[1]", RUNS),
    with_header("stamps", '"all"', RUNS),
    with_header("ignore_result", '"perhaps"', RUNS),
    with_header("replaced_task_nesting", '"deep"', RUNS),
    with_header("redelivered", "[]", RUNS),
    with_header("lang", "null", RUNS),
    with_header("compression", "7", ASIDE),
    # Of the request that a task sees these are methods and properties.
    with_header("get", "1", RUNS),
    with_header("update", "2", RUNS),
    with_header("children", "3", RUNS),
    with_header("time_limit", "4", RUNS),
    with_header("__class__", "5", RUNS),
    with_header("", "6", RUNS),
    with_header("mine", f'"{BIG_TEXT}"', RUNS),
    with_header("mine", nested(400), RUNS, not_on_amqp=True),
    with_header("mine", nested(600), ASIDE, not_on_amqp=True),
    with_header("mine", nested(20_000), ASIDE, not_on_amqp=True),
    with_header("mine", HUGE, RUNS, not_on_amqp=True),
    with_header("mine", "1e999", RUNS, not_on_amqp=True),
    with_header("mine", "NaN", RUNS, not_on_amqp=True),
    with_header("mine", '"\\ud800"', RUNS, not_on_amqp=True),
    with_header("\\ud800", "1", ASIDE, not_on_amqp=True),
    with_header("mine", '{"__type__": "nobody\'s", "__value__": 1}', RUNS),
    with_header("mine", '{"__type__": "datetime", "__value__": "soon"}', RUNS),
    with_header("mine", '{"__type__": "uuid", "__value__": {"hex": "x"}}', RUNS),
    with_header("mine", '{"__type__": ["x"], "__value__": 1}', RUNS),
    Odd(
        "twenty thousand headers",
        RUNS,
        '{"task": "proj.note", "id": "ID", '
        + ", ".join(f'"h{number}": {number}' for number in range(20_000))
        + "}",
        not_on_amqp=True,
    ),
    Odd("headers that are a list", ASIDE, "[]", not_on_amqp=True),
    Odd("headers that are a text", ASIDE, '"task"', not_on_amqp=True),
]

BODIES = [
    with_body("arguments nested too deeply", nested(5_000), KEPT),
    with_body("arguments nested deeply", f"[[{nested(400)}], {{}}, {{}}]", RUNS),
    with_body("many brackets", "[" * 200_000, KEPT),
    with_body("many objects", '{"a":' * 100_000, KEPT),
    with_body("an integer of 5,000 digits", f"[[{HUGE}], {{}}, {{}}]", KEPT),
    with_body("numbers beyond floats", "[[[1e999, -1e999, NaN]], {}, {}]", RUNS),
    with_body("a lone surrogate", '[["\\ud800"], {}, {}]', RUNS),
    with_body("a keyword that is none", '[["odd"], {"no such": 1}, {}]', FAILS),
    with_body("a keyword with a lone surrogate", '[["odd"], {"\\ud800": 1}, {}]', FAILS),
    with_body("keywords twice", '[["odd"], {"who": 1, "who": 2}, {}]', FAILS),
    with_body("a type of nobody", '[[{"__type__": "x", "__value__": 1}], {}, {}]', KEPT),
    with_body("no arguments", "[[], {}, {}]", FAILS),
    with_body("many arguments", f"[[{'1, ' * 50_000}1], {{}}, {{}}]", FAILS),
    with_body("msgpack that lies", b"\x93\xdd\xff\xff\xff\xff", KEPT, content_type=MSGPACK),
    with_body("msgpack too deep", b"\x91" * 100_000, KEPT, content_type=MSGPACK),
    with_body("no YAML", b"[" * 100, KEPT, content_type=YAML),
    with_body("YAML too deep", b"[" * 20_000 + b"]" * 20_000, KEPT, content_type=YAML),
    with_body("YAML that builds objects", b"!!python/object/apply:os.getpid []", KEPT,
              content_type=YAML),
    with_body("a charset of nobody", BODY, RUNS, content_encoding="klingon"),
]  # fmt: skip

EMBEDS = [
    with_embed("5", ASIDE),
    with_embed("[]", ASIDE),
    with_embed('"chain"', ASIDE),
    with_embed('{"callbacks": 5}', ASIDE),
    with_embed('{"callbacks": [5]}', ASIDE),
    with_embed('{"callbacks": [{"task": 5}]}', ASIDE),
    with_embed('{"errbacks": {"task": "proj.note"}}', ASIDE),
    with_embed('{"chain": "proj.note"}', ASIDE),
    with_embed('{"chord": [1]}', ASIDE),
    # The task is executed, and fails when what follows cannot be sent.
    with_embed('{"callbacks": [{"task": "proj.note", "args": 5}]}', RUNS),
    with_embed('{"callbacks": [{"task": "proj.note", "kwargs": []}]}', RUNS),
    with_embed('{"callbacks": [{"task": "proj.note", "options": 5}]}', RUNS),
    with_embed('{"callbacks": [{"task": "proj.note", "options": {"eta": "soon"}}]}', RUNS),
    with_embed('{"chain": [{"task": "celery.group", "kwargs": {"tasks": 5}}]}', RUNS),
    with_embed('{"chain": [{"task": "celery.group", "subtask_type": 5}]}', RUNS),
    with_embed('{"chain": [{"task": "celery.chord", "subtask_type": "chord"}]}', RUNS),
    with_embed('{"chord": {"task": "celery.chord", "subtask_type": "chord"}}', RUNS),
    # They overwrite what the headers say.
    with_embed('{"id": 5}', RUNS),
    with_embed('{"task": null}', RUNS),
    with_embed('{"retries": "many", "root_id": []}', RUNS),
    with_embed('{"headers": 5, "delivery_info": 5}', RUNS),
    with_embed('{"get": 1, "update": 2, "_children": 3}', RUNS),
    with_embed('{"__class__": 1, "__dict__": 2}', RUNS),
]

LIES = [
    compressed("application/x-gzip", BODY, KEPT),
    compressed("application/x-gzip", b"", KEPT),
    compressed("application/x-gzip", zlib.compress(BODY)[:-3], KEPT),
    compressed("application/x-gzip", bz2.compress(BODY), KEPT),
    compressed("application/x-bz2", zlib.compress(BODY), KEPT),
    compressed("application/x-brotli", BODY, KEPT),
    compressed("application/x-lzma", BODY, KEPT),
    compressed("application/zstd", BODY, KEPT),
    # The worker of the tests lets a body become 2 MB.
    compressed("application/x-gzip", zlib.compress(bytes(50_000_000)), KEPT),
    compressed("application/x-bz2", bz2.compress(bytes(50_000_000)), KEPT),
    compressed("application/x-lzma", lzma.compress(bytes(50_000_000)), KEPT),
    compressed("application/zstd", bytes.fromhex("28b52ffd04780000010000"), KEPT),
    compressed("zlib", zlib.compress(BODY), RUNS),
]

PROTOCOL1 = [
    Odd(f"protocol 1: {text[:60]}", fate, "{}", text.encode())
    for text, fate in [
        ('{"task": "proj.note", "args": ["odd"]}', ASIDE),
        ('{"task": "proj.note", "id": 5, "args": ["odd"]}', ASIDE),
        ('{"task": ["proj.note"], "id": "ID"}', ASIDE),
        ('{"task": "proj.note", "id": "ID", "args": 5}', FAILS),
        ('{"task": "proj.note", "id": "ID", "args": ["odd"], "kwargs": []}', FAILS),
        ('{"task": "proj.note", "id": "ID", "args": ["odd"], "timelimit": "x"}', ASIDE),
        ('{"task": "proj.note", "id": "ID", "args": ["odd"], "eta": "soon"}', KEPT),
        ('{"task": "proj.note", "id": "ID", "args": ["odd"], "retries": []}', ASIDE),
        ('{"task": "proj.note", "id": "ID", "args": ["odd"], "callbacks": 1}', ASIDE),
        ('{"task": "proj.note", "id": "ID", "args": ["odd"], "taskset": []}', RUNS),
        ('{"task": "proj.note", "id": "ID", "args": ["odd"], "utc": "no"}', RUNS),
        ('{"task": "proj.note", "id": "ID", "args": ["odd"], "a": ' + nested(600) + "}", KEPT),
    ]
]  # fmt: skip
#: The same fields in a serializer that only Python reads.
PROTOCOL1 += [
    Odd("protocol 1 in YAML: a task of 5", ASIDE, "{}", b"{task: 5, id: x}", YAML),
    Odd("protocol 1 in YAML: no id", ASIDE, "{}", b"{task: proj.note}", YAML),
    Odd("protocol 1 in YAML: a set", ASIDE, "{}",
        b"{task: proj.note, id: x, eta: !!set {a, b}}", YAML),
    Odd("protocol 1 in YAML: a date", ASIDE, "{}",
        b"{task: proj.note, id: x, eta: 2020-01-01}", YAML),
    Odd("protocol 1 in YAML: keys of every kind", KEPT, "{}",
        b"{task: proj.note, id: x, 5: 6, [1, 2]: 3}", YAML),
]  # fmt: skip

MESSAGES = [*CELERYS, *HEADERS, *BODIES, *EMBEDS, *LIES, *PROTOCOL1]

WHOLE = {
    "body": base64.b64encode(BODY).decode(),
    "content-encoding": "utf-8",
    "content-type": JSON,
    "headers": {"task": "proj.note", "id": "ID"},
    "properties": {
        "delivery_tag": "ID",
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": "QUEUE"},
        "priority": 0,
    },
}


def without(*path):
    changed = json.loads(json.dumps(WHOLE))
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return json.dumps(changed).encode()


def changed(value, *path):
    made = json.loads(json.dumps(WHOLE))
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return json.dumps(made).encode()


#: Whole items of a list on Redis.
ENVELOPES = [
    (b"", ASIDE),
    (b"not json", ASIDE),
    (b"\xff\xfe\x00", ASIDE),
    (b"5", ASIDE),
    (b"null", ASIDE),
    (b"[]", ASIDE),
    (b"{}", ASIDE),
    (b"[" * 100_000, ASIDE),
    (json.dumps(WHOLE).encode()[:-1], ASIDE),
    (json.dumps(WHOLE).encode() + b"}", ASIDE),
    (without("body"), ASIDE),
    (without("content-type"), ASIDE),
    (without("content-encoding"), RUNS),
    (without("headers"), KEPT),
    (without("properties"), ASIDE),
    (without("properties", "delivery_info"), ASIDE),
    (without("properties", "delivery_info", "exchange"), ASIDE),
    (without("properties", "delivery_info", "routing_key"), ASIDE),
    (without("properties", "delivery_tag"), RUNS),
    (without("properties", "body_encoding"), KEPT),
    (changed(5, "body"), ASIDE),
    (changed("***", "body"), ASIDE),
    (changed({}, "content-type"), ASIDE),
    (changed([], "properties"), ASIDE),
    (changed(5, "properties", "delivery_tag"), RUNS),
    (changed([5], "properties", "delivery_tag"), ASIDE),
    (changed("aside:5", "properties", "delivery_tag"), RUNS),
    (changed("t" * 100_000, "properties", "delivery_tag"), RUNS),
    (changed(1e300, "properties", "priority"), RUNS),
    (changed("high", "properties", "priority"), RUNS),
    (changed([2], "properties", "delivery_mode"), RUNS),
    (changed(["x"], "properties", "reply_to"), ASIDE),
    (changed("soon", "properties", "expiration"), RUNS),
    (changed({"__type__": "x", "__value__": 1}, "properties", "mine"), RUNS),
    (changed("rot13", "properties", "body_encoding"), KEPT),
]
