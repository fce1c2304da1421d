"""What encoding and decoding cost, beside Python's own json."""

import json
from datetime import datetime, timezone

import pytest

from celeriac import _native

VALUES = {
    "two integers": [2, 3],
    "a signature": {
        "task": "tasks.add",
        "args": [1, 2],
        "kwargs": {"retry": True},
        "options": {"task_id": "9fd0-4a5e", "reply_to": None},
        "subtask_type": None,
        "immutable": False,
    },
    "a hundred records": [
        {"id": number, "name": f"user {number}", "score": number / 7, "tags": ["a", "b"]}
        for number in range(100)
    ],
    "100 kB of text": "grüße " * 15_000,
}
each_value = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)


@each_value
def test_encode_json(benchmark, value):
    encoded = benchmark(_native.encode_json, value)
    assert encoded == json.dumps(value).encode()


@each_value
def test_encode_json_by_python(benchmark, value):
    assert benchmark(json.dumps, value)


@each_value
def test_decode_json(benchmark, value):
    assert benchmark(_native.decode_json, json.dumps(value).encode()) == value


@each_value
def test_decode_json_by_python(benchmark, value):
    assert benchmark(json.loads, json.dumps(value).encode()) == value


def test_encode_typed_values(benchmark):
    moment = datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=timezone.utc)
    assert benchmark(_native.encode_json, [moment, b"bytes"])


@each_value
def test_safe_repr(benchmark, value):
    assert benchmark(_native.safe_repr, value)
