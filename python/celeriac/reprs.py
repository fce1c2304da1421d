"""Texts for people: calls and values, shortened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import _native

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def truncate(text: str, maxlen: int = 128, suffix: str = "...") -> str:
    """Cut a text to a length, at the end of a word where there is one.

    Args:
        text: The text.
        maxlen: Characters before the suffix.
        suffix: Put at the end of what was cut.

    Returns:
        The text.
    """
    if maxlen and len(text) >= maxlen:
        return text[:maxlen].rsplit(" ", 1)[0] + suffix
    return text


def reprkwargs(kwargs: Mapping[str, Any], sep: str = ", ", fmt: str = "{0}={1}") -> str:
    """Show keyword arguments.

    Returns:
        Such as ``a=1, b='x'``.
    """
    return sep.join(fmt.format(key, shown(value)) for key, value in kwargs.items())


def reprcall(
    name: str,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    sep: str = ", ",
) -> str:
    """Show a call.

    Returns:
        Such as ``tasks.add(1, b=2)``.
    """
    kwargs = kwargs or {}
    positional = sep.join(shown(value) for value in args)
    named = reprkwargs(kwargs, sep)
    return f"{name}({positional}{sep if positional and named else ''}{named})"


def shown(value: Any, max_chars: int = 1024) -> str:
    """Show a value; one whose `repr` fails does no harm.

    Returns:
        Its `repr`, shortened.
    """
    try:
        text = repr(value)
    except Exception as exc:  # noqa: BLE001 - `repr` is the user's code
        return f"<Unrepresentable {type(value).__name__!r}: {type(exc).__name__}>"
    return truncate(text, max_chars)


def saferepr(o: Any, maxlen: int | None = None, maxlevels: int = 3, seen: Any = None) -> str:
    """Show a value as messages carry it (``argsrepr``): bounded in length and depth.

    Args:
        o: The value.
        maxlen: Characters; None for as many as 65,536.
        maxlevels: Levels of nesting before ``...``.
        seen: Ignored.

    Returns:
        The text.
    """
    del seen
    return _native.safe_repr(o, maxlen or _MAX_CHARS, maxlevels)


_MAX_CHARS = 65536
