"""Shortened texts of arguments equal Celery's, character by character."""

from collections import OrderedDict, namedtuple
from decimal import Decimal
from fractions import Fraction

import pytest
from celery.utils.saferepr import saferepr
from hypothesis import given
from hypothesis import strategies as st

from celeriac import _native


class Names(list):
    pass


class Bag(set):
    pass


class Broken:
    def __repr__(self):
        raise ValueError("no words")


Point = namedtuple("Point", "x y")

EXAMPLES = [
    (),
    (2, 3),
    (1,),
    {},
    {"a": 1, "b": [1, 2, {"c": (1, [2])}]},
    [[[[1]]]],
    [[[]]],
    {1: {2: {3: {4: 5}}}},
    "it's",
    "two words " * 10,
    b"bytes",
    b"\xff\xfe",
    b"x" * 50,
    set(),
    frozenset(),
    {1},
    frozenset([1]),
    Bag([1]),
    Bag(),
    Names([1, 2]),
    Point(1, 2),
    OrderedDict(a=1),
    Decimal("1.5"),
    Fraction(1, 2),
    1 + 2j,
    None,
    True,
    1.5,
    10**40,
    range(5),
    object,
    "äö🎉" * 8,
    "a\ud800",
    {"\udfff": ["\ud800 \udabc" * 5, "\U0010ffff"[:0]]},
    {"k" * 30: "v" * 30},
    {("a", "b"): {"c": b"d"}},
    [1, "x y z", ["inner text", 2], {"key": "value"}],
]


@pytest.mark.parametrize("max_levels", [1, 2, 3, 5])
@pytest.mark.parametrize("max_chars", [1, 2, 3, 5, 8, 13, 21, 34, 1024])
@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: repr(value)[:30])
def test_every_limit_cuts_where_celery_cuts(value, max_chars, max_levels):
    theirs = saferepr(value, max_chars, max_levels)
    assert _native.safe_repr(value, max_chars, max_levels) == theirs


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
)
hashable = st.integers() | st.text(max_size=5)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(hashable, inner)
        | st.sets(hashable)
        | st.frozensets(hashable)
    ),
)


@given(trees, st.integers(min_value=1, max_value=200), st.integers(min_value=1, max_value=6))
def test_any_value_is_shortened_as_celery_shortens_it(value, max_chars, max_levels):
    theirs = saferepr(value, max_chars, max_levels)
    assert _native.safe_repr(value, max_chars, max_levels) == theirs


def test_a_list_that_contains_itself_is_shown_once():
    loop = [1]
    loop.append(loop)
    assert _native.safe_repr(loop) == saferepr(loop, 1024)


def test_an_object_whose_repr_fails_is_shown_with_its_error():
    assert "no words" in _native.safe_repr([Broken()])


def test_a_private_character_beside_no_surrogate_stays_what_it_is():
    assert _native.safe_repr("\U0010ffff") == "'\U0010ffff'"


def test_a_hundred_thousand_items_cost_only_what_is_shown():
    shown = _native.safe_repr([1] * 100_000, 30)
    assert shown == saferepr([1] * 100_000, 30)
