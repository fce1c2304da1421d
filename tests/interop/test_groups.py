"""Handles of groups, beside the real Celery's: saved by one, restored by the other."""

from __future__ import annotations

GROUP = "flavour.group(tasks.add.s(i, i) for i in range(5))"


def test_a_saved_group_is_restored_by_either_kind(pair, producers):
    pair.ask(f"globals().update(g={GROUP}.apply_async())")
    group_id = pair.ask("(g.save(), g.id)[1]")
    for producer in producers.values():
        found = f"app.GroupResult.restore({group_id!r}).join(timeout=30)"
        assert producer.ask(found) == [0, 2, 4, 6, 8]
    pair.ask("g.delete()")
    assert pair.ask(f"app.GroupResult.restore({group_id!r})") is None


def test_a_group_counts_what_is_done(pair):
    pair.ask(f"globals().update(g={GROUP}.apply_async())")
    assert pair.ask("g.get(timeout=30)") == [0, 2, 4, 6, 8]
    assert pair.ask("[g.completed_count(), g.ready(), g.successful(), g.failed()]") == [
        5,
        True,
        True,
        False,
    ]


def test_who_asked_is_called_when_a_group_is_done(pair):
    pair.ask(f"globals().update(g={GROUP}.apply_async(), seen=[])")
    pair.ask("g.then(lambda result: seen.append(result.id)) and None")
    assert pair.ask("[len(g.get(timeout=30)), seen == [g.id]]") == [5, True]
