"""Remote control between both kinds, in processes of their own, on Redis and RabbitMQ."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest

from places import delete
from processes import FOLDER, Producer, Worker, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAVOURS = ("celery", "celeriac")
COMMAND_S = 60.0


class Fleet(NamedTuple):
    """One worker of each kind, a producer of each kind, and where they meet."""

    url: str
    queue: str
    names: dict[str, str]
    workers: dict[str, Worker]
    producers: dict[str, Producer]

    def run(self, flavour: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line of one kind."""
        return subprocess.run(
            [sys.executable, "-m", flavour, "-A", "tasks", *arguments],
            env=environment(flavour, self.url, self.queue),
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def fleet(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Fleet]:
    """Both workers hear the same exchange; nobody else does on this server and database."""
    amqp = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
    url = redis_url if request.param == "redis" else f"{amqp} {redis_url}"
    queue = f"control-{uuid.uuid4().hex[:8]}"
    names = {flavour: f"{flavour}-{queue}@here" for flavour in FLAVOURS}
    workers: dict[str, Worker] = {}
    producers: dict[str, Producer] = {}
    try:
        with pytest.MonkeyPatch.context() as patch:
            # All that waits for its eta is held by a worker, where `inspect scheduled` sees it.
            patch.setenv("INTEROP_CONF", json.dumps({"worker_eta_horizon": 600}))
            for flavour in FLAVOURS:
                # A queue of its own for each: a test knows who gets a task.
                workers[flavour] = Worker(
                    flavour, url, f"{queue}-{flavour}", "solo", "-n", names[flavour]
                )
                producers[flavour] = Producer(flavour, url, queue)
        yield Fleet(url, queue, names, workers, producers)
    finally:
        for producer in producers.values():
            producer.stop()
        for worker in workers.values():
            worker.stop()


@pytest.mark.parametrize("client", FLAVOURS)
def test_ping_of_either_kind_is_answered_by_both_workers(fleet: Fleet, client: str) -> None:
    names = sorted(fleet.names.values())
    found = fleet.producers[client].ask(f"app.control.ping(destination={names!r}, timeout=5.0)")
    assert sorted(found, key=str) == sorted(({name: {"ok": "pong"}} for name in names), key=str)


@pytest.mark.parametrize(
    ("client", "worker"), [("celery", "celeriac"), ("celeriac", "celery"), ("celeriac", "celeriac")]
)
def test_inspect_ping_on_the_command_line_sees_the_worker(
    fleet: Fleet, client: str, worker: str
) -> None:
    name = fleet.names[worker]
    done = fleet.run(client, "inspect", "ping", "-d", name, "-t", "5")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line]
    assert [line.split() for line in lines] == [
        ["->", f"{name}:", "OK"],
        ["pong"],
        ["1", "node", "online."],
    ]


@pytest.mark.parametrize("client", FLAVOURS)
def test_status_lists_both_workers(fleet: Fleet, client: str) -> None:
    done = fleet.run(client, "status", "-t", "2")
    assert done.returncode == 0, done.stderr
    for name in fleet.names.values():
        assert f"{name}: OK" in done.stdout
    assert "2 nodes online." in done.stdout


@pytest.mark.parametrize("client", FLAVOURS)
def test_nobody_there_is_exit_code_69_in_the_same_words(fleet: Fleet, client: str) -> None:
    done = fleet.run(client, "inspect", "ping", "-d", "nobody@nowhere", "-t", "0.5")
    assert done.returncode == 69
    assert "No nodes replied within time constraint" in done.stderr


@pytest.mark.parametrize("client", FLAVOURS)
@pytest.mark.parametrize("worker", FLAVOURS)
def test_a_task_that_waits_for_its_eta_is_seen_and_revoked(
    fleet: Fleet, client: str, worker: str
) -> None:
    producer, name = fleet.producers[client], fleet.names[worker]
    task_id = str(uuid.uuid4())
    queue = f"{fleet.queue}-{worker}"
    producer.text(
        f"tasks.add.apply_async((1, 2), countdown=300, task_id={task_id!r}, queue={queue!r})"
    )
    asked = (
        f"[one['request']['id'] for one in "
        f"app.control.inspect([{name!r}], timeout=5.0).scheduled()[{name!r}]]"
    )
    assert _comes_true(producer, f"{task_id!r} in {asked}")
    producer.text(
        f"app.control.revoke({task_id!r}, destination=[{name!r}], reply=True, timeout=5.0)"
    )
    assert producer.ask(f"app.AsyncResult({task_id!r}).state") == "REVOKED"
    revoked = f"app.control.inspect([{name!r}], timeout=5.0).revoked()[{name!r}]"
    assert task_id in producer.ask(revoked)
    if worker == "celeriac":
        # Celery keeps it until its time has come.
        assert task_id not in producer.ask(asked)


@pytest.mark.parametrize("client", FLAVOURS)
@pytest.mark.parametrize("worker", FLAVOURS)
def test_a_task_that_was_revoked_before_it_was_sent_does_not_run(
    fleet: Fleet, client: str, worker: str
) -> None:
    producer, name = fleet.producers[client], fleet.names[worker]
    task_id = str(uuid.uuid4())
    producer.text(
        f"app.control.revoke({task_id!r}, destination=[{name!r}], reply=True, timeout=5.0)"
    )
    queue = f"{fleet.queue}-{worker}"
    kind = producer.ask(
        f"type(tasks.add.apply_async((1, 2), task_id={task_id!r}, queue={queue!r})"
        ".get(timeout=20, propagate=False)).__name__"
    )
    assert kind == "TaskRevokedError"
    fleet.workers[worker].lines.wait_for(rf"revoked task: .*{task_id}", 5.0)


@pytest.mark.parametrize("client", FLAVOURS)
@pytest.mark.parametrize(
    "command",
    ["active", "reserved", "scheduled", "registered", "stats", "active_queues", "conf", "clock"],
)
def test_what_both_workers_answer_has_the_same_shape(
    fleet: Fleet, client: str, command: str
) -> None:
    names = sorted(fleet.names.values())
    answers = fleet.producers[client].ask(f"app.control.inspect({names!r}, 5.0).{command}()")
    theirs, ours = answers[fleet.names["celery"]], answers[fleet.names["celeriac"]]
    assert type(theirs) is type(ours)
    if command == "active_queues":
        theirs, ours = theirs[0], ours[0]
    if command in {"stats", "active_queues", "clock"}:
        missing = theirs.keys() - ours.keys()
        assert not missing


@pytest.mark.parametrize("client", FLAVOURS)
@pytest.mark.parametrize("worker", FLAVOURS)
def test_a_queue_is_added_and_left_by_command(fleet: Fleet, client: str, worker: str) -> None:
    producer, name = fleet.producers[client], fleet.names[worker]
    queue = f"{fleet.queue}-added-{client}-{worker}"
    added = producer.ask(
        f"app.control.add_consumer({queue!r}, destination=[{name!r}], reply=True, timeout=10.0)"
    )
    assert added == [{name: {"ok": f"add consumer {queue}"}}]
    assert producer.ask(f"tasks.add.apply_async((2, 3), queue={queue!r}).get(timeout=20)") == 5
    left = producer.ask(
        f"app.control.cancel_consumer({queue!r}, destination=[{name!r}], reply=True, timeout=10.0)"
    )
    assert left == [{name: {"ok": f"no longer consuming from {queue}"}}]
    asked = (
        f"[one['name'] for one in app.control.inspect([{name!r}], 5.0).active_queues()[{name!r}]]"
    )
    assert queue not in producer.ask(asked)


COMMANDS = (
    ("time_limit", {"task_name": "tasks.add", "hard": 60.0, "soft": 30.0}),
    ("time_limit", {"task_name": "nosuch", "hard": 60.0}),
    ("pool_grow", {"n": 2}),
    ("pool_shrink", {"n": 1}),
    ("revoke_by_stamped_headers", {"headers": {"customer": ["a", "b"]}}),
    ("revoke_by_stamped_headers", {"headers": ["customer=c"], "terminate": True}),
    ("terminate", {"task_id": "unknown", "signal": "TERM"}),
)


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_commands_are_answered_in_the_same_words(broker: str, redis_url: str) -> None:
    amqp = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
    url = redis_url if broker == "redis" else f"{amqp} {redis_url}"
    queue = f"control-{uuid.uuid4().hex[:8]}"
    producer = Producer("celery", url, queue)
    answers = []
    try:
        for flavour in FLAVOURS:
            name = f"{flavour}-{queue}@here"
            worker = Worker(flavour, url, queue, "prefork", "-c", "2", "-n", name)
            asked = [
                producer.ask(
                    f"app.control.broadcast({command!r}, {arguments!r}, [{name!r}], reply=True, "
                    "timeout=10.0)"
                )[0][name]
                for command, arguments in COMMANDS
            ]
            worker.stop()
            answers.append(asked)
    finally:
        producer.stop()
    theirs, ours = answers
    assert ours == theirs


def test_what_is_not_there_yet_says_so(fleet: Fleet) -> None:
    name = fleet.names["celeriac"]
    done = fleet.run("celery", "control", "autoscale", "2", "1", "-d", name, "-t", "5")
    assert done.returncode == 0, done.stderr
    assert "autoscale is not there in celeriac yet" in done.stdout
    done = fleet.run("celery", "inspect", "ping", "-d", name, "-t", "5", "--json")
    assert json.loads(done.stdout.splitlines()[0]) == {name: {"ok": "pong"}}


@pytest.mark.parametrize("worker", FLAVOURS)
def test_call_and_result_on_the_command_line(fleet: Fleet, worker: str) -> None:
    queue = f"{fleet.queue}-{worker}"
    name = fleet.producers["celeriac"].ask("tasks.add.name")
    sent = fleet.run("celeriac", "call", name, "--args", "[2, 40]", "--queue", queue)
    assert sent.returncode == 0, sent.stderr
    task_id = sent.stdout.strip()
    assert re.fullmatch(r"[0-9a-f-]{36}", task_id)
    done = fleet.run("celeriac", "result", task_id)
    assert (done.returncode, done.stdout.strip()) == (0, "42"), done.stderr


@pytest.mark.parametrize("first", FLAVOURS)
def test_a_second_worker_of_one_name_works_on_rabbitmq_and_listens_when_the_first_has_ended(
    redis_url: str, first: str
) -> None:
    amqp = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
    url, queue = f"{amqp} {redis_url}", f"twins-{uuid.uuid4().hex[:8]}"
    name = f"{queue}@here"
    producer = Producer("celeriac", url, queue)
    older = Worker(first, url, f"{queue}-older", "solo", "-n", name)
    try:
        younger = Worker("celeriac", url, queue, "solo", "-n", name)
        try:
            warned = younger.lines.wait_for("RESOURCE_LOCKED", 10.0)
            assert f"If another worker is named {name}, end it" in warned
            assert producer.ask("tasks.add.delay(2, 3).get(timeout=20)") == 5
            older.stop()
            younger.lines.wait_for("remote control listens", 20.0)
            ping = f"app.control.ping(destination=[{name!r}], timeout=5.0)"
            assert producer.ask(ping) == [{name: {"ok": "pong"}}]
        finally:
            younger.stop()
    finally:
        producer.stop()
        older.kill()
        delete("rabbitmq", queue, f"{queue}-other", f"{queue}-older", f"{queue}-older-other")


def _comes_true(producer: Producer, expression: str) -> bool:
    return any(producer.ask(expression) for _ in range(20))
