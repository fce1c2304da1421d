"""Calling from coroutines: sent, confirmed and awaited without blocking the loop."""

import asyncio
import gc
import os
import socket
import sys
import threading
import time
import uuid
from functools import partial

import amqp
import pytest

from celeriac import Celery, aio, group, signals, states
from celeriac.app.context import Context
from celeriac.app.publishing import PublishError
from celeriac.exceptions import ChordError, OperationalError, TimeoutError  # noqa: A004 - Celery's name

GET_S = 20
AMQP = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
#: What one callback of the loop may cost at most of this thread's own time.
BUSY_S = 0.01
MANY_TICKS = 20
PLACES = ["memory", "sqlite", "redis", "rabbitmq", "rpc", "redis on uvloop", "rpc on uvloop"]
if sys.platform == "win32":
    PLACES = [place for place in PLACES if "uvloop" not in place]


@pytest.fixture(params=PLACES)
def place(request):
    return request.param


@pytest.fixture
def run(place):
    """Run a coroutine to its end on a new loop of one of the two kinds."""
    if "uvloop" in place:
        import uvloop

        return partial(run_on, uvloop.new_event_loop)
    return asyncio.run


def run_on(new_loop, main):
    loop = new_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.fixture
def app(request, place, tmp_path):
    kind = place.partition(" ")[0]
    queue = f"aio-{uuid.uuid4().hex[:8]}"
    redis = request.getfixturevalue("redis_url") if kind in {"redis", "rabbitmq"} else ""
    broker, backend = {
        "memory": (f"memory://{queue}", f"memory://{queue}"),
        "sqlite": (f"sqlite:///{tmp_path}/q.db", f"sqlite:///{tmp_path}/q.db"),
        "redis": (redis, redis),
        "rabbitmq": (AMQP, redis),
        "rpc": (AMQP, "rpc://"),
    }[kind]
    made = Celery("t", broker=broker, backend=backend, set_as_current=False)
    made.conf.task_default_queue = queue
    made.asked_by = made.thread_oid
    yield made
    made.close()
    if broker == AMQP:
        delete(queue)


@pytest.fixture
def add(app):
    @app.task(name="t.add")
    def add(x, y):
        return x + y

    return add


def delete(queue):
    """Delete a queue of RabbitMQ and the exchange that it was declared with."""
    userinfo, _, rest = AMQP.removeprefix("amqp://").rpartition("@")
    user, _, password = userinfo.partition(":")
    host, _, vhost = rest.partition("/")
    with amqp.Connection(host, user, password, virtual_host=vhost) as connection:
        channel = connection.channel()
        channel.queue_delete(queue)
        channel.exchange_delete(queue)


def store(app, result, value, state=states.SUCCESS, oid=None):
    """Do as a worker; `oid` is the queue of the thread that called, the main one by default."""
    request = Context(id=result.id, correlation_id=result.id, reply_to=oid or app.asked_by)
    app.backend.store_result(result.id, value, state, request=request)


def queued(app):
    channel = app.connection_for_write().channel()
    return channel.queue_declare(app.conf.task_default_queue).message_count


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Watched:
    """What the callbacks of this thread's loop cost: time that others use does not count.

    Attributes:
        busiest_s: The most that one has taken of the thread's own time.
        ticks: How often a coroutine that sleeps for a millisecond got its turn meanwhile.
    """

    async def __aenter__(self):
        self.busiest_s, self.ticks = 0.0, 0
        self.goes_on = asyncio.Event()
        self._run = run = asyncio.Handle._run
        thread = threading.get_ident()

        def watched(handle):
            if threading.get_ident() != thread:
                return run(handle)
            before_s = time.thread_time()
            try:
                return run(handle)
            finally:
                self.busiest_s = max(self.busiest_s, time.thread_time() - before_s)

        gc.collect()
        gc.disable()  # the garbage of a whole test run is not what is measured
        asyncio.Handle._run = watched
        self._task = asyncio.ensure_future(self._tick())
        return self

    async def _tick(self):
        while True:
            await asyncio.sleep(0.001)
            self.ticks += 1
            if self.ticks == MANY_TICKS:
                self.goes_on.set()

    async def __aexit__(self, *_):
        self._task.cancel()
        asyncio.Handle._run = self._run
        gc.enable()


def test_a_sent_task_is_in_the_queue_and_its_result_is_awaited(app, add, run):
    async def main():
        results = [await add.adelay(1, 2), await add.aapply_async((1, 2), countdown=0)]
        results.append(await app.asend_task("t.add", (1, 2)))
        results.append(await add.s(1, 2).aapply_async())
        for number, result in enumerate(results):
            threading.Timer(0.02, store, (app, result, number)).start()
        return [await result.aget(timeout=GET_S) for result in results], aio.door().waiting

    before = queued(app)
    assert run(main()) == ([0, 1, 2, 3], 0)
    assert queued(app) - before == 4


def test_on_message_sees_every_document_those_before_the_wait_included(app, add, run):
    async def main():
        result = await add.adelay(1, 2)
        seen = []
        for state, value in (("STEP", {"done": 1}), ("STEP", {"done": 2}), ("SUCCESS", 3)):
            await asyncio.to_thread(store, app, result, value, state)
        assert await result.aget(GET_S, on_message=lambda body: seen.append(body["result"])) == 3
        return seen

    assert run(main()) == [{"done": 1}, {"done": 2}, 3]


def test_a_result_that_is_known_only_by_its_id_is_awaited(app, add, run):
    async def main():
        sent = await add.adelay(1, 2)
        before = asyncio.ensure_future(add.AsyncResult(sent.id).aget(GET_S))
        await asyncio.sleep(0.01)
        await asyncio.to_thread(store, app, sent, 3)
        return await before, await add.AsyncResult(sent.id).aget(GET_S)

    assert run(main()) == (3, 3)


def test_the_tasks_exception_is_raised_or_returned(app, add, run):
    async def main():
        result = await add.adelay(1, 2)
        await asyncio.to_thread(store, app, result, KeyError("k"), states.FAILURE)
        assert isinstance(await result.aget(GET_S, propagate=False), KeyError)
        with pytest.raises(KeyError):
            await result.aget(GET_S)

    run(main())


def test_the_failure_of_an_earlier_step_is_raised_unless_it_is_not_asked_for(app, add, run):
    async def main():
        first, last = await add.adelay(1, 2), await add.adelay(3, 4)
        last.parent = first
        await asyncio.to_thread(store, app, first, KeyError("k"), states.FAILURE)
        with pytest.raises(KeyError):
            await first.aget(GET_S)
        with pytest.raises(KeyError):
            await last.aget(GET_S)
        await asyncio.to_thread(store, app, last, 3)
        return await last.aget(GET_S, follow_parents=False)

    assert run(main()) == 3


def test_a_failed_body_of_a_chord_raises_what_a_member_raised(app, add, run):
    async def main():
        member, body = await add.adelay(1, 2), await add.adelay(3, 4)
        body.parent = app.GroupResult("header", [member])
        waiting = asyncio.ensure_future(body.aget(GET_S))
        await asyncio.to_thread(store, app, member, KeyError("k"), states.FAILURE)
        with pytest.raises(KeyError):
            await member.aget(GET_S)
        await asyncio.to_thread(store, app, body, ChordError("a member"), states.FAILURE)
        with pytest.raises(KeyError):
            await waiting
        with pytest.raises(ChordError):
            await body.aget(GET_S, follow_parents=False)

    run(main())


def test_a_timeout_and_a_cancellation_leave_nothing_behind_and_the_handle_usable(app, add, run):
    async def main():
        result = await add.adelay(1, 2)
        with pytest.raises(TimeoutError):
            await result.aget(timeout=0.02)
        waiting = asyncio.ensure_future(result.aget())
        await asyncio.sleep(0.02)
        assert aio.door().waiting == 1
        waiting.cancel()
        await asyncio.wait([waiting])
        assert aio.door().waiting == 0
        await asyncio.to_thread(store, app, result, 3)
        return await result.aget(GET_S)

    assert run(main()) == 3


def test_many_may_await_one_handle(app, add, run):
    async def main():
        result = await add.adelay(1, 2)
        waiting = [asyncio.ensure_future(result.aget(GET_S)) for _ in range(5)]
        await asyncio.sleep(0.01)
        await asyncio.to_thread(store, app, result, 3)
        return await asyncio.gather(*waiting)

    assert run(main()) == [3] * 5


def test_a_group_is_sent_and_gone_through_in_the_order_of_its_results(app, add, run):
    async def main():
        result = await group(add.s(n, 1) for n in range(3)).aapply_async()
        threads = [
            threading.Timer(0.1 * (3 - place), store, (app, member, place))
            for place, member in enumerate(result)
        ]
        for thread in threads:
            thread.start()
        pairs = [pair async for pair in result]
        assert [value for _, value in pairs] == [2, 1, 0]
        assert [task_id for task_id, _ in pairs] == [member.id for member in reversed(result)]
        return await result.aget(GET_S)

    assert run(main()) == [0, 1, 2]


def test_a_publisher_confirms_all_when_it_is_left(app, add, run):
    async def main():
        async with app.apublisher(window=7) as publisher:
            for number in range(100):
                await add.aapply_async((number, 1), publisher=publisher)
                assert publisher.pending <= 7
        return publisher.pending

    before = queued(app)
    assert run(main()) == 0
    assert queued(app) - before == 100


def test_a_call_that_is_awaited_goes_where_its_connection_producer_or_router_leads(app, add, run):
    """All three lead to a queue that `app.conf` does not name."""
    other = f"{app.conf.task_default_queue}-other"
    elsewhere = Celery("t", broker=app.conf.broker_url, set_as_current=False)
    elsewhere.conf.task_default_queue = other
    nowhere = Celery("t", broker=f"redis://127.0.0.1:{closed_port()}/0", set_as_current=False)
    connection = app.connection_for_write()

    async def main():
        given = {"ignore_result": True, "queue": other}
        await nowhere.asend_task("t.add", (1, 1), connection=connection, **given)
        await nowhere.asend_task("t.add", (1, 1), producer=connection.Producer(), **given)
        async with nowhere.apublisher(connection=connection) as publisher:
            await nowhere.asend_task("t.add", (1, 1), publisher=publisher, **given)
        await add.aapply_async((1, 1), router=elsewhere.amqp.router)

    run(main())
    assert queued(elsewhere) == 4
    for made in (elsewhere, nowhere):
        made.close()
    if app.conf.broker_url == AMQP:
        delete(other)


def test_a_publisher_of_the_other_kind_is_refused_before_anything_is_sent(app, add, run):
    async def main():
        with pytest.raises(TypeError, match=r"must be one of app\.apublisher"):
            await add.aapply_async((1, 1), publisher=app.publisher())
        async with app.apublisher() as awaited:
            with pytest.raises(TypeError, match=r"must be one of app\.publisher"):
                add.apply_async((1, 1), publisher=awaited)
            with pytest.raises(TypeError, match=r"must be one of app\.publisher"):
                await group([add.s(1, 1)]).aapply_async(publisher=awaited)
        with pytest.raises(TypeError, match="connection must be one of"):
            await add.aapply_async((1, 1), connection="redis://")

    run(main())
    assert queued(app) == 0


def test_what_the_policy_names_is_tried_again_and_told_in_coroutines_too(app, run):
    tries, told = [], []

    class Unhappy:
        is_awaited = True

        async def publish(self, *_):
            tries.append(1)
            raise ZeroDivisionError

    policy = {
        "max_retries": 2,
        "interval_start": 0,
        "interval_step": 0,
        "retry_errors": ZeroDivisionError,
        "errback": lambda exc, wait_s: told.append((type(exc), wait_s)),
    }

    async def main():
        with pytest.raises(ZeroDivisionError):
            await app.asend_task("t.add", publisher=Unhappy(), retry_policy=policy)

    # `publish_parts` is how a window is known.
    Unhappy.publish_parts = Unhappy.publish
    run(main())
    assert len(tries) == 3
    assert told == [(ZeroDivisionError, 0.0)] * 2


def test_a_publisher_left_by_cancellation_accounts_for_what_was_sent(app, add, run):
    async def main():
        sent = []

        async def send():
            async with app.apublisher(window=5) as publisher:
                try:
                    while True:
                        sent.append(await add.aapply_async((1, 1), publisher=publisher))
                        if len(sent) == 20:
                            asyncio.current_task().cancel()
                finally:
                    assert publisher.pending <= 5

        with pytest.raises(asyncio.CancelledError):
            await send()
        return len(sent)

    before = queued(app)
    sent = run(main())
    # The call that the cancellation interrupts may or may not have been handed over.
    assert queued(app) - before in {sent, sent + 1}


def test_signals_of_a_publish_are_sent_for_coroutines_too(app, add, run):
    heard = []

    def before(headers, **_):
        heard.append(("before", headers["id"]))

    def after(headers, **_):
        heard.append(("after", headers["id"]))

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        result = run(add.aapply_async((1, 2)))
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)
    assert heard == [("before", result.id), ("after", result.id)]


def test_one_loop_after_another_and_one_in_each_thread_work(app, add, run):
    async def main():
        result = await add.adelay(1, 2)
        oid = app.thread_oid
        threading.Timer(0.01, store, (app, result, 3, states.SUCCESS, oid)).start()
        return await result.aget(GET_S)

    assert [run(main()) for _ in range(3)] == [3, 3, 3]
    found = []
    threads = [threading.Thread(target=lambda: found.append(run(main()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GET_S)
    assert found == [3] * 4
    gc.collect()
    assert not list(aio._doors)


@pytest.mark.parametrize("place", ["memory", "redis", "rpc"])
def test_a_loop_that_watches_no_descriptors_is_woken_by_a_thread(app, add):
    class Proactor(asyncio.SelectorEventLoop):
        def add_reader(self, fd, callback, *args):
            if getattr(callback, "__self__", None).__class__ is aio.Door:
                raise NotImplementedError
            return super().add_reader(fd, callback, *args)

    async def main():
        result = await add.adelay(1, 2)
        threading.Timer(0.02, store, (app, result, 3)).start()
        return await result.aget(GET_S)

    loop = Proactor()
    try:
        assert loop.run_until_complete(main()) == 3
    finally:
        loop.close()


@pytest.mark.parametrize("place", ["redis", "rabbitmq", "rpc", "sqlite", "memory"])
def test_the_loop_goes_on_while_a_thousand_are_sent_and_awaited(app):
    async def main():
        # What is imported and connected once is not of each call.
        warm = await app.asend_task("t.add", (1, 2))
        await asyncio.to_thread(store, app, warm, 3)
        await warm.aget(GET_S)
        async with Watched() as watched:
            for _ in range(20):
                calls = [app.asend_task("t.add", (1, 2)) for _ in range(50)]
                results = await asyncio.gather(*calls)
            waiting = [asyncio.ensure_future(result.aget(GET_S)) for result in results]
            threading.Thread(target=lambda: [store(app, result, 3) for result in results]).start()
            assert await asyncio.gather(*waiting) == [3] * 50
        return watched

    watched = asyncio.run(main())
    assert watched.busiest_s < BUSY_S
    assert watched.goes_on.is_set()


class Silent:
    """A server that takes connections and never answers."""

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        return self._listener.getsockname()[1]

    def __exit__(self, *_):
        self._listener.close()


@pytest.mark.parametrize("scheme", ["redis://127.0.0.1:{}/0", "amqp://guest@127.0.0.1:{}//"])
def test_a_broker_that_never_answers_blocks_no_loop(scheme):
    with Silent() as port:
        app = Celery("t", broker=scheme.format(port), backend="rpc://", set_as_current=False)
        if "redis" in scheme:
            app.conf.result_backend = scheme.format(port)

        async def main():
            async with Watched() as watched:
                sending = asyncio.ensure_future(app.asend_task("t.add", retry=False))
                reading = asyncio.ensure_future(app.AsyncResult("some-id").aget())
                await watched.goes_on.wait()
                assert not sending.done()
                assert not reading.done()
                for task in (sending, reading):
                    task.cancel()
                await asyncio.wait([sending, reading])
            return watched.busiest_s, aio.door().waiting

        busiest_s, waiting = asyncio.run(main())
        app.close()
    assert busiest_s < BUSY_S
    assert waiting == 0


@pytest.mark.parametrize("scheme", ["redis://127.0.0.1:{}/0", "amqp://guest@127.0.0.1:{}//"])
def test_a_broker_that_is_away_blocks_no_loop_and_is_an_error_after_the_policy(scheme):
    app = Celery("t", broker=scheme.format(closed_port()), set_as_current=False)
    policy = {"max_retries": 2, "interval_start": 0.05, "interval_step": 0.05}

    async def main():
        async with Watched() as watched:
            with pytest.raises(OperationalError):
                await app.asend_task("t.add", retry_policy=policy, ignore_result=True)
        return watched

    watched = asyncio.run(main())
    assert watched.busiest_s < BUSY_S
    assert watched.goes_on.is_set()
    app.close()


def test_a_publisher_whose_broker_is_away_names_each_task_once():
    app = Celery("t", broker=f"redis://127.0.0.1:{closed_port()}/0", set_as_current=False)
    ids = []

    async def main():
        async with app.apublisher(window=10) as publisher:
            for _ in range(5):
                sent = await app.asend_task("t.add", publisher=publisher)
                ids.append(sent.id)

    with pytest.raises(PublishError) as caught:
        asyncio.run(main())
    assert sorted(caught.value.failures) == sorted(ids)
    app.close()
