"""The result of a task that was executed where it was called.

Source:
    celery/result.py ``EagerResult``.
"""

from __future__ import annotations

from typing import Any

from celeriac import states
from celeriac.exceptions import TimeoutError  # noqa: A004 - Celery's name
from celeriac.result.single import AsyncResult, R_co
from celeriac.result.waiting import assert_will_not_block


class EagerResult(AsyncResult[R_co]):
    """A result that is there already.

    Args:
        id: The task's id.
        ret_value: The value, or the exception.
        state: The state.
        traceback: The traceback, as text.
        name: The task's name.

    """

    def __init__(
        self,
        id: str,  # noqa: A002 - Celery's name
        ret_value: Any,
        state: str,
        traceback: str | None = None,
        name: str | None = None,
    ) -> None:
        # No application and no backend: everything is in the handle.
        self.id = id
        self.parent = None
        self._meta = {"task_id": id, "result": ret_value, "status": state, "traceback": traceback}
        self._meta["name"] = name
        self._task_name = name
        self._ignored = False
        self._subscription = None
        self._cache = self._meta

    def get(  # type: ignore[override]
        self,
        timeout: float | None = None,
        propagate: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        disable_sync_subtasks: bool = True,  # noqa: FBT001, FBT002
        **_kwargs: Any,
    ) -> R_co:
        """Return the value, or raise the exception.

        Returns:
            The value.

        Raises:
            TimeoutError: The task did not end in a final state.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        if self.successful() or not propagate:
            value: R_co = self.result
            return value
        if self.state in states.PROPAGATE_STATES:
            raise (self.result if isinstance(self.result, Exception) else Exception(self.result))
        if self.state in states.UNREADY_STATES and timeout is not None:
            message = "The operation timed out."
            raise TimeoutError(message)
        return None  # type: ignore[return-value]  # an ignored or rejected task has no value

    async def aget(  # type: ignore[override]
        self,
        timeout: float | None = None,
        propagate: bool = True,  # noqa: FBT001, FBT002 - as `get`
        **_kwargs: Any,
    ) -> R_co:
        """Do as `get`: there is nothing to wait for.

        Returns:
            The value.
        """
        return self.get(timeout, propagate)

    wait = get  # type: ignore[assignment]

    def forget(self) -> None:
        """There is nothing to delete."""

    def revoke(self, *_args: Any, **_kwargs: Any) -> None:
        """Call it revoked."""
        self._meta["status"] = states.REVOKED

    @property
    def supports_native_join(self) -> bool:
        """There is nothing to wait for."""
        return False

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"

    def __reduce_args__(self) -> tuple[Any, ...]:
        """List the arguments of a copy.

        Returns:
            Id, value, state and traceback.
        """
        meta = self._meta
        return self.id, meta["result"], meta["status"], meta["traceback"], meta["name"]
