"""Publishers, templates and windows, over the memory broker."""

import base64
import os
import signal
import socket
import threading
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import _native
from celeriac.exceptions import EncodeError, ImproperlyConfigured, OperationalError

WAIT_S = 10.0
IDS = {"task_id": "task-id", "delivery_tag": "tag"}
QUEUE = {
    "name": "celery",
    "exchange": "celery",
    "exchange_type": "direct",
    "routing_key": "celery",
    "durable": True,
    "auto_delete": False,
    "arguments": {},
}


def make_template(**fields):
    plain = {
        "task": "tasks.add",
        "origin": "gen1@host",
        "exchange": "",
        "routing_key": "celery",
        "reply_to": "oid",
        "declare": [QUEUE],
    }
    return _native.Template(**{**plain, **fields})


@pytest.fixture
def template():
    return make_template()


@pytest.fixture
def publisher():
    made = _native.Publisher(f"memory:///{uuid.uuid4()}")
    yield made
    made.close(WAIT_S)


@pytest.fixture
def silent_url():
    """URL of a Redis that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def test_a_published_message_waits_in_its_queue(publisher, template):
    task_id, subscription = publisher.publish(template, (2, 3), {}, None, None, WAIT_S)
    assert (len(task_id), subscription) == (36, None)
    assert publisher.depth("celery", WAIT_S) == 1


def test_the_callers_task_id_is_kept(publisher, template):
    task_id, _ = publisher.publish(template, (), {}, {"task_id": "mine"}, None, WAIT_S)
    assert task_id == "mine"


def test_purging_deletes_what_waits(publisher, template):
    publisher.publish(template, (), {}, None, None, WAIT_S)
    assert publisher.purge("celery", WAIT_S) == 1
    assert publisher.depth("celery", WAIT_S) == 0


def test_an_argument_that_cannot_be_carried_is_named_and_nothing_is_sent(publisher, template):
    with pytest.raises(EncodeError, match=r'args\[1\]\["when"\] is of type set'):
        publisher.publish(template, (1, {"when": {1}}), {}, None, None, WAIT_S)
    with pytest.raises(EncodeError, match=r'kwargs\["x"\]\[0\] is of type object'):
        publisher.publish(template, (), {"x": [object()]}, None, None, WAIT_S)
    with pytest.raises(EncodeError, match=r'callbacks\[0\]\["args"\]\[0\] is of type set'):
        publisher.publish(template, (), {}, {"callbacks": [{"args": [{1}]}]}, None, WAIT_S)
    assert publisher.depth("celery", WAIT_S) == 0


WRONG_CALLS = [
    ({"etq": "now"}, "a call has no"),
    ({"unknown": None}, "a call has no"),
    ({"eta": 5}, "eta must be a str"),
    ({"retries": "two"}, "retries must be"),
    ({"priority": 256}, "priority must be"),
    ({"headers": [1]}, "headers must be a dict"),
    ({"properties": "x"}, "properties must be a dict"),
]


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS, ids=repr)
def test_a_wrong_field_of_a_call_is_a_type_error(template, call, message):
    with pytest.raises(TypeError, match=message):
        template.envelope((), {}, call)


@pytest.mark.parametrize("args", ["text", {1: 2}, (n for n in ()), None])
def test_arguments_that_are_no_list_are_a_type_error(template, args):
    with pytest.raises(TypeError, match="list or a tuple"):
        template.envelope(args, {})


@pytest.mark.parametrize("kwargs", [[], (), "x", None])
def test_keyword_arguments_that_are_no_mapping_are_a_type_error(template, kwargs):
    with pytest.raises(TypeError, match="mapping"):
        template.envelope((), kwargs)


TEXTS = [
    "task_id",
    "eta",
    "expires",
    "expiration",
    "group",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "shadow",
    "correlation_id",
    "reply_to",
    "delivery_tag",
    "exchange",
    "routing_key",
]


@pytest.mark.parametrize("field", TEXTS)
def test_every_text_of_a_call_reaches_the_message(template, field):
    assert b'"some-text"' in template.envelope((), {}, {**IDS, field: "some-text"})


NUMBERS = ["group_index", "retries", "replaced_task_nesting", "delivery_mode", "priority"]


@pytest.mark.parametrize("field", NUMBERS)
def test_every_number_of_a_call_reaches_the_message(template, field):
    assert f'"{field}": 7'.encode() in template.envelope((), {}, {**IDS, field: 7})


@pytest.mark.parametrize("part", ["callbacks", "errbacks", "chain", "chord"])
def test_every_part_of_the_embed_reaches_the_body(template, part):
    envelope = _native.decode_json(template.envelope((), {}, {**IDS, part: [{"a": 1}]}))
    body = _native.decode_json(base64.b64decode(envelope["body"]))
    assert body[2] == {
        **dict.fromkeys(["callbacks", "errbacks", "chain", "chord"]),
        part: [{"a": 1}],
    }


def test_none_in_a_call_takes_the_templates_value(template):
    fields = [*TEXTS, *NUMBERS, "timelimit", "headers", "callbacks"]
    nothing = {**dict.fromkeys(fields), **IDS}
    assert template.envelope((1,), {}, nothing) == template.envelope((1,), {}, IDS)


def test_none_for_ignore_result_is_null_on_the_wire(template):
    assert b'"ignore_result": null' in template.envelope((), {}, {"ignore_result": None})
    assert b'"ignore_result": false' in template.envelope((), {}, None)


def test_a_template_refuses_a_serializer_it_does_not_know():
    with pytest.raises(ValueError, match="msgpack"):
        make_template(serializer="yaml")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    args=st.lists(json_values, max_size=3).map(tuple),
    kwargs=st.dictionaries(st.text(), json_values, max_size=3),
    retries=st.integers(0, 9),
    custom=st.dictionaries(st.sampled_from(["x-a", "x-b", "lang"]), json_values, max_size=3),
    group=st.none() | st.text(),
    priority=st.none() | st.integers(0, 9),
)
def test_both_ways_of_publishing_make_the_same_bytes(
    args, kwargs, retries, custom, group, priority
):
    call = {**IDS, "retries": retries, "headers": custom, "group": group, "priority": priority}
    fast = make_template().envelope(args, kwargs, call)
    headers = {
        "lang": "py",
        "task": "tasks.add",
        "id": "task-id",
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": group,
        "group_index": None,
        "retries": retries,
        "timelimit": [None, None],
        "root_id": "task-id",
        "parent_id": None,
        "argsrepr": _native.safe_repr(args),
        "kwargsrepr": _native.safe_repr(kwargs),
        "origin": "gen1@host",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        **custom,
    }
    properties = {
        "correlation_id": "task-id",
        "reply_to": "oid",
        "delivery_mode": 2,
        "priority": priority,
        "delivery_tag": "tag",
        "content_type": "application/json",
        "content_encoding": "utf-8",
    }
    embed = dict.fromkeys(["callbacks", "errbacks", "chain", "chord"])
    body = _native.encode_json([args, kwargs, embed])
    assert _native.envelope_of_parts(headers, properties, body, "", "celery") == fast


def test_parts_are_published(publisher):
    publisher.publish_parts({"id": "a"}, {}, b"[]", "", "raw", [{"name": "raw"}], None, WAIT_S)
    assert publisher.depth("raw", WAIT_S) == 1


def test_a_window_delivers_all_and_reports_nothing(publisher, template):
    window = publisher.window(8)
    ids = {window.publish(template, (n,), {}, None, WAIT_S) for n in range(100)}
    window.publish_parts({"id": "a"}, {}, b"[]", "", "celery", [], WAIT_S)
    assert window.flush(WAIT_S) == []
    assert (len(ids), window.pending, publisher.depth("celery", WAIT_S)) == (100, 0, 101)


def test_a_window_reports_every_failure_by_its_task_id(publisher, template):
    window = publisher.window()
    publisher.close(WAIT_S)
    window.publish(make_template(declare=None), (), {}, {"task_id": "one"}, WAIT_S)
    window.publish(make_template(declare=None), (), {}, {"task_id": "two"}, WAIT_S)
    failures = window.flush(WAIT_S)
    assert [task_id for task_id, *_ in failures] == ["one", "two"]
    assert all(isinstance(error, OperationalError) for _, error, _ in failures)
    assert window.flush(WAIT_S) == []


def test_a_closed_publisher_refuses(publisher):
    publisher.close(WAIT_S)
    with pytest.raises(OperationalError, match="closed"):
        publisher.publish(make_template(declare=None), (), {}, None, None, WAIT_S)


def test_a_server_that_never_answers_is_an_operational_error(silent_url):
    publisher = _native.Publisher(silent_url)
    template = make_template(declare=None)
    with pytest.raises(OperationalError):
        publisher.publish(template, (), {}, None, None, 0.2)
    publisher.close(0.0)


def test_a_flush_reports_what_is_unconfirmed_by_task_id_and_only_once(silent_url):
    publisher = _native.Publisher(silent_url)
    template = make_template(declare=None)
    window = publisher.window()
    window.publish(template, (), {}, {"task_id": "one"}, WAIT_S)
    window.publish(template, (), {}, {"task_id": "two"}, WAIT_S)
    failures = window.flush(0.1)
    assert [task_id for task_id, *_ in failures] == ["one", "two"]
    assert all("unconfirmed" in str(error) for _, error, _ in failures)
    publisher.close(0.0)
    assert (window.pending, window.flush(WAIT_S)) == (0, [])


def test_a_full_window_over_a_silent_server_is_an_operational_error(silent_url):
    publisher = _native.Publisher(silent_url)
    template = make_template(declare=None)
    window = publisher.window(1)
    window.publish(template, (), {}, None, WAIT_S)
    with pytest.raises(OperationalError, match="full publishing window"):
        window.publish(template, (), {}, None, 0.1)
    publisher.close(0.0)


@pytest.mark.parametrize("declare", [[QUEUE], None], ids=["declaring", "confirming"])
def test_ctrl_c_ends_a_wait_for_a_silent_server(silent_url, declare):
    publisher = _native.Publisher(silent_url)
    template = make_template(declare=declare)
    threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        publisher.publish(template, (), {}, None, None, 20.0)
    assert time.monotonic() - began < 5
    publisher.close(0.0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_is_told_to_open_its_own_publisher(publisher, template):
    publisher.publish(template, (), {}, None, None, WAIT_S)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            publisher.publish(template, (), {}, None, None, WAIT_S)
        except OperationalError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    assert f"belongs to process {os.getpid()}" in said


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_children_forked_from_one_process_do_not_draw_the_same_ids(template):
    drawn = {_native.new_id()}
    for _ in range(2):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                envelope = template.envelope((), {}, {"task_id": "id"})
                tag = envelope.rpartition(b'"delivery_tag": ')[2]
                os.write(writer, f"{_native.new_id()} {tag}".encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            drawn.update(answer.read().split())
        os.waitpid(child, 0)
    assert len(drawn) == 5


@pytest.mark.parametrize("way", ["window", "plain"])
def test_other_threads_run_while_a_publish_waits(silent_url, way):
    publisher = _native.Publisher(silent_url)
    template = make_template(declare=None)
    window = publisher.window(2)
    for _ in range(2):
        window.publish(template, (), {}, None, WAIT_S)
    waiting = threading.Event()
    send = {
        "window": lambda: window.publish(template, (), {}, None, 0.3),
        "plain": lambda: publisher.publish(template, (), {}, None, None, 0.3),
    }

    def wait():
        waiting.set()
        with pytest.raises(OperationalError):
            send[way]()

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    steps = 0
    while thread.is_alive():
        steps += 1
    # Held, the interpreter would let this thread take a step or two.
    assert steps > 10_000
    publisher.close(0.0)


def test_a_window_that_stays_full_says_once_that_the_broker_is_slow(silent_url, caplog):
    publisher = _native.Publisher(silent_url)
    template = make_template(declare=None)
    window = publisher.window(2)
    for _ in range(2):
        window.publish(template, (), {}, None, WAIT_S)
    for wait_s in (1.2, 0.1):
        with pytest.raises(OperationalError, match="full publishing window"):
            window.publish(template, (), {}, None, wait_s)
    said = [record for record in caplog.records if "waits for the broker" in record.getMessage()]
    assert [record.levelname for record in said] == ["WARNING"]
    assert window.pending == 2
    publisher.close(0.0)


def test_many_threads_share_a_publisher(publisher, template):
    def send():
        for _ in range(50):
            publisher.publish(template, (1,), {}, None, None, WAIT_S)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert publisher.depth("celery", WAIT_S) == 200


WRONG_QUEUES = [
    ({}, KeyError, "name"),
    ({"name": "q", "nmae": 1}, TypeError, "nmae"),
    ({"name": "q", "exchange_type": "random"}, ImproperlyConfigured, "direct, topic"),
]


@pytest.mark.parametrize(("queue", "error", "message"), WRONG_QUEUES, ids=repr)
def test_a_wrong_queue_says_what_is_wrong(publisher, queue, error, message):
    with pytest.raises(error, match=message):
        publisher.declare(queue, WAIT_S)


def test_an_unknown_scheme_names_those_that_exist():
    with pytest.raises(ImproperlyConfigured, match="redis://"):
        _native.Publisher("kafka://host")
    with pytest.raises(ImproperlyConfigured, match="redis://"):
        _native.check_url("kafka://host")


def test_an_option_that_no_json_carries_is_named():
    with pytest.raises(ImproperlyConfigured, match="callback"):
        _native.check_url("redis://h/0", {"callback": print})


def test_no_password_is_shown():
    url = "redis://user:secret@host/0"
    assert "secret" not in _native.redacted(url)
    assert "secret" not in _native.check_url(url)
    assert "secret" not in _native.Publisher(url).url
