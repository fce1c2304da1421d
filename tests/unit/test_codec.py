"""Codecs: errors that name type and path, hooks of users, MessagePack."""

import sys
import types
from datetime import datetime, timedelta

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import _native
from celeriac.exceptions import DecodeError, EncodeError


@pytest.fixture
def hooks():
    yield _native.set_json_hooks
    _native.set_json_hooks(None, None)


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return isinstance(other, Point) and self.x == other.x

    __hash__ = None


def encode_point(value):
    if isinstance(value, Point):
        return {"__type__": "point", "__value__": value.x}
    return NotImplemented


def decode_point(marker, value):
    return Point(value) if marker == "point" else NotImplemented


PATHS = [
    ([1, {"when": timedelta(1)}], 'args[1]["when"] is of type datetime.timedelta'),
    ({1.5: {1, 2}}, "args[1.5] is of type set"),
    (({"a": [None, object()]},), 'args[0]["a"][1] is of type object'),
    ([{(1, 2): 3}], "args[0] has a key of type tuple"),
    ({1}, "args is of type set"),
]


@pytest.mark.parametrize(("value", "message"), PATHS, ids=[message for _, message in PATHS])
def test_an_encode_error_names_path_and_type(value, message):
    with pytest.raises(EncodeError) as caught:
        _native.encode_json(value, what="args")
    assert str(caught.value).startswith(message)


def test_a_list_that_contains_itself_is_an_encode_error():
    loop = []
    loop.append(loop)
    with pytest.raises(EncodeError, match="does it contain itself"):
        _native.encode_json(loop)


def test_an_object_that_reduces_to_itself_is_an_encode_error():
    class Stubborn:
        def __json__(self):
            return self

    with pytest.raises(EncodeError, match="does it contain itself"):
        _native.encode_json(Stubborn())


def test_what_is_as_deep_as_allowed_can_be_read_back():
    deep = []
    for _ in range(499):
        deep = [deep]
    assert _native.decode_json(_native.encode_json(deep)) == deep


def test_deeper_json_than_allowed_is_a_decode_error():
    with pytest.raises(DecodeError):
        _native.decode_json("[" * 100_000 + "]" * 100_000)


def test_an_error_of_the_users_own_reducer_is_the_cause():
    class Broken:
        def __json__(self):
            raise LookupError("not today")

    with pytest.raises(EncodeError, match=r'value\["a"\].*__json__.*not today') as caught:
        _native.encode_json({"a": Broken()})
    assert isinstance(caught.value.__cause__, LookupError)


def test_an_interrupt_in_the_users_reducer_is_not_swallowed():
    class Interrupted:
        def __json__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _native.encode_json([Interrupted()])


def test_a_dict_changed_by_its_own_value_does_not_harm_the_walk():
    data = {}

    class Growing:
        def __json__(self):
            data[len(data)] = 1
            return "grown"

    data["a"], data["b"] = Growing(), Growing()
    assert _native.encode_json(data) == b'{"a": "grown", "b": "grown"}'


def test_lazy_strings_of_django_become_text(monkeypatch):
    class Promise:
        pass

    class Lazy(Promise):
        def __str__(self):
            return "later"

    functional = types.ModuleType("django.utils.functional")
    functional.Promise = Promise
    monkeypatch.setitem(sys.modules, "django.utils.functional", functional)
    assert _native.encode_json([Lazy()]) == b'["later"]'


def test_registered_types_travel_both_ways(hooks):
    hooks(encode_point, decode_point)
    data = _native.encode_json([Point(1), datetime(2024, 1, 2)])
    assert _native.decode_json(data) == [Point(1), datetime(2024, 1, 2)]


def test_hooks_that_come_first_replace_a_builtin_type(hooks):
    hooks(
        lambda value: {"__type__": "datetime", "__value__": value.year},
        lambda marker, value: (marker, value),
        come_first=True,
    )
    data = _native.encode_json(datetime(2024, 1, 2))
    assert data == b'{"__type__": "datetime", "__value__": 2024}'
    assert _native.decode_json(data) == ("datetime", 2024)


def test_hooks_decline_what_they_do_not_know(hooks):
    hooks(encode_point, decode_point)
    with pytest.raises(EncodeError, match="of type set"):
        _native.encode_json({1})
    with pytest.raises(DecodeError, match="money"):
        _native.decode_json('{"__type__": "money", "__value__": 1}')


def test_an_error_in_a_decoding_hook_is_the_cause(hooks):
    hooks(None, lambda marker, value: 1 / 0)
    with pytest.raises(DecodeError) as caught:
        _native.decode_json('{"__type__": "money", "__value__": 1}')
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_bytes_that_are_not_utf_8_are_a_decode_error():
    with pytest.raises(DecodeError):
        _native.decode_json(b'"\xff"')


PACKED = [
    None,
    True,
    1,
    -1,
    2**64 - 1,
    -(2**63),
    1.5,
    "text é",
    b"\xff",
    [1, [2]],
    (1, 2),
    {"a": {"b": b"c"}},
    {1: 2, None: 3},
]


@pytest.mark.parametrize("value", PACKED, ids=repr)
def test_msgpack_is_written_as_kombu_writes_it(value):
    assert _native.encode_msgpack(value) == msgpack.packb(value, use_bin_type=True)


packable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(packable)
def test_any_msgpack_value_comes_back(value):
    packed = _native.encode_msgpack(value)
    assert packed == msgpack.packb(value, use_bin_type=True)
    assert _native.decode_msgpack(packed) == value


@pytest.mark.parametrize("value", [datetime(2024, 1, 2), 2**64, "\ud800", {1}], ids=repr)
def test_msgpack_refuses_what_kombu_refuses(value):
    with pytest.raises((TypeError, OverflowError, UnicodeError)):
        msgpack.packb(value, use_bin_type=True)
    with pytest.raises(EncodeError):
        _native.encode_msgpack(value)


@pytest.mark.parametrize(
    "data", [b"", b"\x92\x01", b"\xc1", b"\x01\x02", b"\xa1\xff", b"\xdd\xff\xff\xff\xff"]
)
def test_damaged_msgpack_is_a_decode_error(data):
    with pytest.raises(DecodeError):
        _native.decode_msgpack(data)
