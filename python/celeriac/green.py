"""Producers under gevent's or eventlet's hub: their waits go through threads of the hub.

A wait in Rust leaves Python's lock, but not the one thread in which every greenlet runs. Where a
hub has patched the sockets, what talks to the broker or the result store is wrapped when it is
opened, and each of its calls runs in a native thread while the hub runs other greenlets. Everybody
else gets the object itself: there is nothing to ask on the way of a publish.
"""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac import _native

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("cooperative", "plain")

_T = TypeVar("_T")

#: A thread is lent to one wait for so long: more greenlets may wait than there are threads.
SLICE_S = 0.1
#: Of these threads; publishes have their own, so that what is waited for can always be sent.
WAITING_THREADS = 32
CALLING_THREADS = 10


def cooperative(native: _T) -> _T:
    """Make what waits in Rust fit for the hub that runs this process, if one does.

    Args:
        native: An object of the Rust module.

    Returns:
        The object itself, or one that behaves alike and lets other greenlets run.
    """
    run = _runner()
    if run is None:
        return native
    wrapped: Any = _Cooperative(native, run)
    return wrapped  # type: ignore[no-any-return]


def plain(wrapped: _T) -> _T:
    """Take back the object of the Rust module.

    Args:
        wrapped: What `cooperative` has returned.

    Returns:
        The object.
    """
    return wrapped.native if isinstance(wrapped, _Cooperative) else wrapped


def _runner() -> Any:
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("socket"):
        return _in_gevent
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("socket"):
        return _in_eventlet
    return None


def _in_gevent(function: Callable[..., Any], *args: Any, waits: bool) -> Any:
    hub = import_module("gevent").get_hub()
    return _gevent_threads(hub, waits).apply(function, args)


@cache
def _gevent_threads(hub: Any, waits: bool) -> Any:  # noqa: FBT001 - a key
    # Of its own for each hub: each native thread has one, and a fork gets another.
    pool = import_module("gevent.threadpool").ThreadPool
    return pool(WAITING_THREADS if waits else CALLING_THREADS, hub=hub)


def _in_eventlet(function: Callable[..., Any], *args: Any, waits: bool) -> Any:
    execute = import_module("eventlet.tpool").execute
    if not waits:
        return execute(function, *args)
    with _eventlet_turns():
        return execute(function, *args)


@cache
def _eventlet_turns() -> Any:
    # Its threads are of one kind: waits may have half of them.
    threads = int(os.environ.get("EVENTLET_THREADPOOL_SIZE", "20"))
    return import_module("eventlet.semaphore").Semaphore(max(1, threads // 2))


class _Cooperative:
    """Stands for an object of the Rust module; its methods run in the hub's threads."""

    __slots__ = ("__weakref__", "_run", "native")

    def __init__(self, native: Any, run: Any) -> None:
        self.native = native
        self._run = run

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.native, name)
        if not callable(found):
            return found

        def call(*args: Any) -> Any:
            return self._wrapped(self._run(found, *map(plain, args), waits=False))

        return call

    def next(self, wait_s: float) -> Any:
        """Wait for a result as `Subscription.next` does, a slice at a time.

        Args:
            wait_s: How long, in seconds.

        Returns:
            The document; None where there is none.
        """
        deadline_s = time.monotonic() + wait_s
        while True:
            left_s = deadline_s - time.monotonic()
            found = self._run(self.native.next, max(0.0, min(left_s, SLICE_S)), waits=True)
            if found is not None or left_s <= SLICE_S:
                return found

    def _wrapped(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(self._wrapped, value))
        if isinstance(value, _native.Subscription | _native.Window):
            return _Cooperative(value, self._run)
        return value
