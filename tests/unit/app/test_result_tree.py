import io
import re

import pytest

from celeriac.app.context import Context
from celeriac.exceptions import IncompleteStream
from celeriac.result.graph import DependencyGraph

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


def test_the_tree_is_a_graph(app, tree):
    _finish(app, "d")

    graph = tree["a"].graph

    assert {str(node): list(map(str, below)) for node, below in graph.items()} == {
        "a": ["b", "c"], "b": ["d"], "c": [], "d": [],
    }  # fmt: skip
    assert graph is tree["a"].graph
    assert (len(graph), graph.valency_of(tree["a"]), tree["d"] in graph) == (4, 3, True)
    assert list(map(str, graph.edges())) == ["a", "b"]
    assert repr(graph).splitlines() == ["a(3)", "b(1)", "c(0)", "d(0)"]


def test_a_graph_of_what_is_not_done_is_asked_for(tree):
    with pytest.raises(IncompleteStream):
        tree["a"].build_graph()
    assert len(tree["a"].build_graph(intermediate=True)) == 4


def test_a_graph_sorts_what_others_depend_on_first():
    graph = DependencyGraph([("a", ["c", "b"]), ("b", ["c"]), ("c", [])])
    assert graph.topsort() == ["c", "b", "a"]
    assert sorted(DependencyGraph([("a", ["b"]), ("b", ["a"])]).topsort()) == ["a", "b"]


def test_a_graph_is_drawn_in_graphvizs_language(app, tree):
    _finish(app, "d")

    drawn = io.StringIO()
    tree["a"].graph.to_dot(drawn)

    edges = re.findall(r'^ +"(\w)" -> "(\w)" \[.*\]$', drawn.getvalue(), re.MULTILINE)
    assert edges == [("a", "b"), ("a", "c"), ("b", "d")]
    assert drawn.getvalue().startswith("digraph")


def test_an_error_is_thrown_to_who_registered_for_it(app):
    handle = app.AsyncResult("x")
    told = []
    handle.then(None, on_error=told.append)
    handle.throw(KeyError("k"))
    assert told == [handle]
    with pytest.raises(KeyError):
        handle.throw(KeyError("k"))
