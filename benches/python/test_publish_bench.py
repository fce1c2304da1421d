"""What a publish costs in the caller's thread: building the message, and all of it."""

import uuid

import pytest

from celeriac import _native

WAIT_S = 10.0
CALLS = {
    "add(2, 3)": ((2, 3), {}, None),
    "with keywords and a countdown": (
        (1,),
        {"name": "value", "items": [1, 2, 3]},
        {"eta": "2030-01-02T03:04:05+00:00", "parent_id": "p", "root_id": "r"},
    ),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def template():
    return _native.Template(
        task="tasks.add", origin="gen1@host", exchange="", routing_key="celery", reply_to="oid"
    )


@pytest.fixture
def publisher():
    made = _native.Publisher(f"memory:///{uuid.uuid4()}")
    yield made
    made.purge("celery", WAIT_S)
    made.close(WAIT_S)


@each_call
def test_build_a_message(benchmark, template, call):
    assert benchmark(template.envelope, *call)


@each_call
def test_publish_and_wait(benchmark, template, publisher, call):
    assert benchmark(publisher.publish, template, *call, None, WAIT_S)


@each_call
def test_publish_through_a_window(benchmark, template, publisher, call):
    window = publisher.window()
    assert benchmark(window.publish, template, *call, WAIT_S)
    assert window.flush(WAIT_S) == []
