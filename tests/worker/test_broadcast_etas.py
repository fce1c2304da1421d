"""Etas of a broadcast: each worker keeps its copy until it is due."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import suppress

import amqp
import kombu
import pytest
from running import Running, until

from celeriac import Broadcast, Celery

AMQP = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
#: Seconds; the horizon is less, so that an ordinary queue's messages would wait in the broker.
COUNTDOWN_S, HORIZON_S = 2, 0.5
PROJECT = """
import time
from pathlib import Path
from celeriac import Broadcast, Celery

HERE = Path(__file__).parent
app = Celery("proj", broker="{url}")
app.conf.task_queues = [Broadcast("{name}")]
app.conf.worker_eta_horizon = {horizon_s}


@app.task(bind=True, ignore_result=True)
def heard(self, what):
    with (HERE / "heard").open("a") as file:
        file.write(f"{{what}} {{self.request.hostname}} {{time.time()}}\\n")
"""


@pytest.fixture(params=["redis", "rabbitmq", "sqlite"])
def url(request, tmp_path):
    if request.param == "redis":
        return request.getfixturevalue("redis_url")
    return AMQP if request.param == "rabbitmq" else f"sqlite:///{tmp_path}/q.db"


@pytest.mark.timeout(180)
def test_a_broadcast_with_a_far_eta_is_executed_once_by_each_worker_and_not_before(tmp_path, url):
    name = f"news-{uuid.uuid4().hex[:8]}"
    (tmp_path / "proj.py").write_text(PROJECT.format(url=url, name=name, horizon_s=HORIZON_S))
    (tmp_path / "heard").touch()

    def heard(what):
        lines = (tmp_path / "heard").read_text().splitlines()
        return [line.split()[1:] for line in lines if line.startswith(f"{what} ")]

    client = Celery("client", broker=url, set_as_current=False)

    def send(what, **options):
        client.send_task("proj.heard", (what,), queue=Broadcast(name), **options)

    workers = [Running(tmp_path, "-P", "solo", "-Q", name, "-n", f"{n}@here") for n in "ab"]
    with workers[0], workers[1]:
        for worker in workers:
            worker.ready()
        due_s = time.time() + COUNTDOWN_S
        send("late", countdown=COUNTDOWN_S)
        send("now")
        until(lambda: len(heard("now")) == 2)
        until(lambda: len(heard("late")) == 2)
        # What comes twice would come before this.
        send("last")
        until(lambda: len(heard("last")) == 2)
        assert sorted(host for host, _ in heard("late")) == ["a@here", "b@here"]
        assert min(float(at_s) for _, at_s in heard("late")) >= due_s
    client.close()
    if url == AMQP:
        with suppress(amqp.exceptions.NotFound), kombu.Connection(AMQP) as connection:
            connection.default_channel.exchange_delete(name)
