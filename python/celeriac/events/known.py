"""What is known of one worker, and of one task, from the events that came.

Source:
    celery/events/state.py (names, arguments, what events change).
"""

from __future__ import annotations

import bisect
import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from celeriac import states
from celeriac.events.recent import Recent
from celeriac.states import precedence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ("Task", "Worker", "heartbeat_expires")

logger = logging.getLogger("celery.events.state")

#: A worker is alive for so many percent of the time between two of its heartbeats.
HEARTBEAT_EXPIRE_WINDOW = 200
#: Seconds between an event's time and its arrival from which on clocks are suspected.
HEARTBEAT_DRIFT_MAX = 16

#: The state that an event leaves its task in.
TASK_EVENT_TO_STATE = {
    "sent": states.PENDING,
    "received": states.RECEIVED,
    "started": states.STARTED,
    "failed": states.FAILURE,
    "retried": states.RETRY,
    "succeeded": states.SUCCESS,
    "revoked": states.REVOKED,
    "rejected": states.REJECTED,
}


def heartbeat_expires(
    timestamp: Any, freq: Any = 60, expire_window: float = HEARTBEAT_EXPIRE_WINDOW, **_: Any
) -> float:
    """Say until when a worker counts as alive.

    Args:
        timestamp: Its last heartbeat.
        freq: Seconds between two.
        expire_window: How many percent of that.

    Returns:
        Seconds since 1970.
    """
    return float(timestamp) + float(freq) * expire_window / 100


#: Workers whose clocks were warned of; bounded, as what monitors remember is.
_drifting = Recent(1000)


def _warn_drift(hostname: str, drift_s: float, received: float, timestamp: float) -> None:
    # Once for each worker.
    if hostname in _drifting:
        return
    _drifting[hostname] = drift_s
    logger.warning(
        "The clocks of %s and of this machine seem to be %s seconds apart: an event of %s came "
        "at %s. Run a time service (NTP) on both.",
        hostname,
        drift_s,
        datetime.fromtimestamp(timestamp).astimezone(),
        datetime.fromtimestamp(received).astimezone(),
    )


class Worker:
    """What is known of a worker.

    Args:
        hostname: Its node name.
        pid: Its process.
        freq: Seconds between two heartbeats.
        heartbeats: When the last ones came.
        clock: Its logical clock.
        active: How many tasks it runs.
        processed: How many it has started.
        loadavg: The load of its machine.
        sw_ident: Its program.
        sw_ver: The program's version.
        sw_sys: Its operating system.
    """

    heartbeat_max = 4
    expire_window = HEARTBEAT_EXPIRE_WINDOW

    _fields = (
        "hostname", "pid", "freq", "heartbeats", "clock", "active", "processed", "loadavg",
        "sw_ident", "sw_ver", "sw_sys",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913, PLR0917 - Celery's signature
        self,
        hostname: Any = None,
        pid: Any = None,
        freq: Any = 60,
        heartbeats: list[float] | None = None,
        clock: Any = 0,
        active: Any = None,
        processed: Any = None,
        loadavg: Any = None,
        sw_ident: Any = None,
        sw_ver: Any = None,
        sw_sys: Any = None,
    ) -> None:
        self.hostname = hostname
        self.pid = pid
        self.freq = freq
        self.heartbeats = [] if heartbeats is None else heartbeats
        self.clock = clock or 0
        self.active = active
        self.processed = processed
        self.loadavg = loadavg
        self.sw_ident = sw_ident
        self.sw_ver = sw_ver
        self.sw_sys = sw_sys

    def event(
        self,
        type_: str | None,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
        max_drift: float = HEARTBEAT_DRIFT_MAX,
    ) -> None:
        """Take note of an event.

        Args:
            type_: What stands behind ``worker-``.
            timestamp: When it was sent.
            local_received: When it came.
            fields: What it says.
            max_drift: Seconds between both that are not worth a word.
        """
        self.update(fields or {})
        if type_ == "offline":
            self.heartbeats.clear()
            return
        if not local_received or not timestamp:
            return
        drift_s = abs(int(local_received) - int(timestamp))
        if drift_s > max_drift:
            _warn_drift(self.hostname, drift_s, local_received, timestamp)
        if len(self.heartbeats) >= self.heartbeat_max:
            del self.heartbeats[0]
        bisect.insort(self.heartbeats, local_received)

    def update(self, f: Mapping[str, Any], **kw: Any) -> None:
        """Change attributes.

        Args:
            f: Them.
            **kw: More.
        """
        for name, value in {**f, **kw}.items():
            setattr(self, name, value)

    @property
    def heartbeat_expires(self) -> float:
        """Until when it counts as alive."""
        return heartbeat_expires(self.heartbeats[-1], self.freq, self.expire_window)

    @property
    def alive(self) -> bool:
        """Whether its last heartbeat is young enough."""
        return bool(self.heartbeats) and time.time_ns() / 1e9 < self.heartbeat_expires

    @property
    def status_string(self) -> str:
        """``ONLINE`` or ``OFFLINE``."""
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def id(self) -> str:
        """Its name and process."""
        return f"{self.hostname}.{self.pid}"

    def __eq__(self, other: object) -> bool:
        return self.hostname == other.hostname if isinstance(other, Worker) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string} clock:{self.clock})"

    def __reduce__(self) -> Any:
        return self.__class__, tuple(getattr(self, name) for name in self._fields)


class Task:
    """What is known of a task.

    Args:
        uuid: Its id.
        cluster_state: Where it is known.
        children: The ids of those that it has sent.
        **kwargs: What is known of it already.
    """

    name: Any = None
    received: Any = None
    sent: Any = None
    started: Any = None
    succeeded: Any = None
    failed: Any = None
    retried: Any = None
    revoked: Any = None
    rejected: Any = None
    args: Any = None
    kwargs: Any = None
    eta: Any = None
    expires: Any = None
    retries: Any = None
    worker: Any = None
    result: Any = None
    exception: Any = None
    timestamp: Any = None
    runtime: Any = None
    traceback: Any = None
    exchange: Any = None
    routing_key: Any = None
    root_id: Any = None
    parent_id: Any = None
    client: Any = None
    state = states.PENDING
    clock = 0

    _fields = (
        "uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded", "failed",
        "retried", "revoked", "args", "kwargs", "eta", "expires", "retries", "worker", "result",
        "exception", "timestamp", "runtime", "traceback", "exchange", "routing_key", "clock",
        "client", "root", "root_id", "parent", "parent_id", "children",
    )  # fmt: skip
    _info_fields = (
        "args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception",
        "exchange", "routing_key", "root_id", "parent_id",
    )  # fmt: skip

    #: What an event that came too late still tells, by the state that it stands for.
    merge_rules: ClassVar[dict[str, tuple[str, ...]]] = {
        states.RECEIVED: (
            "name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires",
        ),
    }  # fmt: skip

    def __init__(
        self,
        uuid: str | None = None,
        cluster_state: Any = None,
        children: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.uuid = uuid
        self.cluster_state = cluster_state
        known = {} if cluster_state is None else cluster_state.tasks
        self.children: WeakSet[Task] = WeakSet(
            known[child] for child in children or () if child in known
        )
        self.__dict__.update(
            {name: value for name, value in kwargs.items() if name not in {"root", "parent"}}
        )

    def event(
        self,
        type_: str,
        timestamp: float | None = None,
        local_received: float | None = None,  # noqa: ARG002 - Celery's signature
        fields: Mapping[str, Any] | None = None,
        precedence: Callable[[str], int] = precedence,
        **_: Any,
    ) -> None:
        """Take note of an event.

        Args:
            type_: What stands behind ``task-``.
            timestamp: When it was sent.
            local_received: When it came.
            fields: What it says.
            precedence: Ranks states.
        """
        told = dict(fields or {})
        state = TASK_EVENT_TO_STATE.get(type_)
        if state is None:
            state = type_.upper()  # the user's own
        else:
            setattr(self, type_, timestamp)
        is_retry = states.RETRY in {state, self.state}
        if not is_retry and precedence(state) > precedence(self.state):
            # It happened before what is known already.
            keep = self.merge_rules.get(state)
            if keep is not None:
                told = {name: value for name, value in told.items() if name in keep}
        else:
            told.update(state=state, timestamp=timestamp)
        self.__dict__.update(told)

    def info(
        self, fields: Iterable[str] | None = None, extra: Iterable[str] | None = None
    ) -> dict[str, Any]:
        """Say what is known, for people.

        Args:
            fields: Which attributes.
            extra: More of them.

        Returns:
            Those that are not None.
        """
        names = [*(self._info_fields if fields is None else fields), *(extra or ())]
        return {name: value for name in names if (value := getattr(self, name, None)) is not None}

    def as_dict(self) -> dict[str, Any]:
        """Put all into a dictionary; other tasks as ids.

        Returns:
            Attributes by name.
        """
        known = {name: getattr(self, name) for name in self._fields}
        known["children"] = [child.uuid for child in self.children]
        return {**known, "root": self.root_id, "parent": self.parent_id}

    @property
    def id(self) -> Any:
        """Its id."""
        return self.uuid

    @property
    def origin(self) -> Any:
        """Who has told of it."""
        return self.client if self.worker is None else self.worker.id

    @property
    def ready(self) -> bool:
        """Whether it has ended."""
        return self.state in states.READY_STATES

    def _known(self, task_id: str | None) -> Any:
        if not task_id or self.cluster_state is None:
            return None
        return self.cluster_state.tasks.data.get(task_id)

    @property
    def parent(self) -> Any:
        """The task that has sent it, where that is known."""
        return self._known(self.parent_id)

    @property
    def root(self) -> Any:
        """The first task of its workflow, where that is known."""
        return self._known(self.root_id)

    def __eq__(self, other: object) -> bool:
        return self.uuid == other.uuid if isinstance(other, Task) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __repr__(self) -> str:
        return f"<Task: {self.name}({self.uuid}) {self.state} clock:{self.clock}>"

    def __reduce__(self) -> Any:
        return _task_of, (self.__class__, self.as_dict())


def _task_of(kind: type[Task], fields: Mapping[str, Any]) -> Task:
    return kind(**fields)
