"""Record what the real Celery puts on Redis.

Usage: ``python tests/vectors/record.py redis://127.0.0.1:6379/8`` with Celery installed, whose
version names the folder. The database must be empty; what is written to it is deleted again. Of a
version that is not `REFERENCE` only what differs from it is kept. See README.md beside this file.
"""

import base64
import itertools
import json
import struct
import sys
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

import celery.app.amqp
import redis
from celery import Celery
from celery.app.task import Context
from codec_cases import JSON_TEXTS, floats, times
from dateutil.parser import isoparse
from document_cases import CASES
from kombu import Exchange, Queue
from kombu.utils import json as kombu_json
from kombu.utils.uuid import uuid as draw_id
from message_cases import PROTOCOL1_CASES, all_cases
from names import ID, NAMES

HERE = Path(__file__).parent
REFERENCE = "5.7"
VERSION = ".".join(version("celery").split(".")[:2])
UTC = timezone.utc
NOW = datetime(2026, 11, 22, 6, 0, 0, tzinfo=UTC)
ORIGIN = "gen4242@recorder"
REPLY_TO = "11111111-2222-3333-4444-555555555555"


# Count instead of drawing random ids; hand out a function that starts over.
def hold_ids_still():
    numbers = itertools.count(1)

    def next_id():
        return UUID(f"00000000-0000-4000-8000-{next(numbers):012d}")

    def start_over():
        nonlocal numbers
        numbers = itertools.count(1)

    draw_id.__defaults__ = (next_id,)
    return start_over


def make_app(url, **settings):
    app = Celery("vectors", broker=url, backend=url, set_as_current=False)
    app.conf.update(accept_content=["json", "msgpack", "yaml", "pickle"], **settings)
    app.now = lambda: NOW
    app._local.oid = REPLY_TO
    return app


def record_messages(url, server, start_over, cases, **settings):
    app = make_app(url, **settings)

    @app.task(name="vectors.task", shared=False)
    def task(*args, **kwargs):
        raise NotImplementedError

    def send(args=(), kwargs=None, **options):
        return task.apply_async(args, kwargs, **options)

    app.finalize()
    with app.connection_for_write() as connection:
        exchange = Exchange("direct.ex", "direct")
        Queue("routed", exchange, "key.é", channel=connection.default_channel).declare()
    names = {**NAMES, "app": app, "task": task, "send": send}
    vectors = []
    for name, call, fields in cases:
        start_over()
        eval(call, names)
        messages = taken_lists(server)
        vectors.append({"name": name, "call": call, "fields": fields, "messages": messages})
    with app.connection_for_write() as connection:
        for message in itertools.chain.from_iterable(vector["messages"] for vector in vectors):
            message["restored"] = restored(connection.default_channel, server, message["raw"])
    return {
        "origin": ORIGIN,
        "reply_to": REPLY_TO,
        "task": "vectors.task",
        "first_id": "00000000-0000-4000-8000-000000000001",
        "second_id": "00000000-0000-4000-8000-000000000002",
        "vectors": vectors,
    }


# The envelope as kombu puts it back when it was not acked in time.
def restored(channel, server, raw):
    envelope = kombu_json.loads(raw)
    info = envelope["properties"]["delivery_info"]
    channel._do_restore_message(envelope, info["exchange"], info["routing_key"], server)
    (message,) = taken_lists(server)
    return message["raw"]


# Empty all lists: their items, oldest first, with the lists' names.
def taken_lists(server):
    messages = []
    for key in sorted(server.scan_iter()):
        if server.type(key) != b"list":
            continue
        while (raw := server.rpop(key)) is not None:
            messages.append({"list": key.decode(), "raw": raw.decode("ascii")})
    return messages


# The functions that store a result of each kind, by the names that cases use.
def marks(backend, prefix=""):

    def done(result, **fields):
        backend.mark_as_done(ID, result, request=Context(id=ID, **fields))

    def failed(exception, traceback, **fields):
        backend.mark_as_failure(ID, exception, traceback, request=Context(id=ID, **fields))

    return {f"{prefix}done": done, f"{prefix}failed": failed}


def record_documents(url, server, start_over):
    app = make_app(url)
    extended = make_app(url, result_extended=True)
    names = {
        **NAMES,
        **marks(app.backend),
        **marks(extended.backend, "extended_"),
        "app": app,
        "backend": app.backend,
    }
    vectors = []
    for name, call in CASES:
        start_over()
        eval(call, names)
        key = f"celery-task-meta-{ID}"
        lifetime_s = server.ttl(key)
        raw = server.getdel(key).decode("ascii")
        vectors.append(
            {"name": name, "call": call, "key": key, "expires_s": lifetime_s, "raw": raw}
        )
    return {"vectors": vectors}


def record_json():
    vectors = []
    for text in JSON_TEXTS:
        try:
            canonical = json.dumps(json.loads(text))
        except ValueError:
            canonical = None
        vectors.append(
            {"text_base64": base64.b64encode(text.encode()).decode(), "canonical": canonical}
        )
    return {"vectors": vectors}


def record_floats():
    vectors = {}
    for value in floats():
        (bits,) = struct.unpack("<Q", struct.pack("<d", value))
        vectors[f"{bits:016x}"] = json.dumps(value)
    return {"vectors": list(vectors.items())}


def record_times():
    vectors = []
    for text in dict.fromkeys(times()):
        try:
            moment = isoparse(text)
        except ValueError:
            vectors.append([text, None, None])
            continue
        has_offset = moment.tzinfo is not None
        since = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        vectors.append([text, since // timedelta(microseconds=1), has_offset])
    return {"vectors": vectors}


# What a version writes as the reference does is there already; the names say that it was compared.
def without_the_same(name, content):
    reference = json.loads(path_of(REFERENCE, name).read_text())["vectors"]
    known = {vector["name"]: vector for vector in reference}
    recorded = json.loads(json.dumps(content["vectors"]))
    same = [vector["name"] for vector in recorded if vector == known.get(vector["name"])]
    differing = [vector for vector in recorded if vector["name"] not in same]
    return {**content, f"same_as_{REFERENCE}": same, "vectors": differing}


def path_of(version, name):
    return HERE / f"celery-{version}" / f"{name}.json"


def write(name, content, provenance):
    path = path_of(VERSION, name)
    path.parent.mkdir(exist_ok=True)
    if VERSION != REFERENCE:
        content = without_the_same(name, content)
    rows = ",\n".join(json.dumps(vector) for vector in content["vectors"])
    about = {name: value for name, value in content.items() if name != "vectors"}
    head = json.dumps({"provenance": provenance, **about, "vectors": []}, indent=1)
    path.write_text(head.removesuffix("[]\n}") + f"[\n{rows}\n]\n}}\n", encoding="ascii")
    print(f"{VERSION}/{path.name}: {len(content['vectors'])} vectors")


def main():
    url = sys.argv[1]
    server = redis.Redis.from_url(url)
    if server.dbsize():
        sys.exit(f"the database {url} is not empty")
    celery.app.amqp.anon_nodename = lambda: ORIGIN
    start_over = hold_ids_still()
    provenance = {
        "generator": "tests/vectors/record.py",
        "recorded": datetime.now(UTC).date().isoformat(),
        "celery": version("celery"),
        "kombu": version("kombu"),
        "amqp": version("amqp"),
        "redis-py": version("redis"),
        "python-dateutil": version("python-dateutil"),
        "python": sys.version.split()[0],
        "redis-server": server.info("server")["redis_version"],
        "clock": NOW.isoformat(),
    }
    try:
        write("messages", record_messages(url, server, start_over, all_cases()), provenance)
        server.flushdb()
        protocol1 = record_messages(url, server, start_over, PROTOCOL1_CASES, task_protocol=1)
        write("protocol1", protocol1, provenance)
        write("documents", record_documents(url, server, start_over), provenance)
    finally:
        for key in list(server.scan_iter()):
            server.delete(key)
    if VERSION == REFERENCE:  # not Celery's doing, but Python's and dateutil's
        write("json", record_json(), provenance)
        write("floats", record_floats(), provenance)
        write("times", record_times(), provenance)


if __name__ == "__main__":
    main()
