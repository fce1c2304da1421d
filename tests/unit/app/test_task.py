import inspect

import celery
import celery.exceptions
import pytest

from celeriac import current_task, signals, states
from celeriac.app.context import Context
from celeriac.app.typecheck import header
from celeriac.exceptions import EncodeError, Ignore, MaxRetriesExceededError, Reject, Retry


def plain(x, y=2):
    return x, y


def rich(a, /, b, *rest, c, d=4, **more):
    return a, b, rest, c, d, more


CALLS = [((), {}), ((1,), {}), ((1, 2), {}), ((1, 2, 3), {}), ((1,), {"y": 3}), ((1,), {"z": 3})]
RICH = [
    ((1, 2), {"c": 3}),
    ((1,), {"b": 2, "c": 3, "e": 5}),
    ((), {"a": 1, "b": 2, "c": 3}),
    ((1, 2), {}),
]


def refusal(function, args, kwargs):
    """What a call is refused with; None if it is not."""
    try:
        function(*args, **kwargs)
    except TypeError as exc:
        return str(exc)
    return None


@pytest.mark.parametrize(
    ("function", "calls"), [(plain, CALLS), (rich, RICH)], ids=["plain", "rich"]
)
def test_the_check_accepts_what_the_function_accepts(function, calls):
    check = header(function)
    for args, kwargs in calls:
        assert refusal(check, args, kwargs) == refusal(function, args, kwargs)


@pytest.mark.parametrize(
    "function",
    [
        plain,
        rich,
        lambda: None,
        lambda _x, _y=1: None,
        lambda _x, /, _y: None,
        lambda _x, *_rest: None,
        lambda _x, *, _needed: None,
        lambda _x, *, _option=1, **_named: None,
    ],
)
def test_the_check_says_with_how_many_positional_arguments_it_need_not_be_asked(function):
    check = header(function)
    for count in range(8):
        is_taken = refusal(check, (None,) * count, {}) is None
        least, most = check.takes or (1, 0)
        assert is_taken == (least <= count <= most)


def test_the_check_of_a_bound_task_does_not_count_the_task(app):
    @app.task(bind=True)
    def bound(self, x):
        return x

    with pytest.raises(TypeError, match="bound\\(\\) missing 1 required positional argument: 'x'"):
        bound.delay()


def test_a_lambda_can_be_a_task(app):
    task = app.task(lambda x: x, name="lam")
    with pytest.raises(TypeError, match="missing 1 required"):
        task.delay()


def test_the_check_can_be_switched_off(app, sent):
    @app.task(typing=False)
    def loose(x):
        return x

    loose.delay(1, 2, 3)
    assert len(sent(app, 1)) == 1


@pytest.mark.parametrize(
    "arguments", [{"args": "text"}, {"args": 3}, {"kwargs": [1]}], ids=["text", "number", "list"]
)
def test_arguments_of_a_wrong_kind_are_refused(app, arguments):
    task = app.task(lambda *_a, **_k: 1, name="any")
    with pytest.raises(TypeError):
        task.apply_async(**arguments)


def test_delay_goes_through_apply_async(app, monkeypatch):
    task = app.task(lambda *_a: 1, name="patched")
    seen = []
    monkeypatch.setattr(
        type(task._get_current_object()), "apply_async", lambda *a, **k: seen.append(a[1:])
    )
    task.delay(1, 2)
    assert seen == [((1, 2), {})]


def test_apply_async_goes_through_send_task(app, monkeypatch):
    task = app.task(lambda *_a: 1, name="patched2")
    names = []
    monkeypatch.setattr(type(app), "send_task", lambda _self, name, *_a, **_k: names.append(name))
    task.delay(1)
    assert names == ["patched2"]


def test_a_call_has_a_request_of_its_own(app):
    @app.task(bind=True)
    def asks(self, x):
        return self.request.args, self.request.called_directly, current_task.name

    assert asks(3) == ((3,), True, asks.name)
    assert asks.request.args is None


def test_apply_gives_the_result_and_the_request(app):
    @app.task(bind=True)
    def asks(self, x):
        request = self.request
        return request.id, request.is_eager, request.called_directly, request.headers

    result = asks.apply((1,), task_id="ID", headers={"tenant": "blue"})
    assert result.get() == ("ID", True, False, {"tenant": "blue"})
    assert (result.state, result.id) == (states.SUCCESS, "ID")


def test_apply_calls_handlers_and_signals_in_order(app):
    heard = []

    class Base(app.Task):
        def before_start(self, task_id, args, kwargs):
            heard.append("before_start")

        def on_success(self, retval, task_id, args, kwargs):
            heard.append(("on_success", retval))

        def after_return(self, status, retval, task_id, args, kwargs, einfo):
            heard.append(("after_return", status))

    task = app.task(lambda: 7, name="watched", base=Base, lazy=False)
    names = ("task_prerun", "task_success", "task_postrun")
    for name in names:
        getattr(signals, name).connect(
            lambda signal, **_kw: heard.append(signal.name), sender=task, weak=False
        )
    task.apply()
    assert heard == [
        "task_prerun", "before_start", ("on_success", 7), "task_success",
        ("after_return", "SUCCESS"), "task_postrun",
    ]  # fmt: skip


def test_apply_keeps_the_error(app):
    def fails():
        raise KeyError("k")

    result = app.task(fails).apply()
    assert (result.state, repr(result.result)) == (states.FAILURE, "KeyError('k')")
    assert "KeyError" in result.traceback
    with pytest.raises(KeyError):
        result.get()
    assert isinstance(result.get(propagate=False), KeyError)
    with pytest.raises(KeyError):
        app.tasks[f"{__name__}.fails"].apply(throw=True)


@pytest.mark.parametrize(("raised", "state"), [(Ignore(), "IGNORED"), (Reject("no"), "REJECTED")])
def test_apply_knows_what_is_no_error(app, raised, state):
    def ends():
        raise raised

    assert app.task(ends).apply().state == state


def test_apply_calls_what_is_linked(app):
    seen = []
    app.conf.task_always_eager = True
    callback = app.task(lambda value, extra: seen.append((value, extra)), name="callback")
    app.task(lambda: 1, name="first").apply(link=callback.s("x"))
    assert seen == [(1, "x")]


def test_an_errback_is_told_of_a_failure_as_a_worker_tells_it(app):
    told = []
    app.task(lambda request, exc, tb: told.append((request.id, exc, tb)), name="told")
    broken = app.task(lambda: 1 / 0, name="broken")

    broken.apply(task_id="ID", link_error=app.signature("told"))

    ((task_id, exc, text),) = told
    assert (task_id, type(exc)) == ("ID", ZeroDivisionError)
    assert text.startswith("Traceback")
    assert text.endswith("division by zero\n")


def test_handlers_of_an_eager_task_get_what_celerys_get(app):
    def record_in(seen):
        def on_failure(self, exc, task_id, args, kwargs, einfo):
            seen.append((type(exc), type(einfo).__name__, einfo.type, einfo.traceback[:9]))

        return on_failure

    def broken():
        return 1 / 0

    theirs = celery.Celery("p", broker="memory://", set_as_current=False)
    recorded = {}
    for name, one in (("ours", app), ("theirs", theirs)):
        seen = recorded[name] = []
        one.task(broken, name="broken", on_failure=record_in(seen)).apply()

    assert recorded["ours"] == recorded["theirs"]
    assert recorded["ours"][0][1] == "ExceptionInfo"


def test_the_traceback_of_an_eager_task_begins_in_the_users_code(app):
    def broken():
        raise KeyError("k")

    text = app.task(broken).apply().traceback
    first = text.splitlines()[1]
    assert __file__ in first
    assert first.endswith("in broken")


@pytest.mark.parametrize(("name", "state"), [("Ignore", "IGNORED"), ("Reject", "REJECTED")])
def test_celerys_own_classes_count_in_eager_mode(app, name, state):
    def ends():
        raise getattr(celery.exceptions, name)

    assert app.task(ends).apply().state == state


def test_always_eager_runs_at_the_call(app):
    app.conf.task_always_eager = True
    task = app.task(lambda x, y: x + y, name="eager")
    assert task.delay(1, 2).get() == 3
    assert task.apply_async((1, 2), countdown=60).get() == 3
    app.conf.task_eager_propagates = True
    with pytest.raises(TypeError):
        task.delay(1, "a")


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_arguments_of_always_eager_travel_through_the_serializer_as_in_celery(app, serializer):
    theirs = celery.Celery("p", broker="memory://", set_as_current=False)
    given, found = [(1, 2), {3: "k"}], []

    def seen(values):
        return [repr(values), values is given]

    for one in (app, theirs):
        one.conf.update(task_always_eager=True, task_serializer=serializer)
        found.append(one.task(seen).delay(given).get())
    assert found[0] == found[1]
    assert found[0][1] is False


def test_what_the_serializer_cannot_carry_is_refused_in_eager_mode_too(app):
    app.conf.task_always_eager = True
    with pytest.raises(EncodeError, match=r"is of type object"):
        app.task(lambda value: value, name="t").delay(object())


def test_an_eager_result_is_stored_where_that_is_asked_for(app):
    app.conf.update(task_always_eager=True, task_store_eager_result=True)
    result = app.task(lambda: 5, name="stored").delay()
    assert app.AsyncResult(result.id).get(timeout=5) == 5


def test_retry_runs_again_in_eager_mode(app):
    tries = []

    @app.task(bind=True, max_retries=2)
    def again(self):
        tries.append(self.request.retries)
        if len(tries) < 3:
            raise self.retry(countdown=0)
        return "done"

    assert again.apply().get() == "done"
    assert tries == [0, 1, 2]


def test_retries_end_with_the_reason_or_an_error(app):
    @app.task(bind=True, max_retries=1)
    def with_reason(self):
        raise self.retry(exc=KeyError("why"))

    @app.task(bind=True, max_retries=1)
    def without(self):
        raise self.retry()

    assert isinstance(with_reason.apply().result, KeyError)
    failure = without.apply(task_id="ID").result
    assert isinstance(failure, MaxRetriesExceededError)
    assert f"Can't retry {without.name}[ID] args:() kwargs:{{}}" in str(failure)


def test_retry_outside_of_a_worker_raises_the_reason(app):
    @app.task(bind=True)
    def direct(self):
        try:
            raise ValueError("inner")
        except ValueError:
            raise self.retry()  # noqa: B904

    with pytest.raises(ValueError, match="inner"):
        direct()


def request_of(task, **headers):
    base = {"task": task.name, "id": "ID", "retries": 1, "root_id": "ROOT", "origin": "gen1@far"}
    info = {"exchange": "", "routing_key": "q2", "redelivered": False}
    properties = {"reply_to": "RR", "correlation_id": "ID"}
    return Context.from_message(
        {**base, **headers}, properties, {"callbacks": None}, info, "w@h", args=[1], kwargs={"y": 2}
    )


def test_retry_in_a_worker_sends_the_call_again(app, sent):
    @app.task(bind=True)
    def again(self, x, y):
        return self.retry(countdown=0.01, exc=KeyError("k"))

    again.request_stack.push(request_of(again, tenant="blue", timelimit=[30, 20]))
    try:
        with pytest.raises(Retry) as caught:
            again.run(1, 2)
    finally:
        again.request_stack.pop()
    assert (caught.value.when, repr(caught.value.exc)) == (0.01, "KeyError('k')")
    (message,) = sent(app, 1, "q2")
    assert message.body.startswith(b'[[1], {"y": 2}, {"callbacks": null, ')
    wanted = {
        "id": "ID", "retries": 2, "root_id": "ROOT", "parent_id": "ID", "origin": "gen1@far",
        "tenant": "blue", "timelimit": [30, 20],
    }  # fmt: skip
    assert {key: message.headers[key] for key in wanted} == wanted
    assert message.headers["eta"]
    assert message.properties["reply_to"] == "RR"


def test_the_request_has_celerys_fields(app):
    import celery.app.task

    task = app.task(lambda: 1, name="t")
    theirs = {n for n in vars(celery.app.task.Context) if not n.startswith("_")}
    ours = request_of(task)
    assert all(hasattr(ours, name) for name in theirs)
    assert (
        ours.as_execution_options().keys()
        == celery.app.task.Context().as_execution_options().keys()
    )


def test_custom_headers_are_in_the_request(app):
    request = request_of(app.task(lambda: 1, name="t"), tenant="blue", redelivered=True)
    assert request.headers == {"tenant": "blue", "redelivered": True}
    assert request.tenant == "blue"
    assert request.time_limit is None
    with pytest.raises(AttributeError, match="nothing"):
        _ = request.nothing


def test_autoretry_retries_what_it_is_told_to(app):
    tries = []

    @app.task(autoretry_for=(KeyError,), max_retries=2, default_retry_delay=0)
    def flaky():
        tries.append(1)
        raise KeyError("k")

    assert isinstance(flaky.apply().result, KeyError)
    assert len(tries) == 3


def test_autoretry_leaves_out_what_it_is_told_not_to_retry(app):
    tries = []

    @app.task(autoretry_for=(LookupError,), dont_autoretry_for=(KeyError,), default_retry_delay=0)
    def fails(error):
        tries.append(1)
        raise error

    assert isinstance(fails.apply((KeyError("k"),)).result, KeyError)
    assert len(tries) == 1
    fails.apply((IndexError("i"),))
    assert len(tries) == 1 + 4


BACKOFFS = [
    ({"retry_backoff": True}, [1, 2, 4, 8]),
    ({"retry_backoff": 3, "retry_backoff_max": 10}, [3, 6, 10, 10]),
    ({"retry_backoff": 0.1}, [0.1, 0.2, 0.4, 0.8]),
    ({"retry_backoff": 0.25, "retry_backoff_max": 0.75}, [0.25, 0.5, 0.75, 0.75]),
    ({"retry_backoff": 4, "retry_jitter": True}, [2, 4, 8, 16]),
    ({"retry_backoff": 0.1, "retry_jitter": True}, [0.05, 0.1, 0.2, 0.4]),
    ({}, [None] * 4),
]


@pytest.mark.parametrize(("options", "countdowns"), BACKOFFS, ids=repr)
def test_the_waits_of_autoretry_double_up_to_their_maximum(app, monkeypatch, options, countdowns):
    monkeypatch.setattr("random.random", lambda: 0.5)
    told = []

    class Telling(app.Task):
        def retry(self, exc, countdown=None):
            told.append(countdown)
            return exc

    @app.task(base=Telling, autoretry_for=(KeyError,), **{"retry_jitter": False, **options})
    def fails():
        raise KeyError("k")

    for retries in range(4):
        fails.apply(retries=retries)
    assert told == countdowns


def test_update_state_stores_what_the_task_says(app):
    task = app.task(lambda: 1, name="t")
    task.update_state("ID", "PROGRESS", {"done": 3})
    result = app.AsyncResult("ID")
    assert (result.state, result.info, result.ready()) == ("PROGRESS", {"done": 3}, False)


def test_a_task_reads_as_its_function(app):
    @app.task
    def documented(x: int) -> int:
        """Say something."""
        return x

    assert documented.__doc__ == "Say something."
    assert documented.__name__ == "documented"
    assert documented.__module__ == __name__
    assert list(inspect.signature(documented.run).parameters) == ["x"]
    assert repr(documented) == f"<@task: {documented.name} of proj>"
