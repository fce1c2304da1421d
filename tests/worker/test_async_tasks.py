"""``async def`` tasks where they are executed: one loop in each thread, interrupted at an await."""

import asyncio
import contextvars
import json
import signal
import threading

import pytest
from messages import FakeMessage
from running import TASKS, Running

from celeriac import Celery, current_task, states
from celeriac.app import coroutines
from celeriac.exceptions import Ignore, SoftTimeLimitExceeded
from celeriac.worker.execute import Executor
from celeriac.worker.outcome import Failed, Ignored, Retried, Succeeded

JSON = frozenset({"application/json"})
LOG = contextvars.ContextVar("LOG", default="nothing")


@pytest.fixture
def execute(app):
    def run(task, *args, **fields):
        app.finalize()
        return Executor(app, "w1@here", JSON).execute(
            FakeMessage(task=task.name, args=args, **fields)
        )

    yield run
    coroutines.close_loop()


def document(report):
    return json.loads(report.document)


def test_an_async_task_is_run_and_its_value_is_the_result(app, execute):
    @app.task
    async def add(x, y):
        await asyncio.sleep(0)
        return x + y

    report = execute(add, 2, 2)

    assert report.outcome == Succeeded()
    assert document(report)["result"] == 4


def test_the_traceback_of_an_async_task_begins_with_the_users_own_frame(app, execute):
    @app.task
    async def fail():
        await asyncio.sleep(0)
        raise KeyError("k")

    report = execute(fail)

    assert isinstance(report.outcome, Failed)
    lines = document(report)["traceback"].splitlines()
    assert "test_async_tasks" in lines[1]
    assert "asyncio" not in lines[1]


def test_tasks_of_one_thread_share_a_loop_which_is_kept_until_it_is_closed(app, execute):
    loops, ended = [], []

    @app.task
    async def note():
        loops.append(asyncio.get_running_loop())
        asyncio.get_running_loop().create_task(linger())
        await asyncio.sleep(0)

    async def linger():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    execute(note)
    execute(note)
    assert loops[0] is loops[1]
    assert not loops[0].is_closed()
    coroutines.close_loop()
    assert loops[0].is_closed()
    assert ended == ["cancelled", "cancelled"]


def test_the_current_task_and_context_variables_are_each_asyncio_tasks_own(app, execute):
    seen = {}

    async def look(name):
        LOG.set(name)
        await asyncio.sleep(0)
        seen[name] = (LOG.get(), current_task.name)

    @app.task(name="t.inner")
    async def inner():
        await asyncio.sleep(0)
        return current_task.name, current_task.request.called_directly

    @app.task(name="t.outer")
    async def outer():
        await asyncio.gather(look("a"), look("b"))
        found = await asyncio.gather(inner(), inner())
        return [*found, current_task.name, await asyncio.to_thread(lambda: current_task.name)]

    report = execute(outer)

    assert seen == {"a": ("a", "t.outer"), "b": ("b", "t.outer")}
    assert LOG.get() == "nothing"
    nested = ["t.inner", True]
    assert document(report)["result"] == [nested, nested, "t.outer", "t.outer"]


def test_the_soft_time_limit_is_raised_at_the_await_and_can_be_handled(app, execute):
    @app.task(soft_time_limit=0.02)
    async def patient():
        try:
            await asyncio.Event().wait()
        except SoftTimeLimitExceeded:
            await asyncio.sleep(0)  # the loop goes on: there is time to clean up
            return "handled"

    assert document(execute(patient))["result"] == "handled"


def test_a_soft_time_limit_that_nobody_handles_is_a_failure(app, execute):
    @app.task
    async def patient():
        async with asyncio.timeout(30) if hasattr(asyncio, "timeout") else Nothing():
            await asyncio.gather(asyncio.Event().wait(), asyncio.sleep(30))

    found = document(execute(patient, timelimit=[None, 0.02]))

    assert found["status"] == states.FAILURE
    assert found["result"]["exc_type"] == "SoftTimeLimitExceeded"


class Nothing:
    async def __aenter__(self): ...

    async def __aexit__(self, *_): ...


def test_an_async_task_retries_by_itself_and_by_its_own_word(app, execute):
    @app.task(autoretry_for=(OSError,), retry_kwargs={"countdown": 1})
    async def flaky():
        await asyncio.sleep(0)
        raise OSError

    @app.task(bind=True)
    async def again(self):
        await asyncio.sleep(0)
        raise self.retry(countdown=1)

    assert isinstance(execute(flaky).outcome, Retried)
    assert isinstance(execute(again).outcome, Retried)


def test_an_async_task_can_ask_to_be_ignored(app, execute):
    @app.task
    async def ignored():
        raise Ignore

    assert execute(ignored).outcome == Ignored()


def test_an_async_task_that_cancels_itself_has_failed_and_the_next_one_runs(app, execute):
    @app.task
    async def suicidal(does):
        if does:
            asyncio.current_task().cancel()
        await asyncio.sleep(0)
        return "well"

    assert document(execute(suicidal, True))["status"] == states.FAILURE
    assert document(execute(suicidal, False))["result"] == "well"


def test_calling_an_async_task_returns_its_coroutine(app):
    @app.task(bind=True)
    async def name_of(self, extra):
        await asyncio.sleep(0)
        return self.name + extra + str(current_task.request.called_directly)

    async def main():
        return await name_of("!")

    assert asyncio.run(main()) == name_of.name + "!True"
    assert not current_task


def test_apply_runs_an_async_task_with_and_without_a_loop_in_this_thread(app):
    @app.task
    async def thread():
        await asyncio.sleep(0)
        return threading.get_ident()

    async def main():
        return thread.apply().get()

    assert thread.apply().get() == threading.get_ident()
    assert asyncio.run(main()) != threading.get_ident()
    coroutines.close_loop()


MORE_TASKS = """
import asyncio
from celeriac.exceptions import SoftTimeLimitExceeded

loops = set()

@app.task
async def which():
    loops.add(id(asyncio.get_running_loop()))
    await asyncio.sleep(0)
    return os.getpid(), len(loops)

@app.task(soft_time_limit=0.1)
async def patient():
    try:
        await asyncio.sleep(30)
    except SoftTimeLimitExceeded:
        return "handled"
"""


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_every_pool_runs_async_tasks_on_one_loop(tmp_path, pool):
    (tmp_path / "proj.py").write_text(TASKS + MORE_TASKS)
    url = f"sqlite:///{tmp_path}/q.db"
    client = Celery("client", broker=url, backend=url, set_as_current=False)
    with Running(tmp_path, "-P", pool, "-c", "1", "--allow-unsupported") as worker:
        worker.ready()
        found = [client.send_task("proj.which").get(timeout=20) for _ in range(3)]
        assert client.send_task("proj.patient").get(timeout=20) == "handled"
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    client.close()
    assert len({pid for pid, _ in found}) == 1
    assert [loops for _, loops in found] == [1, 1, 1]
    assert "never awaited" not in worker.text
