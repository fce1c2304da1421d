import json
import threading
import uuid

import celery
import celery.result
import pytest

from celeriac import Celery, states
from celeriac.app.context import Context
from celeriac.backends import exception_form
from celeriac.exceptions import (
    BackendError,
    EncodeError,
    OperationalError,
    SecurityError,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeoutError,  # noqa: A004 - Celery's name
    WorkerLostError,
)
from celeriac.result import (
    AsyncResult,
    EagerResult,
    GroupResult,
    ResultSet,
    allow_join_result,
    denied_join_result,
    result_from_tuple,
)

WAIT_S = 10


@pytest.fixture
def theirs():
    return celery.Celery("p", broker="memory://", backend="cache+memory://", set_as_current=False)


@pytest.fixture
def task_id():
    return str(uuid.uuid4())


class CustomError(Exception):
    pass


class PickyError(Exception):
    def __init__(self, first, second):
        super().__init__(first)


EXCEPTIONS = [
    KeyError("k", 1),
    ValueError({1, 2}),
    CustomError("a", b"\xff"),
    PickyError(1, 2),
    UnicodeDecodeError("utf8", b"\xff", 0, 1, "why"),
    OSError(2, "gone"),
]


@pytest.mark.parametrize("exc", EXCEPTIONS, ids=lambda exc: type(exc).__name__)
def test_an_exception_is_described_as_celerys(theirs, exc):
    described = exception_form.as_document(exc)
    expected = theirs.backend.prepare_exception(exc)
    assert {**described, "exc_message": tuple(described["exc_message"])} == {
        **expected, "exc_message": tuple(expected["exc_message"]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("exc", "module"),
    [
        (WorkerLostError("x"), "billiard.exceptions"),
        (SoftTimeLimitExceeded(), "billiard.exceptions"),
        (EncodeError("x"), "kombu.exceptions"),
        (OperationalError("x"), "kombu.exceptions"),
        (TaskRevokedError("expired"), "celery.exceptions"),
    ],
    ids=str,
)
def test_our_exceptions_travel_under_celerys_names(theirs, exc, module):
    described = exception_form.as_document(exc)
    assert described["exc_module"] == module
    assert type(exception_form.from_document(described)) is type(exc)
    assert isinstance(exc, type(theirs.backend.exception_to_python(described)))


@pytest.mark.parametrize(
    "document",
    [
        {"exc_type": "KeyError", "exc_message": ["k"], "exc_module": "builtins"},
        {"exc_type": "KeyError", "exc_message": "k", "exc_module": "builtins"},
        {"exc_type": "KeyError", "exc_message": "k"},
        {"exc_type": "KeyError"},
        {"exc_type": "Nope", "exc_message": ["a"], "exc_module": "not.loaded"},
        {"exc_type": "A.B", "exc_message": [], "exc_module": "collections"},
        {"exc_type": "UnicodeDecodeError", "exc_message": ["a"], "exc_module": "builtins"},
        {"exc_type": "KeyError", "exc_message": {"a": 1}, "exc_module": "builtins"},
    ],
    ids=lambda document: f"{document.get('exc_module')}.{document['exc_type']}",
)
def test_an_exception_is_rebuilt_as_celery_does(theirs, document):
    ours, expected = (
        exception_form.from_document(dict(document)),
        theirs.backend.exception_to_python(dict(document)),
    )
    assert (type(ours).__name__, repr(ours.args)) == (type(expected).__name__, repr(expected.args))


def test_what_is_no_exception_is_refused():
    with pytest.raises(SecurityError, match=r"builtins\.eval"):
        exception_form.from_document(
            {"exc_type": "eval", "exc_message": ["1"], "exc_module": "builtins"}
        )
    with pytest.raises(ValueError, match="exception type"):
        exception_form.from_document({"exc_message": "x"})


def test_documents_from_outside_do_not_fill_the_memory():
    for number in range(3000):
        exception_form.look_alike(f"Made{number}")
    assert len(exception_form._look_alikes) <= 1000


REQUEST = {
    "id": "a", "task": "t", "args": (1,), "kwargs": {"x": 1}, "hostname": "h", "retries": 2,
    "delivery_info": {"routing_key": "rk"}, "group": "G", "parent_id": "P",
    "stamped_headers": ["s"], "stamps": {"s": 1},
}  # fmt: skip


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("state", ["SUCCESS", "STARTED", "PROGRESS"])
def test_a_document_has_celerys_keys_in_celerys_order(app, theirs, extended, state):
    app.conf.result_extended = theirs.conf.result_extended = extended
    child = AsyncResult("ch", app=app)
    their_child = celery.result.AsyncResult("ch", app=theirs)
    ours = app.backend.document("ID", 3, state, None, Context(REQUEST, _children=[child]))
    expected = theirs.backend._get_result_meta(
        result=3, state=state, traceback=None,
        request=celery.app.task.Context(REQUEST, _children=[their_child]),
    )  # fmt: skip
    expected["task_id"] = "ID"
    found = json.loads(ours)
    assert list(found) == list(expected)
    assert (found.pop("date_done") is None) == (expected.pop("date_done") is None)
    assert found == json.loads(json.dumps(expected))


def test_the_date_is_in_the_zone_of_the_application(app):
    app.conf.timezone = "Asia/Tokyo"
    assert json.loads(app.backend.document("x", 1, "SUCCESS"))["date_done"].endswith("+09:00")


def test_a_result_that_cannot_be_encoded_says_why(app):
    with pytest.raises(EncodeError, match=r'^result\["a"\]\[0\] is of type set'):
        app.backend.document("x", {"a": [{1}]}, "SUCCESS")


@pytest.mark.parametrize(
    ("settings", "state", "expected"),
    [
        ({}, "SUCCESS", 86400),
        ({"result_expires": 60}, "FAILURE", 60),
        ({"result_expires": 60, "result_failure_expires": 5}, "FAILURE", 5),
        ({"result_expires": 60, "result_failure_expires": 5}, "SUCCESS", 60),
        ({"result_expires": None}, "SUCCESS", None),
        ({"result_expires": 0}, "SUCCESS", None),
    ],
)
def test_results_are_kept_as_long_as_the_settings_say(app, settings, state, expected):
    app.conf.update(settings)
    assert app.backend.expires_s(state) == expected


def test_a_result_is_read_and_forgotten(app, task_id):
    result = app.AsyncResult(task_id)
    assert (result.state, result.ready(), result.result) == ("PENDING", False, None)
    app.backend.store_result(task_id, {"a": 1}, states.SUCCESS)
    assert result.get(timeout=WAIT_S) == {"a": 1}
    assert result.successful()
    assert result.date_done.utcoffset().total_seconds() == 0
    result.forget()
    assert result.state == "PENDING"


def test_a_failure_is_raised_or_returned(app, task_id):
    app.backend.store_result(task_id, KeyError("k", 1), states.FAILURE, traceback="tb")
    result = app.AsyncResult(task_id)
    with pytest.raises(KeyError) as caught:
        result.get(timeout=WAIT_S)
    assert caught.value.args == ("k", 1)
    assert isinstance(result.get(propagate=False), KeyError)
    assert (result.failed(), result.traceback, result.state) == (True, "tb", "FAILURE")


def test_success_is_not_overwritten(app, task_id):
    app.backend.store_result(task_id, 1, states.SUCCESS)
    app.backend.store_result(task_id, KeyError("late"), states.FAILURE)
    assert app.AsyncResult(task_id).get(timeout=WAIT_S) == 1


def test_waiting_ends_at_its_time(app, task_id):
    with pytest.raises(TimeoutError, match="timed out"):
        app.AsyncResult(task_id).get(timeout=0.05)
    assert issubclass(app.AsyncResult.TimeoutError, TimeoutError)


def test_an_ignored_result_is_none_at_once(app):
    result = app.task(lambda: 1, name="t", ignore_result=True).delay()
    assert result.ignored
    assert result.get() is None


def test_a_waiting_thread_is_woken(app, task_id):
    found = []
    waiting = threading.Event()

    def wait():
        found.append(
            app.AsyncResult(task_id).get(timeout=WAIT_S, interval=0.01, on_interval=waiting.set)
        )

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(WAIT_S)
    app.backend.store_result(task_id, 5, states.SUCCESS)
    thread.join(WAIT_S)
    assert found == [5]


def test_many_threads_wait_at_once(app):
    ids = [str(uuid.uuid4()) for _ in range(50)]
    found = {}
    threads = [
        threading.Thread(
            target=lambda one=one: found.update({one: app.AsyncResult(one).get(timeout=WAIT_S)})
        )
        for one in ids
    ]
    for thread in threads:
        thread.start()
    for number, one in enumerate(ids):
        app.backend.store_result(one, number, states.SUCCESS)
    for thread in threads:
        thread.join(WAIT_S)
    assert found == {one: number for number, one in enumerate(ids)}


def test_states_sent_before_get_are_seen_by_on_message(app):
    result = app.task(lambda: 1, name="t").delay()
    app.backend.store_result(result.id, {"done": 1}, "PROGRESS")
    app.backend.store_result(result.id, {"done": 2}, "PROGRESS")
    app.backend.store_result(result.id, 5, states.SUCCESS)
    seen = []
    result.get(
        timeout=WAIT_S, on_message=lambda body: seen.append((body["status"], body["task_id"]))
    )
    assert [state for state, _ in seen] == ["PROGRESS", "PROGRESS", "SUCCESS"]
    assert {task_id for _, task_id in seen} == {result.id}


def test_a_callback_gets_the_id_and_the_value(app, task_id):
    app.backend.store_result(task_id, 5, states.SUCCESS)
    seen = []
    app.AsyncResult(task_id).get(timeout=WAIT_S, callback=lambda *given: seen.append(given))
    assert seen == [(task_id, 5)]


def test_a_failed_parent_is_raised_at_once(app):
    app.backend.store_result("parent", KeyError("k"), states.FAILURE)
    child = app.AsyncResult("child", parent=app.AsyncResult("parent"))
    with pytest.raises(KeyError):
        child.get(timeout=WAIT_S)


def test_waiting_inside_of_a_task_is_an_error_unless_allowed(app, task_id):
    app.backend.store_result(task_id, 5, states.SUCCESS)
    result = app.AsyncResult(task_id)
    with denied_join_result():
        with pytest.raises(RuntimeError, match="within a task"):
            result.get(timeout=WAIT_S)
        with allow_join_result():
            assert result.get(timeout=WAIT_S) == 5
        assert result.get(timeout=WAIT_S, disable_sync_subtasks=False) == 5


def test_extended_results_tell_about_the_call(app):
    app.conf.result_extended = True
    app.backend.store_result("ID", 3, states.SUCCESS, request=Context(REQUEST, _children=[]))
    result = app.AsyncResult("ID")
    told = (result.name, result.args, result.kwargs, result.worker, result.retries, result.queue)
    assert told == ("t", [1], {"x": 1}, "h", 2, "rk")


def test_children_are_handles(app):
    request = Context(id="ID", _children=[AsyncResult("one", app=app)])
    app.backend.store_result("ID", 3, states.SUCCESS, request=request)
    assert app.AsyncResult("ID").children == [app.AsyncResult("one")]


@pytest.mark.parametrize(
    "written",
    [
        [["a", None], None],
        [["a", [["b", None], None]], None],
        [["g", None], [[["a", None], None], [["b", None], None]]],
    ],
)
def test_a_result_tuple_is_read_and_written(app, theirs, written):
    result = result_from_tuple(written, app)
    assert json.loads(json.dumps(result.as_tuple())) == written
    expected = celery.result.result_from_tuple(written, theirs)
    assert type(result).__name__ == type(expected).__name__
    assert result.id == expected.id


def test_handles_compare_and_pickle_by_id(app):
    import pickle

    app.set_current()
    one = AsyncResult("a", app=app)
    assert one == AsyncResult("a", app=app) == "a"
    assert one != AsyncResult("b", app=app)
    assert len({one, AsyncResult("a", app=app)}) == 1
    assert pickle.loads(pickle.dumps(one)) == one
    assert (str(one), repr(one)) == ("a", "<AsyncResult: a>")
    with pytest.raises(ValueError, match="valid id"):
        AsyncResult(None, app=app)


def test_a_set_of_results_is_waited_for_in_order(app):
    for number, one in enumerate("abc"):
        app.backend.store_result(one, number, states.SUCCESS)
    results = ResultSet([app.AsyncResult(one) for one in "abc"], app=app)
    assert results.get(timeout=WAIT_S) == [0, 1, 2]
    assert (results.successful(), results.completed_count(), len(results)) == (True, 3, 3)
    group = GroupResult("g", results.results, app=app)
    assert group.join(timeout=WAIT_S) == [0, 1, 2]


def test_a_set_of_results_times_out_as_a_whole(app):
    results = ResultSet([app.AsyncResult("never"), app.AsyncResult("ever")], app=app)
    with pytest.raises(TimeoutError):
        results.get(timeout=0.05)


@pytest.fixture(params=["redis", "sqlite", "memory", "database"])
def storing(request, tmp_path):
    """An application on each kind of result store; the last one is polled."""
    urls = {
        "memory": f"memory://{uuid.uuid4()}",
        "sqlite": f"sqlite:///{tmp_path}/r.db",
        "database": f"db+sqlite:///{tmp_path}/d.db",
    }
    url = urls.get(request.param) or request.getfixturevalue("redis_url")
    app = Celery("storing", broker="memory://", backend=url, set_as_current=False)
    yield app
    app.close()


def test_a_sets_results_are_gone_through_in_the_order_in_which_they_come(storing):
    ids = [str(uuid.uuid4()) for _ in range(4)]
    results = ResultSet([storing.AsyncResult(one) for one in ids], app=storing)
    storing.backend.store_result(ids[2], "first", states.SUCCESS)
    seen, messages = [], []
    arriving = results.iter_native(timeout=WAIT_S, on_message=messages.append)
    for place, following in ((2, 0), (0, 3), (3, 1), (1, None)):
        task_id, meta = next(arriving)
        seen.append((task_id, meta["status"], meta["result"]))
        assert task_id == ids[place]
        if following is not None:
            storing.backend.store_result(ids[following], {"at": 1}, "PROGRESS")
            storing.backend.store_result(ids[following], following, states.SUCCESS)
    assert next(arriving, "end") == "end"
    assert [value for *_, value in seen] == ["first", 0, 3, 1]
    assert {one["status"] for one in messages} <= {"PROGRESS", "SUCCESS"}
    assert (results.completed_count(), results.get(timeout=WAIT_S)) == (4, [0, 1, "first", 3])


def test_a_failure_that_is_stored_before_a_set_is_waited_for_is_raised_as_what_it_is(storing):
    storing.backend.store_result("bad", KeyError("k"), states.FAILURE)
    with pytest.raises(KeyError, match="k"):
        ResultSet([storing.AsyncResult("bad")], app=storing).get(timeout=WAIT_S)
    values = ResultSet([storing.AsyncResult("bad")], app=storing).get(WAIT_S, propagate=False)
    assert [repr(value) for value in values] == ["KeyError('k')"]


def test_a_failure_among_many_is_given_not_raised(storing):
    results = ResultSet([storing.AsyncResult(one) for one in ("bad", "good")], app=storing)
    storing.backend.store_result("bad", KeyError("k"), states.FAILURE)
    storing.backend.store_result("good", 1, states.SUCCESS)
    found = dict(results.iter_native(timeout=WAIT_S))
    assert (found["bad"]["status"], found["good"]["result"]) == ("FAILURE", 1)
    assert isinstance(found["bad"]["result"], KeyError)


def test_many_results_time_out_as_a_whole_and_can_be_waited_for_again(storing):
    results = ResultSet([storing.AsyncResult(one) for one in ("now", "then")], app=storing)
    storing.backend.store_result("now", 1, states.SUCCESS)
    arriving = results.iter_native(timeout=0.05)
    assert next(arriving)[0] == "now"
    with pytest.raises(TimeoutError):
        next(arriving)
    storing.backend.store_result("then", 2, states.SUCCESS)
    assert [value["result"] for _, value in results.iter_native(timeout=WAIT_S)] == [1, 2]


def test_a_thread_that_goes_through_results_is_woken_by_each(storing):
    ids = [str(uuid.uuid4()) for _ in range(30)]
    results = ResultSet([storing.AsyncResult(one) for one in ids], app=storing)
    waits = threading.Event()
    found = []

    def go() -> None:
        arriving = results.iter_native(timeout=WAIT_S, interval=0.01, on_interval=waits.set)
        found.extend(task_id for task_id, _ in arriving)

    thread = threading.Thread(target=go)
    thread.start()
    assert waits.wait(WAIT_S)
    for one in reversed(ids):
        storing.backend.store_result(one, None, states.SUCCESS)
    thread.join(WAIT_S)
    assert sorted(found) == sorted(ids)


def test_of_a_member_that_is_a_group_the_handles_are_given(app):
    inner = GroupResult("inner", [app.AsyncResult("a")], app=app)
    ignored = app.AsyncResult("ignored")
    ignored.ignored = True
    eager = EagerResult("eager", 5, states.SUCCESS)
    found = dict(ResultSet([inner, eager, ignored], app=app).iter_native(timeout=WAIT_S))
    assert (found["inner"], found["eager"]["result"]) == (inner.results, 5)
    assert found["ignored"]["result"] is None


def test_one_message_revokes_one_task_or_all_of_a_set(app, monkeypatch):
    told = []
    monkeypatch.setattr(app.control, "revoke", lambda ids, **how: told.append((ids, how)))
    one, other = app.AsyncResult("1"), app.AsyncResult("2")
    one.revoke()
    ResultSet([one, other], app=app).revoke(terminate=True, signal="INT", wait=True, timeout=3)
    how = {"connection": None, "terminate": True, "signal": "INT", "reply": True, "timeout": 3}
    defaults = {**dict.fromkeys(how), "terminate": False, "reply": False}
    assert told == [("1", defaults), (["1", "2"], how)]


def test_an_eager_result_is_there():
    assert EagerResult("ID", 5, states.SUCCESS).get(timeout=0) == 5
    failed = EagerResult("ID", KeyError("k"), states.FAILURE, traceback="tb")
    with pytest.raises(KeyError):
        failed.get()
    assert (failed.failed(), failed.traceback) == (True, "tb")


def test_a_malformed_document_is_an_error(app, task_id):
    app.backend.native.put(task_id, b"[1]", True, None, 5.0)
    with pytest.raises(Exception, match="no result document"):
        _ = app.AsyncResult(task_id).state


def test_backend_errors_have_celerys_base():
    assert issubclass(BackendError, Exception)
