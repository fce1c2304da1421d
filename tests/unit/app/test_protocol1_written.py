"""With `task_protocol=1` we write what each version of Celery was recorded to write."""

import itertools
import json
import re
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from celeriac import Celery, _native, broker, message, pickles

VECTORS = Path(__file__).parent.parent.parent / "vectors"
sys.path.insert(0, str(VECTORS))

from names import NAMES  # noqa: E402 - beside the recorder

# The older versions write the same, as a test of the core holds.
RECORDED = json.loads((VECTORS / "celery-5.7" / "protocol1.json").read_text())
SENT = RECORDED["vectors"]
NOW = datetime(2026, 11, 22, 6, 0, 0, tzinfo=timezone.utc)


class Publisher:
    """Keeps the envelope that publishing would put on Redis."""

    def __init__(self):
        self.envelopes = []

    def publish_parts(self, headers, properties, body, exchange, routing_key, *_rest):
        made = _native.envelope_of_parts(headers, properties, body, exchange, routing_key)
        self.envelopes.append(made.decode())


@pytest.fixture
def publisher(monkeypatch):
    made = Publisher()
    monkeypatch.setattr(broker, "publisher", lambda _app: made)
    numbers = itertools.count(1)
    draw = lambda: f"00000000-0000-4000-8000-{next(numbers):012d}"  # noqa: E731
    monkeypatch.setattr("celeriac.app.sending.new_id", draw)
    # By its module: the package has a function of that name.
    monkeypatch.setattr(sys.modules["celeriac.canvas.signature"], "new_id", draw)
    return made


@pytest.fixture
def send(publisher):
    """Evaluates a recorded call; returns the envelopes."""
    app = Celery("vectors", broker="redis://", backend="redis://", set_as_current=False)
    app.conf.task_protocol = 1
    app.now = lambda: NOW
    app._local.oid = RECORDED["reply_to"]

    @app.task(name=RECORDED["task"])
    def task(*args, **kwargs):
        raise NotImplementedError

    def apply(args=(), kwargs=None, **options):
        return task.apply_async(args, kwargs, **options)

    def evaluated(call):
        eval(call, {**NAMES, "send": apply, "task": task, "app": app})
        return publisher.envelopes

    return evaluated


def without_tag(envelope):
    # Drawn by the Rust module.
    return re.sub(r'"delivery_tag": "[^"]*"', '"delivery_tag": "<tag>"', envelope)


@pytest.mark.parametrize("vector", SENT, ids=[vector["name"] for vector in SENT])
def test_a_call_is_written_as_celery_writes_it(monkeypatch, send, vector):
    # Recorded with the default of Python 3.8 to 3.13, which both sides follow.
    monkeypatch.setattr(pickles, "PROTOCOL", 4)
    (ours,) = send(vector["call"])
    assert without_tag(ours) == without_tag(vector["messages"][0]["raw"])


def test_the_rest_of_a_chain_becomes_links():
    def step(name, **options):
        return {"task": name, "args": [], "kwargs": {}, "options": options}

    # Reversed, as it travels: b runs next, then c, then d.
    chain = [step("d"), step("c", link=[step("x")]), step("b")]
    common = message.Common(
        "a", "gen1@h", "", "celery", (), "json", "oid", None, (None, None), None, 2, None, 3
    )
    call = {"task_id": "1", "chain": chain, "callbacks": [step("y")]}
    body = message.build_protocol1(common, call, (), {}, utc=True).body
    following_c = {"link": [step("x"), step("d")]}
    following_b = {"link": [step("c", **following_c)]}
    assert body["callbacks"] == [step("y"), step("b", **following_b)]
    assert chain == [step("d"), step("c", link=[step("x")]), step("b")]


def test_a_value_that_cannot_be_written_is_named_by_its_place(send):
    with pytest.raises(message.EncodeError, match=r"args\[0\]"):
        send("send([{1, 2}])")
