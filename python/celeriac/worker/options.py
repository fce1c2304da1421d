"""What a worker was asked to do, from arguments and settings."""

import logging
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from celeriac.exceptions import ImproperlyConfigured
from celeriac.nodenames import default_nodename, host_format
from celeriac.worker.events import DEFAULT_INTERVAL_S
from celeriac.worker.limits import TimeLimits

__all__ = ("POOLS", "NoSuchPool", "Options", "loglevel_number", "names", "options_from")

POOLS = ("prefork", "threads", "aio", "solo")
#: Celery's other names of our pools, which settings carry.
_ALIASES = {
    "processes": "prefork",
    "asyncio": "aio",
    "celery_aio_pool.pool:AsyncIOPool": "aio",
    "celery.concurrency.prefork:TaskPool": "prefork",
    "celery.concurrency.solo:TaskPool": "solo",
    "celery.concurrency.thread:TaskPool": "threads",
}


class NoSuchPool(ImproperlyConfigured):
    """A pool that is not in this version; the text names one that does its work."""


@dataclass(frozen=True, slots=True)
class Options:
    """A worker's options, complete.

    Attributes:
        hostname: The node name.
        pool: One of `POOLS`.
        concurrency: How many tasks at once.
        prefetch: How many messages may be held at once; 0 is unlimited.
        queues: The only queues to consume; None for all of the application.
        exclude_queues: Queues not to consume.
        include: More modules to import.
        loglevel: A number of `logging`.
        logfile: Where the log goes; None for standard error.
        pidfile: Where the process id is written.
        purge: Whether to delete what waits in the queues first.
        task_events: Whether monitors are to get task events.
        quiet: Whether there is no banner.
        no_color: Whether the log has no colours; None decides by the terminal.
        heartbeat_interval_s: Seconds between two events that say that the worker lives; 0 for none.
        without_mingle: Whether other workers are not asked which tasks are revoked.
        allow_unsupported: Start although guards have no effect.
        limits: How long tasks may run that do not say it themselves.
        max_tasks_per_child: After how many tasks a child is replaced.
        max_memory_per_child: Beyond how many KiB.
    """

    hostname: str
    pool: str
    concurrency: int
    prefetch: int
    queues: list[str] | None
    exclude_queues: list[str] | None
    include: list[str]
    loglevel: int
    logfile: str | None
    pidfile: str | None
    purge: bool
    task_events: bool
    quiet: bool
    no_color: bool | None
    heartbeat_interval_s: float
    without_mingle: bool
    allow_unsupported: bool
    limits: TimeLimits
    max_tasks_per_child: int | None
    max_memory_per_child: int | None


def options_from(conf: Any, hostname: str | None, given: dict[str, Any]) -> Options:
    """Complete a worker's options.

    Args:
        conf: The settings.
        hostname: The node name given.
        given: Options by Celery's names; None or absent means the setting.

    Returns:
        The options. An ImproperlyConfigured says that a number or a name cannot be, a NoSuchPool
        that the pool is not there.
    """
    pool = _pool(given.get("pool") or given.get("pool_cls") or conf.worker_pool)
    concurrency = _concurrency(given.get("concurrency") or conf.worker_concurrency)
    multiplier = given.get("prefetch_multiplier")
    if multiplier is None:
        multiplier = conf.worker_prefetch_multiplier
    if pool == "solo":
        concurrency = 1
    elif pool == "prefork":
        _check_prefork(conf.worker_pool_start_method)
    return Options(
        hostname=host_format(default_nodename(hostname)),
        pool=pool,
        concurrency=concurrency,
        prefetch=concurrency * int(multiplier),
        queues=names(given.get("queues")),
        exclude_queues=names(given.get("exclude_queues")),
        include=names(given.get("include")) or [],
        loglevel=loglevel_number(given.get("loglevel")),
        logfile=given.get("logfile"),
        pidfile=given.get("pidfile"),
        purge=bool(given.get("purge")),
        task_events=_either(given.get("task_events"), conf.worker_send_task_events),
        quiet=bool(given.get("quiet")),
        no_color=given.get("no_color"),
        heartbeat_interval_s=_heartbeat_s(given),
        without_mingle=bool(given.get("without_mingle")),
        allow_unsupported=bool(given.get("allow_unsupported")),
        limits=TimeLimits(
            _first(given.get("time_limit"), conf.task_time_limit),
            _first(given.get("soft_time_limit"), conf.task_soft_time_limit),
        ),
        max_tasks_per_child=_first(
            given.get("max_tasks_per_child"), conf.worker_max_tasks_per_child
        ),
        max_memory_per_child=_first(
            given.get("max_memory_per_child"), conf.worker_max_memory_per_child
        ),
    )


def _first(given: Any, setting: Any) -> Any:
    return setting if given is None else given


def _heartbeat_s(given: dict[str, Any]) -> float:
    interval_s = float(given.get("heartbeat_interval") or DEFAULT_INTERVAL_S)
    if interval_s < 0:
        message = f"--heartbeat-interval is a number of seconds above 0, not {interval_s:g}."
        raise ImproperlyConfigured(message)
    return 0.0 if given.get("without_heartbeat") else interval_s


def _either(given: Any, setting: Any) -> bool:
    return bool(_first(given, setting))


def _pool(pool: Any) -> str:
    name = pool if isinstance(pool, str) else getattr(pool, "name", None)
    name = _ALIASES.get(name or "", name)
    if name not in POOLS:
        raise NoSuchPool(_instead(str(pool if name is None else name)))
    return str(name)


def _check_prefork(start_method: str | None) -> None:
    if sys.platform == "win32":
        message = "The prefork pool is not in celeriac on Windows: use -P threads or -P solo."
        raise NoSuchPool(message)
    if start_method not in {None, "fork", "spawn"}:
        message = f"worker_pool_start_method is 'fork' or 'spawn', not {start_method!r}."
        raise ImproperlyConfigured(message)


def _instead(name: str) -> str:
    for green in ("gevent", "eventlet"):
        if green in name:
            return (
                f"The {green} pool is not in celeriac: -P threads runs many waiting tasks "
                "side by side, -P aio does it with `async def` tasks; as many as -c says."
            )
    if name == "custom" or ":" in name or "." in name:
        return (
            f"Pool classes of one's own ({name}) are not supported: use -P {', '.join(POOLS[:-1])} "
            f"or {POOLS[-1]}."
        )
    return f"There is no pool {name!r}: use -P {', '.join(POOLS[:-1])} or {POOLS[-1]}."


def _concurrency(given: Any) -> int:
    if given in {None, "", 0, "0", "auto"}:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    try:
        number = int(given)
    except (TypeError, ValueError):
        number = -1
    if number < 1:
        message = f"Concurrency must be a positive number or 'auto', not {given!r}."
        raise ImproperlyConfigured(message)
    return number


_LEVELS = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
    "FATAL": logging.CRITICAL,
}


def loglevel_number(level: Any) -> int:
    """Turn a level's name into its number.

    Args:
        level: A name in any case, a number, or None for WARNING.

    Returns:
        The number.

    Raises:
        ImproperlyConfigured: There is no such level.
    """
    if level is None:
        return logging.WARNING
    if isinstance(level, int):
        return level
    if str(level).isdigit():
        return int(level)
    number = _LEVELS.get(str(level).upper())
    if number is None:
        message = f"There is no log level {level!r}: DEBUG, INFO, WARNING, ERROR, CRITICAL, FATAL."
        raise ImproperlyConfigured(message)
    return number


def names(value: str | Iterable[str] | None) -> list[str] | None:
    """Split a list of names.

    Args:
        value: Names, or one string with commas.

    Returns:
        The names; None where none are given.
    """
    if not value:
        return None
    parts = value.split(",") if isinstance(value, str) else list(value)
    return [part.strip() for part in parts if part.strip()] or None
