"""Celeriac's exceptions: Celery's names and bases, and what each is called on the wire.

Source:
    celery/exceptions.py, kombu/exceptions.py and billiard/exceptions.py (names, bases, arguments).
"""

from __future__ import annotations

import numbers
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from types import TracebackType


_KOMBU = "kombu.exceptions"
_BILLIARD = "billiard.exceptions"
_WIRE_MODULES = {
    "KombuError": _KOMBU,
    "OperationalError": _KOMBU,
    "SerializationError": _KOMBU,
    "EncodeError": _KOMBU,
    "DecodeError": _KOMBU,
    "SerializerNotInstalled": _KOMBU,
    "ContentDisallowed": _KOMBU,
    "SoftTimeLimitExceeded": _BILLIARD,
    "TimeLimitExceeded": _BILLIARD,
    "WorkerLostError": _BILLIARD,
    "Terminated": _BILLIARD,
}
_FOREIGN_MODULES = ("celery.exceptions", _KOMBU, _BILLIARD)


def wire_module(cls: type) -> str:
    """Name the module of an exception class as a Celery process knows it.

    Args:
        cls: Any class.

    Returns:
        For a class of this module ``celery.exceptions``, ``kombu.exceptions`` or
        ``billiard.exceptions``; for every other class its own module.

    Source:
        A Celery client rebuilds an exception from ``exc_module`` and ``exc_type``.
    """
    if cls.__module__ != __name__:
        return cls.__module__
    return _WIRE_MODULES.get(cls.__name__, "celery.exceptions")


_twins: dict[tuple[type, type], type[BaseException]] = {}


def raised(cls: type[BaseException]) -> type[BaseException]:
    """Return the class to raise in place of `cls`, so that users' `except` clauses catch it.

    Where Celery's, kombu's or billiard's class of the same name is already loaded, that is a
    subclass of both (made once): code that says ``except kombu.exceptions.OperationalError`` keeps
    working. Nothing is imported for it. Calling a class of this module does it by itself.

    Args:
        cls: A class of this module.

    Returns:
        `cls`, or a subclass of it with its name.
    """
    module = sys.modules.get(wire_module(cls))
    other = getattr(module, cls.__name__, None)
    if cls.__module__ != __name__ or not isinstance(other, type) or issubclass(cls, other):
        return cls
    twin = _twins.get((cls, other))
    if twin is None:
        twin = _twins[cls, other] = _twin(cls, other)
    return twin


def _twin(cls: type[BaseException], other: type) -> type[BaseException]:
    def reduce(self: BaseException) -> tuple[Any, ...]:
        reduced: tuple[Any, ...] = cls.__reduce__(self)  # type: ignore[assignment]
        return cls, *reduced[1:]

    # Compat: `__init__` comes from `cls` alone; the other class's must not run a second time.
    body = {"__module__": cls.__module__, "__doc__": cls.__doc__, "__reduce__": reduce}
    return type(cls.__name__, (cls, other), {**body, "__qualname__": cls.__qualname__})


def _new(cls: Any, /, *args: Any, **_kwargs: Any) -> Any:
    """Make an instance of what is to be raised in place of `cls` (see `raised`).

    Returns:
        An exception without its arguments' meaning; `__init__` follows.
    """
    return BaseException.__new__(raised(cls), *args)


class CeleryWarning(UserWarning):
    """Base of all warnings."""


class AlwaysEagerIgnored(CeleryWarning):
    """`task_always_eager` is set, but `send_task` cannot run a task it only knows by name."""


class DuplicateNodenameWarning(CeleryWarning):
    """Two workers use one node name."""


class DuplicateTaskNameWarning(CeleryWarning):
    """Two tasks were registered under one name."""


class FixupWarning(CeleryWarning):
    """A framework integration found something wrong."""


class NotConfigured(CeleryWarning):
    """No configuration module was found."""


class SecurityWarning(CeleryWarning):
    """Something is set up in a way that may be unsafe."""


class CDeprecationWarning(DeprecationWarning):
    """A feature will go away."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """A feature will be deprecated."""


class CeleryError(Exception):
    """Base of most errors."""

    if not TYPE_CHECKING:
        __new__ = _new


class ImproperlyConfigured(CeleryError):  # noqa: N818 - Celery's name
    """A setting, URL or option cannot work."""


class SecurityError(CeleryError):
    """A message or result asked for something it must not get."""


class TaskPredicate(CeleryError):  # noqa: N818 - Celery's name
    """Base of what a task raises to say how it ended, other than by an error."""


class Ignore(TaskPredicate):
    """The worker acknowledges the message and leaves the state alone."""


class Reject(TaskPredicate):
    """The worker rejects the message; the broker may dead-letter or deliver it again."""

    def __init__(self, reason: object = None, requeue: bool = False) -> None:  # noqa: FBT001, FBT002
        self.reason = reason
        self.requeue = requeue
        Exception.__init__(self, reason, requeue)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class Retry(TaskPredicate):
    """The task is to run again later; raised by `Task.retry`."""

    message: str | None
    exc: BaseException | None
    excs: str | None
    when: object
    is_eager: bool
    sig: Any

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: object = None,
        is_eager: bool = False,  # noqa: FBT001, FBT002
        sig: Any = None,
        **kwargs: Any,
    ) -> None:
        self.message = message
        if isinstance(exc, str):
            self.exc, self.excs = None, exc
        else:
            self.exc, self.excs = exc, repr(exc) if exc is not None else None
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        Exception.__init__(self, self, exc, when, **kwargs)

    def humanize(self) -> str:
        """Say when the task runs again.

        Returns:
            ``in <seconds>s`` or ``at <time>``.
        """
        if isinstance(self.when, numbers.Number):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"

    def __reduce__(self) -> tuple[type[Retry], tuple[object, ...]]:
        """Pickle by arguments: `args` holds the exception itself.

        Returns:
            The class and its first three arguments.
        """
        return Retry, (self.message, self.exc, self.when)


RetryTaskError = Retry


class TaskError(CeleryError):
    """Base of errors about tasks."""


class QueueNotFound(KeyError, TaskError):  # noqa: N818 - Celery's name
    """A queue is not in `task_queues`, and missing queues are not to be created."""

    if not TYPE_CHECKING:
        __new__ = _new


class IncompleteStream(TaskError):  # noqa: N818 - Celery's name
    """The end of a stream was found too early."""


class NotRegistered(KeyError, TaskError):  # noqa: N818 - Celery's name
    """No task of this name is registered."""

    if not TYPE_CHECKING:
        __new__ = _new

    def __repr__(self) -> str:
        return f"Task of kind {self} is not registered here: its module was not imported."


class AlreadyRegistered(TaskError):  # noqa: N818 - Celery's name
    """A task of this name is registered already."""


class TimeoutError(TaskError):  # noqa: A001 - Celery's name
    """The result did not arrive in time."""


class MaxRetriesExceededError(TaskError):
    """The task has been retried as often as it may be."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_args: Any = kwargs.pop("task_args", [])
        self.task_kwargs: Any = kwargs.pop("task_kwargs", {})
        Exception.__init__(self, *args, **kwargs)


class TaskRevokedError(TaskError):
    """The task was revoked, has expired or was terminated."""


class InvalidTaskError(TaskError):
    """A message is not a task message, or a corrupt one."""


class ChordError(TaskError):
    """A task of a chord's header failed, or its results could not be joined."""


class BackendError(Exception):
    """Base of errors of the result backend."""

    if not TYPE_CHECKING:
        __new__ = _new


class BackendGetMetaError(BackendError):
    """A result document could not be read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_id: str = kwargs.get("task_id", "")
        Exception.__init__(self, *args)

    def __repr__(self) -> str:
        return f"{Exception.__repr__(self)} task_id:{self.task_id}"


class BackendStoreError(BackendError):
    """A result document could not be written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state: str = kwargs.get("state", "")
        self.task_id: str = kwargs.get("task_id", "")
        Exception.__init__(self, *args)

    def __repr__(self) -> str:
        return f"{Exception.__repr__(self)} state:{self.state} task_id:{self.task_id}"


class KombuError(Exception):
    """Base of errors of brokers and serializers."""

    if not TYPE_CHECKING:
        __new__ = _new


class OperationalError(KombuError):
    """The broker or the result store cannot be reached, or refuses."""


class SerializationError(KombuError):
    """Base of encoding and decoding errors."""


class EncodeError(SerializationError):
    """A value cannot be encoded."""


class DecodeError(SerializationError):
    """Data cannot be decoded."""


class SerializerNotInstalled(KombuError):  # noqa: N818 - kombu's name
    """The library a serializer needs is missing."""


class ContentDisallowed(SerializerNotInstalled):
    """The content type is not in `accept_content`."""


class SoftTimeLimitExceeded(Exception):  # noqa: N818 - billiard's name
    """The task's soft time limit has passed; raised inside the task."""

    if not TYPE_CHECKING:
        __new__ = _new

    def __str__(self) -> str:
        return f"SoftTimeLimitExceeded{self.args}"


class TimeLimitExceeded(Exception):  # noqa: N818 - billiard's name
    """The task's hard time limit has passed, and its process was killed."""

    if not TYPE_CHECKING:
        __new__ = _new

    def __str__(self) -> str:
        return f"TimeLimitExceeded{self.args}"


class WorkerLostError(Exception):
    """The process that ran the task has died."""

    if not TYPE_CHECKING:
        __new__ = _new


class Terminated(Exception):  # noqa: N818 - billiard's name
    """The process that ran the task was terminated on request."""

    if not TYPE_CHECKING:
        __new__ = _new


class WorkerTerminate(SystemExit):
    """The worker stops at once."""


SystemTerminate = WorkerTerminate


class WorkerShutdown(SystemExit):
    """The worker stops after its current tasks."""


def reraise(tp: object, value: BaseException, tb: TracebackType | None = None) -> NoReturn:  # noqa: ARG001
    """Raise an exception again, with another traceback if one is given.

    Args:
        tp: Ignored; Celery's signature has the class here.
        value: The exception.
        tb: The traceback to raise it with.
    """
    if value.__traceback__ is not tb:
        raise value.with_traceback(tb)
    raise value


def class_from_wire(module: str | None, name: str) -> type[BaseException] | None:
    """Find our class for the names a Celery process gave to an exception.

    Args:
        module: ``exc_module`` of a result document.
        name: ``exc_type`` of a result document.

    Returns:
        The class as it is to be raised here (see `raised`); None if the names are not ours.
    """
    if module != __name__ and module not in _FOREIGN_MODULES:
        return None
    cls = globals().get(name)
    if isinstance(cls, type) and issubclass(cls, BaseException) and cls.__module__ == __name__:
        return raised(cls)
    return None


def __getattr__(name: str) -> object:
    if name == "CeleryCommandException":
        # click is loaded only where a command line is: it costs a tenth of our import time.
        return _command_exception()
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def _command_exception() -> type[Exception]:
    from click import ClickException  # noqa: PLC0415 - see above

    class CeleryCommandException(ClickException):
        """A command failed with an exit code of its own."""

        def __init__(self, message: str, exit_code: int) -> None:
            super().__init__(message=message)
            self.exit_code = exit_code  # type: ignore[misc]

    CeleryCommandException.__qualname__ = "CeleryCommandException"
    globals()["CeleryCommandException"] = CeleryCommandException
    return CeleryCommandException
