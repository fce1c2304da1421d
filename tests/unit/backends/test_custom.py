"""Backends that are classes of the user's, written for Celery."""

import importlib.metadata
import threading
import types

import celery
import celery.backends.base
import pytest

from celeriac import Celery, states
from celeriac.app.context import Context
from celeriac.backends import DisabledBackend, NativeBackend, RPCBackend
from celeriac.backends.base import BaseDictBackend, KeyValueStoreBackend
from celeriac.exceptions import (
    BackendStoreError,
    EncodeError,
    ImproperlyConfigured,
    TimeoutError,  # noqa: A004 - Celery's name
)

TASK_ID = "b6f8fa1a-9c1d-4f5e-8b2f-0a1b2c3d4e5f"


def shelf_class(base, shelf):
    class Shelf(base):
        def get(self, key):
            return shelf.get(key)

        def mget(self, keys):
            return [shelf.get(key) for key in keys]

        def set(self, key, value):
            shelf[key] = value

        def delete(self, key):
            shelf.pop(key, None)

    return Shelf


@pytest.fixture
def shelf():
    return {}


def ours(shelf, **settings):
    app = Celery("p", broker="memory://", set_as_current=False)
    app.conf.update(settings)
    app.backend = shelf_class(KeyValueStoreBackend, shelf)(app=app)
    return app


@pytest.fixture
def app(shelf):
    return ours(shelf)


@pytest.fixture
def theirs(shelf):
    app = celery.Celery("p", broker="memory://", set_as_current=False)
    return shelf_class(celery.backends.base.KeyValueStoreBackend, shelf)(app=app)


RESULTS = [
    ({"a": [1, None, "ü"]}, states.SUCCESS),
    (KeyError("k", 1), states.FAILURE),
    ({"done": 3}, "PROGRESS"),
]


@pytest.mark.parametrize(("value", "state"), RESULTS, ids=lambda value: str(value)[:10])
def test_a_store_of_keys_and_values_is_shared_with_celerys_class(app, theirs, shelf, value, state):
    for writer, reader in ((app.backend, theirs), (theirs, app.backend)):
        shelf.clear()
        writer.store_result(TASK_ID, value, state)
        assert list(shelf) == [f"celery-task-meta-{TASK_ID}".encode()]
        found, expected = reader.get_task_meta(TASK_ID), writer.get_task_meta(TASK_ID)
        assert repr(found) == repr(expected)
        assert found["status"] == state
        reader.forget(TASK_ID)
        assert shelf == {}


def test_a_success_is_not_replaced(app):
    app.backend.store_result(TASK_ID, 1, states.SUCCESS)
    app.backend.store_result(TASK_ID, 2, states.FAILURE)
    assert app.backend.get_result(TASK_ID) == 1


def test_groups_are_shared_with_celerys_class(app, theirs, shelf):
    group = app.GroupResult("gid", [app.AsyncResult("a"), app.AsyncResult("b")])
    app.backend.save_group("gid", group)
    assert [one.id for one in theirs.restore_group("gid")] == ["a", "b"]
    assert [one.id for one in app.backend.restore_group("gid")] == ["a", "b"]
    app.backend.delete_group("gid")
    assert app.backend.restore_group("gid") is None


def test_a_prefix_of_the_settings_is_put_before_the_keys(shelf):
    app = ours(shelf, result_backend_transport_options={"global_keyprefix": "mine"})
    app.backend.store_result(TASK_ID, 1, states.SUCCESS)
    assert list(shelf) == [f"mine_celery-task-meta-{TASK_ID}".encode()]


def test_waiting_ends_soon_after_another_thread_has_stored(app):
    result = app.AsyncResult(TASK_ID)
    seen = []
    app.backend.store_result(TASK_ID, {"done": 1}, "PROGRESS")
    heard = threading.Event()

    def store():
        assert heard.wait(10)
        app.backend.store_result(TASK_ID, 7, states.SUCCESS)

    storing = threading.Thread(target=store)
    storing.start()
    assert result.get(timeout=10, on_message=lambda meta: (seen.append(meta), heard.set())) == 7
    storing.join()
    assert [meta["status"] for meta in seen] == ["PROGRESS", "SUCCESS"]


def test_waiting_in_vain_is_a_timeout(app):
    with pytest.raises(TimeoutError):
        app.AsyncResult(TASK_ID).get(timeout=0.05)
    with pytest.raises(TimeoutError):
        app.backend.wait_for(TASK_ID, timeout=0.05)
    with pytest.raises(TimeoutError):
        list(app.backend.get_many([TASK_ID], timeout=0.05))


def test_many_are_given_out_as_they_are_done(app):
    app.backend.store_result("a", 1, states.SUCCESS)
    many = app.backend.get_many(["b", "a"], timeout=10)
    assert next(many)[0] == "a"
    app.backend.store_result("b", 2, states.SUCCESS)
    assert [(task_id, meta["result"]) for task_id, meta in many] == [("b", 2)]


def test_what_cannot_be_encoded_is_refused(app):
    with pytest.raises(EncodeError):
        app.backend.store_result(TASK_ID, object(), states.SUCCESS)


class Moody(BaseDictBackend):
    """Fails a number of times."""

    def __init__(self, **options):
        super().__init__(**options)
        self.failures, self.slept, self.hooked, self.stored = 0, [], 0, {}

    def _sleep(self, amount):
        self.slept.append(amount)

    def exception_safe_to_retry(self, exc):
        return isinstance(exc, ConnectionError)

    def on_backend_retryable_error(self, exc):
        self.hooked += 1

    # The parameter names of django-celery-results.
    def _store_result(self, task_id, result, status, traceback=None, request=None, using=None):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("gone")
        self.stored[task_id] = (result, status)

    def _get_task_meta_for(self, task_id):
        return {"status": "PENDING", "result": None}


def moody(**settings):
    app = Celery("p", broker="memory://", backend=Moody, set_as_current=False)
    app.conf.update(settings)
    return app.backend


def test_a_failing_store_is_asked_again_until_it_answers(caplog):
    backend = moody(
        result_backend_always_retry=True,
        result_backend_base_sleep_between_retries_ms=100,
        result_backend_max_sleep_between_retries_ms=300,
    )
    backend.failures = 6
    backend.store_result(TASK_ID, 1, states.SUCCESS)
    assert backend.stored == {TASK_ID: (1, states.SUCCESS)}
    assert backend.hooked == len(backend.slept) == 6
    bounds = [0.2, 0.3, 0.3, 0.3, 0.3, 0.3]
    assert all(0 <= slept <= bound for slept, bound in zip(backend.slept, bounds, strict=True))
    assert "store_result failed, inf more tries: ConnectionError: gone" in caplog.text


def test_tries_are_limited_and_the_last_error_is_told():
    backend = moody(result_backend_always_retry=True, result_backend_max_retries=2)
    backend.failures = 9
    with pytest.raises(BackendStoreError, match="ConnectionError: gone") as caught:
        backend.store_result(TASK_ID, 1, states.SUCCESS)
    assert (caught.value.task_id, caught.value.state) == (TASK_ID, states.SUCCESS)
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert len(backend.slept) == 2


def test_without_the_setting_nothing_is_tried_again():
    backend = moody()
    backend.failures = 1
    with pytest.raises(ConnectionError):
        backend.store_result(TASK_ID, 1, states.SUCCESS)
    assert backend.slept == []


# Finding a backend ---------------------------------------------------------------------------


@pytest.fixture
def proj(monkeypatch):
    module = types.ModuleType("backends_proj")
    module.Moody = Moody
    monkeypatch.setitem(__import__("sys").modules, "backends_proj", module)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("backends_proj:Moody", None),
        ("backends_proj.Moody", None),
        ("backends_proj:Moody://host/1", "backends_proj:Moody://host/1"),
        ("backends_proj:Moody+scheme://u:secret@host/1", "scheme://u:secret@host/1"),
    ],
)
def test_a_path_names_a_class(proj, given, url):
    backend = Celery("p", broker="memory://", backend=given, set_as_current=False).backend
    assert type(backend) is Moody
    assert backend.url == url
    assert "secret" not in backend.as_uri()


@pytest.mark.parametrize("group", ["celery.result_backends", "celeriac.result_backends"])
def test_an_entry_point_of_a_package_is_found(proj, monkeypatch, group):
    entry = importlib.metadata.EntryPoint("django-db", "backends_proj:Moody", group)

    def entry_points(*, group, name):
        return [entry] if (group, name) == (entry.group, entry.name) else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    app = Celery("p", broker="memory://", backend="django-db", set_as_current=False)
    assert type(app.backend) is Moody


def test_a_backend_class_of_the_application_wins(proj):
    class Own(Celery):
        backend_cls = "backends_proj:Moody"

    app = Own("p", broker="memory://", backend="redis://nowhere", set_as_current=False)
    assert type(app.backend) is Moody


@pytest.mark.parametrize(
    ("given", "cls"),
    [
        ("disabled://", DisabledBackend),
        ("disabled", DisabledBackend),
        (None, DisabledBackend),
        ("rpc://", RPCBackend),
        ("rpc", RPCBackend),
        ("cache+memory://", NativeBackend),
        ("redis", NativeBackend),
    ],
)
def test_a_scheme_names_a_backend(given, cls):
    app = Celery("p", broker="memory://", backend=given, set_as_current=False)
    assert type(app.backend) is cls


@pytest.mark.parametrize("given", ["rediss+nothing://h", "mongo://u:secret@h", "no.such:Thing"])
def test_an_unknown_backend_is_named_without_its_password(given):
    app = Celery("p", broker="memory://", backend=given, set_as_current=False)
    with pytest.raises(ImproperlyConfigured) as caught:
        _ = app.backend
    assert "secret" not in str(caught.value)


def test_a_result_needs_a_call_to_be_sent_to():
    app = Celery("p", broker="memory://rpc-unit", backend="rpc://", set_as_current=False)
    with pytest.raises(RuntimeError, match="missing task request"):
        app.backend.store_result(TASK_ID, 1, states.SUCCESS)
    app.backend.store_result(TASK_ID, 1, states.SUCCESS, request=Context(id=TASK_ID))
    app.backend.store_result(
        TASK_ID, 2, states.SUCCESS, request=Context(id=TASK_ID, reply_to=app.thread_oid)
    )
    assert app.AsyncResult(TASK_ID).get(timeout=10) == 2
