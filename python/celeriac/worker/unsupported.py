"""What was asked for and has no effect yet: one warning, and no start without a guard."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from celeriac import broker
from celeriac._native import options_without_effect
from celeriac.exceptions import ImproperlyConfigured
from celeriac.settings.honoured import Unhonoured, unhonoured
from celeriac.worker.limits import TimeLimits, holds_to_limits

__all__ = ("report_unsupported",)

logger = logging.getLogger("celery.worker")

#: Parts of names whose values are not for a log.
_SECRETS = ("password", "secret", "token", "sentinel_kwargs", "access_key", "backend_settings")

#: Options of tasks that have no effect yet; whether one stops the worker.
_TASK_OPTIONS = {"rate_limit": False}
_LIMITS = {"time_limit": True, "soft_time_limit": True}
_NO_LIMITS = TimeLimits()


def report_unsupported(
    app: Any,
    flags: Mapping[str, tuple[Any, bool]],
    *,
    allow_unsupported: bool,
    pool: str = "prefork",
    limits: TimeLimits = _NO_LIMITS,
) -> None:
    """Name in one warning everything that has no effect.

    Args:
        app: The application, finalized.
        flags: Command line flags that were given and have none: value, and whether the worker must
            not start without it.
        allow_unsupported: Start all the same.
        pool: The pool's name: not every one can hold tasks to time limits.
        limits: Those of the settings and the command line.

    Raises:
        ImproperlyConfigured: Something that guards production was asked for, or the broker's URL
            cannot be.
    """
    found = [
        *unhonoured(app.conf),
        *_of_transport(app),
        *_of_tasks(app.tasks.values(), _TASK_OPTIONS),
        *_of_limits(app, pool, limits),
        *(Unhonoured(name, value, guards) for name, (value, guards) in flags.items()),
    ]
    if not found:
        return
    guards = [one for one in found if one.stops_worker]
    if guards and not allow_unsupported:
        message = (
            f"This version cannot do what was asked for: {_listed(guards)}. Running without it "
            "could do harm, so the worker does not start; --allow-unsupported starts it anyway."
        )
        raise ImproperlyConfigured(message)
    logger.warning("Without effect in this version: %s", _listed(found))


def _of_transport(app: Any) -> list[Unhonoured]:
    url, options = broker.read_url(app)
    return [
        Unhonoured(f"broker_transport_options[{name!r}]", options.get(name), stops_worker=False)
        for name in options_without_effect(url, options)
    ]


def _of_tasks(tasks: Iterable[Any], options: Mapping[str, bool]) -> list[Unhonoured]:
    return [
        Unhonoured(f"{task.name}.{option}", getattr(task, option), stops)
        for task in tasks
        for option, stops in options.items()
        if option in _own_attributes(task)
    ]


def _of_limits(app: Any, pool: str, limits: TimeLimits) -> list[Unhonoured]:
    unlimited = _unlimited(app, pool)
    of_all = (("task_time_limit", limits.hard_s), ("task_soft_time_limit", limits.soft_s))
    found = _of_tasks(unlimited, _LIMITS)
    if unlimited:
        found = [
            Unhonoured(name, limit_s, stops_worker=True) for name, limit_s in of_all if limit_s
        ] + found
    if found:
        what = "functions" if pool == "aio" else "tasks"
        logger.error("The %s pool cannot hold %s to time limits; -P prefork can.", pool, what)
    return found


def _unlimited(app: Any, pool: str) -> list[Any]:
    # The tasks that the pool does not hold to their limits.
    tasks = [task for task in app.tasks.values() if not task.name.startswith("celery.")]
    return [task for task in tasks if not holds_to_limits(pool, task)]


def _own_attributes(task: Any) -> dict[str, Any]:
    # What the task itself sets, not what a setting gives to all tasks.
    own: dict[str, Any] = {}
    for kind in reversed(type(task).__mro__):
        if kind.__module__.startswith("celeriac."):
            continue
        own.update(vars(kind))
    own.update(vars(task))
    return {name: value for name, value in own.items() if value is not None}


def _listed(found: Iterable[Unhonoured]) -> str:
    return ", ".join(f"{one.name}={_shown(one)}" for one in found)


def _shown(one: Unhonoured) -> str:
    is_secret = any(word in one.name for word in _SECRETS)
    return "**" if is_secret else repr(one.value)
