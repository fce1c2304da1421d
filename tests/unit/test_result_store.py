"""Result stores and subscriptions, the same on every store that needs no server."""

import signal
import threading
import time
import uuid

import pytest

from celeriac import _native
from celeriac.exceptions import OperationalError

WAIT_S = 10.0


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path):
    if request.param == "memory":
        return f"memory:///{uuid.uuid4()}"
    return f"sqlite:///{tmp_path / 'results.db'}"


@pytest.fixture
def store(url):
    return _native.ResultStore(url)


def put(store, task_id, document, *, is_final=True):
    store.put(task_id, document, is_final, 60, WAIT_S)


def test_a_stored_document_is_read_back(store):
    put(store, "a", b"one")
    assert store.get("a", WAIT_S) == b"one"


def test_what_was_never_stored_is_none(store):
    assert store.get("a", WAIT_S) is None


def test_many_documents_come_in_the_order_of_their_ids(store):
    put(store, "a", b"one")
    put(store, "b", b"two")
    assert store.get_many(["b", "missing", "a"], WAIT_S) == [b"two", None, b"one"]


def test_a_forgotten_document_is_gone(store):
    put(store, "a", b"one")
    store.forget("a", WAIT_S)
    assert store.get("a", WAIT_S) is None


def test_raw_values_are_kept_apart_from_documents(store):
    store.put_raw("celery-taskset-meta-a", b"group", 60, WAIT_S)
    assert store.get_raw("celery-taskset-meta-a", WAIT_S) == b"group"
    assert store.get("a", WAIT_S) is None
    store.forget_raw("celery-taskset-meta-a", WAIT_S)
    assert store.get_raw("celery-taskset-meta-a", WAIT_S) is None


def test_a_subscription_yields_what_is_stored_from_now_on_in_order(store):
    subscription = store.subscribe("a", WAIT_S)
    put(store, "a", b"started", is_final=False)
    put(store, "a", b"done")
    assert [subscription.next(WAIT_S), subscription.next(WAIT_S)] == [b"started", b"done"]


def test_a_late_subscription_begins_with_the_current_document(store):
    put(store, "a", b"done")
    assert store.subscribe("a", WAIT_S).next(WAIT_S) == b"done"


def test_a_wait_that_ends_without_a_document_is_none(store):
    assert store.subscribe("a", WAIT_S).next(0.01) is None


def test_a_closed_subscription_refuses(store):
    subscription = store.subscribe("a", WAIT_S)
    subscription.close()
    subscription.close()
    with pytest.raises(OperationalError, match="subscription is closed"):
        subscription.next(WAIT_S)


def test_another_thread_wakes_who_waits(store):
    subscription = store.subscribe("a", WAIT_S)
    thread = threading.Thread(target=put, args=(store, "a", b"done"))
    thread.start()
    assert subscription.next(WAIT_S) == b"done"
    thread.join()


def test_many_threads_wait_at_once(store):
    subscriptions = [store.subscribe(str(number), WAIT_S) for number in range(20)]
    found = {}

    def wait(number):
        found[number] = subscriptions[number].next(WAIT_S)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for number in range(20):
        put(store, str(number), str(number).encode())
    for thread in threads:
        thread.join()
    assert found == {number: str(number).encode() for number in range(20)}


def test_ctrl_c_ends_a_wait_for_a_result(store):
    subscription = store.subscribe("a", WAIT_S)
    threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        subscription.next(20.0)
    assert time.monotonic() - began < 5


def test_publishing_with_a_store_listens_before_the_message_is_sent(url, store):
    publisher = _native.Publisher(url)
    template = _native.Template(
        task="t", origin="o", exchange="", routing_key="q", declare=[{"name": "q"}]
    )
    task_id, subscription = publisher.publish(template, (), {}, None, store, WAIT_S)
    put(store, task_id, b"done")
    assert subscription.next(WAIT_S) == b"done"


def test_bad_types_are_type_errors(store):
    with pytest.raises(TypeError):
        store.put("a", "text", True, 60, WAIT_S)
    with pytest.raises(TypeError):
        store.get(5, WAIT_S)
