"""Result backends: documents over a native store, or over a class of the user's.

Source:
    protocol: result document; celery/backends/base.py (names of methods).
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celeriac import _native, states
from celeriac.backends import exception_form
from celeriac.exceptions import DecodeError, EncodeError
from celeriac.serialization import accepted, dumps, loads, serializer
from celeriac.timestamps import seconds

if TYPE_CHECKING:
    from celeriac._protocols import App

WAIT_S = 10.0
_NO_BACKEND = (
    "No result backend is configured.\n"
    "Set result_backend, such as Celery(..., backend='redis://localhost')."
)


class Backend:
    """Writes and reads the results of an application's tasks.

    Args:
        app: The application.
        url: Where the results are.
        **options: Celery's others: ``serializer``, ``expires``, ``accept``.

    """

    READY_STATES = states.READY_STATES
    UNREADY_STATES = states.UNREADY_STATES
    EXCEPTION_STATES = states.EXCEPTION_STATES

    is_disabled = False

    def __init__(self, app: App, url: str | None = None, **options: Any) -> None:
        conf = app.conf
        self.app = app
        self.url = url
        self.serializer: str = options.get("serializer") or conf.result_serializer
        self.expires = seconds(options.get("expires", conf.result_expires))
        accept = options.get("accept") or conf.result_accept_content or conf.accept_content
        self.accept = accepted(accept)
        self._mime = serializer(self.serializer)

    @property
    def native(self) -> _native.ResultStore | None:
        """The store in Rust; None for backends that are Python classes."""
        return None

    def as_uri(self, include_password: bool = False) -> str:  # noqa: FBT001, FBT002 - Celery's signature
        """Return the URL.

        Args:
            include_password: Whether it may show the password.

        Returns:
            The URL.
        """
        url = self.url or ""
        return url if include_password else _native.redacted(url)

    # Documents ---------------------------------------------------------------------------------

    def encode(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
    ) -> bytes:
        """Make the document of a result.

        Args:
            task_id: The task's id.
            result: The return value, the exception, or the meta data of another state.
            state: The state.
            traceback: Text, or None.
            request: The call (a `Context`), for children, group and the extended fields.

        Returns:
            The document.

        Raises:
            EncodeError: The result cannot be encoded; the message says where.
        """
        if state in states.EXCEPTION_STATES and isinstance(result, BaseException):
            result = exception_form.as_document(result, self.serializer)
        meta = self.result_meta(result, state, traceback, request)
        try:
            return dumps({**meta, "task_id": task_id}, self.serializer)[2]
        except EncodeError:
            # Say it again in the task's terms: `result["when"]`.
            dumps(result, self.serializer, "result")
            raise

    def result_meta(self, result: Any, state: str, traceback: Any, request: Any) -> dict[str, Any]:
        """List the fields of a document, without the task's id.

        Returns:
            The fields, in the order in which they are stored.
        """
        done = self.app.now().isoformat() if state in states.READY_STATES else None
        meta: dict[str, Any] = {
            "status": state,
            "result": result,
            "traceback": None if traceback is None else str(traceback),
            "children": self.current_task_children(request),
            "date_done": done,
        }
        if request is None:
            return meta
        if getattr(request, "group", None):
            meta["group_id"] = request.group
        if getattr(request, "parent_id", None):
            meta["parent_id"] = request.parent_id
        if self.app.conf.result_extended:
            meta.update(_extended(request))
        return meta

    def current_task_children(self, request: Any = None) -> list[Any] | None:
        """List the tasks that a call has started.

        Args:
            request: The call.

        Returns:
            Result tuples; None outside of calls.
        """
        if request is None:
            return None
        return [child.as_tuple() for child in getattr(request, "children", None) or ()]

    def decode(self, document: bytes) -> dict[str, Any]:
        """Read a document.

        Args:
            document: What `encode` made, here or in a Celery process.

        Returns:
            The fields; ``result`` is an exception in the states that have one.

        Raises:
            DecodeError: It is no document.
        """
        meta = loads(document, self._mime.content_type, self._mime.content_encoding, self.accept)
        if not isinstance(meta, dict) or "status" not in meta:
            message = f"A result of {type(meta).__name__} is no result document."
            raise DecodeError(message)
        return self.meta_from_decoded(meta)

    def meta_from_decoded(self, meta: dict[str, Any]) -> dict[str, Any]:
        """Turn a decoded document's exception into one.

        Returns:
            The fields.
        """
        if meta["status"] in states.EXCEPTION_STATES:
            meta["result"] = self.exception_to_python(meta.get("result"))
        return meta

    def prepare_exception(self, exc: BaseException, serializer: str | None = None) -> Any:
        """Describe an exception (see `exception_form.as_document`).

        Returns:
            The description.
        """
        return exception_form.as_document(exc, serializer or self.serializer)

    def exception_to_python(self, exc: Any) -> BaseException | None:
        """Rebuild an exception (see `exception_form.from_document`).

        Returns:
            The exception.
        """
        return exception_form.from_document(exc)

    def expires_s(self, state: str) -> int | None:
        """Say how long a result is kept.

        Args:
            state: Its state.

        Returns:
            Whole seconds; None for ever.
        """
        expires = self.expires
        if state == states.FAILURE:
            own = seconds(self.app.conf.result_failure_expires)
            expires = own if own is not None else expires
        return int(expires) if expires else None

    # Writing and reading -----------------------------------------------------------------------

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **_kwargs: Any,
    ) -> Any:
        """Store a result and wait until it is stored. A stored SUCCESS is never overwritten.

        Returns:
            The result, as it was given.
        """
        document = self.encode(task_id, result, state, traceback, request)
        self._store().put(
            task_id, document, state in states.READY_STATES, self.expires_s(state), WAIT_S
        )
        return result

    def _store(self) -> _native.ResultStore:
        if self.native is None:
            message = f"{type(self).__name__} does not implement this."
            raise NotImplementedError(message)
        return self.native

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 - Celery's signature
        """Read a result.

        Args:
            task_id: The task's id.
            cache: Ignored: handles keep what is final.

        Returns:
            The fields of its document; a task without one is PENDING.
        """
        document = self._store().get(task_id, WAIT_S)
        if document is None:
            return {"status": states.PENDING, "result": None}
        return self.decode(document)

    def subscribe(self, task_id: str) -> Any:
        """Start to listen for a result.

        Args:
            task_id: The task's id.

        Returns:
            A subscription: `next(wait_s)` gives documents as they are stored, the current one
            first; `close()` ends it.
        """
        return self._store().subscribe(task_id, WAIT_S)

    def forget(self, task_id: str) -> None:
        """Delete a result."""
        self._store().forget(task_id, WAIT_S)

    def cleanup(self) -> None:
        """Delete what has expired, where the store does not do that by itself."""
        self._store().cleanup(WAIT_S)

    def get_state(self, task_id: str) -> str:
        """Read a state.

        Returns:
            The state.
        """
        status: str = self.get_task_meta(task_id)["status"]
        return status

    get_status = get_state

    def get_result(self, task_id: str) -> Any:
        """Read a result's value.

        Returns:
            The value, or the exception.
        """
        return self.get_task_meta(task_id).get("result")

    def get_traceback(self, task_id: str) -> str | None:
        """Read a result's traceback.

        Returns:
            Text, or None.
        """
        text: str | None = self.get_task_meta(task_id).get("traceback")
        return text

    def mark_as_started(self, task_id: str, **meta: Any) -> Any:
        """Store STARTED.

        Returns:
            The meta data.
        """
        return self.store_result(task_id, meta, states.STARTED)

    def process_cleanup(self) -> None:
        """Called after a task was executed."""


def _extended(request: Any) -> dict[str, Any]:
    info = getattr(request, "delivery_info", None) or {}
    fields = {
        "name": getattr(request, "task", None),
        "args": getattr(request, "args", None),
        "kwargs": getattr(request, "kwargs", None),
        "worker": getattr(request, "hostname", None),
        "retries": getattr(request, "retries", None),
        "queue": info.get("routing_key"),
    }
    stamps = getattr(request, "stamps", None)
    names = getattr(request, "stamped_headers", None)
    if stamps and names:
        fields["stamped_headers"] = names
        fields.update(stamps)
    return fields


class NativeBackend(Backend):
    """Results in one of the stores of the Rust module."""

    def __init__(self, app: App, url: str | None = None, **options: Any) -> None:
        super().__init__(app, url, **options)
        self._store_options = dict(app.conf.result_backend_transport_options or {})
        # A store does not work in a fork. What a fork inherited is kept, and never touched.
        self._stores = {os.getpid(): self._open()}

    def _open(self) -> _native.ResultStore:
        return _native.ResultStore(self.url or "", self._store_options)

    @property
    def native(self) -> _native.ResultStore:
        """This process's store; no I/O happens before it is used."""
        pid = os.getpid()
        store = self._stores.get(pid)
        if store is None:
            store = self._stores[pid] = self._open()
        return store


class DisabledBackend(Backend):
    """Keeps nothing; asking for a result is an error that says how to configure one."""

    is_disabled = True

    def as_uri(self, *_args: Any, **_kwargs: Any) -> str:
        """Say that there is none.

        Returns:
            ``disabled://``.
        """
        return "disabled://"

    def store_result(self, *_args: Any, **_kwargs: Any) -> None:
        """Keep nothing."""

    def forget(self, task_id: str) -> None:  # noqa: D102 - inherited
        raise NotImplementedError(_NO_BACKEND)

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:  # noqa: D102, FBT001, FBT002 - inherited
        raise NotImplementedError(_NO_BACKEND)

    def subscribe(self, task_id: str) -> Any:  # noqa: D102 - inherited
        raise NotImplementedError(_NO_BACKEND)

    def _is_disabled(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(_NO_BACKEND)

    get_state = get_status = get_result = get_traceback = _is_disabled
    get_task_meta_for = wait_for = get_many = _is_disabled

    def cleanup(self) -> None:
        """There is nothing to delete."""


BaseBackend = Backend


def parse_date(value: Any) -> Any:
    """Read `date_done`.

    Returns:
        A time; what is none is returned as it is.
    """
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value
