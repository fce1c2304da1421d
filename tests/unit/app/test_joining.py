"""Who sends a chord's body when a part comes again."""

from types import SimpleNamespace

import pytest

from celeriac.app import joining


class Store:
    """Says one thing after the other about a chord, and notes what is asked."""

    has_chords = True

    def __init__(self, *verdicts, is_ours=(True,)):
        self.verdicts, self.is_ours, self.asked = list(verdicts), list(is_ours), []

    def join_chord(self, *_args):
        self.asked.append("join")
        return self.verdicts.pop(0)

    def keep_chord_claim(self, *_args):
        self.asked.append("keep")
        return self.is_ours.pop(0)

    def close_chord(self, *_args):
        self.asked.append("close")
        return True


@pytest.fixture
def returned(app, monkeypatch):
    monkeypatch.setattr(joining, "_LOOK_S", 0.0)
    monkeypatch.setattr(joining, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(type(app.backend), "restore_group", lambda *_: None)
    sent = []
    body = app.task(lambda values: values, name="body", lazy=False)
    monkeypatch.setattr(type(body), "apply_async", lambda *args, **_: sent.append(args[1]))

    def part_returned(store):
        monkeypatch.setattr(type(app.backend), "native", store)
        request = SimpleNamespace(id="i", chord=body.s(), group="g", group_index=0)
        joining.part_returned(app, app.backend, request, "SUCCESS", 3)
        return sent

    return part_returned


PARTS = [b'[1, "i", "SUCCESS", 3]']


def test_a_part_that_comes_again_sends_the_body_when_who_was_to_is_dead(returned):
    store = Store(("taken", ()), ("taken", ()), ("complete", PARTS))
    assert returned(store) == [([3],)]
    assert store.asked == ["join", "join", "join", "keep", "close"]


def test_a_part_that_comes_again_does_nothing_when_the_body_was_sent(returned):
    assert returned(Store(("taken", ()), ("done", ()))) == []


def test_who_has_lost_its_claim_does_not_send_the_body(returned):
    store = Store(("complete", PARTS), is_ours=[False])
    assert returned(store) == []
    assert store.asked == ["join", "keep"]
