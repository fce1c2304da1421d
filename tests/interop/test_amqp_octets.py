"""Every property and header of a message on RabbitMQ, with its type on the wire."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest

from amqp_frames import Recorder, Sent
from places import delete, rabbitmq_url
from processes import Producer
from test_rabbitmq import QUEUE_CALLS
from test_wire import CALLS, masked

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAVOURS = ("celery", "celeriac")
#: Headers of every type that a table can hold.
TYPED_CALLS = [
    f"tasks.add.apply_async((1, 2), task_id=ID, headers={{'own': {value}}})"
    for value in (
        "True", "0", "-1", "127", "128", "32768", "2**31 - 1", "2**31", "-2**31", "-2**31 - 1",
        "2**63 - 1", "1.5", "0.1", "None", "''", "'\\u2603'", "'x' * 300", "[]", "[1, 'a', None]",
        "[[1], {'n': 2**40}]", "{}", "{'a': {'b': [True, 1.0]}}",
    )
] + [
    "tasks.add.apply_async((1, 2), task_id=ID, time_limit=2**31, soft_time_limit=1.5)",
    "tasks.add.apply_async((1, 2), task_id=ID, priority=0)",
    "tasks.add.apply_async((1, 2), task_id=ID, priority=255)",
    "tasks.add.apply_async((1, 2), task_id=ID, stamped_headers=['s'], s=[1])",
    "tasks.add.apply_async((1, 2), task_id=ID, message_id='m', app_id='a', type='t')",
    "tasks.add.apply_async((1, 2), task_id=ID, timestamp=1700000000)",
    "tasks.add.apply_async((1, 2), task_id=ID, compression='zlib')",
]  # fmt: skip


class Side(NamedTuple):
    """A producer, and what it writes."""

    recorder: Recorder
    producer: Producer


@pytest.fixture(scope="module")
def queue() -> Iterator[str]:
    """A queue of this module's own, deleted with its exchange afterwards."""
    name = f"octets-{uuid.uuid4().hex[:8]}"
    yield name
    delete("rabbitmq", name)


@pytest.fixture(scope="module")
def sides(queue: str, session_redis_url: str) -> Iterator[dict[str, Side]]:
    """A producer of each kind behind a recorder of its own."""
    both = {}
    for flavour in FLAVOURS:
        recorder = Recorder(rabbitmq_url())
        url = f"{recorder.url} {session_redis_url}"
        both[flavour] = Side(recorder, Producer(flavour, url, queue))
    yield both
    for side in both.values():
        side.producer.stop()
        side.recorder.close()


def sent(side: Side, queue: str, call: str, task_id: str) -> Sent:
    side.producer.text(f"({call.replace('ID', repr(task_id)).replace('QUEUE', repr(queue))}).id")
    message = side.recorder.take()
    assert side.recorder.nothing_more()
    return message


def shown(properties: dict[str, object]) -> str:
    """Properties as text, masked; one a line, so that a difference is seen at a glance."""
    return masked(json.dumps(properties, indent=1, default=bytes.decode, ensure_ascii=False))


@pytest.mark.parametrize("call", CALLS + QUEUE_CALLS + TYPED_CALLS)
def test_properties_and_headers_have_the_same_values_and_types(sides, queue, call):
    task_id = str(uuid.uuid4())
    celerys = sent(sides["celery"], queue, call, task_id)
    ours = sent(sides["celeriac"], queue, call, task_id)
    assert shown(ours.properties) == shown(celerys.properties)
    assert (ours.exchange, ours.routing_key) == (celerys.exchange, celerys.routing_key)
    assert not ours.immediate
    # The one difference, of the method and not of the message: a queue that is named must exist.
    assert ours.mandatory == (not ours.exchange)
    assert not celerys.mandatory
