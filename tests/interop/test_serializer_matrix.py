"""Every serializer with every compression, both ways, on Redis and RabbitMQ."""

from __future__ import annotations

import os
import uuid

import pytest

from places import VERSIONS, delete
from processes import Producer, RemoteError, Worker

SERIALIZERS = ["json", "pickle", "yaml", "msgpack"]
COMPRESSIONS = [None, "brotli", "bzip2", "gzip", "lzma", "zlib", "zstd"]
VALUE = {
    "text": "Größe 漢字 😀 " * 40,
    "numbers": [0, -7, 2.5, 2**40],
    "rest": [None, True, {}, [], {"deep": [[["x"]]]}],
}
CALLS = [(serializer, packing) for serializer in SERIALIZERS for packing in COMPRESSIONS]
FAIL = "tasks.fail.apply_async(('KeyError', 'k'), compression='zstd').get(timeout=30)"
ASK = """[handle.get(timeout=30) for handle in [
    tasks.echo.apply_async(({value!r},), kwargs={{}}, serializer=serializer, compression=packing)
    for serializer, packing in {calls!r}]]"""
AMQP = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")


@pytest.mark.parametrize("version", ["5.4", "5.7"])
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
@pytest.mark.parametrize(
    ("sender", "receiver"),
    [("celery", "celeriac"), ("celeriac", "celery")],
    ids=["celery-to-celeriac", "celeriac-to-celery"],
)
@pytest.mark.parametrize("results", ["json", "pickle"])
def test_all_28_arrive_and_their_results_come_back(
    monkeypatch, session_redis_url, version, broker, sender, receiver, results
):
    monkeypatch.setenv("C_FORCE_ROOT", "1")  # a Celery worker of root's refuses pickle otherwise
    monkeypatch.setenv("INTEROP_ACCEPT", ",".join(SERIALIZERS))
    monkeypatch.setenv("INTEROP_RESULT_SERIALIZER", results)
    # Celery before 5.7 does not know compressed results.
    packing = "zlib" if results == "json" else "zstd"
    monkeypatch.setenv("INTEROP_RESULT_COMPRESSION", packing if version == "5.7" else "")
    queue = f"interop-{uuid.uuid4().hex[:8]}"
    url = session_redis_url if broker == "redis" else f"{AMQP} {session_redis_url}"
    # A name of its own: RabbitMQ lends a mailbox to one worker at a time.
    flavours = {"celery": VERSIONS[version], "celeriac": "celeriac"}
    worker = Worker(flavours[receiver], url, queue, "solo", "-n", f"{queue}@%h")
    try:
        producer = Producer(flavours[sender], url, queue)
        try:
            got = producer.ask(ASK.format(value=VALUE, calls=CALLS))
            with pytest.raises(RemoteError, match="KeyError"):
                producer.ask(FAIL)
        finally:
            producer.stop()
    finally:
        worker.stop()
        delete(broker, queue)
    for call, value in zip(CALLS, got, strict=True):
        assert value == VALUE, call
