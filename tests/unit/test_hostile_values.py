"""Values that no caller should pass and bytes that nobody should send, at the door to Rust.

A panic in Rust is a `PanicException`, which no test here allows.
"""

import array
import collections
import datetime as dt
import decimal
import enum
import os
import types
import uuid
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac import Celery, _native, serialization
from celeriac.exceptions import (
    ContentDisallowed,
    DecodeError,
    EncodeError,
    ImproperlyConfigured,
    OperationalError,
)

#: `CELERIAC_TEST_EXAMPLES=100000 pytest ...` looks longer.
LONGER = settings(
    max_examples=int(os.environ.get("CELERIAC_TEST_EXAMPLES", "30")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
pytestmark = pytest.mark.timeout(300)
WAIT_S = 10.0
#: What a caller is told who passes a value of the wrong kind.
MISUSED = (TypeError, ValueError, OverflowError, KeyError, EncodeError, ImproperlyConfigured)


def outcome(allowed, call, *arguments):
    """What a call returns, or the error that it may raise, which has words."""
    try:
        return call(*arguments)
    except allowed as error:
        assert str(error)  # noqa: PT017 - whichever it is
        return error


def no(*_arguments, **_named):
    raise ZeroDivisionError("no")


def itself(self, *_arguments):
    return self


def nonsense(*_arguments):
    return 5


METHODS = (
    *("__repr__", "__str__", "__json__", "__eq__", "__hash__", "__len__", "__iter__", "__bool__"),
    *("__getattr__", "__getitem__", "__contains__", "__index__", "__int__", "__float__"),
    *("items", "keys", "isoformat", "hex", "encode", "tzname", "utcoffset"),
)
BASES = (
    *(object, str, int, float, bytes, list, tuple, dict, set, frozenset, bytearray),
    *(dt.datetime, dt.date, dt.time, decimal.Decimal, uuid.UUID, Exception),
    *(collections.OrderedDict, collections.UserDict, collections.UserList, collections.deque),
)
ARGUMENTS = {
    dt.datetime: (2024, 1, 2),
    dt.date: (2024, 1, 2),
    uuid.UUID: ("12345678123456781234567812345678",),
}


@st.composite
def hostile_objects(draw):
    """An instance of a class whose methods raise, return what they must not, or themselves."""
    base = draw(st.sampled_from(BASES))
    names = draw(st.lists(st.sampled_from(METHODS), unique=True, max_size=6))
    body = {name: draw(st.sampled_from([no, itself, nonsense])) for name in names}
    try:
        return type("Hostile", (base,), body)(*ARGUMENTS.get(base, ()))
    except Exception:  # noqa: BLE001 - its own constructor may trip over them
        return type("Hostile", (object,), body)()


class Colour(enum.IntEnum):
    RED = 2**70


class Zone(dt.tzinfo):
    utcoffset = tzname = dst = no


def cyclic(kind):
    made = kind()
    if isinstance(made, dict):
        made["me"] = made
    else:
        made.append(made)
    return made


ODD = [
    *(10**5000, -(10**5000), 2**63, 2**64, -(2**63) - 1, Colour.RED, True, None, ...),
    *(float("nan"), float("inf"), -0.0, 5e-324, 1j, decimal.Decimal("sNaN")),
    *("\ud800", "\udfff\ud800", "\x00", "\U0010ffff" * 50, "x" * 3000),
    *(b"\xff", bytearray(b"\x00"), memoryview(b"abc"), array.array("d", [1.0])),
    *(range(3), {1, "a"}, frozenset([None]), slice(1), NotImplemented, object, type),
    *(len, no, types, types.SimpleNamespace(a=1), collections.Counter("aab")),
    *(dt.datetime(9999, 12, 31), dt.datetime(1, 1, 1), dt.timedelta.max, dt.time(1, tzinfo=Zone())),
    dt.datetime(2024, 1, 2, tzinfo=Zone()),
    dt.datetime(2024, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=23, minutes=59))),
    dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=23))),
]
#: By their places: not even Hypothesis can show all of them.
ODDITIES = st.one_of(
    st.integers(0, len(ODD) - 1).map(lambda place: ODD[place]),
    st.builds(cyclic, st.sampled_from([list, dict, collections.OrderedDict, collections.deque])),
    st.builds(lambda: (number for number in range(3))),
    hostile_objects(),
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=8)
    | st.text(st.characters(codec=None, categories=None), max_size=8)
)  # fmt: skip
KEYS = st.one_of(
    st.text(max_size=5),
    st.sampled_from(["__type__", "__value__", "\ud800", "$celeriac::codec::BIG_INT"]),
    st.integers() | st.floats() | st.none() | st.booleans() | st.binary(max_size=3),
    st.tuples(st.integers()),
)
VALUES = st.recursive(
    SCALARS | ODDITIES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


def nested(depth, value, kind):
    for _ in range(depth):
        value = {"k": value} if kind is dict else kind([value])
    return value


DEEP = st.builds(
    nested,
    st.integers(490, 1200),
    VALUES,
    st.sampled_from([list, tuple, dict]),
)


@given(value=VALUES | DEEP)
@LONGER
def test_what_is_encoded_can_be_read_and_all_else_is_an_encode_error(value):
    for encode, decode in (
        (_native.encode_json, _native.decode_json),
        (_native.encode_msgpack, _native.decode_msgpack),
    ):
        data = outcome(EncodeError, encode, value)
        if not isinstance(data, EncodeError):
            # An error: it looks like a typed object, and is a plain one.
            outcome(DecodeError, decode, data)


@given(value=VALUES | DEEP, chars=st.integers(0, 2000), levels=st.integers(0, 400))
@LONGER
def test_everything_has_a_short_text(value, chars, levels):
    text = _native.safe_repr(value, chars, levels)
    # What is cut says so; brackets, a class's name and quotes come on top.
    assert len(text) <= chars + 2 * 400 + 200 or chars < 300


@given(args=st.lists(VALUES | DEEP, max_size=3), kwargs=st.dictionaries(st.text(), VALUES))
@LONGER
def test_a_call_is_published_or_is_an_encode_error(args, kwargs):
    app = Celery("t", broker="memory://hostile", set_as_current=False)

    @app.task(name="t.any", ignore_result=True, typing=False)
    def anything(*args, **kwargs):
        return None

    outcome(EncodeError, anything.apply_async, args, kwargs)
    app.close()


CALL_FIELDS = st.sampled_from(
    [
        *("task_id", "eta", "expires", "expiration", "group", "group_index", "retries"),
        *("timelimit", "root_id", "argsrepr", "origin", "shadow", "ignore_result", "stamps"),
        *("stamped_headers", "headers", "correlation_id", "reply_to", "delivery_mode"),
        *("priority", "delivery_tag", "properties", "exchange", "routing_key", "mandatory"),
        *("callbacks", "errbacks", "chain", "chord", "replaced_task_nesting", "nobody's", "\ud800"),
    ]
)


@given(
    args=VALUES,
    kwargs=VALUES,
    call=st.dictionaries(CALL_FIELDS, VALUES, max_size=4),
    headers=VALUES,
    properties=st.dictionaries(st.text() | CALL_FIELDS, VALUES, max_size=4) | VALUES,
)
@LONGER
def test_templates_and_parts_take_what_they_can_carry_and_name_the_rest(
    args, kwargs, call, headers, properties
):
    template = _native.Template(task="t", origin="o", exchange="", routing_key="q")
    for envelope, arguments in (
        (template.envelope, (args, kwargs, call)),
        (template.envelope, ((1,), {}, call)),
        (_native.envelope_of_parts, (headers, properties, b"[]", "", "q")),
    ):
        # The last is what hostile objects raise.
        data = outcome((*MISUSED, ZeroDivisionError), envelope, *arguments)
        if isinstance(data, bytes):
            outcome(DecodeError, _native.decode_json, data)


@given(value=VALUES)
@LONGER
def test_arguments_of_the_wrong_kind_are_refused(value):
    made = {"task": "t", "origin": "o", "exchange": "", "routing_key": "q"}
    fields = ("task", "declare", "serializer", "timelimit", "headers", "priority", "compression")
    for call in (
        *((lambda field=field: _native.Template(**{**made, field: value})) for field in fields),
        lambda: _native.decode_json(value),
        lambda: _native.decode_msgpack(value),
        lambda: _native.parse_iso_ms(value),
        lambda: _native.redacted(value),
        lambda: _native.check_url(value),
        lambda: _native.check_url("memory://", value),
        lambda: _native.decompress(value, "zlib", 100),
        lambda: _native.decompress(b"", value, 100),
        lambda: _native.decompress(b"", "zlib", value),
        lambda: _native.set_json_hooks(value, None) or _native.decode_json(b'{"a": 1}'),
    ):
        outcome((*MISUSED, DecodeError, ZeroDivisionError), call)
        _native.set_json_hooks(None, None)


NEARLY_JSON = st.text("[]{}:,\"\\ud8Na0-9.eE+- tn'\ud800\u00e9", max_size=60)
TYPED = st.builds(
    lambda marker, value: _native.encode_json({"__type__": marker, "__value__": value}),
    st.sampled_from(["datetime", "date", "time", "decimal", "uuid", "bytes", "base64", "x", ""])
    | st.none() | st.integers(),
    st.none() | st.integers() | st.floats() | st.text(max_size=12)
    | st.dictionaries(st.just("hex"), st.text() | st.integers()) | st.lists(st.text(), max_size=2),
)  # fmt: skip


@given(data=st.binary(max_size=80) | NEARLY_JSON | TYPED)
@LONGER
def test_any_bytes_are_a_value_or_a_decode_error(data):
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    for decode, given_data in (
        (_native.decode_json, data),
        (_native.decode_json, raw),
        (_native.decode_msgpack, raw),
        (lambda text: _native.parse_iso_ms(text.decode("utf-8", "replace")), raw),
        (lambda data: _native.decompress(data, "zlib", 1000), raw),
        (lambda data: _native.decompress(data, "zstd", 1000), raw),
        (lambda data: _native.decompress(data, "lzma", 1000), raw),
        (lambda data: _native.decompress(data, "bzip2", 1000), raw),
        (lambda data: _native.decompress(data, "brotli", 1000), raw),
        *((lambda data, name=name: serialization.loads(data, name), raw) for name in SERIALIZERS),
    ):
        outcome(DecodeError, decode, given_data)


SERIALIZERS = ("json", "msgpack", "yaml")


@pytest.fixture(scope="module")
def link():
    """Publishes messages of any parts and takes their deliveries."""
    url = f"memory:///{uuid.uuid4()}"
    publisher = _native.Publisher(url)
    queues = [{"name": "q"}]
    intake = _native.Intake(url, {}, queues, node="t@t", prefetch=0, results=None)
    intake.start()

    def delivered(headers, properties, body):
        publisher.publish_parts(headers, properties, body, "", "q", [], None, WAIT_S)
        (delivery,) = intake.next_events(1, WAIT_S)
        intake.settle(delivery, "ack")
        return delivery

    yield delivered
    intake.close(WAIT_S)
    publisher.close(WAIT_S)


HEADERS = st.dictionaries(
    st.sampled_from(["task", "id", "eta", "expires", "retries", "timelimit", "compression", "mine"])
    | st.text(max_size=5),
    st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)),
    max_size=6,
)
PROPERTIES = st.dictionaries(
    st.sampled_from(["content_type", "content_encoding", "reply_to", "correlation_id", "mine"]),
    st.text(max_size=8) | st.sampled_from(["application/json", "application/x-msgpack"]),
    max_size=3,
)


@given(headers=HEADERS, properties=PROPERTIES, body=st.binary(max_size=40) | TYPED)
@LONGER
def test_every_field_of_a_delivery_can_be_asked_for(link, headers, properties, body):
    delivery = outcome(MISUSED, link, headers, properties, body)
    if isinstance(delivery, MISUSED):
        return
    assert repr(delivery)
    for field in (
        *("error", "task", "id", "eta", "expires", "retries", "timelimit", "compression"),
        *("content_type", "content_encoding", "redelivered", "queue", "exchange", "routing_key"),
    ):
        getattr(delivery, field)
    for ask in (delivery.headers, delivery.properties, delivery.raw_body, delivery.body):
        outcome((DecodeError, ContentDisallowed), ask)
    outcome((DecodeError, EncodeError), delivery.translated, {"task": "t", **headers}, body)


@pytest.mark.parametrize("method", ["zlib", "bzip2", "lzma", "brotli", "zstd"])
def test_a_bomb_of_any_kind_is_refused_and_costs_no_memory(method):
    bomb = _native.compress(bytes(30_000_000), method)
    before_kib = resident_kib()
    for _ in range(5):
        with pytest.raises(DecodeError, match="decompressed_max_bytes"):
            _native.decompress(bomb, method, 1_000_000)
    assert resident_kib() - before_kib < 20_000


def test_a_bomb_within_a_bomb_is_refused_at_the_first():
    bomb = zlib.compress(zlib.compress(bytes(50_000_000)) * 200)
    with pytest.raises(DecodeError):
        _native.decompress(bomb, "zlib", 1000)


def resident_kib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def test_a_closed_door_is_an_operational_error(link):
    publisher = _native.Publisher(f"memory:///{uuid.uuid4()}")
    publisher.close(WAIT_S)
    with pytest.raises(OperationalError):
        publisher.publish_parts({}, {}, b"", "", "q", [], None, WAIT_S)
