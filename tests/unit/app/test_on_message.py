"""`on_message` on every result store: each document in its order, those before `get()` included."""

from __future__ import annotations

import os
import uuid

import kombu
import pytest

from celeriac import Celery
from celeriac.app.context import Context

AMQP = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
WAIT_S = 20.0
DOCUMENTS = [("STEP", {"done": 1}), ("STEP", {"done": 2}), ("OTHER", "text"), ("SUCCESS", 3)]


@pytest.fixture(params=["memory", "sqlite", "redis", "rpc on redis", "rpc on rabbitmq"])
def stored(request, tmp_path):
    kind, _, broker = request.param.partition(" on ")
    name = f"told-{uuid.uuid4().hex[:8]}"
    embedded = {"memory": f"memory://{name}", "sqlite": f"sqlite:///{tmp_path}/q.db"}
    on_rabbitmq = broker == "rabbitmq"
    url = embedded.get(kind) or (AMQP if on_rabbitmq else request.getfixturevalue("redis_url"))
    backend = "rpc://" if kind == "rpc" else url
    made = Celery("told", broker=url, backend=backend, set_as_current=False)
    made.conf.task_default_queue = name
    yield made
    made.close()
    if on_rabbitmq:
        with kombu.Connection(AMQP) as connection, connection.channel() as channel:
            channel.queue_delete(name)
            channel.exchange_delete(name)


@pytest.mark.parametrize("before", range(1, len(DOCUMENTS) + 1))
def test_every_document_is_seen_once_and_in_its_order(stored, before):
    result = stored.send_task("t")
    request = Context(id=result.id, correlation_id=result.id, reply_to=stored.thread_oid)

    def store(documents):
        for state, value in documents:
            stored.backend.store_result(result.id, value, state, request=request)

    seen = []

    def see(meta):
        seen.append((meta["status"], meta["result"]))
        if len(seen) == before:
            store(DOCUMENTS[before:])

    store(DOCUMENTS[:before])
    value = result.get(timeout=WAIT_S, on_message=see, propagate=False)
    assert value == 3
    assert seen == DOCUMENTS
