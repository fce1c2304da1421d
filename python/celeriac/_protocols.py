"""What lower layers see of upper ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, tzinfo


class TaskLike(Protocol):
    """A task, as far as handles and backends need it."""

    name: str
    ignore_result: bool | None

    @property
    def request(self) -> Any:
        """The call that runs."""

    def add_trail(self, result: Any, /) -> Any:
        """Note that the task has called another."""


class App(Protocol):
    """An application, as far as brokers, backends and handles need it."""

    main: str | None

    @property
    def conf(self) -> Any:
        """The settings."""

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The registry."""

    @property
    def backend(self) -> Any:
        """The result backend of this application."""

    @property
    def AsyncResult(self) -> Any:  # noqa: N802 - Celery's name
        """Makes handles to results."""

    @property
    def thread_oid(self) -> str:
        """The queue of this thread's replies."""

    @property
    def timezone(self) -> tzinfo:
        """The zone of the times it writes."""

    def gen_task_name(self, name: str, module: str) -> str:
        """Name a task."""

    def now(self) -> datetime:
        """The time, in that zone."""
