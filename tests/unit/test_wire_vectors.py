"""What the binding writes equals what Celery was recorded to write (tests/vectors)."""

import base64
import json
import struct
import sys
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest

from celeriac import _native
from celeriac.exceptions import DecodeError

VECTORS = Path(__file__).parent.parent / "vectors"
sys.path.insert(0, str(VECTORS))

from names import NAMES  # noqa: E402 - beside the recorder

VERSIONS = ("5.7", "5.6", "5.5", "5.4")


def load(name, version="5.7"):
    return json.loads((VECTORS / f"celery-{version}" / f"{name}.json").read_text())


def of_all_versions(name):
    # Of an older version only what differs from 5.7 is recorded.
    return [(version, vector) for version in VERSIONS for vector in load(name, version)["vectors"]]


MESSAGES = load("messages")
SENT_BY_TEMPLATE = [vector for vector in MESSAGES["vectors"] if vector["fields"] is not None]


class Task:
    """Takes the place of the recorder's task in the text of a call."""

    def __init__(self):
        self.sent = None

    def send(self, args=(), kwargs=None, **_options):
        self.sent = args, kwargs or {}

    def send_task(self, _name, args=(), kwargs=None):
        self.send(args, kwargs)

    def s(self, *args):
        self.sent = args, {}
        return self

    def stamp(self, **_stamps):
        return self

    def apply_async(self):
        pass


def arguments_of(call):
    task = Task()
    eval(call, {**NAMES, "send": task.send, "task": task, "app": task})
    return task.sent


def call_of(fields):
    fields = dict(fields)
    fields.pop("task", None)
    call = {"task_id": MESSAGES["first_id"], "delivery_tag": MESSAGES["second_id"]}
    if fields.pop("ignore_result_is_null", False):
        call["ignore_result"] = None
    for name, value in fields.items():
        plain = name.removesuffix("_json")
        if plain in {"headers", "properties"}:
            call[plain] = {key: json.loads(text) for key, text in value}
        else:
            call[plain] = json.loads(value) if name.endswith("_json") else value
    return call


@pytest.mark.parametrize(
    "vector", SENT_BY_TEMPLATE, ids=[vector["name"] for vector in SENT_BY_TEMPLATE]
)
def test_a_template_writes_what_celery_wrote(vector):
    (message,) = vector["messages"]
    call = call_of(vector["fields"])
    if "task_id" in vector["fields"]:
        call["delivery_tag"] = MESSAGES["first_id"]  # one id fewer was drawn
    template = _native.Template(
        task=vector["fields"].get("task", MESSAGES["task"]),
        origin=MESSAGES["origin"],
        exchange="",
        routing_key="celery",
        reply_to=MESSAGES["reply_to"],
    )
    args, kwargs = arguments_of(vector["call"])
    assert template.envelope(args, kwargs, call).decode() == message["raw"]


def test_a_msgpack_template_writes_what_celery_wrote():
    (vector,) = [
        vector for vector in MESSAGES["vectors"] if vector["name"] == "serializer: msgpack"
    ]
    template = _native.Template(
        task=MESSAGES["task"],
        origin=MESSAGES["origin"],
        exchange="",
        routing_key="celery",
        serializer="msgpack",
        reply_to=MESSAGES["reply_to"],
    )
    args, kwargs = arguments_of(vector["call"])
    assert template.envelope(args, kwargs, call_of({})).decode() == vector["messages"][0]["raw"]


ALL_RAW = [
    pytest.param(message["raw"], id=f"{version} {vector['name']} {number}")
    for version, vector in of_all_versions("messages") + of_all_versions("protocol1")
    for number, message in enumerate(vector["messages"])
]


@pytest.mark.parametrize("raw", ALL_RAW)
def test_parts_read_from_a_recorded_message_make_the_same_message(raw):
    envelope = _native.decode_json(raw)
    properties = envelope["properties"]
    target = properties.pop("delivery_info")
    assert properties.pop("body_encoding") == "base64"
    properties["content_type"] = envelope["content-type"]
    properties["content_encoding"] = envelope["content-encoding"]
    made = _native.envelope_of_parts(
        envelope["headers"],
        properties,
        base64.b64decode(envelope["body"]),
        target["exchange"],
        target["routing_key"],
    )
    assert made.decode() == raw


DOCUMENTS = [
    pytest.param(vector, id=f"{version} {vector['name']}")
    for version, vector in of_all_versions("documents")
]


@pytest.mark.parametrize("vector", DOCUMENTS)
def test_a_recorded_result_document_is_written_as_it_was_read(vector):
    assert _native.encode_json(_native.decode_json(vector["raw"])).decode() == vector["raw"]


@pytest.mark.parametrize(
    "vector", load("json")["vectors"], ids=lambda vector: vector["text_base64"][:30]
)
def test_json_is_accepted_and_refused_as_python_does(vector):
    text = base64.b64decode(vector["text_base64"])
    if vector["canonical"] is None:
        with pytest.raises(DecodeError):
            _native.decode_json(text)
    else:
        assert _native.encode_json(_native.decode_json(text)).decode() == vector["canonical"]


def test_floats_are_written_as_python_writes_them():
    differing = []
    for bits, text in load("floats")["vectors"]:
        (value,) = struct.unpack(">d", bytes.fromhex(bits))
        if _native.encode_json(value).decode() != text:
            differing.append(text)
    assert differing == []


# Celery's parser reads "T1 +01:00" because int() takes "1 " for 1; we refuse that accident.
TIMES = [vector for vector in load("times")["vectors"] if "T1 +" not in vector[0]]


@pytest.mark.parametrize(("text", "unix_us", "has_offset"), TIMES, ids=[text for text, *_ in TIMES])
def test_times_are_read_as_celerys_parser_reads_them(text, unix_us, has_offset):
    if unix_us is None:
        with pytest.raises(DecodeError):
            _native.parse_iso_ms(text)
    else:
        assert _native.parse_iso_ms(text) == (ceil(Fraction(unix_us, 1000)), has_offset)
