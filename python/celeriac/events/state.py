"""What is known of all workers and tasks from the events that came.

Source:
    celery/events/state.py (names, arguments, what events change).
"""

from __future__ import annotations

import bisect
import threading
from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet, ref

from celeriac.events.known import Task, Worker, heartbeat_expires
from celeriac.events.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ("State", "Task", "Worker", "heartbeat_expires")


class Moment(NamedTuple):
    """The place of an event among others: by logical clock, then by time."""

    clock: int
    timestamp: float
    node: str
    task: Any

    def __lt__(self, other: Any) -> bool:
        if self.clock and other.clock and self.clock != other.clock:
            return bool(self.clock < other.clock)
        return bool((self.timestamp, self.node) < (other.timestamp, other.node))

    def __gt__(self, other: Any) -> bool:
        return bool(other < self)


class Index(defaultdict[str, Any]):
    """Tasks by a key; called, it yields them by time."""

    def __init__(self, by_time: Callable[..., Any], *args: Any) -> None:
        self._by_time = by_time
        super().__init__(*args)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._by_time(*args, **kwargs)


class State:
    """What is known of all workers and tasks; `event` takes note of one more thing.

    Args:
        callback: Called with this and each event.
        workers: Known workers.
        tasks: Known tasks.
        taskheap: Ignored: it is made of `tasks`.
        max_workers_in_memory: How many workers are remembered.
        max_tasks_in_memory: How many tasks.
        on_node_join: Called with a worker that is new.
        on_node_leave: Called with one that has ended.
        tasks_by_type: Ids of `tasks` by their names.
        tasks_by_worker: Ids of `tasks` by their workers.
    """

    Worker = Worker
    Task = Task
    event_count = 0
    task_count = 0
    heap_multiplier = 4

    def __init__(  # noqa: PLR0913, PLR0917 - Celery's signature
        self,
        callback: Callable[[Any, dict[str, Any]], Any] | None = None,
        workers: Any = None,
        tasks: Any = None,
        taskheap: Any = None,  # noqa: ARG002
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10000,
        on_node_join: Callable[[Any], Any] | None = None,
        on_node_leave: Callable[[Any], Any] | None = None,
        tasks_by_type: Mapping[str, Iterable[str]] | None = None,
        tasks_by_worker: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self.event_callback = callback
        self.workers = Recent(max_workers_in_memory) if workers is None else workers
        self.tasks = Recent(max_tasks_in_memory) if tasks is None else tasks
        self.max_workers_in_memory = max_workers_in_memory
        self.max_tasks_in_memory = max_tasks_in_memory
        self.on_node_join = on_node_join
        self.on_node_leave = on_node_leave
        self.handlers: dict[str, Callable[[str, dict[str, Any]], Any]] = {}
        self.tasks_by_type = Index(self._tasks_by_type, WeakSet)
        self.tasks_by_worker = Index(self._tasks_by_worker, WeakSet)
        self._mutex = threading.Lock()
        self._seen_types: set[str] = set()
        self._taskheap: list[Moment] = []
        #: Children of tasks that are not known yet.
        self._orphans = Recent(max_tasks_in_memory)
        self.rebuild_taskheap()
        for index, known in (
            (self.tasks_by_type, tasks_by_type),
            (self.tasks_by_worker, tasks_by_worker),
        ):
            for key, ids in (known or {}).items():
                index[key] = WeakSet(
                    self.tasks[task_id] for task_id in ids if task_id in self.tasks
                )

    # Events ----------------------------------------------------------------------------------

    def event(self, event: dict[str, Any]) -> Any:
        """Take note of an event.

        Args:
            event: As it came.

        Returns:
            ``((worker or task, whether it is new), what stands behind the group)``; None where it
            is of another group.
        """
        with self._mutex:
            return self._event(event)

    def task_event(self, type_: str, fields: Mapping[str, Any]) -> Any:
        """Take note of an event of a task.

        Args:
            type_: What stands behind ``task-``.
            fields: The event.

        Returns:
            The task, and whether it is new.
        """
        return self.event({**fields, "type": f"task-{type_}"})[0]

    def worker_event(self, type_: str, fields: Mapping[str, Any]) -> Any:
        """Take note of an event of a worker.

        Args:
            type_: What stands behind ``worker-``.
            fields: The event.

        Returns:
            The worker, and whether it is new.
        """
        return self.event({**fields, "type": f"worker-{type_}"})[0]

    def _event(self, event: dict[str, Any]) -> Any:
        self.event_count += 1
        if self.event_callback is not None:
            self.event_callback(self, event)
        group, _, subject = event["type"].partition("-")
        handler = self.handlers.get(group)
        if handler is not None:
            return handler(subject, event), subject
        if group == "worker":
            return self._worker_event(subject, event)
        if group == "task":
            return self._task_event(subject, event)
        return None

    def _worker_event(self, subject: str, event: dict[str, Any]) -> Any:
        if not {"hostname", "timestamp", "local_received"} <= event.keys():
            return None
        hostname = event["hostname"]
        is_offline = subject == "offline"
        worker = self.workers.data.get(hostname)
        is_new = worker is None and not is_offline
        if worker is None:
            worker = self.Worker(hostname)
            if not is_offline:
                self.workers[hostname] = worker
        worker.event(subject, event["timestamp"], event["local_received"], event)
        if self.on_node_join is not None and (is_new or subject == "online"):
            self.on_node_join(worker)
        if self.on_node_leave is not None and is_offline:
            self.on_node_leave(worker)
            self.workers.pop(hostname, None)
        return (worker, is_new), subject

    def _task_event(self, subject: str, event: dict[str, Any]) -> Any:
        uuid, hostname = event["uuid"], event["hostname"]
        timestamp, received, clock = event["timestamp"], event["local_received"], event["clock"]
        task = self.tasks.data.get(uuid)
        is_new = task is None
        if task is None:
            task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
        if subject == "sent":
            task.client = origin = hostname
        else:
            task.worker = worker = self.get_or_create_worker(hostname)[0]
            worker.event(None, timestamp, received)
            origin = worker.id
        self._place(Moment(clock, timestamp, origin, ref(task)))
        if subject == "received":
            self.task_count += 1
        task.event(subject, timestamp, received, event)
        if task.name is not None:
            self._seen_types.add(task.name)
            self.tasks_by_type[task.name].add(task)
            self.tasks_by_worker[hostname].add(task)
        self._adopt(task)
        return (task, is_new), subject

    def _place(self, moment: Moment) -> None:
        heap = self._taskheap
        if len(heap) >= self.max_tasks_in_memory * self.heap_multiplier:
            del heap[0]
        if not heap or moment > heap[-1]:
            heap.append(moment)
        else:
            bisect.insort(heap, moment)

    def _adopt(self, task: Any) -> None:
        if task.parent_id:
            parent = self.tasks.data.get(task.parent_id)
            if parent is not None:
                parent.children.add(task)
            else:
                self._orphans.setdefault(task.parent_id, WeakSet()).add(task)
        task.children.update(self._orphans.pop(task.uuid, ()))

    # What is known ---------------------------------------------------------------------------

    def freeze_while(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function while no event changes anything.

        Args:
            fun: The function.
            *args: Its arguments.
            **kwargs: The same; ``clear_after`` forgets all afterwards.

        Returns:
            What it returns.
        """
        clear_after = kwargs.pop("clear_after", False)
        with self._mutex:
            try:
                return fun(*args, **kwargs)
            finally:
                if clear_after:
                    self._clear()

    def clear_tasks(self, ready: bool = True) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        """Forget tasks.

        Args:
            ready: Only those that have ended.
        """
        with self._mutex:
            self._clear_tasks(ready=ready)

    def _clear_tasks(self, *, ready: bool = True) -> None:
        kept = [pair for pair in self.tasks.items() if ready and not pair[1].ready]
        self.tasks.clear()
        self.tasks.update(kept)
        self._taskheap.clear()

    def clear(self, ready: bool = True) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        """Forget workers and tasks.

        Args:
            ready: Of the tasks only those that have ended.
        """
        with self._mutex:
            self._clear(ready=ready)

    def _clear(self, *, ready: bool = True) -> None:
        self.workers.clear()
        self._clear_tasks(ready=ready)
        self.event_count = self.task_count = 0

    def get_or_create_worker(self, hostname: str, **kwargs: Any) -> tuple[Any, bool]:
        """Find a worker.

        Args:
            hostname: Its node name.
            **kwargs: Attributes to change.

        Returns:
            The worker, and whether it is new.
        """
        worker = self.workers.data.get(hostname)
        if worker is None:
            worker = self.workers[hostname] = self.Worker(hostname, **kwargs)
            return worker, True
        worker.update(kwargs)
        return worker, False

    def get_or_create_task(self, uuid: str) -> tuple[Any, bool]:
        """Find a task.

        Args:
            uuid: Its id.

        Returns:
            The task, and whether it is new.
        """
        task = self.tasks.data.get(uuid)
        if task is None:
            task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
            return task, True
        return task, False

    def rebuild_taskheap(self, timetuple: Callable[..., Any] = Moment) -> None:
        """Put the tasks in order again.

        Args:
            timetuple: Makes the places.
        """
        self._taskheap[:] = sorted(
            timetuple(task.clock, task.timestamp or 0.0, task.origin or "", ref(task))
            for task in self.tasks.values()
        )

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[str, Any]]:
        """List tasks.

        Args:
            limit: How many.

        Yields:
            Ids and tasks.
        """
        yield from islice(self.tasks.items(), limit or None)

    def tasks_by_time(
        self,
        limit: int | None = None,
        reverse: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
    ) -> Iterator[tuple[str, Any]]:
        """List tasks by their last events.

        Args:
            limit: How many events to look at.
            reverse: The newest first.

        Yields:
            Ids and tasks.
        """
        heap = list(self._taskheap)
        seen = set()
        for moment in islice(reversed(heap) if reverse else heap, limit):
            task = moment.task()
            if task is not None and task.uuid not in seen:
                seen.add(task.uuid)
                yield task.uuid, task

    tasks_by_timestamp = tasks_by_time

    def _tasks_by_type(self, name: str, limit: int | None = None, reverse: bool = True) -> Any:  # noqa: FBT001, FBT002
        pairs = self.tasks_by_time(reverse=reverse)
        return islice((pair for pair in pairs if pair[1].name == name), limit)

    def _tasks_by_worker(
        self,
        hostname: str,
        limit: int | None = None,
        reverse: bool = True,  # noqa: FBT001, FBT002
    ) -> Any:
        pairs = self.tasks_by_time(reverse=reverse)
        return islice(
            (pair for pair in pairs if pair[1].worker and pair[1].worker.hostname == hostname),
            limit,
        )

    def task_types(self) -> list[str]:
        """List the names of tasks that were seen.

        Returns:
            Them, sorted.
        """
        return sorted(self._seen_types)

    def alive_workers(self) -> Iterator[Any]:
        """List workers whose last heartbeat is young enough.

        Returns:
            Them.
        """
        return (worker for worker in self.workers.values() if worker.alive)

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"

    def __reduce__(self) -> Any:
        by_type, by_worker = (
            {key: [task.uuid for task in tasks] for key, tasks in index.items()}
            for index in (self.tasks_by_type, self.tasks_by_worker)
        )
        return self.__class__, (
            self.event_callback, self.workers, self.tasks, None, self.max_workers_in_memory,
            self.max_tasks_in_memory, self.on_node_join, self.on_node_leave, by_type, by_worker,
        )  # fmt: skip
