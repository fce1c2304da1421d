"""Results in the stores of the Rust module: Redis, SQLite, memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from celeriac import _native, states
from celeriac.backends.core import Backend
from celeriac.exceptions import OperationalError
from celeriac.green import cooperative
from celeriac.settings.tls import tls_options

if TYPE_CHECKING:
    from celeriac._protocols import App

WAIT_S = 10.0
_WITH_TLS = ("redis://", "rediss://", "sentinel://")
_GROUP_KEY = "celery-taskset-meta-"


class NativeBackend(Backend):
    """Results in one of the stores of the Rust module: who waits is woken, nothing is polled."""

    supports_native_join = True
    supports_autoexpire = True
    supports_failure_expires = True
    supports_result_compression = True

    def __init__(self, app: App, url: str | None = None, **options: Any) -> None:
        super().__init__(app, url=url, **options)
        # A store does not work in a fork. What a fork inherited is kept, and never touched.
        self._stores = {os.getpid(): self._open()}

    def _open(self) -> _native.ResultStore:
        conf = self.app.conf
        options = dict(conf.result_backend_transport_options or {})
        if (self.url or "").startswith(_WITH_TLS):
            options |= tls_options("redis_backend_use_ssl", conf.redis_backend_use_ssl)
        return cooperative(_native.ResultStore(self.url or "", options))

    @property
    def native(self) -> _native.ResultStore:  # type: ignore[override]  # None for Python's
        """This process's store; no I/O happens before it is used."""
        pid = os.getpid()
        store = self._stores.get(pid)
        if store is None:
            store = self._stores[pid] = self._open()
        return store

    def reply_for(self, task_id: str, request: Any) -> tuple[str, str] | None:  # noqa: ARG002
        """Say where a result is sent to: nowhere, it is stored.

        Args:
            task_id: The task's id.
            request: The call.

        Returns:
            Queue and correlation id, or None.
        """
        return None

    def exception_safe_to_retry(self, exc: BaseException) -> bool:  # noqa: D102 - inherited
        return isinstance(exc, OperationalError)

    def store_result(  # noqa: D102 - inherited
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        # The document is made before anything is tried: what cannot be encoded never can.
        document = self.document(task_id, result, state, traceback, request)
        reply = self.reply_for(task_id, request)
        self._ensure_retryable(self._put, task_id, document, state, reply, **kwargs)
        return result

    def _put(
        self, task_id: str, document: bytes, state: str, reply: tuple[str, str] | None
    ) -> None:
        is_final = state in states.READY_STATES
        self.native.put(task_id, document, is_final, self.expires_s(state), WAIT_S, reply)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        document = self.native.get(task_id, WAIT_S)
        if document is None:
            return {"status": states.PENDING, "result": None}
        return self.decode_result(document)

    def subscribe(self, task_id: str) -> Any:  # noqa: D102 - inherited
        return self.native.subscribe(task_id, WAIT_S)

    def _forget(self, task_id: str) -> None:
        self.native.forget(task_id, WAIT_S)

    def cleanup(self) -> None:  # noqa: D102 - inherited
        self.native.cleanup(WAIT_S)

    def _save_group(self, group_id: str, result: Any) -> Any:
        document = self.encode({"result": result.as_tuple()})
        expires_s = self.expires_s(states.SUCCESS)
        self.native.put_raw(_GROUP_KEY + group_id, document, expires_s, WAIT_S)
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        document = self.native.get_raw(_GROUP_KEY + group_id, WAIT_S)
        if document is None:
            return None
        meta: dict[str, Any] = self.decode(document)
        return {**meta, "result": self.handle_of(meta["result"])}

    def _delete_group(self, group_id: str) -> None:
        self.native.forget_raw(_GROUP_KEY + group_id, WAIT_S)
