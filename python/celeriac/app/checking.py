"""Wrong options of a call, told before anything is sent.

What Celery sends and a worker can use is accepted; what would fail later, in a worker that knows
nothing of the line of code that is wrong, is an error here. Options that are not listed travel as
properties of the message, whatever they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, NoReturn

from celeriac.timestamps import maybe_timedelta, parse_iso

__all__ = ("check_options", "check_policy", "check_window")

Check = Callable[[str, Any], None]


def check_options(options: Mapping[str, Any]) -> None:
    """Look at every option of a call that is given.

    Args:
        options: Those of `Task.apply_async`; one that is None counts as not given.

    Raises:
        TypeError: One has the wrong type; the text names it, its value and what is allowed.
        ValueError: One has a value that cannot be meant.
    """  # noqa: DOC502 - raised by the checks
    for name, value in options.items():
        check = _CHECKS.get(name)
        if check is not None and value is not None:
            check(name, value)


def check_policy(policy: Any, name: str = "retry_policy") -> None:
    """Look at a policy of retries.

    Args:
        policy: As in `task_publish_retry_policy`.
        name: What it is called in errors.

    Raises:
        TypeError: It is no mapping, or a value has the wrong type.
        ValueError: A key is unknown, or a value negative.
    """  # noqa: DOC502 - raised by the checks
    if not isinstance(policy, Mapping):
        _refuse_type(name, policy, f"a mapping with any of {', '.join(_POLICY)}")
    for key, value in policy.items():
        place = f"{name}[{key!r}]"
        if key not in _POLICY:
            _refuse_value(name, key, f"one of {', '.join(_POLICY)} as its keys")
        if value is None and key in {"max_retries", "retry_errors", "errback"}:
            continue
        _POLICY[key](place, value)


def check_window(window: Any, on_progress: Any) -> None:
    """Look at what a publisher of many calls is opened with.

    Args:
        window: How many messages may be unconfirmed.
        on_progress: A function, or None.

    Raises:
        TypeError: One has the wrong type.
        ValueError: The window is not positive.
    """  # noqa: DOC502 - raised by name
    if isinstance(window, bool) or not isinstance(window, int):
        _refuse_type("window", window, "a whole number of messages")
    if window < 1:
        _refuse_value("window", window, "1 or more messages")
    if on_progress is not None and not callable(on_progress):
        _refuse_type("on_progress", on_progress, "a function of two numbers")


def _refuse_type(name: str, value: Any, allowed: str) -> NoReturn:
    message = f"{name} must be {allowed}, not {value!r} ({type(value).__name__})"
    raise TypeError(message)


def _refuse_value(name: str, value: Any, allowed: str) -> NoReturn:
    message = f"{name} must be {allowed}, not {value!r}"
    raise ValueError(message)


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        _refuse_type(name, value, "text (str)")


def _number(name: str, value: Any) -> None:
    if not isinstance(value, (int, float)):
        _refuse_type(name, value, "a number of seconds (int or float)")
    if not math.isfinite(value):
        _refuse_value(name, value, "a finite number of seconds")


def _duration(name: str, value: Any) -> None:
    _number(name, value)
    if value < 0:
        _refuse_value(name, value, "0 or more seconds")


def _count(name: str, value: Any) -> None:
    if not isinstance(value, int):
        _refuse_type(name, value, "a whole number (int)")
    if value < 0:
        _refuse_value(name, value, "0 or more")


def _countdown(name: str, value: Any) -> None:
    _number(name, value)
    _from_now(name, value)


def _from_now(name: str, value: Any) -> None:
    # Compat: a negative number is a time that has passed.
    if not isinstance(value, timedelta):
        _number(name, value)
    try:
        _ = datetime.now() + maybe_timedelta(value)  # noqa: DTZ005 - only whether there is such a year
    except OverflowError:
        _refuse_value(name, value, "a number of seconds that ends in the years 1 to 9999")


def _moment(name: str, value: Any) -> None:
    if isinstance(value, str):
        try:
            parse_iso(value)
        except ValueError:
            _refuse_value(name, value, "a time in ISO 8601, such as '2030-01-31T12:00:00+00:00'")
    elif not isinstance(value, date):
        _refuse_type(name, value, "a datetime, or its text in ISO 8601")


def _expires(name: str, value: Any) -> None:
    if isinstance(value, (int, float, timedelta)):
        _from_now(name, value)
    elif isinstance(value, (str, datetime)):
        _moment(name, value)
    else:
        _refuse_type(name, value, "a number of seconds, a timedelta, a datetime or its ISO text")


_MAX_PRIORITY = 255


def _priority(name: str, value: Any) -> None:
    allowed = f"a whole number from 0 to {_MAX_PRIORITY}"
    if not isinstance(value, int):
        _refuse_type(name, value, allowed)
    if not 0 <= value <= _MAX_PRIORITY:
        _refuse_value(name, value, allowed)


def _entity(name: str, value: Any) -> None:
    if not isinstance(value, str) and not hasattr(value, "name"):
        _refuse_type(name, value, f"the name of one (str), or {_ENTITIES[name]}")


_ENTITIES = {"queue": "a Queue", "exchange": "an Exchange"}
_EXCHANGE_TYPES = ("direct", "topic", "fanout", "headers")


def _exchange_type(name: str, value: Any) -> None:
    allowed = f"one of {', '.join(_EXCHANGE_TYPES)}, or a type of a plugin (x-...)"
    if not isinstance(value, str):
        _refuse_type(name, value, allowed)
    if value not in _EXCHANGE_TYPES and not value.startswith("x-") and value:
        _refuse_value(name, value, allowed)


def _delivery_mode(name: str, value: Any) -> None:
    allowed = "1 ('transient') or 2 ('persistent')"
    if not isinstance(value, (int, str)):
        _refuse_type(name, value, allowed)
    if value not in {1, 2, "1", "2", "transient", "persistent"}:
        _refuse_value(name, value, allowed)


def _headers(name: str, value: Any) -> None:
    try:
        dict(value)
    except (TypeError, ValueError):
        _refuse_type(name, value, "a mapping")


def _names(name: str, value: Any) -> None:
    if isinstance(value, str) or not all(isinstance(one, str) for one in _listed(name, value)):
        _refuse_type(name, value, "a list of names (str)")


def _listed(name: str, value: Any) -> list[Any]:
    try:
        return list(value)
    except TypeError:
        _refuse_type(name, value, "a list")


def _signatures(name: str, value: Any) -> None:
    for one in value if isinstance(value, (list, tuple)) else (value,):
        if not isinstance(one, Mapping):
            hint = f" (task.s(): {one.name}.s(...))" if hasattr(one, "apply_async") else ""
            _refuse_type(name, one, f"a signature or a list of them{hint}")


def _mapping(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        _refuse_type(name, value, "a mapping")


def _function(name: str, value: Any) -> None:
    if not callable(value):
        _refuse_type(name, value, "a function")


def _router(name: str, value: Any) -> None:
    if not hasattr(value, "route"):
        _refuse_type(name, value, "an object with a method route(options, name, args, kwargs)")


def _entities(name: str, value: Any) -> None:
    for one in value if isinstance(value, (list, tuple, set)) else (value,):
        if not hasattr(one, "name") or hasattr(one, "apply_async"):
            _refuse_type(name, one, "a Queue or an Exchange, or a list of them")


def _errors(name: str, value: Any) -> None:
    kinds = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        _refuse_type(name, value, "a tuple of classes of exceptions")


def _policy(name: str, value: Any) -> None:
    if value:
        check_policy(value, name)


_POLICY: dict[str, Check] = {
    "max_retries": _count,
    "interval_start": _duration,
    "interval_step": _duration,
    "interval_max": _duration,
    "retry_errors": _errors,
    "errback": _function,
}
_CHECKS: dict[str, Check] = {
    "countdown": _countdown,
    "eta": _moment,
    "expires": _expires,
    "expiration": _duration,
    "priority": _priority,
    "queue": _entity,
    "exchange": _entity,
    "exchange_type": _exchange_type,
    "delivery_mode": _delivery_mode,
    "headers": _headers,
    "stamped_headers": _names,
    "stamps": _mapping,
    "link": _signatures,
    "link_error": _signatures,
    "time_limit": _duration,
    "soft_time_limit": _duration,
    "timeout": _duration,
    "confirm_timeout": _duration,
    "router": _router,
    "declare": _entities,
    "retry_policy": _policy,
    **dict.fromkeys(("retries", "group_index", "replaced_task_nesting"), _count),
    **dict.fromkeys(
        (
            "task_id", "routing_key", "shadow", "reply_to", "root_id", "parent_id", "group_id",
            "argsrepr", "kwargsrepr", "origin", "correlation_id",
        ),
        _text,
    ),
}  # fmt: skip
