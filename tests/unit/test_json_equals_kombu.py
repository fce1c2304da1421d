"""What JSON we write and read equals what kombu writes and reads, byte for byte."""

import enum
import json
import math
import uuid
from collections import OrderedDict, namedtuple
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from celeriac import _native, exceptions


class Color(enum.IntEnum):
    RED = 1


class Mode(str, enum.Enum):
    FAST = "fast"


class Loud(str):
    __slots__ = ()

    def encode(self, *_args):
        raise AssertionError("a subclass's encode() is not asked")


class Pair(namedtuple("Pair", "left right")):
    __slots__ = ()


class Reversed(dict):
    def items(self):
        return reversed(list(super().items()))


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __json__(self):
        return {"cents": self.cents, "when": date(2024, 1, 2)}


class OddInt(int):
    def __repr__(self):
        return "odd"

    __str__ = __repr__


class OddFloat(float):
    def __repr__(self):
        return "odd"


EXAMPLES = [
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**63 - 1,
    -(2**63),
    2**63,
    2**64 - 1,
    2**64,
    -(2**63) - 1,
    10**80,
    0.0,
    -0.0,
    0.1,
    1e16,
    1e15,
    123456789012345.6,
    1e-5,
    0.0001,
    5e-324,
    1.7976931348623157e308,
    1e22,
    1e100,
    math.pi,
    math.inf,
    -math.inf,
    math.nan,
    "",
    "plain",
    'quote " backslash \\ slash /',
    "\x00\x1f\x7f\x80\b\f\n\r\t",
    "äöü €",
    "🎉",
    "\ud800",
    "a\udfffb",
    "\ud83c\udf89",
    [],
    [[]],
    {},
    {"a": {}},
    (1, (2, ()), [3]),
    {1: "a", 1.5: "b", True: "c", None: "d", -0.0: "e"},
    {math.nan: 1, math.inf: 2, -math.inf: 3},
    {2**70: 1, "1": 2},
    {"\ud800": 1, "é": 2},
    OrderedDict([("z", 1), ("a", 2)]),
    Reversed({"a": 1, "b": 2}),
    Color.RED,
    Mode.FAST,
    {Color.RED: Mode.FAST, Mode.FAST: Color.RED},
    Loud("text"),
    Pair(1, "b"),
    OddInt(7),
    OddFloat(1.25),
    {OddInt(7): OddFloat(1.25), OddFloat(2.5): 1},
    Money(150),
    [Money(1), {"m": Money(2)}],
    datetime(2024, 1, 2, 3, 4, 5, 678),
    datetime(2024, 1, 2, tzinfo=timezone.utc),
    datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    date(1, 1, 1),
    date(9999, 12, 31),
    time(3, 4),
    time(3, 4, 5, 678, tzinfo=timezone.utc),
    Decimal("1.10"),
    Decimal("NaN"),
    Decimal("-1E+30"),
    uuid.UUID(int=5),
    b"",
    b"text \xc3\xa9",
    b"\xff\x00",
    {"deep": [{"er": (datetime(2024, 1, 2), b"\xff", uuid.UUID(int=7))}]},
]


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: repr(value)[:40])
def test_we_write_what_kombu_writes(value):
    assert _native.encode_json(value) == kombu_json.dumps(value).encode()


@pytest.mark.parametrize(
    "value",
    [value for value in EXAMPLES if value == value],  # noqa: PLR0124 - NaN has no equal
    ids=lambda value: repr(value)[:40],
)
def test_we_read_what_kombu_reads(value):
    text = kombu_json.dumps(value)
    ours, theirs = _native.decode_json(text.encode()), kombu_json.loads(text)
    assert repr(ours) == repr(theirs)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats()
    | st.text()
    | st.text(alphabet=st.characters(codec=None))
    | st.binary()
    | st.datetimes(timezones=st.none() | st.just(timezone.utc))
    | st.dates()
    | st.times()
    | st.decimals()
    | st.uuids()
)
keys = st.text() | st.integers() | st.floats() | st.booleans() | st.none()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner),
    max_leaves=20,
)


@given(values)
def test_any_value_is_written_as_kombu_writes_it(value):
    assert _native.encode_json(value) == kombu_json.dumps(value).encode()


@given(values)
def test_any_value_is_read_as_kombu_reads_it(value):
    text = kombu_json.dumps(value)
    assert repr(_native.decode_json(text)) == repr(kombu_json.loads(text))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(plain, st.sampled_from([None, 0, 2]), st.booleans())
def test_json_of_other_writers_is_read_as_kombu_reads_it(value, indent, ensure_ascii):
    text = json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)
    assert repr(_native.decode_json(text)) == repr(kombu_json.loads(text))


SPECIAL = ["é", "я", "漢", "😀", "\ud83d", "\ude00", "\ude00\ud83d", "\ufeff", "\ufffe", "\0", '"']
pieces = st.text(alphabet=st.characters(codec=None), min_size=1, max_size=20) | st.sampled_from(
    [*SPECIAL, "\\", "a" * 40]
)
long_texts = st.lists(
    st.tuples(pieces, st.integers(1, 300)).map(lambda found: found[0] * found[1]), max_size=5
).map("".join)


@given(long_texts, st.booleans())
def test_a_long_text_is_written_and_read_as_kombu_does_it(text, ensure_ascii):
    assert _native.encode_json([text]) == kombu_json.dumps([text]).encode()
    written = json.dumps({text: text}, ensure_ascii=ensure_ascii)
    if ensure_ascii or not any("\ud800" <= c <= "\udfff" for c in text):
        assert _native.decode_json(written.encode()) == kombu_json.loads(written)


@given(long_texts, st.data())
def test_a_long_text_that_is_damaged_is_read_or_refused_as_kombu_does_it(text, data):
    written = json.dumps([text])
    at = data.draw(st.integers(0, len(written)))
    damage = data.draw(st.sampled_from(["", '"', "\\", "\\u12", "\\x", "\n", "é", "g", "\\ud83d"]))
    length = data.draw(st.integers(0, 3))
    written = written[:at] + damage + written[at + length :]
    try:
        expected = kombu_json.loads(written)
    except Exception:  # noqa: BLE001 - kombu.utils.json raises many classes
        with pytest.raises(exceptions.DecodeError):
            _native.decode_json(written)
    else:
        assert _native.decode_json(written) == expected


TYPED = [
    '{"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000005"}}',
    '{"__value__": "2024-01-02", "__type__": "date"}',
    '{"__type__": "date", "__value__": "2024-01-02T03:04:05"}',
    '{"__type__": "base64", "__value__": "/w==\\n"}',
    '{"__type__": "date", "__value__": "2024-01-02", "more": 1}',
    '{"__type__": "date"}',
    '{"__value__": 1}',
    '{"__type__": "bytes", "__value__": "\\u00e9"}',
]


@pytest.mark.parametrize("text", TYPED)
def test_typed_objects_are_told_from_dicts_that_resemble_them(text):
    assert repr(_native.decode_json(text)) == repr(kombu_json.loads(text))


NOT_JSON = [
    "",
    "{",
    "[1,]",
    "{'a': 1}",
    "01",
    "+1",
    "1.",
    "nul",
    "[1] 2",
    '"\x01"',
    '"\\x41"',
    '{"__type__": "money", "__value__": 1}',
    '{"__type__": "uuid", "__value__": "x"}',
    '{"__type__": "datetime", "__value__": "yesterday"}',
    '{"__type__": ["a"], "__value__": 1}',
    '{"__type__": "bytes", "__value__": "\\ud800"}',
]


@pytest.mark.parametrize("text", NOT_JSON)
def test_what_kombu_cannot_read_we_cannot_read_either(text):
    with pytest.raises(Exception):  # noqa: B017, PT011 - kombu.utils.json raises many classes
        kombu_json.loads(text)
    with pytest.raises(exceptions.DecodeError):
        _native.decode_json(text)


REFUSED = [
    {1, 2},
    timedelta(seconds=1),
    object(),
    object,
    Fraction(1, 2),
    1j,
    bytearray(b"x"),
    memoryview(b"x"),
    {(1, 2): 3},
    {b"k": 1},
    (n for n in [1]),
    {}.keys(),
    range(3),
    enum.Enum("Plain", "A").A,
]


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_what_kombu_refuses_to_write_we_refuse(value):
    with pytest.raises(TypeError):
        kombu_json.dumps(value)
    with pytest.raises(exceptions.EncodeError):
        _native.encode_json(value)
