"""Processes that end, or fork, while messages of theirs are not confirmed."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from line import Line

from celeriac import Celery, broker

SOURCE = Path(__file__).resolve().parents[2] / "python"
PORTS = {"redis": 6379, "amqp": 5672}
MESSAGES = 20
WAIT_S = 30.0
#: A process gives its publishers 5 s to send what they have.
EXIT_S = 15.0
pytestmark = pytest.mark.timeout(120)

#: Hands messages over that nobody confirms, says so, and goes on when it is told to.
PROGRAM = """
import os, sys
from celeriac import Celery

app = Celery("p", broker=sys.argv[1])
app.conf.task_default_queue = sys.argv[2]

def send(count):
    publisher = app.publisher()
    for number in range(count):
        app.send_task("t", (number,), task_id=f"{sys.argv[2]}-{number}", publisher=publisher)
    return publisher

app.send_task("t", ("first",))
print("connected", flush=True)
sys.stdin.readline()
"""
ENDS = "kept = send(20)\nprint('sent', flush=True)\n"
LEAVES = "send(20)\nprint('sent', flush=True)\n"
FORKS = """
publisher = send(20)
pid = os.fork()
if pid == 0:
    app.send_task("t", ("of the child",))
    sys.exit(0)
print("sent", flush=True)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
sys.stdin.readline()
publisher.flush(20)
print("flushed", flush=True)
"""


class Producer:
    """A program whose way to its broker can be silenced."""

    def __init__(self, url, more):
        parts = urlsplit(url)
        self.line = Line(parts.port or PORTS[parts.scheme])
        self.queue = f"exits-{uuid.uuid4().hex[:8]}"
        userinfo, at, _ = parts.netloc.rpartition("@")
        through = parts._replace(netloc=f"{userinfo}{at}127.0.0.1:{self.line.port}").geturl()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + more, through, self.queue],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )

    def hears(self, word):
        line = self.process.stdout.readline()
        assert line == f"{word}\n", line + self.process.stderr.read()

    def goes_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ends(self):
        _, errors = self.process.communicate(timeout=WAIT_S)
        return errors


@pytest.fixture(params=["redis", "rabbitmq"])
def url(request):
    if request.param == "redis":
        return request.getfixturevalue("redis_url")
    return os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")


@pytest.fixture
def begin(url):
    made = []

    def begun(more):
        made.append(Producer(url, more))
        made[0].hears("connected")
        return made[0]

    yield begun
    for producer in made:
        producer.process.kill()
        producer.process.communicate()
        producer.line.close()
        app = Celery("c", broker=url, set_as_current=False)
        broker.publisher(app).purge(producer.queue, WAIT_S)
        app.close()


def depth(url, queue):
    app = Celery("c", broker=url, set_as_current=False)
    count = broker.publisher(app).depth(queue, WAIT_S)
    app.close()
    return count


@pytest.mark.parametrize("program", [ENDS, LEAVES], ids=["kept", "left"])
def test_a_process_that_ends_says_within_its_time_what_it_could_not_send(url, begin, program):
    producer = begin(program)
    producer.line.refuse(on=True)
    producer.goes_on()
    producer.hears("sent")
    begun_s = time.monotonic()
    told = producer.ends()
    assert time.monotonic() - begun_s < EXIT_S
    assert producer.process.returncode == 0
    assert f"{MESSAGES}" in told, told
    assert f"{producer.queue}-0" in told, told
    assert "not confirmed" in told, told


def test_a_process_that_ends_while_its_connection_is_slow_sends_everything_first(url, begin):
    producer = begin(ENDS)
    producer.line.delay(0.3)
    producer.goes_on()
    told = producer.ends()
    assert "not confirmed" not in told
    assert depth(url, producer.queue) == 1 + MESSAGES


def test_a_forked_child_leaves_what_its_parent_has_not_confirmed_to_the_parent(url, begin):
    producer = begin(FORKS)
    producer.line.silence(on=True)
    producer.goes_on()
    producer.hears("sent")
    # The child's own connection is silent, too, until everything passes again.
    producer.line.silence(on=False)
    producer.hears("0")
    producer.goes_on()
    producer.hears("flushed")
    producer.ends()
    assert depth(url, producer.queue) == 1 + MESSAGES + 1
