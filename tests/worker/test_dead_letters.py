"""Tasks that kill who executes them end as dead letters, whose senders are told."""

import logging
import os
import re
import signal
import uuid

import kombu
import pytest
from messages import FakeMessage
from running import Running, until

from celeriac import Celery, broker, states
from celeriac.exceptions import ImproperlyConfigured, TimeLimitExceeded, WorkerLostError
from celeriac.worker.dispatch import Door, TurnedAway
from celeriac.worker.outcome import LostTooOften, TimedOut, WorkerLost
from celeriac.worker.plan import most_losses
from celeriac.worker.settle import AT_THE_DOOR, AckPolicy, Settlement, Verdict, decide
from celeriac.worker.turned import announce, exception_for

pytestmark = pytest.mark.timeout(120)
GET_S = 30
AMQP = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
KILLED = WorkerLost("Worker exited prematurely: signal 9 (SIGKILL) Job: 3.")

PROJECT = """
import os, signal
from pathlib import Path
from celeriac import Celery

HERE = Path(__file__).parent
app = Celery("proj", broker={url!r}, backend=f"sqlite:///{{HERE}}/r.db")
app.conf.update({conf!r})

def note(line):
    with (HERE / "runs").open("a") as file:
        file.write(line + "\\n")

@app.task(acks_late=True, reject_on_worker_lost=True)
def poison(name):
    note(name)
    os.kill(os.getpid(), signal.SIGKILL)

@app.task(acks_late=True, acks_on_failure_or_timeout=False)
def endless():
    note("endless")
    signal.pause()

@app.task(acks_late=True)
def add(x, y):
    note("add")
    return x + y

@app.task
def failed(request, exc, traceback):
    note(f"errback {{type(exc).__name__}}")
"""


class Project:
    def __init__(self, folder, url, **conf):
        (folder / "runs").touch()
        (folder / "proj.py").write_text(PROJECT.format(url=url, conf=conf))
        self.runs_file = folder / "runs"
        backend = f"sqlite:///{folder}/r.db"
        self.app = Celery("client", broker=url, backend=backend, set_as_current=False)
        self.app.conf.update(conf)
        self.publisher = broker.publisher(self.app)
        self.queue = self.app.conf.task_default_queue

    def send(self, name, *args, **options):
        return self.app.send_task(f"proj.{name}", args, **options)

    def runs(self):
        return self.runs_file.read_text().splitlines()

    def kept(self):
        return self.publisher.list_aside(self.queue, 100, GET_S)

    def depth(self):
        return self.publisher.depth(self.queue, GET_S)


@pytest.fixture
def make(tmp_path):
    made = []

    def make(url=f"sqlite:///{tmp_path}/q.db", **conf):
        made.append(Project(tmp_path, url, **conf))
        return made[-1]

    yield make
    for one in made:
        one.app.close()


@pytest.fixture
def amqp_queue():
    name = f"dead-{uuid.uuid4().hex[:8]}"
    yield name
    with kombu.Connection(AMQP) as connection, connection.channel() as channel:
        channel.queue_delete(name)
        channel.queue_delete(f"celeriac.aside.{name}")
        channel.exchange_delete(name)


@pytest.fixture(params=["sqlite", "redis", "rabbitmq"])
def everywhere(request, make):
    """A project on each broker; what it left there is deleted."""
    if request.param == "sqlite":
        return make(worker_redelivery_limit=2)
    if request.param == "redis":
        return make(request.getfixturevalue("redis_url"), worker_redelivery_limit=2)
    queue = request.getfixturevalue("amqp_queue")
    return make(AMQP, worker_redelivery_limit=2, task_default_queue=queue)


def test_a_task_that_kills_its_child_ends_as_a_dead_letter_and_fails(tmp_path, everywhere):
    result = everywhere.send("poison", "p", link_error=everywhere.app.signature("proj.failed"))
    with Running(tmp_path, "-c", "1") as worker:
        worker.ready()
        with pytest.raises(WorkerLostError, match="died 3 times, and worker_redelivery_limit is 2"):
            result.get(timeout=GET_S)
        until(lambda: "errback WorkerLostError" in everywhere.runs())
        # The worker goes on.
        assert everywhere.send("add", 1, 2).get(timeout=GET_S) == 3
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert everywhere.runs().count("p") == 3
    (told,) = [line for line in worker.lines if "is a dead letter" in line]
    assert ": ERROR/" in told
    assert "celeriac dead replay" in told
    (kept,) = everywhere.kept()
    assert (kept.task, kept.id, kept.losses) == ("proj.poison", result.id, 3)
    assert kept.worker.startswith("celery@")
    assert "signal 9 (SIGKILL)" in kept.reason
    assert everywhere.depth() == 0


def test_a_task_that_kills_the_whole_worker_ends_as_a_dead_letter(tmp_path, make):
    made = make(worker_redelivery_limit=1)
    result = made.send("poison", "p")
    for count in (1, 2):
        with Running(tmp_path, "-P", "solo") as worker:
            assert worker.wait() == -signal.SIGKILL
        assert made.runs() == ["p"] * count
    with Running(tmp_path, "-P", "solo") as worker:
        worker.ready()
        with pytest.raises(WorkerLostError, match="died 2 times"):
            result.get(timeout=GET_S)
        until(lambda: [kept.losses for kept in made.kept()] == [2])
    assert made.runs() == ["p", "p"]


def test_a_task_that_always_runs_out_of_time_ends_as_a_dead_letter(tmp_path, make):
    made = make(worker_redelivery_limit=1)
    result = made.send("endless", time_limit=0.2)
    with Running(tmp_path, "-c", "1") as worker:
        worker.ready()
        worker.wait_line("is a dead letter")
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=GET_S)
        until(lambda: [kept.losses for kept in made.kept()] == [2])
    assert made.runs() == ["endless", "endless"]


def test_a_replayed_dead_letter_runs_as_often_again(tmp_path, make):
    made = make(worker_redelivery_limit=0)
    made.send("poison", "p")
    with Running(tmp_path, "-c", "1") as worker:
        worker.wait_line("is a dead letter")
        until(lambda: len(made.kept()) == 1)
        assert made.publisher.restore_aside(made.queue, [made.kept()[0].tag], GET_S) == 1
        worker.wait_line("is a dead letter", count=2)
    assert made.runs() == ["p", "p"]


def test_an_unknown_task_is_kept_and_runs_when_a_worker_knows_it(tmp_path, make):
    made = make()
    result = made.send("later")
    with Running(tmp_path, "-P", "solo") as worker:
        worker.wait_line("Received unregistered task")
        until(lambda: len(made.kept()) == 1)
    with (tmp_path / "proj.py").open("a") as file:
        file.write('\n@app.task\ndef later():\n    return "now"\n')
    with Running(tmp_path, "-P", "solo") as worker:
        worker.ready()
        assert made.publisher.restore_aside(made.queue, [made.kept()[0].tag], GET_S) == 1
        # A handle keeps what it has seen.
        until(lambda: made.app.AsyncResult(result.id).state == states.SUCCESS)
        assert made.app.AsyncResult(result.id).get(timeout=GET_S) == "now"


# Without a worker ----------------------------------------------------------------------------


@pytest.fixture
def door(app):
    app.task(name="t.add")(print)
    app.conf.worker_redelivery_limit = 3
    app.finalize()
    return Door(app, "w1@here", None, lambda: 0)


def test_the_door_turns_away_what_was_lost_more_often_than_the_limit(door):
    admitted = door.admit(FakeMessage(losses=4, redelivered=True))
    assert isinstance(admitted, TurnedAway)
    assert admitted.outcome == LostTooOften(4, 3)
    assert admitted.request is not None


def test_the_door_admits_what_was_lost_as_often_as_the_limit(door):
    assert not isinstance(door.admit(FakeMessage(losses=3, redelivered=True)), TurnedAway)


def test_a_limit_below_0_is_refused(app):
    app.conf.worker_redelivery_limit = -1
    with pytest.raises(ImproperlyConfigured, match="None for no limit"):
        most_losses(app.conf)


def test_without_a_limit_nothing_is_lost_too_often(app):
    app.conf.worker_redelivery_limit = None
    assert most_losses(app.conf) > 2**62


def test_a_loss_in_this_worker_is_counted_when_the_letter_is_kept():
    again = AckPolicy(acks_late=True, reject_on_worker_lost=True)
    here, before = LostTooOften(4, 3, KILLED), LostTooOften(4, 3)
    assert decide(here, again) == Settlement(Verdict.ASIDE_LOST, states.FAILURE, here.reason)
    assert decide(before, AT_THE_DOOR) == Settlement(Verdict.ASIDE, states.FAILURE, before.reason)


@pytest.mark.parametrize(
    ("outcome", "kind", "words"),
    [
        (LostTooOften(1, 0, KILLED), WorkerLostError, "died once, and .* is 0 .*SIGKILL"),
        (LostTooOften(4, 3), WorkerLostError, r"died 4 times, and worker_redelivery_limit is 3\.$"),
        (LostTooOften(4, 3, TimedOut(2.0)), TimeLimitExceeded, "2"),
    ],
)
def test_the_sender_is_told_what_killed_who_held_its_task(outcome, kind, words):
    exc = exception_for(outcome, "t.add")
    assert isinstance(exc, kind)
    assert re.search(words, str(exc))


def test_one_line_of_the_log_says_what_to_do(caplog):
    announce(LostTooOften(4, 3, KILLED), FakeMessage(queue="mail"), "worker")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    message = record.getMessage()
    assert "celeriac dead list -Q mail" in message
    assert "\n" not in message
