"""Events: each kind's monitor sees of either kind's worker the same, on both brokers."""

from __future__ import annotations

import importlib
import threading
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from celeriac import Celery
from places import BROKERS, delete, url_of
from processes import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLAVOURS = ("celery", "celeriac")
WAIT_S = 30.0
#: What differs from run to run.
PASSING = {
    "clock", "pid", "hostname", "timestamp", "local_received", "uuid", "root_id", "parent_id",
}  # fmt: skip


class Watch:
    """A monitor of one kind: a receiver in a thread of its own, and the state it keeps."""

    def __init__(self, flavour: str, broker: str) -> None:
        package = importlib.import_module(flavour)
        self.app = package.Celery("watch", broker=broker, set_as_current=False)
        self.app.conf.event_queue_ttl = 60
        self.state = self.app.events.State()
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._listens = threading.Event()
        self._receiver: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._listens.wait(WAIT_S)

    def _run(self) -> None:
        with self.app.connection() as connection:
            self._receiver = self.app.events.Receiver(connection, handlers={"*": self._take})
            self._receiver.on_consume_ready = lambda *_, **__: self._listens.set()
            self._receiver.capture()

    def _take(self, event: dict[str, Any]) -> None:
        with self._changed:
            # The state adds to what it is given.
            self.events.append(dict(event))
            self.state.event(event)
            self._changed.notify_all()

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for events that make something true."""
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_S), self.events
            return condition()

    def of_task(self, task_id: str) -> list[dict[str, Any]]:
        """The events of a task, as they came."""
        return [event for event in self.events if event.get("uuid") == task_id]

    def of_node(self, hostname: str) -> list[dict[str, Any]]:
        """The events of a worker about itself."""
        return [
            event
            for event in self.events
            if event["hostname"] == hostname and event["type"].startswith("worker-")
        ]

    def stop(self) -> None:
        """End it."""
        self._receiver.should_stop = True
        self._thread.join(WAIT_S)


class Scene(NamedTuple):
    """A worker of each kind, a monitor of each kind, and who sends tasks."""

    names: dict[str, str]
    queues: dict[str, str]
    watches: dict[str, Watch]
    workers: dict[str, Worker]
    sender: Celery

    def send(self, worker: str, task: str, *args: Any, **options: Any) -> str:
        """Have one worker do something; returns the task's id."""
        task_id = options.pop("task_id", None) or str(uuid.uuid4())
        queue = self.queues[worker]
        self.sender.send_task(f"tasks.{task}", args, task_id=task_id, queue=queue, **options)
        return task_id


@pytest.fixture(scope="module", params=BROKERS)
def scene(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Scene]:
    url = url_of(request.param, redis_url)
    queue = f"events-{uuid.uuid4().hex[:8]}"
    names = {flavour: f"{flavour}-{queue}@here" for flavour in FLAVOURS}
    queues = {flavour: f"{queue}-{flavour}" for flavour in FLAVOURS}
    # In the solo pool Celery tells of the wrappers in which billiard carries exceptions.
    pools = dict.fromkeys(FLAVOURS, ("prefork", "-c", "1"))
    broker = url.split()[0]
    sender = Celery("sender", broker=broker, backend=url.split()[-1], set_as_current=False)
    sender.conf.task_send_sent_event = True
    sender.conf.task_create_missing_queue_type = "classic"
    with ExitStack() as stack:
        watches = {flavour: Watch(flavour, broker) for flavour in FLAVOURS}
        workers = {}
        for flavour, (pool, *options) in pools.items():
            name = names[flavour]
            workers[flavour] = Worker(
                flavour, url, queues[flavour], pool, *options, "-E", "-n", name, beats=True
            )
            stack.callback(workers[flavour].kill)
        yield Scene(names, queues, watches, workers, sender)
        for watch in watches.values():
            watch.stop()
    sender.close()
    for each in queues.values():
        delete(request.param, each, f"{each}-other")


def plain(event: dict[str, Any]) -> list[tuple[str, Any]]:
    """The fields of an event in their order, without the values that differ from run to run."""
    return [
        (name, None if name in PASSING else SHOWN.get(name, _itself)(value))
        for name, value in event.items()
    ]


def _itself(value: Any) -> Any:
    return value


def _last_line(text: str | None) -> str | None:
    return text and text.strip().splitlines()[-1].replace("celeriac.", "celery.")


#: Moments differ, and the lines of a traceback.
SHOWN: dict[str, Callable[[Any], Any]] = {
    "runtime": type, "traceback": _last_line, "eta": type, "expires": type,
}  # fmt: skip


def revoke_first(scene: Scene, worker: str) -> str:
    task_id = str(uuid.uuid4())
    scene.sender.control.revoke(
        task_id, destination=[scene.names[worker]], reply=True, timeout=10.0
    )
    return scene.send(worker, "add", 1, 2, task_id=task_id)


#: What is done, and the types of the events that come of it.
STORIES: dict[str, tuple[Callable[[Scene, str], str], str]] = {
    "success": (lambda s, w: s.send(w, "add", 1, 2), "sent received started succeeded"),
    "failure": (lambda s, w: s.send(w, "fail", "KeyError", "a"), "sent received started failed"),
    "retry": (
        lambda s, w: s.send(w, "flaky", 1),
        "sent received started retried received started succeeded",
    ),
    "expired": (lambda s, w: s.send(w, "add", 1, 2, expires=-60), "sent revoked"),
    "revoked": (revoke_first, "sent revoked"),
    "ignored": (lambda s, w: s.send(w, "ignore"), "sent received started"),
    "rejected": (lambda s, w: s.send(w, "reject"), "sent received started failed"),
    "rejected late": (
        lambda s, w: s.send(w, "reject_late"),
        "sent received started failed rejected",
    ),
    "unknown": (lambda s, w: s.send(w, "nosuch"), "sent failed"),
    "with an eta": (
        lambda s, w: s.send(w, "add", 1, 2, countdown=0.2),
        "sent received started succeeded",
    ),
}


def seen_by(watch: Watch, task_id: str, types: list[str]) -> list[dict[str, Any]]:
    """The events of a task that its worker sent, once all of these types have come."""
    watch.until(lambda: len(watch.of_task(task_id)) >= len(types))
    found = watch.of_task(task_id)
    # The sender's way to a monitor is another than the worker's.
    assert sorted(event["type"] for event in found) == sorted(types)
    told = [event for event in found if event["type"] != "task-sent"]
    if "task-retried" not in types:
        assert [event["type"] for event in told] == types[1:]
    # A retried task may be back before the child that sent it has said so.
    return sorted(told, key=lambda event: (event["type"], event["clock"]))


@pytest.mark.parametrize("story", STORIES)
def test_both_monitors_see_of_both_workers_the_same_events_of_a_task(
    scene: Scene, story: str
) -> None:
    act, words = STORIES[story]
    types = [f"task-{word}" for word in words.split()]
    ids = {worker: act(scene, worker) for worker in FLAVOURS}
    for watch in scene.watches.values():
        seen = {}
        for worker, task_id in ids.items():
            told = seen_by(watch, task_id, types)
            assert {event["hostname"] for event in told} == {scene.names[worker]}
            seen[worker] = [plain(event) for event in told]
        assert seen["celeriac"] == seen["celery"]


def known_by(watch: Watch, task_id: str) -> Any:
    """A monitor's task, once it knows all of a successful one."""
    tasks = watch.state.tasks
    watch.until(lambda: task_id in tasks and tasks[task_id].ready and tasks[task_id].sent)
    return tasks[task_id]


def test_the_states_of_both_monitors_know_task_and_worker(scene: Scene) -> None:
    for worker in FLAVOURS:
        task_id = scene.send(worker, "add", 20, 22)
        for watch in scene.watches.values():
            task = known_by(watch, task_id)
            assert (task.state, task.name, task.args, task.result) == (
                "SUCCESS", "tasks.add", "(20, 22)", "42",
            )  # fmt: skip
            assert task.worker.hostname == scene.names[worker]
            assert task.worker.alive
            assert task.started <= task.succeeded
            assert task.client.startswith("gen")


def two_beats(watch: Watch, name: str) -> list[dict[str, Any]]:
    watch.until(lambda: len(watch.of_node(name)) >= 2)
    return watch.of_node(name)[:2]


def test_a_worker_tells_that_it_lives(scene: Scene) -> None:
    for watch in scene.watches.values():
        for name in scene.names.values():
            online, beat = two_beats(watch, name)
            assert online["type"] == "worker-online"
            assert beat["type"] == "worker-heartbeat"
            assert list(beat) == [
                "hostname", "utcoffset", "pid", "clock", "freq", "active", "processed", "loadavg",
                "sw_ident", "sw_ver", "sw_sys", "timestamp", "type", "local_received",
            ]  # fmt: skip
            assert beat["freq"] == 2.0


def test_a_worker_that_is_asked_for_a_heartbeat_sends_one(scene: Scene) -> None:
    name = scene.names["celeriac"]
    scene.sender.control.broadcast("heartbeat", destination=[name])
    for watch in scene.watches.values():
        watch.until(lambda watch=watch: 5 in [beat["freq"] for beat in watch.of_node(name)])


def test_task_events_are_switched_off_and_on_by_remote_control(scene: Scene) -> None:
    name = scene.names["celeriac"]

    def ask(command: str) -> object:
        answers = scene.sender.control.broadcast(
            command, destination=[name], reply=True, timeout=10.0
        )
        return answers[0][name]["ok"]

    assert ask("enable_events") == "task events already enabled"
    assert ask("disable_events") == "task events disabled"
    assert ask("disable_events") == "task events already disabled"
    silent = scene.send("celeriac", "add", 1, 1)
    assert scene.sender.AsyncResult(silent).get(timeout=WAIT_S) == 2
    assert ask("enable_events") == "task events enabled"
    told = scene.send("celeriac", "add", 2, 2)
    watch = scene.watches["celery"]
    watch.until(lambda: "task-succeeded" in [event["type"] for event in watch.of_task(told)])
    assert [event["type"] for event in watch.of_task(silent)] == ["task-sent"]


def test_a_worker_that_ends_says_so(scene: Scene) -> None:
    for worker, name in scene.names.items():
        assert scene.workers[worker].stop() == 0, scene.workers[worker].lines.text()
        for watch in scene.watches.values():
            watch.until(
                lambda watch=watch, name=name: watch.of_node(name)[-1]["type"] == "worker-offline"
            )
            assert not watch.state.workers[name].alive
