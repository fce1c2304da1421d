"""Results as messages to their callers (`rpc://`), over the application's broker.

Source:
    celery/backends/rpc.py (names, what a result needs, what is refused).
"""

from __future__ import annotations

import os
from typing import Any

from celeriac import _native
from celeriac._current import get_current_task, task_join_will_block
from celeriac.backends.native import WAIT_S, NativeBackend
from celeriac.broker import write_url
from celeriac.green import cooperative, plain

_STORES_NOTHING = (
    "{} is not supported by this backend: rpc:// sends results and stores none. "
    "Set result_backend to redis:// or another store."
)


class RPCBackend(NativeBackend):
    """Sends each result to the queue that its task's message names in ``reply_to``.

    Only the process that called a task gets its result, and each result goes to one process: a
    handle that another one makes of the id stays PENDING.
    """

    persistent = False
    supports_failure_expires = False
    # A Celery client reads what it is sent as it comes.
    supports_result_compression = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: Queues that are consumed already, by process.
        self._heard: set[tuple[int, str]] = set()

    def _open(self) -> _native.ResultStore:
        url, options = write_url(self.app)
        expires_s = self.expires_s("SUCCESS")
        store = _native.ResultStore.rpc(
            url,
            options,
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            persistent=self.prepare_persistent(),
            queue_expires_ms=None if expires_s is None else expires_s * 1000,
        )
        return cooperative(store)

    def as_uri(self, include_password: bool = False) -> str:  # noqa: ARG002, FBT001, FBT002
        """Return the URL: the broker's is not shown.

        Returns:
            ``rpc://``.
        """
        return "rpc://"

    @property
    def oid(self) -> str:
        """The queue of this thread's results."""
        return self.app.thread_oid

    def on_task_call(self, producer: Any, task_id: str) -> Any:  # noqa: ARG002 - Celery's signature
        """Listen for this thread's results before the task is sent."""
        # Compat: who must not wait is not answered, so that a worker's tasks make no queues.
        if not task_join_will_block():
            self.native.listen(self.oid, WAIT_S)

    async def aon_task_call(self, producer: Any, task_id: str) -> Any:  # noqa: ARG002
        """Listen for this thread's results, waiting on the loop for the server's word."""
        if not task_join_will_block():
            await self.alisten()

    async def alisten(self) -> None:  # noqa: D102 - inherited
        place = os.getpid(), self.oid
        if place in self._heard:
            return
        from celeriac import aio  # noqa: PLC0415 - asyncio is slow to import

        def start(bell: _native.Bell, token: int) -> _native.Errand:
            return plain(self.native).post_listen(place[1], WAIT_S, bell, token)

        await aio.answer(start, WAIT_S)
        self._heard.add(place)

    def subscribe(self, task_id: str) -> Any:  # noqa: D102 - inherited
        self.native.listen(self.oid, WAIT_S)
        return super().subscribe(task_id)

    def reply_for(self, task_id: str, request: Any) -> tuple[str, str] | None:
        """Say where a result is sent to.

        Args:
            task_id: The task's id.
            request: The call; the one that this thread runs by default.

        Returns:
            Queue and correlation id; None where nobody asked for a reply.

        Raises:
            RuntimeError: There is no call, so that nobody knows who called.
        """
        request = request or getattr(get_current_task(), "request", None)
        if request is None:
            message = f"RPC backend missing task request for {task_id!r}"
            raise RuntimeError(message)
        if not request.reply_to:
            return None
        return str(request.reply_to), str(request.correlation_id or task_id)

    def ensure_chords_allowed(self) -> None:
        """Refuse chords, which gather results."""
        message = _STORES_NOTHING.format("A chord")
        raise NotImplementedError(message)

    def _refused(self, *_args: Any, **_kwargs: Any) -> Any:
        message = _STORES_NOTHING.format("Saving, restoring and reloading")
        raise NotImplementedError(message)

    reload_task_result = reload_group_result = _refused
    save_group = restore_group = delete_group = _refused
