"""Stamps: named headers that travel with every task of a canvas.

Source:
    Celery's guide on stamping; protocol: stamps are options of a signature, named in its option
    ``stamped_headers``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = "stamped_headers"


class StampingVisitor(ABC):
    """Chooses the stamps of each part of a canvas; each method returns a dictionary of stamps.

    A dictionary with the key ``stamped_headers`` says itself which of its keys are stamps;
    otherwise all are.
    """

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        """Choose the stamps of a task.

        Returns:
            The stamps.
        """

    def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
        """Choose the stamps of all tasks of a group.

        Returns:
            The stamps.
        """
        del group, headers
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:  # noqa: B027 - need not be overridden
        """Called when a group is stamped."""

    def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any]:
        """Choose the stamps of all tasks of a chain.

        Returns:
            The stamps.
        """
        del chain, headers
        return {}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:  # noqa: B027 - as above
        """Called when a chain is stamped."""

    def on_chord_header_start(self, sig: Any, **header: Any) -> dict[str, Any]:
        """Choose the stamps of all tasks of a chord's header.

        Returns:
            The stamps; by default those of a group.
        """
        return self.on_group_start(sig.header_group(), **header)

    def on_chord_header_end(self, sig: Any, **header: Any) -> None:
        """Called when a chord's header is stamped."""
        self.on_group_end(sig.tasks, **header)

    def on_chord_body(self, sig: Any, **header: Any) -> dict[str, Any]:
        """Choose the stamps of a chord's body.

        Returns:
            The stamps.
        """
        del sig, header
        return {}

    def on_callback(self, callback: Any, **header: Any) -> dict[str, Any]:
        """Choose the stamps of a callback.

        Returns:
            The stamps.
        """
        del callback, header
        return {}

    def on_errback(self, errback: Any, **header: Any) -> dict[str, Any]:
        """Choose the stamps of an errback.

        Returns:
            The stamps.
        """
        del errback, header
        return {}


def merged(
    sig: Any,
    headers: Mapping[str, Any],
    chosen: Mapping[str, Any] | None,
    *,
    append: bool,
    own: bool = True,
) -> dict[str, Any]:
    """Merge the stamps of a call, of a visitor and of the signature itself.

    Args:
        sig: The signature.
        headers: Stamps given by the caller.
        chosen: Stamps chosen by the visitor; they win over the caller's.
        append: Whether a stamp that several name becomes a list of all values.
        own: Whether the signature's own stamps count, too.

    Returns:
        Options for the signature, ``stamped_headers`` among them.
    """
    result = _named(headers)
    sources = [_named(chosen)] if chosen else []
    if own:
        names = sig.options.get(NAMES) or []
        sources.append(
            {NAMES: list(names), **{k: sig.options[k] for k in names if k in sig.options}}
        )
    for source in sources:
        # In the order of their first appearance, each once.
        result[NAMES] = list(dict.fromkeys([*result[NAMES], *source.pop(NAMES)]))
        for key, value in source.items():
            result[key] = _both(result[key], value, append=append) if key in result else value
    return result


def _named(stamps: Mapping[str, Any]) -> dict[str, Any]:
    stamps = dict(stamps)
    stamps[NAMES] = list(stamps.get(NAMES, stamps))
    return stamps


def _both(first: Any, second: Any, *, append: bool) -> Any:
    if not append:
        return second
    values = [*_values(first), *_values(second)]
    return values if len(values) > 1 else values[0]


def _values(value: Any) -> list[Any]:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return list(value) if isinstance(value, (list, tuple)) else [value]


def stamp_links(sig: Any, visitor: Any, headers: Mapping[str, Any], *, append: bool) -> None:
    """Put stamps on a signature's callbacks and errbacks.

    Args:
        sig: The signature.
        visitor: A `StampingVisitor`, or None.
        headers: Stamps.
        append: As in `merged`.
    """
    for option, choose in (("link", "on_callback"), ("link_error", "on_errback")):
        linked = sig.options.get(option)
        if not linked:
            continue
        if not isinstance(linked, list):
            linked = sig.options[option] = [linked]
        for index, link in enumerate(linked):
            link = linked[index] = sig.of(link)  # noqa: PLW2901 - a dictionary becomes a signature
            chosen = getattr(visitor, choose)(link, **headers) if visitor is not None else None
            # Not the stamps of the signature that it is linked to.
            stamps = merged(sig, deepcopy(dict(headers)), chosen, append=append, own=False)
            link.stamp(visitor, append, **stamps)
