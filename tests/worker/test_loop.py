"""The worker's main loop, with everything around it replaced."""

from __future__ import annotations

from messages import FakeMessage

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
