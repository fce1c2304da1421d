import pytest

from celeriac.app.context import Context
from celeriac.exceptions import IncompleteStream

WAIT_S = 10


@pytest.fixture
def tree(app):
    """`a` has called `b` and `c`, `b` has called `d`; only `d` is not done."""
    handles = {name: app.AsyncResult(name) for name in "abcd"}
    called = {"a": "bc", "b": "d", "c": ""}
    for name, children in called.items():
        request = Context(_children=[handles[one] for one in children])
        app.backend.store_result(name, name.upper(), "SUCCESS", request=request)
    return handles


def _finish(app, name):
    app.backend.store_result(name, name.upper(), "SUCCESS")


def test_children_are_walked_level_by_level(app, tree):
    _finish(app, "d")

    pairs = [(parent and parent.id, node.id) for parent, node in tree["a"].iterdeps()]

    assert pairs == [(None, "a"), ("a", "b"), ("a", "c"), ("b", "d")]


def test_a_task_that_is_not_done_makes_the_walk_incomplete(tree):
    seen = []
    with pytest.raises(IncompleteStream):
        seen.extend(node.id for _, node in tree["a"].iterdeps())


def test_a_task_that_is_not_done_is_passed_over_where_that_is_asked_for(tree):
    assert [node.id for _, node in tree["a"].iterdeps(intermediate=True)] == ["a", "b", "c", "d"]


def test_the_values_of_the_whole_tree_are_collected(app, tree):
    _finish(app, "d")

    collected = {node.id: value for node, value in tree["a"].collect(timeout=WAIT_S)}

    assert collected == {"a": "A", "b": "B", "c": "C", "d": "D"}


def test_the_leaf_is_the_last_of_the_walk(app, tree):
    _finish(app, "d")

    assert tree["a"].get_leaf() == "D"
