"""Random canvases: the same messages as Celery's, and the value of a plain evaluation."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from random_canvas import Composed, Step, whole

from test_canvas_messages import sent


def spliced(canvas: Any) -> list[Any]:
    """The steps of a chain, with those of the chains in it."""
    if isinstance(canvas, Step) or canvas.kind != "chain":
        return [canvas]
    return [step for part in canvas.parts for step in spliced(part)]


def ends_with_group(canvas: Any) -> bool:
    last = spliced(canvas)[-1]
    if isinstance(last, Step):
        return False
    return last.kind == "group" or ends_with_group(last.parts[-1])


def is_run_wrongly_by_celery(canvas: Any) -> bool:
    """Whether something follows a chord whose body is a group: Celery runs it for each member."""
    if isinstance(canvas, Step):
        return False
    steps = spliced(canvas)
    for before, step in zip([None, *steps], steps[:-1], strict=False):
        if ends_with_group(step) and not isinstance(step, Step):
            follows_group = before is not None and ends_with_group(before)
            if step.kind == "chord" or follows_group:
                return True
    inner = steps if canvas.kind == "chain" else canvas.parts
    return any(is_run_wrongly_by_celery(part) for part in inner if part is not canvas)


NUMBERS = st.integers(-9, 9)


def canvases(depth: int, *, first: bool) -> st.SearchStrategy[Any]:
    """Canvases whose tasks have an input unless they come first."""
    step = st.builds(Step, NUMBERS, NUMBERS if first else st.none())
    if depth == 0:
        return step
    inner, after = canvases(depth - 1, first=first), canvases(depth - 1, first=False)
    members = st.lists(inner, min_size=1, max_size=3)
    groups = members.map(lambda found: Composed("group", tuple(found)))
    chords = st.tuples(members, after).map(lambda found: Composed("chord", (*found[0], found[1])))
    chains = st.tuples(inner, st.lists(after, min_size=1, max_size=3), st.booleans()).map(
        lambda found: Composed("chain", (found[0], *found[1]), found[2])
    )
    return st.one_of(step, groups, chords, chains)


QUIET = settings(
    deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


TASK = Step(0, None)
GROUP = Composed("group", (TASK, TASK))
CHAIN_IN_GROUP = Composed("group", (Composed("chain", (TASK, TASK)),))


@given(canvas=canvases(3, first=True))
@example(canvas=Composed("chord", (Step(0, 0), Composed("chain", (TASK, GROUP, GROUP)))))
@example(
    canvas=Composed("chain", (Composed("group", (Step(0, 0), Step(0, 0))), TASK, CHAIN_IN_GROUP))
)
@settings(QUIET, max_examples=150)
def test_a_random_canvas_is_the_same_messages(producers, session_redis, canvas):
    assume(not is_run_wrongly_by_celery(canvas))
    expression = f"{canvas.text()}.apply_async()"
    expected, ours = (
        sent(producers[flavour], session_redis, expression, with_handle=False)
        for flavour in ("celery", "celeriac")
    )
    assert ours == expected


@given(canvas=canvases(3, first=True))
@settings(QUIET, max_examples=25)
def test_a_random_canvas_has_the_value_of_a_plain_evaluation(pair, canvas):
    if pair.producer.flavour == "celery":
        # Who publishes decides what is sent; Celery with itself shows that the evaluation is right.
        assume(not is_run_wrongly_by_celery(canvas))
    canvas = whole(canvas)
    assert pair.ask(f"{canvas.text()}.apply_async().get(timeout=30)") == canvas.value(None)
