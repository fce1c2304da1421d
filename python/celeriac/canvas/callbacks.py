"""Callbacks and errbacks of a chord: they belong to its body."""

from __future__ import annotations

from typing import Any

from celeriac.canvas.compose import is_empty_group, kind
from celeriac.canvas.signature import maybe_signature


def added_to_body(body: Any, options: dict[str, Any]) -> Any:
    """Move a chord's ``link`` and ``link_error`` to its body.

    Errbacks go to each member of a group, not to the header of a chord in it.

    Args:
        body: The body.
        options: Those of the chord; they lose both.

    Returns:
        The body, copied if it was changed.
    """
    links, errbacks = (_listed(options.pop(key, None)) for key in ("link", "link_error"))
    if links or errbacks:
        body = _deep_copy(body)
    for callback in links:
        callback = _deep_copy(maybe_signature(callback))  # noqa: PLW2901
        if is_empty_group(body):
            body.append_to_list_option("link", callback)
        else:
            body.link(callback)
    for errback in errbacks:
        if kind(body) == "group":
            _link_error_to_members(body, maybe_signature(errback))
        else:
            body.append_to_list_option("link_error", errback)
    return body


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _deep_copy(sig: Any) -> Any:
    # With what `link` changes in it.
    sig = maybe_signature(sig, clone=True)
    if kind(sig) == "group":
        sig.tasks = [_deep_copy(task) for task in sig.tasks]
    elif kind(sig) == "chord":
        sig.body = _deep_copy(sig.body)
    return sig


def _link_error_to_members(sig: Any, errback: Any, *, is_outermost: bool = True) -> None:
    if kind(sig) == "group":
        if is_outermost and sig.options.get("link_error") is not None:
            # Given to each member when the group is sent, in place of the members' own.
            sig.append_to_list_option("link_error", errback.clone())
            return
        for task in sig.tasks:
            _link_error_to_members(task, errback, is_outermost=False)
    elif kind(sig) == "chord":
        _link_error_to_members(sig.body, errback)
    else:
        sig.link_error(errback.clone())
