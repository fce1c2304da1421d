"""Canvases through workers: every result is what the real Celery gives for the same canvas."""

from __future__ import annotations

import pytest

from processes import RemoteError

#: Versions of Celery whose own pair differs from 5.7's in the two canvases below.
JOINS_EARLY = {"5.4", "5.5", "5.6"}
MIXES_ORDER = {"5.4", "5.5"}

TWO = "[tasks.add.s(1, 1), tasks.add.s(2, 2)]"
#: A worker of an older Celery that sends the group sets the size of the outer chord to 2, joins it
#: after two parts of three, and waits for the third for ever, which would run in the same process.
GROUP_IN_HEADER = (
    "flavour.chord([tasks.add.s(1, 1) | flavour.group(tasks.add.s(2), tasks.add.s(3)),"
    " tasks.add.s(2, 2)], tasks.echo.s())"
)
#: A worker of an older Celery gives all members of the group that replaces a part one position.
REPLACED_IN_HEADER = (
    "flavour.chord([tasks.replaced_by_a_group.s(1, 2), tasks.add.s(1, 1)], tasks.echo.s())"
)
CHORD = f"flavour.chord({TWO}, tasks.total.s())"
CANVASES = [
    ("tasks.add.s(1, 2) | tasks.add.s(3) | tasks.add.s(4)", 10),
    ("flavour.chain(tasks.add.s(1, 2), tasks.add.si(3, 3))", 6),
    (f"flavour.group({TWO})", [2, 4]),
    ("flavour.group(tasks.add.s(i, i) for i in range(20))", [2 * i for i in range(20)]),
    (f"flavour.group({TWO}) | tasks.total.s()", 6),
    (f"flavour.group({TWO}) | tasks.total.s() | tasks.add.s(10) | tasks.add.s(2)", 18),
    (CHORD, 6),
    (f"{CHORD} | tasks.add.s(5)", 11),
    ("flavour.chord([tasks.add.s(i, 0) for i in range(25)], tasks.echo.s())", list(range(25))),
    ("flavour.chord([], tasks.total.s())", 0),
    ("tasks.add.s(1, 1) | flavour.group(tasks.add.s(2), tasks.add.s(3))", [4, 5]),
    ("tasks.add.s(1, 1) | flavour.group(tasks.add.s(2), tasks.add.s(3)) | tasks.total.s()", 9),
    (
        "tasks.add.s(1, 1) | flavour.group(tasks.add.s(2), tasks.add.s(3)) | tasks.total.s()"
        " | tasks.add.s(1) | flavour.group(tasks.add.s(1), tasks.add.s(2)) | tasks.total.s()",
        23,
    ),
    (f"flavour.group({TWO}) | flavour.group(tasks.total.s(), tasks.echo.s())", [6, [2, 4]]),
    (f"flavour.chord([{CHORD}, tasks.add.s(2, 2)], tasks.total.s())", 10),
    (f"flavour.chord([{CHORD}, {CHORD}], tasks.total.s() | tasks.add.s(1))", 13),
    (
        "flavour.chord([tasks.add.s(1, 1) | tasks.add.s(2), tasks.add.s(2, 2)], tasks.echo.s())",
        [4, 4],
    ),
    (f"flavour.chord([flavour.group({TWO}), tasks.add.s(3, 3)], tasks.echo.s())", [4, 2, 6]),
    (GROUP_IN_HEADER, [[4, 5], 4]),
    (
        f"flavour.chord({TWO}, flavour.chord([tasks.echo.s(), tasks.echo.s()], tasks.echo.s()))",
        [[2, 4]] * 2,
    ),
    (f"tasks.add.s(1, 1) | {CHORD.replace('s(1, 1)', 's(1)').replace('s(2, 2)', 's(2)')}", 7),
    ("tasks.replaced.s(1)", 11),
    ("tasks.replaced.s(1) | tasks.add.s(1)", 12),
    ("tasks.replaced_by_a_chain.s(1) | tasks.add.s(1)", 112),
    ("tasks.replaced_by_a_group.s(1, 2)", [2, 3]),
    ("tasks.replaced_by_a_group.s(1, 2) | tasks.total.s()", 5),
    ("flavour.chord([tasks.replaced.s(1), tasks.add.s(1, 1)], tasks.total.s())", 13),
    ("flavour.chord([tasks.replaced_by_a_chain.s(1), tasks.add.s(1, 1)], tasks.total.s())", 113),
    (REPLACED_IN_HEADER, [[2, 3], 2]),
    ("flavour.chord([tasks.one_more.s(1), tasks.one_more.s(2)], tasks.total.s())", 206),
    ("tasks.echo.map([1, 2, 3])", [1, 2, 3]),
    ("tasks.add.starmap([(1, 2), (3, 4)])", [3, 7]),
    ("tasks.add.chunks([(1, 2), (2, 3), (3, 4)], 2).group()", [[3, 5], [7]]),
    (
        "tasks.add.chunks(zip(range(9), range(9)), 3).group() | tasks.echo.s()",
        [[0, 2, 4], [6, 8, 10], [12, 14, 16]],
    ),
]


@pytest.mark.parametrize(("canvas", "expected"), CANVASES)
def test_a_canvas_has_its_value(pair, canvas, expected):
    if canvas == GROUP_IN_HEADER and {pair.producers_version, pair.workers_version} <= JOINS_EARLY:
        pytest.skip("a Celery older than 5.7 waits for itself here")
    found = pair.ask(f"({canvas}).apply_async().get(timeout=30)")
    if canvas == REPLACED_IN_HEADER and pair.workers_version in MIXES_ORDER:
        found[0].sort()
    assert found == expected


def test_the_results_of_a_chain_lead_back_to_its_first_step(pair):
    pair.ask("globals().update(r=(tasks.add.s(1, 2) | tasks.add.s(3) | tasks.add.s(4)).delay())")
    assert pair.ask("[r.get(timeout=30), r.parent.get(), r.parent.parent.get()]") == [10, 6, 3]
    assert pair.ask("[c.get(timeout=30) for c in r.parent.parent.children]") == [6]


def test_a_failed_part_fails_the_body_with_its_name(pair):
    failing = "[tasks.add.s(1, 1), tasks.fail.s('KeyError', 'k')]"
    pair.ask(f"globals().update(r=flavour.chord({failing}, tasks.total.s()).delay())")
    with pytest.raises(RemoteError, match=r"ChordError: Dependency .* raised KeyError\('k'"):
        pair.ask("r.get(timeout=30, follow_parents=False)")
    with pytest.raises(RemoteError, match="KeyError: 'k'"):
        pair.ask("r.get(timeout=30)")


def test_a_failed_step_fails_the_rest_of_its_chain(pair):
    chain = "(tasks.fail.s('KeyError', 'k') | tasks.add.si(1, 1) | tasks.add.s(2))"
    with pytest.raises(RemoteError, match="KeyError"):
        pair.ask(f"{chain}.delay().get(timeout=30)")


def test_a_failed_step_in_a_header_fails_the_body(pair):
    failing = "[tasks.add.s(1, 1), tasks.fail.s('KeyError', 'k') | tasks.add.s(1) | tasks.add.s(2)]"
    with pytest.raises(RemoteError, match="ChordError"):
        pair.ask(
            f"flavour.chord({failing}, tasks.total.s()).delay()"
            ".get(timeout=30, follow_parents=False)"
        )


def test_a_replaced_task_keeps_its_callbacks(pair):
    pair.ask("globals().update(r=tasks.replaced.apply_async((1,), link=tasks.add.s(5)))")
    assert pair.ask("r.get(timeout=30)") == 11
    assert pair.ask("[child.get(timeout=30) for child in r.children]") == [16]
