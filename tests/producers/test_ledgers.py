"""What is published and not confirmed yet: full windows, ends of processes, forks; each broker."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import kombu
import pytest
import redis as redis_client
from proxy import Proxy
from queue_file import ask

from celeriac import _native
from celeriac.exceptions import OperationalError

pytestmark = pytest.mark.timeout(120)
SOURCE = Path(__file__).resolve().parents[2] / "python"
REDIS = os.environ.get("CELERIAC_TEST_REDIS", "redis://127.0.0.1:6379") + "/12"
AMQP = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
WAIT_S = 30.0
QUEUE = {"name": "celery", "exchange": "celery", "routing_key": "celery"}
MINE = [f"mine{number}" for number in range(5)]


LOCK = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
database.execute("ROLLBACK")
"""


@contextlib.contextmanager
def locked(file):
    """A database in which nobody else writes: a process has no locks against itself."""
    with python("-c", LOCK, str(file), stdin=subprocess.PIPE) as process:
        assert process.stdout.readline() == "locked\n"
        yield
        process.communicate("\n", timeout=WAIT_S)


@pytest.fixture(params=["redis", "amqp", "sqlite"])
def deaf_url(request, tmp_path):
    """URL of a broker that takes what is sent and confirms nothing."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/q.db"
        _native.Publisher(url).declare(QUEUE, WAIT_S)
        with locked(tmp_path / "q.db"):
            yield url
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"{request.param}://127.0.0.1:{server.getsockname()[1]}/"


def test_a_full_window_lets_nothing_in_for_as_long_as_the_caller_waits(deaf_url):
    publisher = _native.Publisher(deaf_url)
    template = _native.Template(task="t", origin="o", exchange="", routing_key="celery")
    window = publisher.window(2)
    for name in ("first", "second"):
        window.publish(template, (), {}, {"task_id": name}, WAIT_S)
    began_s = time.monotonic()
    with pytest.raises(OperationalError, match="full publishing window"):
        window.publish(template, (), {}, {"task_id": "third"}, 0.3)
    assert 0.3 <= time.monotonic() - began_s < 5
    assert [task_id for task_id, *_ in window.flush(0.1)] == ["first", "second"]
    with contextlib.suppress(OperationalError):
        publisher.close(0.1)


ENDING = """
import sys
from celeriac import Celery
app = Celery("ending", broker=sys.argv[1], set_as_current=False)
publisher = app.publisher(window=64)
options = {"exchange": "x", "routing_key": "q"} if "sqlite" not in sys.argv[1] else {}
for number in range(3):
    app.send_task("t", task_id=f"mine{number}", publisher=publisher, **options)
"""


def python(*arguments, **more):
    env = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], env=env, **pipes, **more)


def test_a_process_ends_in_time_and_says_what_it_could_not_send(deaf_url):
    began_s = time.monotonic()
    with python("-c", ENDING, deaf_url) as process:
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, said
    assert time.monotonic() - began_s < 20
    assert "The process ends: 3 of 3 tasks were not confirmed" in said
    assert "mine0" in said


FORKING = """
import os, sys
from celeriac import Celery
url, queue, child_sends = sys.argv[1:]
app = Celery("forking", broker=url, set_as_current=False)
app.conf.task_default_queue = queue
def hear(word):
    print(word, flush=True)
    sys.stdin.readline()
app.send_task("t", task_id="early")
publisher = app.publisher(window=64)
hear("sent")
for number in range(5):
    app.send_task("t", task_id=f"mine{number}", publisher=publisher)
pid = os.fork()
if pid == 0:
    if child_sends:
        app.send_task("t", task_id="child")
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
hear("forked")
publisher.flush(20)
"""


class Gate:
    """A proxy in which what is open can be held up; later connections pass."""

    def __init__(self, url):
        self._open, self._always = threading.Event(), threading.Event()
        self._open.set()
        self._always.set()
        self._next = self._open
        self.proxy = Proxy(url, watch=self._watch)
        self.url = self.proxy.url

    def _watch(self):
        flows = self._next
        return lambda _data: flows.wait(WAIT_S)

    def __enter__(self):
        self._next = self._always
        self._open.clear()

    def __exit__(self, *_):
        self._open.set()

    def close(self):
        self._open.set()
        self.proxy.close()


def ids_on_redis(queue):
    with redis_client.Redis.from_url(REDIS) as client:
        items = client.lrange(queue, 0, -1)
    return [json.loads(item)["headers"]["id"] for item in items]


def ids_on_amqp(queue):
    ids = []
    with kombu.Connection(AMQP) as connection, connection.channel() as channel:
        while (found := channel.basic_get(queue)) is not None:
            ids.append(found.headers["id"])
            # Left unacked, they are back in their places when the channel closes.
    return ids


def ids_in(file):
    rows = ask(file, "SELECT headers FROM messages")
    return [json.loads(headers)["id"] for (headers,) in rows]


@pytest.fixture(params=["redis", "amqp", "sqlite"])
def held_up(request, tmp_path):
    """A URL, a queue, what holds up its publisher while it is entered, and the ids in the queue."""
    queue = f"ledger-{uuid.uuid4().hex[:8]}"
    if request.param == "sqlite":
        file = tmp_path / "q.db"
        yield f"sqlite:///{file}", queue, locked(file), lambda: ids_in(file)
        return
    url, ids = (REDIS, ids_on_redis) if request.param == "redis" else (AMQP, ids_on_amqp)
    gate = Gate(url)
    yield gate.url, queue, gate, lambda: ids(queue)
    gate.close()
    with kombu.Connection(url) as connection, connection.channel() as channel:
        channel.queue_delete(queue)


def test_a_fork_leaves_the_ledger_to_its_parent_who_sends_each_message_once(held_up):
    url, queue, gate, ids = held_up
    child_sends = "" if url.startswith("sqlite") else "yes"
    others = ["early"] if not child_sends else ["early", "child"]
    with python("-c", FORKING, url, queue, child_sends, stdin=subprocess.PIPE) as process:

        def says(word):
            line = process.stdout.readline().strip()
            assert line == word, process.communicate(timeout=WAIT_S)[1]

        says("sent")
        with gate:
            process.stdin.write("\n")
            process.stdin.flush()
            says("forked")
            if child_sends:
                assert Counter(ids()) == Counter(others), "the child's end has sent nothing of it"
        _, said = process.communicate("\n", timeout=WAIT_S)
    assert process.returncode == 0, said
    assert Counter(ids()) == Counter([*others, *MINE])
    assert "sent again" not in said
