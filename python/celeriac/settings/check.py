"""Check values against the table: a wrong one is refused where it is set, by name."""

from __future__ import annotations

import numbers
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import ImproperlyConfigured
from celeriac.settings.table import BY_NAME

if TYPE_CHECKING:
    from celeriac.settings.table import Kind

_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False}
_WORDS |= {"no": False, "off": False, "": False}


def checked(name: str, value: Any) -> Any:
    """Return `value` as the setting's type.

    Args:
        name: The setting's (new) name; unknown ones accept everything.
        value: What the user gave. Numbers and truth values may be text, as from an environment.

    Returns:
        The value, converted from text where the setting is a number or a truth value.

    Raises:
        ImproperlyConfigured: The value cannot be what the setting is.
    """
    setting = BY_NAME.get(name)
    if setting is None or value is None or setting.kind == "any":
        return value
    try:
        return _convert(setting.kind, value)
    except (TypeError, ValueError):
        message = (
            f"Setting {name!r} must be {_EXPECTED[setting.kind]}, not {value!r} "
            f"({type(value).__name__})."
        )
        raise ImproperlyConfigured(message) from None


_EXPECTED: dict[Kind, str] = {
    "bool": "True or False",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "list": "a list or tuple of names",
    "seconds": "a number of seconds or a timedelta",
    "str": "text",
}


def _convert(kind: Kind, value: Any) -> Any:
    match kind:
        case "bool":
            return _truth(value)
        case "int":
            return int(value) if isinstance(value, str) else _must_be(value, numbers.Real)
        case "float":
            return float(value) if isinstance(value, str) else _must_be(value, numbers.Real)
        case "seconds":
            return float(value) if isinstance(value, str) else _must_be(value, _SECONDS)
        case "dict":
            return _must_be(value, Mapping)
        case "list":
            # A single name is a common slip, and Celery takes it.
            return [value] if isinstance(value, str) else _must_be(value, Collection)
        case "str" | "any":
            return value


_SECONDS = (numbers.Real, timedelta)


def _must_be(value: Any, types: Any) -> Any:
    if not isinstance(value, types):
        raise TypeError
    return value


def _truth(value: Any) -> Any:
    if isinstance(value, str):
        if value.strip().lower() not in _WORDS:
            raise ValueError
        return _WORDS[value.strip().lower()]
    return value
