"""Signals: what Celery calls when, with its keyword arguments.

Source:
    celery/signals.py (names and arguments), celery/utils/dispatch/signal.py (behaviour).
"""

from __future__ import annotations

import inspect
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger("celeriac.signals")

_Receiver = Any
_Key = tuple[object, object]


class Signal:
    """A named list of receivers.

    A receiver is called with ``signal=``, ``sender=`` and the signal's own keyword arguments, so it
    must accept ``**kwargs``. It is held weakly unless connected with ``weak=False``.
    """

    #: The receivers: (key, receiver or weak reference) pairs; None before the first.
    receivers: list[tuple[_Key, Any]] | None = None
    #: Called when there are others, for who does not want to look at each call.
    on_change: Callable[[], None] | None = None

    def __init__(
        self,
        providing_args: Iterable[str] | None = None,
        use_caching: bool = False,  # noqa: FBT001, FBT002
        name: str | None = None,
    ) -> None:
        self.name = name
        self.providing_args = set(providing_args or ())
        self.use_caching = use_caching
        self.receivers = []
        self.lock = threading.RLock()

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name == "receivers" and self.on_change is not None:
            self.on_change()

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Add a receiver; also a decorator, with or without arguments.

        Args:
            *args: The receiver, optionally followed by the options below.
            **kwargs: ``sender`` (only signals of this sender), ``weak`` (default True),
                ``dispatch_uid`` (a second connect with the same one is ignored), ``retry``
                (accepted; a receiver that fails is logged, not called again).

        Returns:
            The receiver, or a decorator.
        """
        if args and args[0] is not None:
            return self._connect(*args, **kwargs)
        return lambda receiver: self._connect(receiver, *args[1:], **kwargs)

    def _connect(
        self,
        receiver: _Receiver,
        sender: object = None,
        weak: bool = True,  # noqa: FBT001, FBT002
        dispatch_uid: object = None,
        retry: bool = False,  # noqa: ARG002, FBT001, FBT002
    ) -> _Receiver:
        _check_receiver(receiver)
        key = _key(receiver, sender, dispatch_uid)
        held = _weakly(receiver, self._forget_dead) if weak else receiver
        with self.lock:
            current = self.receivers or []
            if all(other != key for other, _ in current):
                self.receivers = [*current, (key, held)]
        return receiver

    def _forget_dead(self, dead: object) -> None:
        with self.lock:
            self.receivers = [pair for pair in self.receivers or [] if pair[1] is not dead]

    def disconnect(
        self,
        receiver: _Receiver = None,
        sender: object = None,
        weak: bool | None = None,  # noqa: ARG002, FBT001 - kept for callers that still pass it
        dispatch_uid: object = None,
    ) -> bool:
        """Remove a receiver.

        Args:
            receiver: The receiver as it was connected; not needed with a `dispatch_uid`.
            sender: The sender it was connected for.
            weak: Ignored.
            dispatch_uid: The one it was connected with.

        Returns:
            Whether it was connected.
        """
        key = _key(receiver, sender, dispatch_uid)
        with self.lock:
            before = self.receivers or []
            self.receivers = [pair for pair in before if pair[0] != key]
            return len(self.receivers) < len(before)

    def has_listeners(self, sender: object = None) -> bool:
        """Say whether anybody would be called for `sender`.

        Args:
            sender: The sender to be given to `send`.

        Returns:
            Whether at least one receiver listens.
        """
        return bool(self.receivers) and any(True for _ in self._live(sender))

    def send(self, sender: object, **named: Any) -> list[tuple[_Receiver, Any]]:
        """Call all receivers; one that fails is logged and does not stop the others.

        Args:
            sender: Who sends: a task, its name, an application, a worker.
            **named: The signal's keyword arguments.

        Returns:
            Pairs of receiver and what it returned, or the exception it raised.
        """
        if not self.receivers:
            return []
        responses: list[tuple[_Receiver, Any]] = []
        for receiver in list(self._live(sender)):
            try:
                response = receiver(signal=self, sender=sender, **named)
            except Exception as exc:
                logger.exception("Signal handler %r raised: %r", receiver, exc)  # noqa: TRY401
                response = exc
            responses.append((receiver, response))
        return responses

    send_robust = send

    def _live(self, sender: object) -> Iterable[_Receiver]:
        wanted = _sender_id(sender)
        for (_, of), held in self.receivers or ():
            if of is None or of == wanted:
                receiver = held() if isinstance(held, weakref.ReferenceType) else held
                if receiver is not None:
                    yield receiver

    def __repr__(self) -> str:
        return f"<Signal: {self.name} providing_args={self.providing_args!r}>"


def _check_receiver(receiver: _Receiver) -> None:
    if not callable(receiver):
        message = f"A signal receiver must be callable, not {type(receiver).__name__}."
        raise TypeError(message)
    try:
        parameters = inspect.signature(receiver).parameters.values()
    except (TypeError, ValueError):
        return
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        message = f"Signal receiver {receiver!r} must accept keyword arguments (**kwargs)."
        raise ValueError(message)


def _weakly(receiver: _Receiver, when_dead: Callable[[Any], None]) -> weakref.ReferenceType[Any]:
    if hasattr(receiver, "__self__") and hasattr(receiver, "__func__"):
        return weakref.WeakMethod(receiver, when_dead)
    return weakref.ref(receiver, when_dead)


def _key(receiver: _Receiver, sender: object, dispatch_uid: object) -> _Key:
    if dispatch_uid:
        return dispatch_uid, _sender_id(sender)
    if hasattr(receiver, "__self__") and hasattr(receiver, "__func__"):
        return (id(receiver.__self__), id(receiver.__func__)), _sender_id(sender)
    return id(receiver), _sender_id(sender)


def _sender_id(sender: object) -> object:
    # Names are compared by value: OpenTelemetry and Sentry connect for task names.
    if sender is None or isinstance(sender, str):
        return sender
    return id(sender)


def _signal(name: str, *providing_args: str) -> Signal:
    return Signal(name=name, providing_args=providing_args)


# Publishing
before_task_publish = _signal(
    "before_task_publish",
    *("body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy"),
)
after_task_publish = _signal("after_task_publish", "body", "exchange", "routing_key", "headers")
task_sent = _signal("task_sent", "task_id", "task", "args", "kwargs", "eta", "taskset")

# Tasks, in the worker
_CALL = ("task_id", "task", "args", "kwargs")
_FAILED = ("task_id", "exception", "args", "kwargs", "traceback", "einfo")
task_received = _signal("task_received", "request")
task_prerun = _signal("task_prerun", *_CALL)
task_postrun = _signal("task_postrun", *_CALL, "retval", "state")
task_success = _signal("task_success", "result", "runtime")
task_retry = _signal("task_retry", "request", "reason", "einfo")
task_failure = _signal("task_failure", *_FAILED)
task_internal_error = _signal("task_internal_error", *_FAILED, "request")
task_revoked = _signal("task_revoked", "request", "terminated", "signum", "expired")
task_rejected = _signal("task_rejected", "message", "exc")
task_unknown = _signal("task_unknown", "message", "exc", "name", "id")

# The worker
celeryd_init = _signal("celeryd_init", "instance", "conf", "options")
celeryd_after_setup = _signal("celeryd_after_setup", "instance", "conf")
import_modules = _signal("import_modules")
worker_init = _signal("worker_init")
worker_before_create_process = _signal("worker_before_create_process")
worker_process_init = _signal("worker_process_init")
worker_process_shutdown = _signal("worker_process_shutdown", "pid", "exitcode")
worker_ready = _signal("worker_ready")
worker_shutting_down = _signal("worker_shutting_down", "sig", "how", "exitcode")
worker_shutdown = _signal("worker_shutdown")
heartbeat_sent = _signal("heartbeat_sent")

# Logging
_LOGGING = ("loglevel", "logfile", "format", "colorize")
setup_logging = _signal("setup_logging", *_LOGGING)
after_setup_logger = _signal("after_setup_logger", "logger", *_LOGGING)
after_setup_task_logger = _signal("after_setup_task_logger", "logger", *_LOGGING)

# Beat, eventlet, command line
beat_init = _signal("beat_init")
beat_embedded_init = _signal("beat_embedded_init")
eventlet_pool_started = _signal("eventlet_pool_started")
eventlet_pool_preshutdown = _signal("eventlet_pool_preshutdown")
eventlet_pool_postshutdown = _signal("eventlet_pool_postshutdown")
eventlet_pool_apply = _signal("eventlet_pool_apply", "target", "args", "kwargs")
user_preload_options = _signal("user_preload_options", "app", "options")
