"""Workers whose connection is lost, again and again, in the middle of their work."""

import os
import signal
import uuid
from collections import Counter

import kombu
import pytest
from proxy import Proxy
from running import Running, until, until_all

from celeriac import Celery, broker

pytestmark = pytest.mark.timeout(240)
TASKS = 2_000
ETAS = 200
CUTS = 4
KIND = os.environ.get("CELERIAC_TEST_QUEUE_TYPE", "classic")
GET_S = 20

PROJECT = """
from pathlib import Path
from celeriac import Celery

HERE = Path(__file__).parent
app = Celery("proj", broker={broker!r})
app.conf.task_default_queue = {queue!r}
app.conf.task_default_queue_type = {kind!r}
done = (HERE / "done").open("a", buffering=1)

@app.task(ignore_result=True)
def note(name):
    done.write(name + "\\n")
"""


@pytest.fixture(params=["redis", "rabbitmq"])
def server(request):
    """URL of a server, and of the same one through a proxy that can be cut."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    else:
        url = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
    proxy = Proxy(url)
    yield url, proxy.url, proxy
    proxy.close()


def remove(url, queue):
    with kombu.Connection(url) as connection, connection.channel() as channel:
        channel.queue_delete(queue)
        channel.exchange_delete(queue)


def fill(note):
    with note.get_publisher() as publisher:
        for number in range(ETAS):
            options = {"countdown": 6 + number / 50, "publisher": publisher}
            note.apply_async((f"eta{number}",), **options)
        for number in range(TASKS):
            note.apply_async((f"{number}",), publisher=publisher)


@pytest.mark.parametrize(("pool", "multiplier"), [("prefork", 1), ("solo", 4)])
def test_a_worker_goes_on_after_each_cut_and_loses_nothing(tmp_path, server, pool, multiplier):
    url, through_the_proxy, proxy = server
    queue = f"cut-{uuid.uuid4().hex[:8]}"
    (tmp_path / "proj.py").write_text(
        PROJECT.format(broker=through_the_proxy, queue=queue, kind=KIND)
    )
    (tmp_path / "done").touch()

    def runs():
        return Counter((tmp_path / "done").read_text().split())

    def left():
        return broker.publisher(client).depth(queue, GET_S)

    client = Celery("client", broker=url, set_as_current=False)
    client.conf.update(task_default_queue=queue, task_default_queue_type=KIND)
    note = client.task(name="proj.note", ignore_result=True)(print)
    try:
        fill(note)
        options = ["-P", pool, "-c", "2", "--prefetch-multiplier", str(multiplier)]
        with Running(tmp_path, *options) as worker:
            worker.ready()
            for _ in range(CUTS):
                before = len(runs())
                until(lambda before=before: len(runs()) > before + 100)
                until(proxy.cut)
            until_all(lambda: len(runs()), TASKS + ETAS)
            until(proxy.cut)
            note.delay("idle")
            until(lambda: "idle" in runs())
            worker.signal(signal.SIGTERM)
            assert worker.wait() == 0
        assert left() == 0
    finally:
        remove(url, queue)
        client.close()
    # What runs while its connection is lost runs again: at least once is the promise. What waits
    # for its eta does not run, and each cut would make all of it run once more.
    extra = sum(count - 1 for name, count in runs().items() if name.startswith("eta"))
    assert extra < ETAS / 2, runs()
