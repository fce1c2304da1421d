"""The base of all result backends, shaped as Celery's, so that a class written for it works.

A backend of the user's overrides `_store_result`, `_get_task_meta_for` and their like, or is a
store of keys and values (`celeriac.backends.keyvalue`). The stores of the Rust module are
`celeriac.backends.native`.

Source:
    celery/backends/base.py ``Backend`` (names, arguments, and when an operation is tried again).
"""

from __future__ import annotations

import functools
import logging
import random
import time
from typing import TYPE_CHECKING, Any

from celeriac import _native, states
from celeriac.backends.chords import JoinsChords
from celeriac.backends.documents import Documents, Remembered
from celeriac.backends.polling import Polled, SyncBackendMixin
from celeriac.exceptions import BackendGetMetaError, BackendStoreError
from celeriac.exceptions import TimeoutError as CeleryTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac._protocols import App

logger = logging.getLogger("celeriac.backends")

NO_BACKEND = (
    "No result backend is configured.\n"
    "Set result_backend, such as Celery(..., backend='redis://localhost')."
)


NOT_IMPLEMENTED = "The backend's class does not implement this method."


class Backend(JoinsChords, Documents):
    """Writes and reads the results of an application's tasks.

    Args:
        app: The application.
        serializer: `result_serializer` by default.
        max_cached_results: `result_cache_max` by default.
        accept: What may be read.
        expires: Lifetime of results.
        expires_type: Called with the lifetime, to make ``self.expires``.
        url: Where the results are.
        **kwargs: A subclass's own.

    """

    TimeoutError = CeleryTimeoutError

    #: The longest pause between two looks at a result, in seconds.
    subpolling_interval: float | None = None
    supports_native_join = False
    #: Whether expired results go by themselves, so that `cleanup` has nothing to do.
    supports_autoexpire = False
    persistent = True
    supports_failure_expires = False
    retry_policy = {  # noqa: RUF012 - subclasses replace it, as in Celery
        "max_retries": 20,
        "interval_start": 0,
        "interval_step": 1,
        "interval_max": 1,
    }

    is_disabled = False
    #: The store in Rust; None for backends that are Python classes.
    native: _native.ResultStore | None = None

    def __init__(
        self,
        app: App,
        serializer: str | None = None,
        max_cached_results: int | None = None,
        accept: Any = None,
        expires: Any = None,
        expires_type: Any = None,
        url: str | None = None,
        **kwargs: Any,
    ) -> None:
        del kwargs
        super().__init__(app, serializer, accept, expires, expires_type)
        conf = app.conf
        self.url = url
        self._cache = Remembered(max_cached_results or conf.result_cache_max)
        self.always_retry: bool = conf.result_backend_always_retry
        self.max_retries: float = conf.result_backend_max_retries
        self.base_sleep_between_retries_ms: int = conf.result_backend_base_sleep_between_retries_ms
        self.max_sleep_between_retries_ms: int = conf.result_backend_max_sleep_between_retries_ms

    def as_uri(self, include_password: bool = False) -> str:  # noqa: FBT001, FBT002 - Celery's signature
        """Return the URL.

        Args:
            include_password: Whether it may show the password.

        Returns:
            The URL.
        """
        url = self.url or ""
        return url if include_password else _native.redacted(url)

    # What a backend implements -------------------------------------------------------------------

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        raise NotImplementedError(NOT_IMPLEMENTED)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        raise NotImplementedError(NOT_IMPLEMENTED)

    def _forget(self, task_id: str) -> None:
        raise NotImplementedError(NOT_IMPLEMENTED)

    def _save_group(self, group_id: str, result: Any) -> Any:
        raise NotImplementedError(NOT_IMPLEMENTED)

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        raise NotImplementedError(NOT_IMPLEMENTED)

    def _delete_group(self, group_id: str) -> None:
        raise NotImplementedError(NOT_IMPLEMENTED)

    def cleanup(self) -> None:
        """Delete what has expired, where the store does not do that by itself."""

    def process_cleanup(self) -> None:
        """Called after a task was executed."""

    def on_task_call(self, producer: Any, task_id: str) -> Any:  # noqa: ARG002 - Celery's signature
        """Called before a task is published whose result is wanted.

        Returns:
            Nothing that is looked at.
        """
        return {}

    async def aon_task_call(self, producer: Any, task_id: str) -> Any:
        """Do as `on_task_call`, for a caller on a loop.

        Returns:
            Nothing that is looked at.
        """
        return self.on_task_call(producer, task_id)

    async def alisten(self) -> None:
        """See to it that results come to this process, where they are sent and not stored."""

    # Trying again ------------------------------------------------------------------------------

    def exception_safe_to_retry(self, exc: BaseException) -> bool:  # noqa: ARG002
        """Say whether an operation that raised this may be tried again.

        Returns:
            False: a backend says which of its errors pass.
        """
        return False

    def on_backend_retryable_error(self, exc: BaseException) -> None:
        """Called before an operation is tried again: to drop a broken connection."""

    def _sleep(self, amount: float) -> None:
        time.sleep(amount)

    def _ensure_retryable(
        self,
        func: Callable[..., Any],
        *args: Any,
        fallback_exc: Callable[[str], BaseException] | None = None,
        fallback_msg: str = "",
        **kwargs: Any,
    ) -> Any:
        """Call a function until it succeeds, as the settings `result_backend_*` allow.

        Args:
            func: The operation.
            *args: Its arguments.
            fallback_exc: Makes the exception that is raised when all tries are used up.
            fallback_msg: Its text.
            **kwargs: The operation's keyword arguments.

        Returns:
            What it returned.
        """
        tries = 0
        while True:
            try:
                return func(*args, **kwargs)
            except Exception as exc:  # noqa: PERF203 - trying again is what the loop is for
                if not (self.always_retry and self.exception_safe_to_retry(exc)):
                    raise
                if tries >= self.max_retries:
                    if fallback_exc is None:
                        raise
                    text = f"{fallback_msg}: {type(exc).__name__}: {exc}"
                    raise fallback_exc(text) from exc
                tries += 1
                self._before_next_try(func, exc, tries)

    def _before_next_try(self, func: Callable[..., Any], exc: Exception, tries: int) -> None:
        name = getattr(func, "__name__", repr(func)).lstrip("_")
        left = self.max_retries - tries + 1
        logger.warning("%s failed, %s more tries: %s: %s", name, left, type(exc).__name__, exc)
        try:
            self.on_backend_retryable_error(exc)
        except Exception:
            logger.exception("on_backend_retryable_error failed; the operation is tried again")
        most_ms = self.base_sleep_between_retries_ms * 2.0 ** min(tries, 1000)
        # Scattered, so that many workers do not come back to the store at one moment.
        wait_ms = random.uniform(0, min(self.max_sleep_between_retries_ms, most_ms))  # noqa: S311 - not for secrets
        self._sleep(wait_ms / 1000)

    # Writing -----------------------------------------------------------------------------------

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Store a result and wait until it is stored. A stored SUCCESS is never overwritten.

        Args:
            task_id: The task's id.
            result: The return value, the exception, or the meta data of another state.
            state: The state.
            traceback: Text, or None.
            request: The call.
            **kwargs: Passed on to `_store_result`.

        Returns:
            The result, as its document holds it.
        """
        result = self.encode_result(result, state)
        # By position: django-celery-results has other names for them.
        self._ensure_retryable(
            self._store_result,
            task_id,
            result,
            state,
            traceback,
            fallback_exc=functools.partial(BackendStoreError, task_id=task_id, state=state),
            fallback_msg="failed to store result on the backend",
            request=request,
            **kwargs,
        )
        return result

    def mark_as_started(self, task_id: str, **meta: Any) -> Any:
        """Store STARTED.

        Returns:
            The meta data.
        """
        return self.store_result(task_id, meta, states.STARTED)

    def forget(self, task_id: str) -> None:
        """Delete a result."""
        self._cache.pop(task_id, None)
        self._ensure_retryable(self._forget, task_id)

    # Reading -----------------------------------------------------------------------------------

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - Celery's signature
        """Read a result.

        Args:
            task_id: The task's id.
            cache: Whether one that was read before (`result_cache_max`) is good enough.

        Returns:
            The fields of its document; a task without one is PENDING.
        """
        if cache and task_id in self._cache:
            known: dict[str, Any] = self._cache[task_id]
            return known
        meta: dict[str, Any] = self._ensure_retryable(
            self._get_task_meta_for,
            task_id,
            fallback_exc=functools.partial(BackendGetMetaError, task_id=task_id),
            fallback_msg="failed to get meta",
        )
        if cache and meta.get("status") == states.SUCCESS:
            self._cache[task_id] = meta
        return meta

    def is_cached(self, task_id: str) -> bool:
        """Say whether a result was read before and is kept.

        Returns:
            Whether reading it asks nobody.
        """
        return task_id in self._cache

    def reload_task_result(self, task_id: str) -> None:
        """Read a result again, though it was read before."""
        self._cache[task_id] = self.get_task_meta(task_id, cache=False)

    def task_result_exists(self, task_id: str) -> bool:
        """Say whether anything is stored of a task.

        Returns:
            Whether its state is another than PENDING.
        """
        status: str = self._get_task_meta_for(task_id)["status"]
        return status != states.PENDING

    def subscribe(self, task_id: str) -> Any:
        """Start to listen for a result.

        Args:
            task_id: The task's id.

        Returns:
            `next(wait_s)` gives documents as they are stored, the current one first, or None;
            `close()` ends it.
        """
        return Polled(self, task_id, self.subpolling_interval)

    def meta_of(self, heard: Any) -> dict[str, Any]:
        """Read what a subscription gave.

        Args:
            heard: A document, or its fields.

        Returns:
            Its fields.
        """
        if isinstance(heard, dict):
            return heard
        return self.decode_result(heard)

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

    def get_children(self, task_id: str) -> list[Any] | None:
        """Read which tasks a task has called.

        Returns:
            Result tuples, or None.
        """
        children: list[Any] | None = self.get_task_meta(task_id).get("children")
        return children

    # Groups ------------------------------------------------------------------------------------

    def save_group(self, group_id: str, result: Any) -> Any:
        """Store the handles of a group.

        Returns:
            The group's handle.
        """
        return self._ensure_retryable(self._save_group, group_id, result)

    def get_group_meta(self, group_id: str, cache: bool = True) -> dict[str, Any] | None:  # noqa: FBT001, FBT002
        """Read a stored group.

        Returns:
            Its fields, ``result`` is its handle; None where there is none.
        """
        if cache and group_id in self._cache:
            known: dict[str, Any] = self._cache[group_id]
            return known
        meta: dict[str, Any] | None = self._ensure_retryable(self._restore_group, group_id)
        if cache and meta is not None:
            self._cache[group_id] = meta
        return meta

    def reload_group_result(self, group_id: str) -> None:
        """Read a group again, though it was read before."""
        self._cache[group_id] = self.get_group_meta(group_id, cache=False)

    def restore_group(self, group_id: str, cache: bool = True) -> Any:  # noqa: FBT001, FBT002
        """Read the handle of a stored group.

        Returns:
            The handle; None where there is none.
        """
        meta = self.get_group_meta(group_id, cache=cache)
        return meta["result"] if meta else None

    def delete_group(self, group_id: str) -> Any:
        """Delete a stored group.

        Returns:
            What `_delete_group` returned.
        """
        self._cache.pop(group_id, None)
        return self._ensure_retryable(self._delete_group, group_id)

    def handle_of(self, described: Any) -> Any:
        """Make a handle of a result tuple.

        Returns:
            The handle of a task or of a group.
        """
        return self.app.AsyncResult.from_tuple(described, self.app)


class BaseBackend(Backend, SyncBackendMixin):
    """A backend that is asked for results again and again."""
