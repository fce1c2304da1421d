"""Windows of an application: what is not confirmed is named, and can be sent again."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid

import pytest
from proxy import Proxy

from celeriac import Celery, broker, group
from celeriac.app.publishing import PublishError
from celeriac.exceptions import OperationalError

AMQP = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")


@pytest.fixture
def add(app):
    return app.task(lambda *_a, **_k: 1, name="add", lazy=False)


@pytest.fixture(params=["redis", "amqp"])
def proxied(request, redis_url):
    """A broker behind a proxy: the URL through it, the direct one, and the proxy."""
    direct = redis_url if request.param == "redis" else AMQP
    proxy = Proxy(direct)
    yield proxy.url, direct, proxy
    proxy.close()


def test_each_of_ten_thousand_is_queued_or_named_when_the_connection_is_cut_twice(proxied, sent):
    url, direct, proxy = proxied
    queue = f"cut-{uuid.uuid4().hex[:8]}"
    app = Celery("cut", broker=url, set_as_current=False)
    ids, named = [], set()
    try:
        with app.publisher(window=512) as publisher:
            for number in range(10_000):
                if number in {3_000, 7_000}:
                    proxy.cut()
                result = app.send_task("t", (number,), queue=queue, publisher=publisher)
                ids.append(result.id)
    except PublishError as error:
        named = set(error.task_ids)
    reader = Celery("read", broker=direct, set_as_current=False)
    depth = broker.publisher(reader).depth(queue, 10.0)
    queued = {one.headers["id"] for one in sent(reader, depth, queue)}
    assert set(ids) - queued <= named
    assert len(set(ids)) == 10_000


def test_what_failed_is_sent_again_with_the_same_ids(redis_url, sent):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    queue = f"again-{uuid.uuid4().hex[:8]}"
    app = Celery("again", broker=f"redis://127.0.0.1:{port}/0", set_as_current=False)
    publisher = app.publisher(window=8)
    for number in range(3):
        app.send_task(
            "t",
            (number,),
            exchange=queue,
            routing_key=queue,
            task_id=f"id{number}",
            publisher=publisher,
        )
    with pytest.raises(PublishError, match=r"3 of 3 tasks.*id0") as raised:
        publisher.flush(0.2)
    error = raised.value
    assert error.task_ids == ["id0", "id1", "id2"]
    with pytest.raises(PublishError) as again:
        error.retry(0.2)
    assert again.value.task_ids == ["id0", "id1", "id2"]

    proxy = Proxy(redis_url, port)
    try:
        reader = Celery("read", broker=f"redis://127.0.0.1:{port}/0", set_as_current=False)
        reader.send_task("t", task_id="binds the queue", queue=queue)
        again.value.retry(10.0)
        found = sent(reader, 4, queue)
    finally:
        proxy.close()
    assert sorted({one.headers["id"] for one in found}) == ["binds the queue", "id0", "id1", "id2"]


def test_leaving_by_an_exception_accounts_for_what_was_sent(caplog):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    app = Celery("x", broker=f"redis://127.0.0.1:{port}/0", set_as_current=False)
    publisher = app.publisher()

    def leave():
        with publisher:
            app.send_task("t", exchange="x", routing_key="q", task_id="mine", publisher=publisher)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert publisher.error is not None
    assert publisher.error.task_ids == ["mine"]
    assert "mine" in caplog.text


def test_progress_is_told_and_ends_with_everything(app, add, sent):
    told = []
    with app.publisher(on_progress=lambda done, of: told.append((done, of))) as publisher:
        for number in range(20):
            add.apply_async((number,), publisher=publisher)
    assert told[-1] == (20, 20)
    assert len(sent(app, 20)) == 20


def test_one_publisher_serves_many_threads(app, add, sent):
    with app.publisher(window=16) as publisher:
        threads = [
            threading.Thread(
                target=lambda: [add.apply_async((n,), publisher=publisher) for n in range(100)]
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert publisher.pending == 0
    assert len({one.headers["id"] for one in sent(app, 800)}) == 800


def test_the_program_of_celerys_guide_runs_unchanged(app, add, sent):
    numbers = [(2, 2), (4, 4), (8, 8), (16, 16)]
    results = []
    with app.pool.acquire(block=True) as connection, add.get_publisher(connection) as publisher:
        for i, j in numbers:
            res = add.apply_async((i, j), publisher=publisher)
            results.append(res)
    assert [one.headers["id"] for one in sent(app, 4)] == [res.id for res in results]


@pytest.mark.parametrize("option", ["publisher", "producer"])
def test_a_groups_members_go_through_the_publisher_that_it_is_given(app, add, option):
    told = []
    with app.publisher(on_progress=lambda *numbers: told.append(numbers)) as publisher:
        group(add.s(number) for number in range(5)).apply_async(**{option: publisher})
    assert told[-1] == (5, 5)


def test_a_groups_members_go_where_its_connection_leads(app, add):
    other = Celery("other", broker=f"memory://{uuid.uuid4().hex}", set_as_current=False)
    connection = other.connection_for_write()
    group(add.s(number) for number in range(5)).apply_async(connection=connection, queue="there")
    assert connection.channel().queue_declare("there").message_count == 5
    other.close()


@pytest.mark.parametrize("way", ["connection", "publisher"])
def test_a_connection_to_another_broker_is_where_it_goes(app, add, sent, way):
    other = Celery("other", broker=f"memory:///{uuid.uuid4()}", set_as_current=False)
    connection = other.connection_for_write()
    if way == "connection":
        add.apply_async((1,), task_id="there", connection=connection)
    else:
        with add.get_publisher(connection) as publisher:
            add.apply_async((1,), task_id="there", publisher=publisher)
    assert [one.headers["id"] for one in sent(other, 1)] == ["there"]


@pytest.mark.parametrize(
    ("options", "error"), [({"window": 0}, ValueError), ({"window": "x"}, TypeError),
                           ({"on_progress": 5}, TypeError)],
)  # fmt: skip
def test_a_wrong_window_is_refused(app, options, error):
    with pytest.raises(error, match=next(iter(options))):
        app.publisher(**options)


def test_the_error_survives_pickling():
    error = PublishError([("a", OperationalError("gone"), None)])
    assert pickle.loads(pickle.dumps(error)).task_ids == ["a"]


def test_errors_of_the_callers_choice_are_tried_again_and_told():
    outcomes = iter([KeyError("a"), OperationalError("b"), None])
    told = []

    def send():
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        return "sent"

    policy = {"retry_errors": (KeyError,), "errback": lambda exc, wait_s: told.append(wait_s)}
    assert broker.publish_with_retries(send, policy, retry=True, sleep=lambda _s: None) == "sent"
    assert told == [0, 0.2]


def test_a_broker_that_went_away_is_told_at_once_without_retries(proxied):
    url, _, proxy = proxied
    app = Celery("x", broker=url, set_as_current=False)
    queue = f"gone-{uuid.uuid4().hex[:8]}"
    app.send_task("t", queue=queue, ignore_result=True)
    proxy.close()  # and nothing listens there any more
    began = time.monotonic()
    with pytest.raises(OperationalError) as raised:
        app.send_task("t", queue=queue, retry=False, ignore_result=True)
    assert time.monotonic() - began < 5
    assert isinstance(raised.value, app.OperationalError)


SENDS_FOR_EVER = """
import sys
from celeriac import Celery
app = Celery("x", broker=sys.argv[1], set_as_current=False)
app.conf.task_publish_retry_policy = {"max_retries": None, "interval_max": 30, "interval_start": 30}
try:
    # Modules are imported by then: Python drops an interrupt that comes in an import's callback.
    app.send_task("t", retry=False)
except app.OperationalError:
    pass
try:
    print("begun", flush=True)
    if sys.argv[2] == "call":
        app.send_task("t")
    else:
        with app.publisher(window=2) as publisher:
            for _ in range(3):
                app.send_task("t", exchange="x", routing_key="q", publisher=publisher)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("what", ["call", "window"])
def test_ctrl_c_ends_a_send_while_the_broker_is_down_and_while_a_window_is_full(what):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    command = [sys.executable, "-c", SENDS_FOR_EVER, f"redis://127.0.0.1:{port}/0", what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        child.send_signal(signal.SIGINT)
        try:
            out, _ = child.communicate(timeout=10)
        finally:
            child.kill()
    assert out == "interrupted\n"


def test_a_group_of_a_generator_goes_where_its_members_application_sends(app, add, sent):
    result = group(add.s(number) for number in range(3)).apply_async()
    assert [one.headers["id"] for one in sent(app, 3)] == [one.id for one in result.results]


GROUP_OF_MANY = """
import gc, sys
from celeriac import Celery, group
app = Celery("x", broker=sys.argv[1], backend=sys.argv[1])
app.conf.task_default_queue = sys.argv[2]

@app.task
def add(x, y):
    return x + y

def memory(what):
    gc.collect()
    for line in open("/proc/self/status"):
        if line.startswith(what):
            return int(line.split()[1]) * 1024

def send(count):
    return group(add.s(n, n) for n in range(count)).apply_async()

send(10_000)
before = memory("VmRSS:")
result = send(100_000)
print((memory("VmHWM:") - before) / 100_000, len(result.results))
"""


@pytest.mark.timeout(180)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_group_of_a_generator_needs_200_bytes_a_member_at_most(redis_url):
    queue = f"many-{uuid.uuid4().hex[:8]}"
    command = [sys.executable, "-c", GROUP_OF_MANY, redis_url, queue]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=170).stdout
    bytes_a_member, count = told.split()
    assert int(count) == 100_000
    assert float(bytes_a_member) <= 200, told
    client = Celery("client", broker=redis_url, set_as_current=False)
    assert broker.publisher(client).purge(queue, 10.0) == 110_000


@pytest.mark.parametrize("way", ["producer_or_acquire", "amqp.Producer", "producer"])
def test_a_producer_of_any_kind_carries_calls_to_its_broker(app, add, sent, way):
    other = Celery("other", broker=f"memory:///{uuid.uuid4()}", set_as_current=False)
    if way == "producer_or_acquire":
        with other.producer_or_acquire() as producer:
            add.apply_async((1,), task_id="there", producer=producer)
    elif way == "amqp.Producer":
        producer = other.amqp.Producer(other.connection_for_write())
        add.apply_async((1,), task_id="there", producer=producer)
    else:
        with other.connection_for_write() as connection:
            add.apply_async((1,), task_id="there", producer=connection.Producer())
    assert [one.headers["id"] for one in sent(other, 1)] == ["there"]
