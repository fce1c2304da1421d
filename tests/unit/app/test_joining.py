"""Who sends a chord's body when a part comes again."""

import json
from types import SimpleNamespace

import pytest

from celeriac import group
from celeriac.app import joining


class Killed(BaseException):
    """What ends a process where a test says."""


class Store:
    """Says one thing after the other about a chord, and notes what is asked."""

    has_chords = True

    def __init__(self, *verdicts, is_ours=(True,), group=None, killed_at=()):
        self.verdicts, self.is_ours, self.asked = list(verdicts), list(is_ours), []
        self.group, self.killed_at = group, list(killed_at)

    def join_chord(self, *_args):
        self.note("join")
        return self.verdicts.pop(0)

    def keep_chord_claim(self, *_args):
        self.note("keep")
        return self.is_ours.pop(0)

    def close_chord(self, *_args):
        self.note("close")
        return True

    def restore_group(self, *_args):
        return self.group

    def delete_group(self, *_args):
        self.note("delete")
        self.group = None

    def note(self, what):
        if what in self.killed_at:
            self.killed_at.remove(what)
            raise Killed
        self.asked.append(what)


@pytest.fixture
def returned(app, monkeypatch):
    monkeypatch.setattr(joining, "_LOOK_S", 0.0)
    monkeypatch.setattr(joining, "_FIRST_PAUSE_S", 0.0)
    body = app.task(lambda values: values, name="body", lazy=False)
    backend = type(app.backend)
    sent = []

    def part_returned(store):
        def send(_task, args, *_args, **_options):
            store.note("send")
            sent.append(args)

        monkeypatch.setattr(type(body), "apply_async", send)
        monkeypatch.setattr(backend, "native", store)
        monkeypatch.setattr(backend, "restore_group", store.restore_group)
        monkeypatch.setattr(backend, "delete_group", store.delete_group)
        request = SimpleNamespace(id="i", chord=body.s(), group="g", group_index=0)
        joining.part_returned(app, app.backend, request, "SUCCESS", 3)
        return sent

    return part_returned


PARTS = [b'[1, "i", "SUCCESS", 3]']


def test_a_part_that_comes_again_sends_the_body_when_who_was_to_is_dead(returned):
    store = Store(("taken", ()), ("taken", ()), ("complete", PARTS))
    assert returned(store) == [([3],)]
    assert store.asked == ["join", "join", "join", "keep", "send", "close"]


def test_a_part_that_comes_again_does_nothing_when_the_body_was_sent(returned):
    assert returned(Store(("taken", ()), ("done", ()))) == []


def test_who_has_lost_its_claim_does_not_send_the_body(returned):
    store = Store(("complete", PARTS), is_ours=[False])
    assert returned(store) == []
    assert store.asked == ["join", "keep"]


@pytest.mark.parametrize("place", ["send", "close", "delete"])
def test_a_header_of_groups_keeps_its_shape_when_who_joins_it_is_killed(returned, place):
    header = SimpleNamespace(join=lambda **_: [[3]])
    complete = ("complete", PARTS)
    store = Store(complete, complete, is_ours=(True, True), group=header, killed_at=[place])
    with pytest.raises(Killed):
        returned(store)
    sent = returned(store)
    assert sent[-1] == ([[3]],)
    assert store.asked[-3:] == ["send", "close", "delete"]


@pytest.mark.parametrize("own_id", ["header", "another"])
def test_a_group_at_the_end_of_a_headers_chain_leaves_the_headers_size(app, monkeypatch, own_id):
    sizes = []
    monkeypatch.setattr(type(app.backend), "set_chord_size", lambda *args: sizes.append(args[1:]))
    body = app.task(lambda values: values, name="body", lazy=False)
    place = {"group_id": "header", "chord": dict(body.s())}
    members = [body.s(number).set(group_index=0, **place) for number in range(2)]
    # Older Celery gives the group the header's own id.
    sig = group(members, app=app).set(task_id=own_id, **place)
    app.signature(json.loads(json.dumps(sig))).apply_async()
    assert sizes == []
