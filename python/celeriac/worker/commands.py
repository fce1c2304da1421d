"""The commands of remote control: what Celery's clients may ask of a worker.

Source:
    celery/worker/control.py (names, arguments, shape of the answers).
"""
# ruff: noqa: ARG001, DOC201 - all have the same arguments; a docstring is the command's help

import logging
import os
import signal as signals
from datetime import datetime, timezone
from typing import Any

from celeriac import broker, serialization, states
from celeriac.exceptions import CeleryError, TaskRevokedError
from celeriac.worker.control import Panel, control_command, inspect_command
from celeriac.worker.figures import active_queue, broker_figures, plain, rusage
from celeriac.worker.limits import change_limits, holds_to_limits
from celeriac.worker.pools.base import Terminating

#: The registry, with all that stands here in it.
__all__ = ("Panel",)

logger = logging.getLogger("celery.worker.control")

_TASK_INFO = ("exchange", "routing_key", "rate_limit")
_DECLARE_WAIT_S = 5.0
#: States in which nobody has started a task, so that a revocation may be stored.
_NOT_STARTED = frozenset({states.PENDING, states.RECEIVED, states.RETRY, states.REJECTED})


def _ok(value: Any) -> dict[str, Any]:
    return {"ok": value}


def _not_ok(value: Any) -> dict[str, Any]:
    return {"error": value}


def _flag(text: Any) -> bool:
    return str(text).lower() in {"1", "true", "t", "yes", "y", "on"}


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | set) else [value]


# How are you -------------------------------------------------------------------------------------


@inspect_command(default_timeout=0.2)
def ping(state: Any, **_: Any) -> Any:
    """Ping worker(s)."""
    return _ok("pong")


@inspect_command()
def report(state: Any, **_: Any) -> Any:
    """Information for bug reports."""
    return _ok(state.app.bugreport())


@inspect_command(
    alias="dump_conf", signature="[include_defaults=False]", args=[("with_defaults", _flag)]
)
def conf(state: Any, with_defaults: bool = False, **_: Any) -> Any:  # noqa: FBT001, FBT002
    """List configuration."""
    return plain(state.app.conf.table(with_defaults=bool(with_defaults)))


@inspect_command()
def clock(state: Any, **_: Any) -> Any:
    """Get current logical clock value."""
    return {"clock": state.app.control.mailbox.clock.value}


@inspect_command()
def stats(state: Any, **_: Any) -> Any:
    """Request worker statistics/information."""
    worker, pool = state.worker, state.pool
    pids = list(pool.pids) if isinstance(pool, Terminating) else [os.getpid()]
    kind = type(pool)
    return {
        "total": dict(state.loop.census.started_total),
        "pid": os.getpid(),
        "clock": str(state.app.control.mailbox.clock.value),
        "uptime": int((datetime.now(timezone.utc) - worker.startup_time).total_seconds()),
        "pool": {
            "implementation": f"{kind.__module__}:{kind.__qualname__}",
            "max-concurrency": worker.concurrency,
            "processes": pids,
        },
        "broker": broker_figures(*broker.read_url(state.app)),
        "prefetch_count": worker.prefetch,
        "rusage": rusage(),
    }


@inspect_command(visible=False)
def hello(state: Any, from_node: str, revoked: Any = None, **_: Any) -> Any:
    """Exchange revoked ids with a worker that starts."""
    if from_node == state.hostname:
        return None
    logger.info("sync with %s", from_node)
    state.loop.revoke([one for one in revoked or () if isinstance(one, str)])
    return {
        "revoked": list(state.loop.revoked),
        "clock": state.app.control.mailbox.clock.forward(),
    }


# Which tasks -------------------------------------------------------------------------------------


@inspect_command(alias="dump_active")
def active(state: Any, safe: bool = False, **_: Any) -> Any:  # noqa: FBT001, FBT002
    """List of tasks currently being executed."""
    return [_info(request, safe=bool(safe)) for request in state.loop.census.active()]


@inspect_command(alias="dump_reserved")
def reserved(state: Any, **_: Any) -> Any:
    """List of currently reserved tasks, not including scheduled/active."""
    return [_info(request) for request in state.loop.census.reserved()]


@inspect_command(alias="dump_schedule")
def scheduled(state: Any, **_: Any) -> Any:
    """List of currently scheduled ETA/countdown tasks."""
    return [
        {
            "eta": request.eta.isoformat() if request.eta else None,
            "priority": 6,
            "request": _info(request),
        }
        for request in state.loop.scheduled()
    ]


@inspect_command(variadic="ids", signature="[id1 [id2 [... [idN]]]]")
def query_task(state: Any, ids: Any, **_: Any) -> Any:
    """Query for task information by id."""
    wanted = {str(task_id) for task_id in _listed(ids)}
    found = {
        "active": state.loop.census.active(),
        "reserved": state.loop.census.reserved(),
        "scheduled": state.loop.scheduled(),
    }
    return {
        request.id: [where, _info(request)]
        for where, requests in found.items()
        for request in requests
        if request.id in wanted
    }


def _info(request: Any, *, safe: bool = False) -> dict[str, Any]:
    # A body that cannot be read, or carried back, is shown as its sender described it.
    try:
        info: dict[str, Any] = request.info(safe=safe)
        serialization.dumps(info, "json")
    except CeleryError:
        info = request.info(safe=True)
    return info


@inspect_command(alias="dump_revoked")
def revoked(state: Any, **_: Any) -> Any:
    """List of revoked task-ids."""
    return list(state.loop.revoked)


@inspect_command(
    alias="dump_tasks", variadic="taskinfoitems", signature="[attr1 [attr2 [... [attrN]]]]"
)
def registered(state: Any, taskinfoitems: Any = None, builtins: bool = False, **_: Any) -> Any:  # noqa: FBT001, FBT002
    """List of registered tasks."""
    items = [
        item
        for item in _listed(taskinfoitems) or _TASK_INFO
        if isinstance(item, str) and not item.startswith("_")
    ]
    names = sorted(name for name in state.app.tasks if builtins or not name.startswith("celery."))
    return [_described(state.app.tasks[name], items) for name in names]


def _described(task: Any, items: list[str]) -> str:
    values = {item: getattr(task, item, None) for item in items}
    shown = " ".join(f"{item}={value}" for item, value in values.items() if value is not None)
    return f"{task.name} [{shown}]" if shown else str(task.name)


# Revoke ------------------------------------------------------------------------------------------


@control_command(variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(
    state: Any,
    task_id: Any,
    terminate: bool = False,  # noqa: FBT001, FBT002 - Celery's argument
    signal: Any = None,
    **_: Any,
) -> Any:
    """Revoke task by task id (or list of ids)."""
    ids = list(dict.fromkeys(str(one) for one in _listed(task_id)))
    _store_revocations(state, ids)
    state.loop.revoke(ids)
    if terminate:
        return _terminate(state, ids, signal)
    logger.info("Tasks flagged as revoked: %s", ", ".join(ids))
    return _ok(f"tasks {set(ids)} flagged as revoked")


@control_command(
    args=[("signal", str)], variadic="task_id", signature="<signal> [id1 [id2 [... [idN]]]]"
)
def terminate(state: Any, signal: Any, task_id: Any, **_: Any) -> Any:
    """Terminate task by task id (or list of ids)."""
    return revoke(state, task_id, terminate=True, signal=signal)


def _terminate(state: Any, ids: list[str], signal: Any) -> Any:
    pool_name = state.pool.name
    if not isinstance(state.pool, Terminating):
        return _not_ok(
            f"the {pool_name} pool cannot end a task that runs (flagged as revoked: "
            f"{', '.join(ids)}); run the worker with -P prefork"
        )
    signum = _signal_number(signal)
    running = {request.id for request in state.loop.census.active()}
    ended = [task_id for task_id in ids if state.loop.terminate(task_id, signum)]
    for task_id in ended:
        logger.info("Terminating %s (%s)", task_id, signum)
    goes_on = [task_id for task_id in ids if task_id in running and task_id not in ended]
    if goes_on and pool_name != "prefork":
        return _not_ok(
            f"the {pool_name} pool cannot end a function that runs (flagged as revoked: "
            f"{', '.join(goes_on)}); run the worker with -P prefork"
        )
    return _ok(f"terminate: {', '.join(ended)}" if ended else "terminate: tasks unknown")


@control_command(variadic="headers", signature="[key1=value1 [key2=value2 [... [keyN=valueN]]]]")
def revoke_by_stamped_headers(
    state: Any,
    headers: Any,
    terminate: bool = False,  # noqa: FBT001, FBT002 - Celery's argument
    signal: Any = None,
    **_: Any,
) -> Any:
    """Revoke task by header (or list of headers)."""
    if not isinstance(headers, dict):
        headers = dict(str(pair).split("=", 1) for pair in _listed(headers))
    stamps = {str(name): _listed(values) for name, values in headers.items()}
    running = state.loop.revoke_stamped(stamps)
    if not terminate:
        return _ok(f"headers {headers} flagged as revoked, but not terminated")
    if not running:
        return _ok(f"headers {headers} were not terminated")
    answer = _terminate(state, running, signal)
    return answer if "error" in answer else _ok(f"headers {headers} revoked")


def _signal_number(name: Any) -> int:
    if name is None:
        return int(signals.SIGTERM)
    if isinstance(name, int):
        return int(signals.Signals(name))
    text = str(name).upper()
    return int(signals.Signals[text if text.startswith("SIG") else f"SIG{text}"])


def _store_revocations(state: Any, ids: list[str]) -> None:
    # What is waiting in a queue, perhaps for long, is known to be revoked from now on.
    for task_id in ids:
        request = state.loop.census.find(task_id)
        if request is not None and request.time_start is not None:
            continue
        backend = request.task.backend if request is not None else state.app.backend
        try:
            if not backend.is_disabled and backend.get_state(task_id) in _NOT_STARTED:
                backend.store_result(task_id, TaskRevokedError("revoked"), states.REVOKED)
        except Exception as exc:  # noqa: BLE001 - whatever a user's backend raises
            logger.warning("Cannot store that task %s is revoked: %r", task_id, exc)


# The worker --------------------------------------------------------------------------------------


@control_command()
def shutdown(state: Any, msg: str = "Got shutdown from remote", **_: Any) -> None:
    """Shutdown worker(s)."""
    logger.warning("%s", msg)
    state.worker.stop()


@inspect_command()
def active_queues(state: Any, **_: Any) -> Any:
    """List the task queues a worker is currently consuming from."""
    return [active_queue(queue) for queue in state.app.amqp.queues.consume_from.values()]


@control_command(
    args=[("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)],
    signature="<queue> [exchange [type [routing_key]]]",
)
def add_consumer(
    state: Any,
    queue: str,
    exchange: str | None = None,
    exchange_type: str | None = None,
    routing_key: str | None = None,
    **options: Any,
) -> Any:
    """Tell worker(s) to consume from task queue by name."""
    queues = state.app.amqp.queues
    if queue in queues.consume_from:
        return _ok(f"already consuming from {queue!r}")
    made = queues.select_add(
        queue,
        exchange=exchange or queue,
        exchange_type=exchange_type or "direct",
        routing_key=routing_key or queue,
        **options,
    )
    state.intake.add_queue(made.as_spec(), _DECLARE_WAIT_S)
    logger.info("Started consuming from %s", queue)
    return _ok(f"add consumer {queue}")


@control_command(args=[("queue", str)], signature="<queue>")
def cancel_consumer(state: Any, queue: str, **_: Any) -> Any:
    """Tell worker(s) to stop consuming from task queue by name."""
    state.intake.cancel_queue(queue)
    state.app.amqp.queues.deselect([queue])
    logger.info("No longer consuming from %s", queue)
    return _ok(f"no longer consuming from {queue}")


# Events ------------------------------------------------------------------------------------------


@control_command()
def enable_events(state: Any, **_: Any) -> Any:
    """Tell worker(s) to send task-related events."""
    if not state.worker.events.enable_tasks():
        return _ok("task events already enabled")
    logger.info("Events of group {task} enabled by remote.")
    return _ok("task events enabled")


@control_command()
def disable_events(state: Any, **_: Any) -> Any:
    """Tell worker(s) to stop sending task-related events."""
    if not state.worker.events.disable_tasks():
        return _ok("task events already disabled")
    logger.info("Events of group {task} disabled by remote.")
    return _ok("task events disabled")


@control_command()
def heartbeat(state: Any, **_: Any) -> None:
    """Tell worker(s) to send event heartbeat immediately."""
    logger.debug("Heartbeat requested by remote.")
    state.worker.events.answer()


# Limits and the pool ------------------------------------------------------------------------------


@control_command(
    args=[("task_name", str), ("soft", float), ("hard", float)],
    signature="<task_name> <soft_secs> [hard_secs]",
)
def time_limit(
    state: Any, task_name: Any = None, hard: Any = None, soft: Any = None, **_: Any
) -> Any:
    """Tell worker(s) to modify the time limit for task by type."""
    task = state.app.tasks.get(task_name)
    if task is None:
        logger.error("Change time limit attempt for unknown task %s", task_name)
        return _not_ok("unknown task")
    if not holds_to_limits(state.pool.name, task) and (hard or soft):
        return _not_ok(
            f"the {state.pool.name} pool cannot hold this task to time limits; "
            "run the worker with -P prefork"
        )
    change_limits(task, hard, soft)
    logger.info("New time limits for tasks of type %s: soft=%s hard=%s", task_name, soft, hard)
    return _ok("time limits set successfully")


@control_command(args=[("n", int)], signature="[N=1]")
def pool_grow(state: Any, n: int = 1, **_: Any) -> Any:
    """Grow pool by n processes/threads."""
    return _resize(state, int(n), "pool will grow")


@control_command(args=[("n", int)], signature="[N=1]")
def pool_shrink(state: Any, n: int = 1, **_: Any) -> Any:
    """Shrink pool by n processes/threads."""
    return _resize(state, -int(n), "pool will shrink")


def _resize(state: Any, by: int, done: str) -> Any:
    try:
        state.worker.resize_pool(by)
    except ValueError as exc:
        return _not_ok(str(exc))
    logger.info("The pool has %s now", state.worker.concurrency)
    return _ok(done)


# Not there yet -----------------------------------------------------------------------------------


_INSTEAD = {
    "pool_restart": ": restart the worker",
    "autoscale": ": pool_grow and pool_shrink change the pool",
}


def _absent(name: str, kind: str, signature: str | None, args: list[tuple[str, Any]]) -> None:
    def absent(state: Any, **_: Any) -> Any:
        return _not_ok(f"{name} is not there in celeriac yet{_INSTEAD.get(name, '')}")

    register = inspect_command if kind == "inspect" else control_command
    register(name=name, help="Not in this version.", signature=signature, args=args or None)(absent)


for _name, _kind, _signature, _args in (
    ("rate_limit", "control", "<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
     [("task_name", str), ("rate_limit", str)]),
    ("election", "control", None, []),
    ("pool_restart", "control", None, []),
    ("autoscale", "control", "[max [min]]", [("max", int), ("min", int)]),
    ("memsample", "inspect", None, []),
    ("memdump", "inspect", "[n_samples=10]", [("samples", int)]),
    ("objgraph", "inspect", "[object_type=Request] [num=200 [max_depth=10]]",
     [("type", str), ("num", int), ("max_depth", int)]),
):  # fmt: skip
    _absent(_name, _kind, _signature, _args)
