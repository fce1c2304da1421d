"""Which errbacks of a workflow run, how often and about what, beside the real Celery."""

from __future__ import annotations

import re
import time
import uuid

import pytest

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
BAD, GOOD = "called('bad', tasks.fail.si('KeyError', 'k'))", "tasks.add.si(1, 1)"
BODY, OUTER = "called('body', tasks.total.s())", "called('outer', tasks.total.s())"
NEXT = "called('next', tasks.add.s(1))"
CHORD = f"flavour.chord([{BAD}, {GOOD}], {BODY})"
OF_BAD = "bad KeyError('k') True"


def chord_error(whom, cause="bad raised KeyError('k')"):
    """What an errback notes about a body that did not run."""
    error = f'ChordError("Dependency {cause}")'
    return f"{whom} {error} False"


OF_BODY = chord_error("body")
OF_OUTER = (
    r"""outer ChordError('Dependency body raised ChordError("Dependency bad raised """
    r"""KeyError(\'k\')")') False"""
)
#: A canvas with errbacks; whom they are told of; whom else where
#: `task_allow_error_cb_on_chord_header` is on.
CANVASES = {
    "task": (f"erring({BAD}, E)", [OF_BAD], []),
    "two errbacks": (f"erring({BAD}, E, OLD)", ["bad", OF_BAD], []),
    "chain": (f"({BAD} | {GOOD} | {GOOD}).on_error(E)", [OF_BAD], []),
    "end of a chain": (f"({GOOD} | {BAD}).set(link_error=[E])", [OF_BAD], []),
    "group": (f"erring(flavour.group([{BAD}, {GOOD}]), E)", [OF_BAD], []),
    "chord": (f"erring({CHORD}, E)", [OF_BODY], [OF_BAD]),
    "option of a chord": (f"{CHORD}.set(link_error=[E])", [OF_BODY], []),
    "chord, old errback": (f"erring({CHORD}, OLD)", ["body"], ["bad"]),
    "chord, two fail": (
        f"erring(flavour.chord([{BAD}, {BAD.replace('bad', 'bad2')}], {BODY}), E)",
        [OF_BODY],
        [OF_BAD, OF_BAD.replace("bad", "bad2")],
    ),
    "chord, body fails": (f"erring(flavour.chord([{GOOD}], {BAD}), E)", [OF_BAD], []),
    "errback of the body": (f"flavour.chord([{BAD}], {BODY}.on_error(E))", [OF_BODY], []),
    "errback of a member": (f"flavour.chord([{BAD}.on_error(E)], {BODY})", [OF_BAD], []),
    "chain in a header": (
        f"erring(flavour.chord([{GOOD} | {BAD} | {GOOD}, {GOOD}], {BODY}), E)",
        [chord_error("body", "ID raised KeyError('k')")],
        [OF_BAD],
    ),
    "body is a chain": (
        f"erring(flavour.chord([{BAD}, {GOOD}], {BODY} | {GOOD}), E)",
        [chord_error("ID")],
        [OF_BAD],
    ),
    "body is a group": (
        f"erring(flavour.chord([{BAD}, {GOOD}], flavour.group([{BODY}, {OUTER}])), E)",
        [OF_BODY, chord_error("outer")],
        [OF_BAD],
    ),
    "body is a chord": (
        f"erring(flavour.chord([{BAD}], flavour.chord([tasks.total.s()], {BODY})), E)",
        [OF_BODY],
        [OF_BAD],
    ),
    "chord, then a task": (f"({CHORD} | {NEXT}).on_error(E)", [chord_error("next")], [OF_BAD]),
    "group, then two tasks": (
        f"(flavour.group([{BAD}, {GOOD}]) | {BODY} | {NEXT}).on_error(E)",
        [chord_error("next")],
        [OF_BAD],
    ),
    "task, then a chord": (f"({GOOD} | {CHORD}).on_error(E)", [OF_BODY], [OF_BAD]),
    "two chords in a row": (
        f"({CHORD} | flavour.chord([tasks.add.s(1)], {OUTER})).on_error(E)",
        [chord_error("outer")],
        [OF_BAD],
    ),
    "chord in a header": (
        f"erring(flavour.chord([{CHORD}, {GOOD}], {OUTER}), E)",
        [OF_BODY, OF_OUTER],
        [OF_BAD],
    ),
    "errback of a chord in a header": (
        f"flavour.chord([erring({CHORD}, E), {GOOD}], {OUTER})",
        [OF_BODY],
        [OF_BAD],
    ),
    "chord in a chain in a header": (
        f"erring(flavour.chord([{GOOD} | {CHORD}, {GOOD}], {OUTER}), E)",
        [OF_OUTER],
        [OF_BAD, OF_BODY],
    ),
}
#: A Celery worker tells the errbacks of a group of what the member raised, and leaves the rest
#: pending for ever: a chord whose part is a chord that failed.
NOT_BY_CELERYS_WORKER = {
    "body is a group",
    "body is a chord",
    "chord in a header",
    "errback of a chord in a header",
    "chord in a chain in a header",
}


def told(pair, canvas, *, on_header, count):
    """What the errbacks of a canvas note, its ids without what makes them unique.

    Waits until there are `count` of them, and then until what was sent beside them is done.
    """
    mark = uuid.uuid4().hex[:8]
    names = (
        f"E=tasks.note_failure.s('{mark}'), OLD=tasks.note_failure_by_id.s('{mark}'),"
        f"called=lambda name, sig: sig.set(task_id=f'{{name}}-{mark}')"
    )
    pair.producer.text(f"app.conf.update(task_allow_error_cb_on_chord_header={on_header})")
    pair.producer.text(f"globals().update({names})")
    pair.producer.text(f"globals().update(r=({canvas}).apply_async())")
    pair.producer.text("[r.get(timeout=30, propagate=False)]")
    deadline_s = time.monotonic() + 30
    while pair.redis.llen(mark) < count and time.monotonic() < deadline_s:
        # Errbacks that are messages, and any that were sent too often, are in front of this.
        assert pair.ask("tasks.add.delay(1, 1).get(timeout=30)") == 2
    for _ in range(4):
        assert pair.ask("tasks.add.delay(1, 1).get(timeout=30)") == 2
    pair.producer.text("app.conf.update(task_allow_error_cb_on_chord_header=True)")
    found = [item.decode() for item in pair.redis.lrange(mark, 0, -1)]
    pair.redis.delete(mark)
    return sorted(UUID.sub("ID", item.replace(f"-{mark}", "")) for item in found)


@pytest.mark.parametrize("on_header", [False, True], ids=["off", "on"])
@pytest.mark.parametrize("name", CANVASES)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_errbacks_are_called_once(pair, name, on_header):
    if pair.worker.flavour == "celery" and name in NOT_BY_CELERYS_WORKER:
        pytest.skip("Celery's workers do otherwise; see NOT_BY_CELERYS_WORKER")
    canvas, always, also_of_header = CANVASES[name]
    expected = [*always, *(also_of_header if on_header else [])]
    if pair.producer.flavour == "celery" and name == "chord in a header" and on_header:
        expected.append(
            OF_BODY
        )  # Celery links it twice to a chord in a header; the message says so
    assert told(pair, canvas, on_header=on_header, count=len(expected)) == sorted(expected)
