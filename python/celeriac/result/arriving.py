"""Going through many results in the order in which they are done, in a thread that waits.

The thread waits for one descriptor, which the core makes readable when a document of any of them
has come; a store that wakes nobody is looked at instead, at growing intervals.

Source:
    celery/result.py ``ResultSet.iter_native`` (arguments, and what it yields).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import selectors
import time
from typing import TYPE_CHECKING, Any

from celeriac import _native, states
from celeriac.exceptions import OperationalError, TimeoutError  # noqa: A004 - Celery's name
from celeriac.green import plain
from celeriac.result.single import AsyncResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

#: Pauses between two looks, where nobody wakes: the first, doubled up to the second.
POLL_S = (0.01, 0.5)
#: When results are read without having been announced: an announcement may be lost with its
#: connection. The wait doubles up to the second figure.
LOOK_S = (5.0, 60.0)
WAIT_S = 10.0
_LOOK_AT_ONCE = 1_000


def in_order_of_arrival(
    results: Iterable[Any],
    timeout_s: float | None,
    interval_s: float,
    on_message: Callable[[dict[str, Any]], Any] | None,
    on_interval: Callable[[], Any] | None,
) -> Iterator[tuple[str, Any]]:
    """Wait for results.

    Args:
        results: The handles. One to a group gives its members at once, and one whose result is
            ignored says so at once.
        timeout_s: Seconds for all together; None without end.
        interval_s: Seconds between two calls of `on_interval`.
        on_message: Called with each document, intermediate states included.
        on_interval: Called while waiting.

    Yields:
        Id, and the fields of the final document; what is known already comes first.

    Raises:
        TimeoutError: They did not all come in time.
    """
    end_s = None if timeout_s is None else time.monotonic() + timeout_s
    with contextlib.closing(_Arrivals(on_message)) as arrivals:
        for result in dict.fromkeys(results):
            if not isinstance(result, AsyncResult):
                yield result.id, result.children
            elif result.ignored:
                yield result.id, {"status": states.IGNORED, "result": None}
            elif result.final is not None:
                yield result.id, result.final
            else:
                arrivals.expect(result)
        while arrivals.are_missing:
            left_s = LOOK_S[1] if end_s is None else max(0.0, end_s - time.monotonic())
            arrived = arrivals.wait(min(left_s, interval_s) if on_interval else left_s)
            yield from arrived
            if not arrived and end_s is not None and time.monotonic() >= end_s:
                message = "The operation timed out."
                raise TimeoutError(message)
            if on_interval is not None:
                on_interval()


class _Arrivals:
    """Handles that are waited for, by the tokens that their documents ring."""

    def __init__(self, on_message: Callable[[dict[str, Any]], Any] | None) -> None:
        self._bell = _native.Bell()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell.fileno(), selectors.EVENT_READ)
        self._on_message = on_message
        self._numbers = itertools.count(1)
        self._watched: dict[int, tuple[AsyncResult, Any]] = {}
        self._looked_at: dict[int, tuple[AsyncResult, Any]] = {}
        self._pause_s, self._longest_pause_s = LOOK_S

    def expect(self, result: AsyncResult) -> None:
        """Listen for a result."""
        subscription = result.lend_subscription() or result.backend.subscribe(result.id)
        token = next(self._numbers)
        watch = getattr(plain(subscription), "watch", None)
        if watch is not None and watch(self._bell, token):
            self._watched[token] = result, subscription
            return
        self._looked_at[token] = result, subscription
        self._pause_s, self._longest_pause_s = POLL_S

    @property
    def are_missing(self) -> bool:
        """Whether any is not done."""
        return bool(self._watched or self._looked_at)

    def wait(self, wait_s: float) -> list[tuple[str, dict[str, Any]]]:
        """Wait for documents.

        Returns:
            Those that are final; none where the time was over, or only states have changed.
        """
        arrived = [pair for token in list(self._looked_at) for pair in self._heard(token)]
        if arrived:
            return arrived
        if self._selector.select(min(wait_s, self._pause_s)):
            rung = dict.fromkeys(self._bell.take())
            return [pair for token in rung for pair in self._heard(token)]
        self._pause_s = min(2 * self._pause_s, self._longest_pause_s)
        return [] if self._looked_at else self._read()

    def _heard(self, token: int) -> Iterator[tuple[str, dict[str, Any]]]:
        of = self._watched if token in self._watched else self._looked_at
        if token not in of:
            return
        result, subscription = of[token]
        listening = plain(subscription)
        take = getattr(listening, "take", None) or functools.partial(listening.next, 0.0)
        while (document := take()) is not None:
            meta = result.backend.meta_of(document)
            if self._on_message is not None:
                self._on_message({**meta, "task_id": result.id})
            if meta["status"] in states.READY_STATES:
                result.final = meta
                del of[token]
                result.take_back(subscription)
                yield result.id, meta
                return

    def _read(self) -> list[tuple[str, dict[str, Any]]]:
        with contextlib.suppress(OperationalError):  # it announces them when it is back
            look([result for result, _ in self._watched.values()])
        found = []
        for token, (result, subscription) in list(self._watched.items()):
            if result.final is not None:
                del self._watched[token]
                result.take_back(subscription)
                found.append((result.id, result.final))
        return found

    def close(self) -> None:
        """Stop waiting; handles whose results are missing go on listening."""
        self._selector.close()
        for result, subscription in (*self._watched.values(), *self._looked_at.values()):
            result.take_back(subscription)


def look(results: Sequence[Any]) -> None:
    """Note what is stored already of results, many to a round trip; stores of Python are left out.

    Args:
        results: The handles.
    """
    waiting: dict[Any, list[AsyncResult]] = {}
    for result in results:
        if isinstance(result, AsyncResult) and not result.is_known:
            waiting.setdefault(result.backend, []).append(result)
    for backend, of_backend in waiting.items():
        if backend.native is None:
            continue
        for at in range(0, len(of_backend), _LOOK_AT_ONCE):
            part = of_backend[at : at + _LOOK_AT_ONCE]
            documents = backend.native.get_many([result.id for result in part], WAIT_S)
            for result, document in zip(part, documents, strict=True):
                if document is not None:
                    result.note(backend.meta_of(document))
