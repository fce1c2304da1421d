"""`AsyncResult`: a handle to what a task will return.

Source:
    celery/result.py ``AsyncResult`` (names and arguments).
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Generic

from celeriac import states
from celeriac._current import app_or_default
from celeriac.backends.documents import parse_date
from celeriac.broker import give_up
from celeriac.exceptions import TimeoutError  # noqa: A004 - Celery's name
from celeriac.result import awaiting
from celeriac.result.tree import Tree
from celeriac.result.waiting import assert_will_not_block

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import TypeVar

    R_co = TypeVar("R_co", covariant=True, default=Any)
else:
    # `default` is a later Python's; only what checks types needs it.
    from typing import TypeVar

    R_co = TypeVar("R_co", covariant=True)

_FOREVER_S = 3600.0


class ResultBase:
    """Base of all handles."""

    app: Any
    #: The result of the task before this one in a chain.
    parent: Any = None
    #: Whether it is a handle to many.
    children_are_members = False

    @property
    def is_known(self) -> bool:
        """Whether it is known to be done, without asking."""
        return False

    def _to_revoke(self) -> Any:
        """Name what `revoke` is about.

        Returns:
            A task's id, or several.
        """
        raise NotImplementedError

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        signal: str | None = None,
        wait: bool = False,  # noqa: FBT001, FBT002
        timeout: float | None = None,
    ) -> Any:
        """Tell the workers, in one message, not to start the task, or any of a set.

        Args:
            connection: A connection to send through.
            terminate: Whether to terminate what runs.
            signal: The signal for that.
            wait: Whether to wait for the workers' replies.
            timeout: Seconds to wait for them.
        """
        self.app.control.revoke(
            self._to_revoke(),
            connection=connection,
            terminate=terminate,
            signal=signal,
            reply=wait,
            timeout=timeout,
        )


class AsyncResult(ResultBase, Tree, Generic[R_co]):
    """The result of one task.

    Many threads may wait on one handle, or on many: the process has one connection for all.

    Args:
        id: The task's id.
        backend: The result backend; the application's by default.
        task_name: The task's name, where it is known.
        app: The application; the current one by default.
        parent: The result of the task before this one in a chain.

    """

    TimeoutError = TimeoutError
    app: Any = None
    id: str
    backend: Any = None
    #: Makes handles of result tuples (`celeriac.result.tuples` sets it).
    from_tuple: Any = None
    _callbacks: Sequence[tuple[Any, Any]] = ()
    _task_name: str | None = None
    _ignored = False
    _subscription: Any = None
    _subscribed_in = 0
    _cache: dict[str, Any] | None = None

    def __init__(
        self,
        id: str,  # noqa: A002 - Celery's name
        backend: Any = None,
        task_name: str | None = None,
        app: Any = None,
        parent: Any = None,
    ) -> None:
        if not id:
            message = f"AsyncResult requires a valid id, not {id!r}"
            raise ValueError(message)
        self.app = app_or_default(app if app is not None else self.app)
        self.id = id
        self.backend = backend if backend is not None else self.app.backend
        self.parent = parent
        self._task_name = task_name

    @classmethod
    def maker(
        cls, app: Any, backend: Any, task_name: str, *, ignored: bool
    ) -> Callable[[str], Any]:
        """Say how handles to tasks that were just sent are made, without what a call looks up.

        Args:
            app: The application.
            backend: The result backend.
            task_name: The task's name.
            ignored: Whether its results are ignored.

        Returns:
            A function that makes a handle of an id.
        """
        new = cls.__new__

        def make(task_id: str) -> Any:
            made = new(cls)
            made.id = task_id
            made.app = app
            made.backend = backend
            made._task_name = task_name  # noqa: SLF001 - its own class's
            if ignored:
                made._ignored = True  # noqa: SLF001 - see above
            return made

        return make

    # Waiting -----------------------------------------------------------------------------------

    def get(  # noqa: PLR0913, PLR0917 - Celery's signature
        self,
        timeout: float | None = None,
        propagate: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        interval: float = 0.5,
        no_ack: bool = True,  # noqa: ARG002, FBT001, FBT002
        follow_parents: bool = True,  # noqa: FBT001, FBT002
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,  # noqa: FBT001, FBT002
        EXCEPTION_STATES: frozenset[str] = states.EXCEPTION_STATES,  # noqa: N803 - Celery's
        PROPAGATE_STATES: frozenset[str] = states.PROPAGATE_STATES,  # noqa: N803
    ) -> R_co:
        """Wait until the task is done, and return its value.

        Args:
            timeout: Seconds; None waits without end.
            propagate: Whether the task's exception is raised (otherwise it is returned).
            interval: Seconds between two calls of `on_interval`; nothing is polled.
            no_ack: Ignored.
            follow_parents: Whether the failure of an earlier task of a chain is raised, too.
            callback: Called with the id and the value.
            on_message: Called with each document that arrives, intermediate states included.
            on_interval: Called while waiting.
            disable_sync_subtasks: Whether waiting inside of a task is an error.
            EXCEPTION_STATES: States whose result is an exception.
            PROPAGATE_STATES: States whose exception is raised.

        Returns:
            The value; None at once if the result is ignored.

        Raises:
            TimeoutError: It did not come in time.
        """  # noqa: DOC502 - raised by `_wait`
        del EXCEPTION_STATES
        if self.ignored:
            return None  # type: ignore[return-value]  # who ignores a result does not use it
        if disable_sync_subtasks:
            assert_will_not_block()
        if propagate and follow_parents and self.parent is not None:
            self._raise_parent_failure()
        meta = self._wait(timeout, interval, on_message, on_interval)
        if propagate and meta["status"] in PROPAGATE_STATES:
            if follow_parents:
                self._raise_failure_of_header()
            self._raise(meta, callback)
        if callback is not None:
            callback(self.id, meta["result"])
        value: R_co = meta["result"]
        return value

    wait = get

    async def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,  # noqa: FBT001, FBT002 - as `get`
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        disable_sync_subtasks: bool = True,  # noqa: FBT001, FBT002
        follow_parents: bool = True,  # noqa: FBT001, FBT002
    ) -> R_co:
        """Wait until the task is done, without blocking the loop, and return its value.

        Args:
            timeout: Seconds; None waits without end.
            propagate: Whether the task's exception is raised (otherwise it is returned).
            on_message: Called with each document that arrives, intermediate states included.
            disable_sync_subtasks: Whether waiting inside of a task is an error.
            follow_parents: Whether the failure of an earlier task of a chain is raised, too.

        Returns:
            The value; None at once if the result is ignored.

        Raises:
            TimeoutError: It did not come in time.
        """  # noqa: DOC502 - raised by `final_document`
        if self.ignored:
            return None  # type: ignore[return-value]  # who ignores a result does not use it
        if disable_sync_subtasks:
            assert_will_not_block()
        follows = propagate and follow_parents and self.parent is not None
        if follows:
            await awaiting.in_thread(self._raise_parent_failure)
        meta = await awaiting.final_document(self, timeout, on_message)
        if propagate and meta["status"] in states.PROPAGATE_STATES:
            if follows:
                await awaiting.in_thread(self._raise_failure_of_header)
            raise meta["result"]
        value: R_co = meta["result"]
        return value

    def _wait(
        self,
        timeout_s: float | None,
        interval_s: float,
        on_message: Callable[[dict[str, Any]], Any] | None,
        on_interval: Callable[[], Any] | None,
    ) -> dict[str, Any]:
        if self._cache is not None and on_message is None:
            return self._cache
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        subscription = self._subscribe()
        while True:
            left_s = _FOREVER_S if deadline is None else max(0.0, deadline - time.monotonic())
            step_s = min(left_s, interval_s) if on_interval else left_s
            document = subscription.next(step_s)
            if document is not None:
                meta: dict[str, Any] = self.backend.meta_of(document)
                if on_message is not None:
                    on_message({**meta, "task_id": self.id})
                if meta["status"] in states.READY_STATES:
                    return self._keep(meta)
            elif deadline is not None and time.monotonic() >= deadline:
                message = "The operation timed out."
                raise self.TimeoutError(message)
            if on_interval is not None:
                on_interval()

    def follow(self, subscription: Any) -> None:
        """Listen through a subscription that was started when the task was sent."""
        self._subscription = subscription
        self._subscribed_in = os.getpid()

    def _subscribe(self) -> Any:
        if self._subscription is not None and self._subscribed_in != os.getpid():
            # A fork has its own connections, and must not touch its parent's.
            give_up(self._subscription)
            self._subscription = None
        if self._subscription is None:
            self.follow(self.backend.subscribe(self.id))
        return self._subscription

    @property
    def final(self) -> dict[str, Any] | None:
        """The last document, once it is known here."""
        return self._cache

    @final.setter
    def final(self, meta: dict[str, Any]) -> None:
        self._keep(meta)

    def lend_subscription(self) -> Any:
        """Give the subscription to a coroutine that waits; another one needs its own.

        Returns:
            The subscription; None where there is none, or it is a parent process's.
        """
        if self._subscribed_in != os.getpid():
            return None
        lent, self._subscription = self._subscription, None
        return lent

    def take_back(self, subscription: Any) -> None:
        """Keep a subscription for who waits next, or end it where nothing follows."""
        if self._cache is None and self._subscription is None:
            self.follow(subscription)
        else:
            subscription.close()

    def _raise_parent_failure(self) -> None:
        node = self.parent
        while node is not None:
            if isinstance(node, AsyncResult) and node.id != self.id:
                node.maybe_throw()
            node = node.parent

    def _raise_failure_of_header(self) -> None:
        # Only now that it is known to have failed: a header may have thousands of members.
        node = self.parent
        while node is not None:
            if node.children_are_members:
                node.maybe_throw()
            node = node.parent

    def _raise(self, meta: dict[str, Any], callback: Any) -> None:
        exc = meta["result"]
        if callback is not None:
            callback(self.id, exc)
        raise exc

    def maybe_throw(self, propagate: bool = True, callback: Any = None) -> Any:  # noqa: FBT001, FBT002 - Celery's signature
        """Raise the task's exception, if it has failed.

        Returns:
            The value so far.
        """
        meta = self._get_task_meta()
        if propagate and meta["status"] in states.PROPAGATE_STATES:
            self._raise(meta, callback)
        elif callback is not None:
            callback(self.id, meta["result"])
        return meta["result"]

    maybe_reraise = maybe_throw

    def throw(self, *args: Any, **kwargs: Any) -> None:
        """Tell who was registered with `then` of an error of the caller's; raise it if nobody was.

        Args:
            *args: The exception; anything after it is ignored.
            **kwargs: ``exc``: the same by name.
        """
        callbacks, self._callbacks = self._callbacks, ()
        told = [on_error for _, on_error in callbacks if on_error is not None]
        for on_error in told:
            on_error(self)
        exc = args[0] if args else kwargs.get("exc")
        if exc is not None and not told:
            raise exc

    # State -------------------------------------------------------------------------------------

    def _get_task_meta(self) -> dict[str, Any]:
        if self._cache is not None:
            return self._cache
        meta: dict[str, Any] = self.backend.get_task_meta(self.id)
        return self._keep(meta) if meta["status"] in states.READY_STATES else meta

    @property
    def is_known(self) -> bool:
        """Whether it is known to be done, without asking."""
        return self._cache is not None

    def note(self, meta: dict[str, Any]) -> None:
        """Take note of a document that was read for this handle."""
        if meta["status"] in states.READY_STATES:
            self._keep(meta)

    def then(
        self,
        callback: Callable[[Any], Any],
        on_error: Callable[[Any], Any] | None = None,
        weak: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
    ) -> None:
        """Call something once the task is known to be done: by `get`, `state` or the like.

        Args:
            callback: Called with this handle when the task has succeeded.
            on_error: Called with it when the task has failed.
            weak: Ignored.
        """
        del weak
        self._callbacks = [*self._callbacks, (callback, on_error)]
        if self._cache is not None:
            self._tell(self._cache)

    def _tell(self, meta: dict[str, Any]) -> None:
        callbacks, self._callbacks = self._callbacks, ()
        for callback, on_error in callbacks:
            called = callback if meta["status"] == states.SUCCESS else on_error
            if called is not None:
                called(self)

    def _keep(self, meta: dict[str, Any]) -> dict[str, Any]:
        self._cache = meta
        self._drop_subscription()
        if self._callbacks:
            self._tell(meta)
        return meta

    def _drop_subscription(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        if self._subscribed_in == os.getpid():
            subscription.close()
        else:
            give_up(subscription)

    @property
    def state(self) -> str:
        """The state; PENDING also if the task is unknown."""
        status: str = self._get_task_meta()["status"]
        return status

    status = state

    @property
    def result(self) -> Any:
        """The value, the exception, or the meta data of another state."""
        return self._get_task_meta()["result"]

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback of a failed task, as text."""
        text: str | None = self._get_task_meta().get("traceback")
        return text

    @property
    def date_done(self) -> Any:
        """When it was done, as a time with an offset."""
        return parse_date(self._get_task_meta().get("date_done"))

    @property
    def children(self) -> list[Any] | None:
        """Handles to the tasks that this one has called, once it is done."""
        listed = self._get_task_meta().get("children")
        if listed is None:
            return None
        return [self.from_tuple(child, self.app) for child in listed]

    def ready(self) -> bool:
        """Say whether the task is done.

        Returns:
            Whether its state is SUCCESS, FAILURE or REVOKED.
        """
        return self.state in states.READY_STATES

    def successful(self) -> bool:
        """Say whether the task has succeeded.

        Returns:
            Whether its state is SUCCESS.
        """
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """Say whether the task has failed.

        Returns:
            Whether its state is FAILURE.
        """
        return self.state == states.FAILURE

    def exists(self) -> bool:
        """Say whether anything is known of the task.

        Returns:
            Whether its state is another than PENDING.
        """
        return self.state != states.PENDING

    @property
    def ignored(self) -> bool:
        """Whether the result is not stored."""
        return self._ignored

    @ignored.setter
    def ignored(self, value: bool) -> None:
        self._ignored = value

    @property
    def supports_native_join(self) -> bool:
        """Whether groups of these wait without polling."""
        return self.backend.native is not None

    def _extended(self, key: str) -> Any:
        return self._get_task_meta().get(key)

    @property
    def name(self) -> str | None:
        """The task's name (with `result_extended`)."""
        name: str | None = self._extended("name")
        return name

    @property
    def args(self) -> Any:
        """The task's arguments (with `result_extended`)."""
        return self._extended("args")

    @property
    def kwargs(self) -> Any:
        """The task's keyword arguments (with `result_extended`)."""
        return self._extended("kwargs")

    @property
    def worker(self) -> str | None:
        """Who executed it (with `result_extended`)."""
        worker: str | None = self._extended("worker")
        return worker

    @property
    def retries(self) -> int | None:
        """How often it was retried (with `result_extended`)."""
        retries: int | None = self._extended("retries")
        return retries

    @property
    def queue(self) -> str | None:
        """Its routing key (with `result_extended`)."""
        queue: str | None = self._extended("queue")
        return queue

    # Handling ----------------------------------------------------------------------------------

    def forget(self) -> None:
        """Delete the result, and those of the tasks before it in a chain."""
        self._cache = None
        self._drop_subscription()
        if self.parent is not None:
            self.parent.forget()
        self.backend.forget(self.id)

    def _to_revoke(self) -> str:
        return self.id

    def revoke_by_stamped_headers(
        self,
        headers: Any,
        connection: Any = None,
        terminate: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        signal: str | None = None,
        wait: bool = False,  # noqa: FBT001, FBT002
        timeout: float | None = None,
    ) -> Any:
        """Tell the workers not to start tasks that carry stamps.

        Args:
            headers: Names of stamps, and their values.
            connection: A connection to send through.
            terminate: Whether to terminate those that run.
            signal: The signal for that.
            wait: Whether to wait for the workers' replies.
            timeout: Seconds to wait for them.
        """
        self.app.control.revoke_by_stamped_headers(
            headers,
            connection=connection,
            terminate=terminate,
            signal=signal,
            reply=wait,
            timeout=timeout,
        )

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.id

    @task_id.setter
    def task_id(self, task_id: str) -> None:
        self.id = task_id

    def as_tuple(self) -> tuple[Any, Any]:
        """Write the handle as documents have it.

        Returns:
            ``((id, parent), None)``.
        """
        return (self.id, self.parent.as_tuple() if self.parent is not None else None), None

    def as_list(self) -> list[str]:
        """List the ids of the task and of those before it in a chain.

        Returns:
            The ids, this task's first.
        """
        return [self.id, *(self.parent.as_list() if self.parent is not None else ())]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return other.id == self.id
        return other == self.id if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __copy__(self) -> AsyncResult:
        return type(self)(*self.__reduce_args__())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.__reduce_args__()

    def __reduce_args__(self) -> tuple[Any, ...]:
        """List the arguments of a copy.

        Returns:
            Id, no backend (it is found again), name, no application, parent.
        """
        return self.id, None, self._task_name, None, self.parent
