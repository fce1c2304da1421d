import contextlib
import json
import logging
import logging.handlers
import re
import sys
import types

import pytest
from messages import FakeMessage

from celeriac import signals, states
from celeriac.app.logging import ColorFormatter
from celeriac.exceptions import Ignore, Reject, Retry
from celeriac.worker import tell
from celeriac.worker.execute import Executor
from celeriac.worker.outcome import (
    Failed,
    Ignored,
    Poisonous,
    Refused,
    Rejected,
    Retried,
    Succeeded,
    Undecodable,
)

JSON = frozenset({"application/json"})


@pytest.fixture
def execute(app):
    def run(task_or_message, *args, **fields):
        message = task_or_message
        if not isinstance(message, FakeMessage):
            message = FakeMessage(task=task_or_message.name, args=args, **fields)
        app.finalize()
        return Executor(app, "w1@here", JSON).execute(message)

    return run


@pytest.fixture
def heard():
    """Signals in the order they were sent: (name, keyword arguments)."""
    log, receivers = [], []

    def listen(*names):
        for name in names:

            def receiver(*, _name=name, **named):
                log.append((_name, named))

            receivers.append((name, receiver))
            getattr(signals, name).connect(receiver)
        return log

    yield listen
    for name, receiver in receivers:
        getattr(signals, name).disconnect(receiver)


def document(report):
    return json.loads(report.document)


def test_a_task_that_returns_hands_over_its_document(app, execute):
    @app.task(name="t.add")
    def add(x, y):
        return x + y

    report = execute(add, 1, 2)

    assert report.outcome == Succeeded()
    assert document(report)["status"] == states.SUCCESS
    assert document(report)["result"] == 3


def test_a_task_that_raises_hands_over_its_exception_and_a_traceback_of_its_own_frames(
    app, execute
):
    @app.task(name="t.fail")
    def fail():
        raise KeyError("k", 1)

    report = execute(fail)

    assert report.outcome == Failed()
    meta = document(report)
    assert meta["result"] == {
        "exc_type": "KeyError",
        "exc_message": ["k", 1],
        "exc_module": "builtins",
    }
    assert "raise KeyError" in meta["traceback"]
    assert "celeriac/worker" not in meta["traceback"]


def test_wrong_arguments_from_elsewhere_fail_the_task(app, execute):
    @app.task(name="t.add")
    def add(x, y):
        return x + y

    report = execute(add, 1)

    assert report.outcome == Failed()
    assert document(report)["result"]["exc_type"] == "TypeError"


def test_a_result_that_cannot_be_encoded_fails_the_task_readably(app, execute):
    @app.task(name="t.bad")
    def bad():
        return {"deep": [1, object()]}

    report = execute(bad)

    assert report.outcome == Failed()
    result = document(report)["result"]
    assert (result["exc_module"], result["exc_type"]) == ("kombu.exceptions", "EncodeError")
    assert "object" in result["exc_message"][0]


def test_a_message_with_no_headers_but_task_and_id_is_executed_and_told_of(app, execute, caplog):
    @app.task
    def divide(x, y):
        return x / y

    with caplog.at_level(logging.INFO, logger="celery.app.trace"):
        done = execute(divide, 6, 2, minimal=True)
        failed = execute(divide, 6, 0, minimal=True)

    assert done.outcome == Succeeded()
    assert document(done)["result"] == 3
    assert isinstance(failed.outcome, Failed)
    assert document(failed)["result"]["exc_type"] == "ZeroDivisionError"
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "succeeded" in told[0]
    assert "raised unexpected" in told[1]


def test_an_ignored_result_is_not_made(app, execute):
    @app.task(name="t.quiet", ignore_result=True)
    def quiet():
        return object()

    report = execute(quiet, more_headers={"ignore_result": True})
    assert (report.outcome, report.document) == (Succeeded(), None)


def test_an_ignored_failure_is_kept_where_the_task_says_so(app, execute):
    @app.task(name="t.quiet", ignore_result=True, store_errors_even_if_ignored=True)
    def quiet():
        raise ValueError

    report = execute(quiet, more_headers={"ignore_result": True})
    assert document(report)["status"] == states.FAILURE


def test_a_header_that_leaves_it_open_asks_the_task_whether_to_ignore_the_result(app, execute):
    @app.task(name="t.quiet", ignore_result=True)
    def quiet():
        return 1

    assert execute(quiet, more_headers={"ignore_result": None}).document is None


def test_ignore_leaves_no_document(app, execute):
    @app.task(name="t.ignore")
    def ignore():
        raise Ignore

    report = execute(ignore)
    assert (report.outcome, report.document) == (Ignored(), None)


@pytest.mark.parametrize("requeue", [True, False])
def test_reject_says_whether_to_requeue_and_fails_where_not(app, execute, requeue):
    @app.task(name="t.reject")
    def reject():
        raise Reject("because", requeue=requeue)

    report = execute(reject)

    assert report.outcome == Rejected(requeue)
    if requeue:
        assert report.document is None
    else:
        result = document(report)["result"]
        assert result["exc_type"] == "Reject"
        assert result["exc_message"] == ["because", False]


def test_retry_stores_the_reason(app, execute):
    @app.task(name="t.again")
    def again():
        raise Retry("soon", ValueError("x"), 3)

    report = execute(again)

    assert report.outcome == Retried()
    meta = document(report)
    assert meta["status"] == states.RETRY
    assert meta["result"]["exc_type"] == "ValueError"


def test_exceptions_of_the_real_celery_mean_the_same(app, execute):
    celery_exceptions = types.ModuleType("celery.exceptions")
    kind = type("Ignore", (Exception,), {"__module__": celery_exceptions.__name__})
    subclass = type("MyIgnore", (kind,), {"__module__": "proj"})

    @app.task(name="t.ignore")
    def ignore():
        raise subclass

    assert execute(ignore).outcome == Ignored()


def test_a_class_that_is_only_called_retry_is_a_failure(app, execute):
    kind = type("Retry", (Exception,), {"__module__": "proj"})

    @app.task(name="t.again")
    def again():
        raise kind

    assert execute(again).outcome == Failed()


def test_system_exit_passes_through_after_postrun(app, execute, heard):
    log = heard("task_postrun")

    @app.task(name="t.leave")
    def leave():
        sys.exit(3)

    with pytest.raises(SystemExit):
        execute(leave)
    assert [name for name, _ in log] == ["task_postrun"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([[1], {}], "three elements"),
        ({"args": []}, "three elements"),
        ([{}, {}, {}], "positional arguments"),
        ([[], [], {}], "keyword arguments"),
        ([[], {}, []], "third element"),
        ([[], {}, {"chord": ["x"]}], "chord"),
        ([[], {}, {"callbacks": "x"}], "callbacks"),
        ([[], {}, {"chain": [{"args": []}]}], "chain"),
        ([[], {}, {"errbacks": [1]}], "errbacks"),
    ],
)
def test_a_body_of_the_wrong_shape_is_poison_with_a_reason(app, execute, content, reason):
    @app.task(name="t.add")
    def add():
        raise AssertionError

    report = execute(FakeMessage(task="t.add", content=content))

    assert isinstance(report.outcome, Poisonous)
    assert reason in report.outcome.reason


def test_a_body_without_embed_is_accepted(app, execute):
    @app.task(name="t.add")
    def add(x):
        return x

    report = execute(FakeMessage(task="t.add", content=[[1], {}, None]))
    assert report.outcome == Succeeded()


def test_a_body_of_a_type_that_is_not_accepted_is_refused(app, execute):
    @app.task(name="t.add")
    def add():
        raise AssertionError

    message = FakeMessage(task="t.add", raw=b"x", content_type="application/x-python-serialize")
    assert isinstance(execute(message).outcome, Refused)


def test_handlers_and_signals_come_in_celerys_order(app, execute, heard):
    order = []
    log = heard("task_prerun", "task_success", "task_postrun")

    class Base(app.Task):
        def before_start(self, task_id, args, kwargs):
            order.append(("before_start", len(log)))

        def on_success(self, retval, task_id, args, kwargs):
            order.append(("on_success", len(log)))

        def after_return(self, status, retval, task_id, args, kwargs, einfo):
            order.append(("after_return", status, len(log)))

    @app.task(name="t.add", base=Base)
    def add(x, y):
        order.append(("run", len(log)))
        return x + y

    execute(add, 1, 2)

    assert [name for name, _ in log] == ["task_prerun", "task_success", "task_postrun"]
    assert order == [
        ("before_start", 1),
        ("run", 1),
        ("on_success", 1),
        ("after_return", states.SUCCESS, 2),
    ]
    assert log[0][1]["args"] == [1, 2]
    assert log[2][1]["retval"] == 3
    assert log[2][1]["state"] == states.SUCCESS


def test_a_result_is_stored_before_handlers_that_may_look_for_it(app, execute):
    seen = []

    class Base(app.Task):
        def on_success(self, retval, task_id, args, kwargs):
            seen.append(app.backend.get_task_meta(task_id)["status"])

    @app.task(name="t.add", base=Base)
    def add():
        return 1

    report = execute(add)

    assert seen == [states.SUCCESS]
    assert report.document is None


def test_a_failure_is_stored_before_its_signal(app, execute, heard):
    log = heard("task_failure")

    @app.task(name="t.fail")
    def fail():
        raise ValueError("x")

    message = FakeMessage(task="t.fail")
    report = execute(message)

    assert report.document is None
    assert app.backend.get_task_meta(message.id)["status"] == states.FAILURE
    assert repr(log[0][1]["exception"]) == "ValueError('x')"
    assert "ValueError: x" in log[0][1]["einfo"].traceback


def test_an_error_in_a_handler_does_not_change_the_outcome(app, execute, caplog):
    class Base(app.Task):
        def on_success(self, *args):
            raise RuntimeError("handler")

    @app.task(name="t.add", base=Base)
    def add():
        return 1

    assert execute(add).outcome == Succeeded()
    assert "on_success handler raised: RuntimeError('handler')" in caplog.text


def test_started_is_stored_where_the_task_tracks_it(app, execute):
    seen = []

    @app.task(name="t.add", bind=True, track_started=True)
    def add(self):
        seen.append(app.backend.get_task_meta(self.request.id))

    execute(add)
    assert seen[0]["status"] == states.STARTED
    assert seen[0]["result"]["hostname"] == "w1@here"


def test_the_request_is_that_of_the_message(app, execute):
    seen = {}

    @app.task(name="t.look", bind=True)
    def look(self, x):
        request = self.request
        seen.update(
            id=request.id,
            args=request.args,
            hostname=request.hostname,
            custom=request.headers,
            info=request.delivery_info,
            eager=request.is_eager,
            direct=request.called_directly,
        )

    message = FakeMessage(task="t.look", args=[5], more_headers={"tenant": "a"}, redelivered=True)
    execute(message)

    assert seen["id"] == message.id
    assert seen["args"] == [5]
    assert seen["hostname"] == "w1@here"
    assert seen["custom"] == {"tenant": "a"}
    assert seen["info"] == {
        "exchange": "",
        "routing_key": "celery",
        "priority": 0,
        "redelivered": True,
    }
    assert (seen["eager"], seen["direct"]) == (False, False)
    assert look.request.id is None


def test_success_is_logged_in_celerys_words(app, execute, caplog):
    @app.task(name="t.add")
    def add():
        return "x"

    message = FakeMessage(task="t.add")
    with caplog.at_level(logging.INFO, "celery.app.trace"):
        execute(message)

    line = caplog.records[-1].getMessage()
    assert line.startswith(f"Task t.add[{message.id}] succeeded in ")
    assert line.endswith("s: 'x'")


@contextlib.contextmanager
def only_written_to(path):
    """The logger as a worker sets it up; pytest adds its handlers when a test begins."""
    logger = logging.getLogger("celery.app.trace")
    handler = logging.handlers.WatchedFileHandler(path, encoding="utf-8")
    handler.setFormatter(ColorFormatter("%(levelname)s %(message)s"))
    pytests, logger.handlers, logger.propagate = logger.handlers, [handler], False
    logger.setLevel(logging.INFO)
    try:
        yield logger
    finally:
        logger.setLevel(logging.NOTSET)
        logger.handlers, logger.propagate = pytests, True
        handler.close()


@pytest.mark.parametrize("value", [None, "x\ny", 1.5, {"k": "\u20ac\x07"}, ["x" * 3000]])
def test_a_plain_tasks_line_is_the_same_with_a_record_and_without(app, execute, tmp_path, value):
    @app.task(name="t.value")
    def find():
        return value

    message = FakeMessage(task="t.value")
    with only_written_to(tmp_path / "log") as logger:
        assert execute(message).outcome == Succeeded()
        quick = (tmp_path / "log").read_text()
        logger.addFilter(passes)
        execute(message)
        logger.removeFilter(passes)

    assert quick.startswith(f"INFO Task t.value[{message.id}] succeeded in ")
    assert without_runtime((tmp_path / "log").read_text()) == 2 * without_runtime(quick)


def passes(record):
    return True


def without_runtime(text):
    return re.sub(r"in [\d.e-]+s", "in s", text)


def test_a_plain_tasks_line_needs_no_record(app, execute, tmp_path, monkeypatch):
    @app.task(name="t.add")
    def add():
        return 1

    monkeypatch.setattr(tell, "_log_success", None)
    with only_written_to(tmp_path / "log"):
        execute(add)
    assert (tmp_path / "log").read_text().endswith("s: 1\n")


def test_failure_is_logged_once_with_its_traceback_and_expected_ones_without(app, execute, caplog):
    @app.task(name="t.fail", throws=(KeyError,))
    def fail(kind):
        raise {"key": KeyError, "value": ValueError}[kind]("x")

    with caplog.at_level(logging.INFO, "celery.app.trace"):
        execute(FakeMessage(task="t.fail", args=["value"]))
        execute(FakeMessage(task="t.fail", args=["key"]))

    unexpected, expected = caplog.records
    assert "raised unexpected: ValueError('x')" in unexpected.getMessage()
    assert unexpected.levelno == logging.ERROR
    assert unexpected.exc_info[0] is ValueError
    assert "raised expected: KeyError('x')" in expected.getMessage()
    assert expected.levelno == logging.INFO
    assert expected.exc_info is None


def test_a_shadow_is_the_name_in_the_log(app, execute, caplog):
    @app.task(name="t.add")
    def add():
        return 1

    with caplog.at_level(logging.INFO, "celery.app.trace"):
        execute(add, more_headers={"shadow": "other"})
    assert caplog.records[-1].getMessage().startswith("Task other[")


def test_a_new_style_errback_is_called_here_with_request_exception_and_traceback(app, execute):
    seen = []

    @app.task(name="t.errback")
    def errback(request, exc, traceback):
        seen.append((request.id, exc, traceback))

    @app.task(name="t.fail")
    def fail():
        raise ValueError("x")

    message = FakeMessage(
        task="t.fail",
        embed={
            "errbacks": [
                {
                    "task": "t.errback",
                    "args": [],
                    "kwargs": {},
                    "options": {},
                    "subtask_type": None,
                    "immutable": False,
                }
            ]
        },
    )
    execute(message)

    ((request_id, exc, traceback),) = seen
    assert request_id == message.id
    assert repr(exc) == "ValueError('x')"
    assert "ValueError: x" in traceback


def test_the_rest_of_a_failed_chain_fails_with_it(app, execute):
    @app.task(name="t.fail")
    def fail():
        raise ValueError("x")

    step = {
        "task": "t.later",
        "args": [],
        "kwargs": {},
        "options": {"task_id": "later-1"},
        "subtask_type": None,
        "immutable": False,
    }
    execute(FakeMessage(task="t.fail", embed={"chain": [step]}))

    meta = app.backend.get_task_meta("later-1")
    assert meta["status"] == states.FAILURE
    assert repr(meta["result"]) == "ValueError('x')"


def test_an_undecodable_body_says_so(app, execute):
    @app.task(name="t.add")
    def add():
        raise AssertionError

    from celeriac.exceptions import DecodeError

    class Broken(FakeMessage):
        def body(self, max_bytes=None):
            raise DecodeError("line 1")

    assert execute(Broken(task="t.add")).outcome == Undecodable("line 1")


def test_a_request_is_there_when_a_task_looks_at_it(app, execute):
    @app.task(name="t.look", bind=True)
    def look(self, x):
        request = self.request
        self.request.mine = 1
        return [request.id, request.args, request.called_directly, request.hostname, request.mine]

    report = execute(look, 7, id="an-id")

    assert document(report)["result"] == ["an-id", [7], False, "w1@here", 1]


@pytest.mark.parametrize("looks", [False, True])
def test_a_document_is_the_same_whether_anybody_looked_at_the_request(app, execute, looks):
    @app.task(name="t.made", bind=True)
    def made(self):
        return {"looked": looks and self.request.id}

    report = execute(made, id="an-id", more_headers={"group": "g", "parent_id": "p"})

    meta = document(report)
    assert list(meta) == [
        "status",
        "result",
        "traceback",
        "children",
        "date_done",
        "group_id",
        "parent_id",
        "task_id",
    ]
    assert (meta["group_id"], meta["parent_id"], meta["task_id"]) == ("g", "p", "an-id")
    assert meta["children"] == []


def test_a_task_with_a_call_of_its_own_is_called_so(app, execute):
    calls = []

    class Counting(app.Task):
        def __call__(self, *args, **kwargs):
            calls.append(args)
            return super().__call__(*args, **kwargs)

    @app.task(name="t.counted", base=Counting)
    def counted():
        return "done"

    assert document(execute(counted))["result"] == "done"
    assert calls == [()]


def test_nothing_is_current_after_a_task_that_left_something_behind(app, execute):
    @app.task(name="t.untidy", bind=True)
    def untidy(self):
        self.push_request(id="left behind")

    execute(untidy)

    assert app.current_task is None
    assert untidy.request_stack.top is None
