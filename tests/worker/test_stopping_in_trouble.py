"""Workers that are asked to stop while their connection is away, or while messages come in."""

import os
import signal
import time
import uuid
from urllib.parse import urlsplit

import kombu
import pytest
from line import Line
from running import Running, until

from celeriac import Celery, broker

pytestmark = pytest.mark.timeout(180)
PORTS = {"redis": 6379, "amqp": 5672}
#: What clusters give before they kill.
GRACE_S = 30
GET_S = 20
#: So long an answer is under way.
DELAY_S = 0.15
#: `make faults` tries everything, which takes minutes of waiting.
IS_LONG = int(os.environ.get("CELERIAC_TEST_FAULTS", "0")) >= 20
BURST = 60

PROJECT = """
import time
from pathlib import Path
from celeriac import Celery

HERE = Path(__file__).parent
app = Celery("proj", broker={broker!r})
app.conf.task_default_queue = {queue!r}
done = (HERE / "done").open("a", buffering=1)

@app.task(ignore_result=True)
def note(name):
    done.write(name + "\\n")

@app.task(ignore_result=True, acks_late=True)
def hold(name):
    (HERE / "begun").touch()
    while not (HERE / "release").exists():
        time.sleep(0.005)
    done.write(name + "\\n")
"""


class Place:
    """A queue of a server, straight and through a line that can go wrong."""

    def __init__(self, url, folder):
        parts = urlsplit(url)
        self.url, self.queue = url, f"stop-{uuid.uuid4().hex[:8]}"
        self.line = Line(parts.port or PORTS[parts.scheme])
        userinfo, at, _ = parts.netloc.rpartition("@")
        through = parts._replace(netloc=f"{userinfo}{at}127.0.0.1:{self.line.port}").geturl()
        (folder / "proj.py").write_text(PROJECT.format(broker=through, queue=self.queue))
        (folder / "done").touch()
        self.done = folder / "done"
        self.client = Celery("client", broker=url, set_as_current=False)
        self.client.conf.task_default_queue = self.queue

    def send(self, task, names):
        with self.client.publisher() as publisher:
            for name in names:
                self.client.send_task(f"proj.{task}", (name,), publisher=publisher)

    def left(self):
        return broker.publisher(self.client).depth(self.queue, GET_S)

    def close(self):
        self.line.close()
        self.client.close()
        with kombu.Connection(self.url) as connection, connection.channel() as channel:
            channel.queue_delete(self.queue)
            channel.exchange_delete(self.queue)


@pytest.fixture(params=["redis", "rabbitmq"])
def place(request, tmp_path):
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    else:
        url = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
    made = Place(url, tmp_path)
    yield made
    made.close()


def loses_its_connection(line, trouble):
    if trouble == "refused":
        line.refuse(on=True)
    else:
        line.silence(on=True)


@pytest.mark.parametrize("trouble", ["refused", "silent"] if IS_LONG else ["refused"])
@pytest.mark.parametrize("pool", ["prefork", "threads"] if IS_LONG else ["prefork"])
def test_sigterm_while_it_reconnects_ends_a_worker_within_the_grace_of_a_cluster(
    tmp_path, place, pool, trouble
):
    with Running(tmp_path, "-P", pool, "-c", "2") as worker:
        worker.ready()
        place.send("hold", ["held"])
        until((tmp_path / "begun").exists)
        loses_its_connection(place.line, trouble)
        worker.wait_line("to broker lost")
        worker.signal(signal.SIGTERM)
        asked_s = time.monotonic()
        worker.wait_line("Warm shutdown")
        (tmp_path / "release").touch()
        worker.process.wait(GRACE_S)
        assert time.monotonic() - asked_s < GRACE_S
    assert "Traceback" not in worker.text
    assert place.done.read_text().split() == ["held"]


STOPS = {
    "warm": ([signal.SIGTERM], []),
    "soft": ([signal.SIGQUIT], ["--", "worker.soft_shutdown_timeout=0.2"]),
    "cold": ([signal.SIGTERM, signal.SIGTERM], []),
}


@pytest.mark.parametrize("stop", STOPS)
def test_what_is_under_way_to_a_worker_that_stops_goes_back_to_its_queue(tmp_path, place, stop):
    signals, options = STOPS[stop]
    with Running(tmp_path, "-P", "prefork", "-c", "2", *options) as worker:
        worker.ready()
        place.send("note", ["first"])
        until(place.done.read_text)
        place.line.delay(DELAY_S)
        place.send("note", [f"{number}" for number in range(BURST)])
        # The worker hears of them, asks for them, and is given them: all of it takes its time.
        until(lambda: place.left() < BURST)
        for one in signals:
            worker.signal(one)
        assert worker.wait() == 0
    ran = place.done.read_text().split()
    assert len(set(ran)) == len(ran)
    assert len(ran) - 1 + place.left() == BURST
    assert place.left() > 0
