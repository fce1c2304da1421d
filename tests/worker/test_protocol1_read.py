"""Messages of protocol 1 at the door: what is read, and what is set aside."""

import json
import pickle
import time
import uuid

import pytest
import yaml

from celeriac import _native, serialization
from celeriac.worker.dispatch import Door, TurnedAway
from celeriac.worker.load import load
from celeriac.worker.outcome import NotRegisteredHere, Poisonous, Refused, Undecodable
from celeriac.worker.request import Request

WAIT_S = 10.0
NOW_MS = 1_800_000_000_000
JSON, MSGPACK = "application/json", "application/x-msgpack"
YAML, PICKLE = "application/x-yaml", "application/x-python-serialize"
ENCODE = {
    JSON: lambda value: json.dumps(value).encode(),
    MSGPACK: lambda value: serialization.dumps(value, "msgpack")[2],
    YAML: lambda value: yaml.safe_dump(value).encode(),
    PICKLE: pickle.dumps,
}
PLAIN = {"task": "t.add", "id": "x", "args": [1, "é"], "kwargs": {"k": 2}}
LINK = {"task": "t.add", "args": [], "kwargs": {}, "options": {}}


@pytest.fixture
def url():
    return f"memory:///{uuid.uuid4()}"


@pytest.fixture
def intake(url):
    # No eta is so far that the broker keeps it.
    made = _native.Intake(
        url,
        {},
        [{"name": "celery"}],
        node="t@t",
        prefetch=0,
        results=None,
        eta_horizon_s=1e9,
    )
    made.start()
    yield made
    made.close(WAIT_S)


@pytest.fixture
def deliver(url, intake):
    """Publishes a body and takes its delivery."""
    publisher = _native.Publisher(url)

    def delivered(body, content_type=JSON, headers=()):
        properties = {"content_type": content_type, "content_encoding": "binary"}
        publisher.publish_parts(dict(headers), properties, body, "", "celery", [], None, WAIT_S)
        (delivery,) = intake.next_events(1, WAIT_S)
        return delivery

    yield delivered
    publisher.close(WAIT_S)


@pytest.fixture
def door(app):
    @app.task(name="t.add")
    def add(*args, **kwargs):
        return args

    app.finalize()
    return Door(app, "w1@here", None, lambda: NOW_MS, sender="worker")


@pytest.mark.parametrize("content_type", ENCODE)
def test_a_message_is_read_in_every_serializer(door, deliver, intake, content_type):
    fields = {**PLAIN, "taskset": "g", "group": "other", "retries": 2, "callbacks": [LINK]}
    request = door.admit(deliver(ENCODE[content_type](fields), content_type))
    assert isinstance(request, Request)
    body = load(request.delivery, None)
    assert (list(body.args), body.kwargs) == ([1, "é"], {"k": 2})
    assert body.embed["callbacks"] == [LINK]
    assert (request.id, request.group, request.delivery.retries) == ("x", "g", 2)
    intake.settle(request.delivery, "ack")
    assert intake.flush(WAIT_S)


LATER = {**PLAIN, "eta": "2030-01-02T03:04:05+00:00", "expires": "2031-01-01T00:00:00"}


@pytest.mark.parametrize("content_type", [MSGPACK, YAML, PICKLE])
def test_its_eta_and_expiry_are_heeded(door, deliver, content_type):
    request = door.admit(deliver(ENCODE[content_type](LATER), content_type))
    assert door.waits(request)
    assert request.expires_ms > request.due_ms


def test_one_in_json_waits_for_its_eta_outside_of_python(url, intake):
    publisher = _native.Publisher(url)
    properties = {"content_type": JSON, "content_encoding": "utf-8"}
    body = ENCODE[JSON](LATER)
    publisher.publish_parts({}, properties, body, "", "celery", [], None, WAIT_S)
    publisher.close(WAIT_S)
    deadline_s = time.monotonic() + WAIT_S
    while not intake.delayed():
        assert time.monotonic() < deadline_s
        assert intake.next_events(1, 0.05) == []
    ((due_ms, delivery),) = intake.delayed()
    assert (due_ms, delivery.id) == (1_893_553_445_000, "x")


@pytest.mark.parametrize("content_type", [MSGPACK, YAML, PICKLE])
def test_one_that_waits_comes_back_as_what_was_admitted(door, deliver, intake, content_type):
    request = door.admit(deliver(ENCODE[content_type](LATER), content_type))
    intake.delay_until(request.delivery, 1)
    (again,) = intake.next_events(1, WAIT_S)
    assert (again.task, again.id) == ("t.add", "x")


@pytest.mark.parametrize("content_type", [MSGPACK, YAML, PICKLE])
def test_one_that_is_turned_away_keeps_its_name_and_id(door, deliver, content_type):
    turned = door.admit(deliver(ENCODE[content_type]({**PLAIN, "task": "t.gone"}), content_type))
    assert turned.outcome == NotRegisteredHere()
    assert (turned.delivery.task, turned.delivery.id) == ("t.gone", "x")


def test_settling_a_translation_settles_the_delivery(deliver, intake):
    delivery = deliver(ENCODE[PICKLE](PLAIN), PICKLE)
    translated = delivery.translated({"task": "t.add", "id": "x"}, b"[]")
    intake.settle(translated, "ack")
    assert intake.flush(WAIT_S)
    assert delivery.is_settled
    assert intake.held == 0


MALFORMED = [
    ({"id": None}, "id"),
    ({"id": 7}, "id"),
    ({"task": 7}, "task"),
    ({"retries": "many"}, "retries"),
    ({"timelimit": [1]}, "timelimit"),
    ({"args": {"a": 1}}, "positional arguments"),
    ({"args": "text"}, "positional arguments"),
    ({"kwargs": [1]}, "keyword arguments"),
    ({"callbacks": 5}, "callbacks"),
    ({"errbacks": ["no signature"]}, "errbacks"),
    ({"chord": ["no signature"]}, "chord"),
]


@pytest.mark.parametrize("content_type", ENCODE)
@pytest.mark.parametrize(("fields", "named"), MALFORMED, ids=lambda value: str(value)[:30])
def test_a_malformed_message_is_set_aside_and_says_why(door, deliver, content_type, fields, named):
    delivery = deliver(ENCODE[content_type]({**PLAIN, **fields}), content_type)
    admitted = door.admit(delivery)
    # Arguments are looked at where they are needed.
    is_admitted = isinstance(admitted, Request)
    outcome = load(admitted.delivery, None) if is_admitted else admitted.outcome
    assert isinstance(outcome, Poisonous)
    assert named in outcome.reason


@pytest.mark.parametrize(
    ("body", "content_type", "kind"),
    [
        (b'{"task": "t.add", "id": "cut', JSON, Undecodable),
        (b"\x80\x04garbage", PICKLE, Undecodable),
        (b'{"no": "task"}', JSON, Refused),
        (b"[1, 2]", JSON, Refused),
        (b"\xc1", MSGPACK, Undecodable),
        (b'{"task": "t.gone", "id": "x"}', JSON, NotRegisteredHere),
        (b"text", "text/plain", Refused),
    ],
)
def test_what_cannot_be_read_is_turned_away(door, deliver, body, content_type, kind):
    turned = door.admit(deliver(body, content_type))
    assert isinstance(turned, TurnedAway)
    assert isinstance(turned.outcome, kind)


def test_a_content_type_that_is_not_accepted_is_refused_before_it_is_decoded(app, door, deliver):
    strict = Door(app, "w1@here", frozenset({JSON}), lambda: NOW_MS)
    turned = strict.admit(deliver(ENCODE[PICKLE](PLAIN), PICKLE))
    assert isinstance(turned.outcome, Refused)
    assert PICKLE in turned.outcome.reason
