"""Lists of broker URLs, and the order in which they are tried."""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: What is taken of a strategy's endless answer; after so many servers it begins again.
_TAKEN = 32


def url_list(value: Any) -> list[str]:
    """Read a setting with one URL or several.

    Args:
        value: Text with ``;`` between URLs, or a list of such texts.

    Returns:
        The URLs.
    """
    texts = [value] if isinstance(value, str) else list(value)
    return [url for text in texts for url in text.split(";") if url]


def in_order(
    urls: list[str], strategy: str | Callable[[list[str]], Iterable[str]] | None
) -> list[str]:
    """Put the servers into the order in which they are tried; after the last comes the first.

    Args:
        urls: The servers.
        strategy: ``broker_failover_strategy``: ``"round-robin"`` (also None), ``"shuffle"``, or a
            callable that is given the list and returns the servers one after the other, for ever
            if it likes.

    Returns:
        The first server first, whatever the strategy: it comes into play when that one fails.

    Raises:
        ImproperlyConfigured: There is no such strategy, or it names no server.

    Source:
        kombu/connection.py (``failover_strategies``; the first server is skipped in the cycle).
    """
    if len(urls) == 1:
        return urls
    if strategy is None or strategy == "round-robin":
        return urls
    if strategy == "shuffle":
        return [urls[0], *random.sample(urls[1:], len(urls) - 1)]
    if isinstance(strategy, str):
        message = (
            "Setting 'broker_failover_strategy' is 'round-robin', 'shuffle' or a callable, "
            f"not {strategy!r}."
        )
        raise ImproperlyConfigured(message)
    chosen = [*islice(strategy(list(urls)), _TAKEN)]
    if not chosen or any(url not in urls for url in chosen):
        message = "The callable in 'broker_failover_strategy' must return servers from its list."
        raise ImproperlyConfigured(message)
    return [urls[0], *chosen[1:]]
