"""An application on brokers inside of this process, and what it has sent."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import pytest

import celeriac.app.builtins  # noqa: F401 - its tasks stay registered for all tests
from celeriac import Celery, _current, _native, broker, signals

if TYPE_CHECKING:
    from collections.abc import Callable

_numbers = itertools.count()
WAIT_S = 5.0


class Sent(NamedTuple):
    headers: dict
    properties: dict
    body: bytes
    exchange: str
    routing_key: str
    content_type: str
    content_encoding: str


@pytest.fixture(autouse=True)
def _restore_current():
    before = _current.default_app, _current._tls.current_app, set(_current._finalizers)
    yield
    _current.default_app, _current._tls.current_app = before[:2]
    _current._finalizers.intersection_update(before[2])


@pytest.fixture(autouse=True)
def _restore_receivers():
    all_signals = [one for one in vars(signals).values() if isinstance(one, signals.Signal)]
    before = [one.receivers for one in all_signals]
    yield
    for one, receivers in zip(all_signals, before, strict=True):
        one.receivers = receivers


@pytest.fixture
def app() -> Celery:
    name = f"memory:///unit{next(_numbers)}"
    return Celery("proj", broker=name, backend=name, set_as_current=False)


@pytest.fixture
def sent() -> Callable[..., list[Sent]]:
    """Take the messages that an application has sent."""

    def take(app: Celery, count: int, queue: str = "celery") -> list[Sent]:
        url, options = broker.read_url(app)
        intake = _native.Intake(
            url, options, [{"name": queue}], node="t@t", prefetch=0, results=None
        )
        intake.start()
        found: list[Sent] = []
        while len(found) < count:
            events = intake.next_events(100, WAIT_S)
            assert events, f"{len(found)} of {count} messages came"
            for event in events:
                parts = event.headers(), event.properties(), event.raw_body()
                kind = event.content_type, event.content_encoding
                found.append(Sent(*parts, event.exchange, event.routing_key, *kind))
                intake.settle(event, "ack")
        intake.flush(WAIT_S)
        intake.close(WAIT_S)
        return found

    return take
