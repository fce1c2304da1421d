"""Check a task's arguments at the call, before anything is sent.

A function with the task's parameters and an empty body is compiled once: the interpreter then
checks calls in a tenth of the time that `inspect.Signature.bind` takes, with its own messages.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def header(function: Callable[..., Any], *, bound: bool = False) -> Callable[..., None]:
    """Make a function that accepts what `function` accepts, and does nothing.

    Args:
        function: A task's function.
        bound: Whether its first parameter is the task itself, which callers do not give.

    Returns:
        A function that raises TypeError for wrong arguments.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if bound and parameters and parameters[0].kind in _POSITIONAL:
        parameters = parameters[1:]
    name = getattr(function, "__name__", "task")
    safe = name if name.isidentifier() else "task"
    namespace: dict[str, Any] = {"__name__": function.__module__}
    # The text consists of parameter names of compiled code, so it is safe to compile.
    exec(f"def {safe}({_listed(parameters)}): pass", namespace)  # noqa: S102
    checker: Any = namespace[safe]
    checker.takes = _positional_range(parameters)
    made: Callable[..., None] = checker
    return made


def _positional_range(parameters: list[inspect.Parameter]) -> tuple[int, int] | None:
    # How many positional arguments, and nothing else, are taken; None where that is never enough.
    least = most = 0
    for parameter in parameters:
        is_needed = parameter.default is parameter.empty
        if parameter.kind in _POSITIONAL:
            least, most = least + is_needed, most + 1
        elif parameter.kind is parameter.VAR_POSITIONAL:
            most = sys.maxsize
        elif parameter.kind is parameter.KEYWORD_ONLY and is_needed:
            return None
    return least, most


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _listed(parameters: list[inspect.Parameter]) -> str:
    parts: list[str] = []
    only_positional = [p for p in parameters if p.kind is p.POSITIONAL_ONLY]
    star_needed = not any(p.kind is p.VAR_POSITIONAL for p in parameters)
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and star_needed:
            parts.append("*")
            star_needed = False
        parts.append(_prefix(parameter) + parameter.name + _default(parameter))
        if only_positional and parameter is only_positional[-1]:
            parts.append("/")
    return ", ".join(parts)


def _prefix(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return "*"
    return "**" if parameter.kind is parameter.VAR_KEYWORD else ""


def _default(parameter: inspect.Parameter) -> str:
    return "" if parameter.default is parameter.empty else "=None"
