"""Producers in programs whose sockets gevent or eventlet has patched, each in its own process."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "python"
pytestmark = pytest.mark.timeout(90)

HUBS = {
    "gevent": """
        from gevent import monkey
        monkey.patch_all()
        import gevent
        spawn, pause = gevent.spawn, gevent.sleep
        def finish(greenlet):
            return greenlet.get()
    """,
    "eventlet": """
        import warnings
        warnings.simplefilter("ignore")
        import eventlet
        eventlet.monkey_patch()
        spawn, pause = eventlet.spawn, eventlet.sleep
        def finish(greenlet):
            return greenlet.wait()
    """,
}

COMMON = """
import os, sys, time
from celeriac import Celery, green
app = Celery("t", broker=sys.argv[1], backend=sys.argv[2])
assert isinstance(app.backend.native, green._Cooperative)

@app.task
def add(x, y):
    return x + y

def progress_beside(work):
    "Runs work in a greenlet, and counts what another one does meanwhile."
    greenlet = spawn(work)
    steps = 0
    while not getattr(greenlet, "dead", False):
        pause(0.01)
        steps += 1
    return finish(greenlet), steps
"""


@pytest.fixture(params=sorted(HUBS))
def hub(request):
    return request.param


def run(hub, program, *urls):
    text = textwrap.dedent(HUBS[hub]) + COMMON + textwrap.dedent(program)
    finished = subprocess.run(
        [sys.executable, "-c", text, *urls],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture
def embedded(tmp_path):
    return (f"sqlite:///{tmp_path}/q.db",) * 2


def test_a_greenlet_that_waits_for_a_result_lets_others_run(hub, embedded):
    program = """
        from celeriac.exceptions import TimeoutError
        def wait():
            try:
                add.delay(1, 2).get(timeout=1.0)
            except TimeoutError:
                return "nobody answered"
        answer, steps = progress_beside(wait)
        print(answer, steps > 20)
    """
    assert run(hub, program, *embedded) == "nobody answered True\n"


def test_a_greenlet_that_waits_for_an_unreachable_broker_lets_others_run(hub, tmp_path):
    program = """
        import socket
        from celeriac.exceptions import OperationalError
        def publish():
            try:
                add.apply_async((1, 2), retry=False)
            except OperationalError:
                return "unreachable"
        answer, steps = progress_beside(publish)
        print(answer, steps > 20)
    """
    with silent_server() as port:
        url = f"redis://127.0.0.1:{port}/0"
        assert run(hub, program, url, f"sqlite:///{tmp_path}/r.db") == "unreachable True\n"


def silent_server():
    """Accepts connections, and never says a word."""
    import contextlib
    import socket

    @contextlib.contextmanager
    def listening():
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield server.getsockname()[1]

    return listening()


def test_many_greenlets_wait_while_others_publish_what_they_wait_for(hub, embedded):
    program = """
        from celeriac import states
        COUNT = 100
        results = [add.delay(n, 1) for n in range(COUNT)]
        waiting = [spawn(result.get, timeout=30) for result in results]
        pause(0.3)
        for number, result in enumerate(results):
            app.backend.store_result(result.id, number + 1, states.SUCCESS)
        print(sum(finish(one) for one in waiting) == sum(range(1, COUNT + 1)))
    """
    assert run(hub, program, *embedded) == "True\n"


def test_a_publisher_window_and_a_real_broker_work_under_the_hub(hub):
    server = os.environ.get("CELERIAC_TEST_REDIS", "redis://127.0.0.1:6379")
    program = """
        queue = f"green-{os.getpid()}"
        def publish():
            with add.get_publisher(None) as publisher:
                for number in range(500):
                    add.apply_async((number, 1), queue=queue, publisher=publisher)
            add.apply_async((1, 1), queue=queue)
            from celeriac import broker
            depth = broker.publisher(app).depth(queue, 10)
            broker.publisher(app).purge(queue, 10)
            return depth
        print(progress_beside(publish)[0])
    """
    assert run(hub, program, f"{server}/13", f"{server}/13") == "501\n"


def test_without_a_hub_nothing_is_wrapped(embedded):
    program = """
import sys
from celeriac import Celery, _native, broker
app = Celery("t", broker=sys.argv[1], backend=sys.argv[2])
print(type(broker.publisher(app)) is _native.Publisher)
print(type(app.backend.native) is _native.ResultStore)
"""
    found = subprocess.run(
        [sys.executable, "-c", program, *embedded],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout == "True\nTrue\n", found.stderr
