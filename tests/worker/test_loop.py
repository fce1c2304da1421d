"""The worker's main loop, with everything around it replaced."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace

from messages import FakeMessage

from celeriac.worker.call import SUCCEEDED
from celeriac.worker.loop import Loop
from celeriac.worker.outcome import Poisonous


class StumblingDoor:
    def admit(self, delivery):
        raise AttributeError("unforeseen")


class Turned:
    def __init__(self):
        self.away = []

    def turn_away(self, delivery, outcome):
        self.away.append((delivery, outcome))


def test_a_message_over_which_the_door_stumbles_is_set_aside_and_told(caplog):
    delivery = FakeMessage()
    turned = Turned()
    loop = Loop(None, None, StumblingDoor(), turned, None)
    loop._receive(delivery)
    assert turned.away == [
        (delivery, Poisonous("the worker failed at it: AttributeError('unforeseen')"))
    ]
    assert "The worker failed at a message" in caplog.text


class Intake:
    def __init__(self):
        self.heard = []

    def ack_later(self, deliveries):
        self.heard.append(("acknowledged", deliveries))

    def next_events(self, most, wait_s):
        self.heard.append("waits")
        self.waited_s = wait_s
        return []


class PoolOfThreads:
    """Reports, when it is asked what is due, what its threads have executed meanwhile."""

    def __init__(self, loop, request):
        self.loop, self.executed = loop, [request]

    def tend(self):
        while self.executed:
            self.loop.executed(self.executed.pop(), SUCCEEDED)
        return 1.0


class IdlePool:
    def tend(self):
        return 3600.0


def waits(due_s):
    """How long a loop waits before its first, second and third turn, of which none takes time."""
    intake = Intake()
    loop = Loop(None, intake, None, None, None)
    loop.turned = lambda: due_s
    waited = []
    for _ in range(3):
        loop._turn(IdlePool(), intake)
        waited.append(intake.waited_s)
    return waited


def test_the_loop_waits_until_something_is_due(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    assert waits(2.0) == [0.0, 2.0, 2.0]


def test_the_loop_never_waits_for_ever(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    assert waits(math.inf) == [0.0, 5.0, 5.0]


def test_what_is_overdue_is_called_without_a_wait(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    assert waits(-1.0) == [0.0, 0.0, 0.0]


def test_what_threads_have_executed_is_acknowledged_before_the_loop_waits():
    intake = Intake()
    loop = Loop(None, intake, None, None, None)
    task = SimpleNamespace(name="t.any")
    request = SimpleNamespace(id="1", task=task, acknowledged=False, delivery="the message")
    loop.census.enter(request)
    loop._turn(PoolOfThreads(loop, request), intake)
    assert intake.heard == [("acknowledged", ["the message"]), "waits"]
