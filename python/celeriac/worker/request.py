"""What the worker knows of a task it was sent, before and while the task runs."""

from datetime import datetime, timezone, tzinfo
from typing import Any

from celeriac._native import Delivery
from celeriac.worker.load import Body, load
from celeriac.worker.outcome import Revoked
from celeriac.worker.settle import AckPolicy

__all__ = ("Request",)

_FIRST = datetime(1, 1, 1, tzinfo=timezone.utc)
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)


class Request:
    """A task message that was admitted.

    Most fields are read from the message when somebody asks for them: a plain task needs few.

    Attributes:
        delivery: The message.
        task: The task it asks for.
        policy: How the task acknowledges.
        hostname: The worker's node name.
        due_ms: When it is to start, in ms since 1970; 0 at once.
        expires_ms: When it is too late, in ms since 1970; 0 never.
        acknowledged: Whether the broker has heard of it.
        worker_pid: The process that executes it.
        time_start: When it was started, in seconds since 1970.
        fate: What becomes of it whatever happens: it was revoked.
    """

    __slots__ = (
        "_headers",
        "acknowledged",
        "delivery",
        "due_ms",
        "expires_ms",
        "fate",
        "hostname",
        "id",
        "policy",
        "task",
        "time_start",
        "worker_pid",
    )

    def __init__(self, delivery: Delivery, task: Any, policy: AckPolicy, hostname: str) -> None:
        self.delivery = delivery
        self.task = task
        self.policy = policy
        self.hostname = hostname
        self.id: str = delivery.id or ""
        self.due_ms = 0
        self.expires_ms = 0
        self.acknowledged = False
        self.worker_pid: int | None = None
        self.time_start: float | None = None
        self.fate: Revoked | None = None
        self._headers: dict[str, Any] | None = None

    def revoke(self) -> None:
        """Let it not start: its pool asks the host before it starts what may be too late."""
        self.fate = Revoked("revoked")
        self.expires_ms = self.expires_ms or 1

    @property
    def headers(self) -> dict[str, Any]:
        """All headers of the message."""
        if self._headers is None:
            self._headers = self.delivery.headers()
        return self._headers

    @property
    def request_dict(self) -> dict[str, Any]:
        """The headers, by Celery's other name for them."""
        return self.headers

    @property
    def name(self) -> str:
        """The name people see: the message's ``shadow``, or the task's."""
        shadow = self.headers.get("shadow") if self.delivery.is_shadowed else None
        return str(shadow or self.task.name)

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.id

    @property
    def task_name(self) -> str:
        """The task's registered name."""
        return str(self.task.name)

    type = task_name

    @property
    def argsrepr(self) -> str:
        """The positional arguments, for people."""
        return str(self.headers.get("argsrepr") or "")

    @property
    def kwargsrepr(self) -> str:
        """The keyword arguments, for people."""
        return str(self.headers.get("kwargsrepr") or "")

    @property
    def eta(self) -> datetime | None:
        """When it is to start."""
        return _moment(self.due_ms)

    @property
    def expires(self) -> datetime | None:
        """When it is too late."""
        return _moment(self.expires_ms)

    @property
    def root_id(self) -> str | None:
        """The first task of the workflow."""
        return self.headers.get("root_id")

    @property
    def parent_id(self) -> str | None:
        """The task that sent it."""
        return self.headers.get("parent_id")

    @property
    def group(self) -> str | None:
        """The group it belongs to."""
        return self.headers.get("group")

    @property
    def correlation_id(self) -> str | None:
        """The id under which an answer is expected."""
        return self.delivery.properties().get("correlation_id")

    @property
    def reply_to(self) -> str | None:
        """The queue on which an answer is expected."""
        return self.delivery.properties().get("reply_to")

    def _body(self) -> Body:
        # The door has looked at the content type.
        body = load(self.delivery, None)
        return body if isinstance(body, Body) else Body([], {}, {})

    @property
    def args(self) -> Any:
        """The positional arguments."""
        return self._body().args

    @property
    def kwargs(self) -> Any:
        """The keyword arguments."""
        return self._body().kwargs

    @property
    def delivery_info(self) -> dict[str, Any]:
        """Exchange, routing key, priority, and whether it was delivered before."""
        return {
            "exchange": self.delivery.exchange,
            "routing_key": self.delivery.routing_key,
            "priority": self.delivery.properties().get("priority"),
            "redelivered": self.delivery.redelivered,
        }

    @property
    def store_errors(self) -> bool:
        """Whether a failure is stored."""
        ignored = self.headers.get("ignore_result")
        ignored = self.task.ignore_result if ignored is None else ignored
        return not ignored or bool(self.task.store_errors_even_if_ignored)

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - Celery's
        """Describe the request, as remote control answers.

        Args:
            safe: Give the arguments as text.

        Returns:
            Celery's keys.
        """
        return {
            "id": self.id,
            "name": self.name,
            "args": self.argsrepr if safe else self.args,
            "kwargs": self.kwargsrepr if safe else self.kwargs,
            "type": self.task_name,
            "hostname": self.hostname,
            "time_start": self.time_start,
            "acknowledged": self.acknowledged,
            "delivery_info": self.delivery_info,
            "worker_pid": self.worker_pid,
        }

    def humaninfo(self) -> str:
        """Name the request for people.

        Returns:
            ``name[id]``.
        """
        return f"{self.name}[{self.id}]"

    def __str__(self) -> str:
        eta = f" ETA:[{self.eta}]" if self.due_ms else ""
        expires = f" expires:[{self.expires}]" if self.expires_ms else ""
        return self.humaninfo() + eta + expires

    def __repr__(self) -> str:
        return f"<Request: {self.humaninfo()} {self.argsrepr} {self.kwargsrepr}>"


def _moment(unix_ms: int, zone: tzinfo = timezone.utc) -> datetime | None:
    if not unix_ms:
        return None
    try:
        return datetime.fromtimestamp(unix_ms / 1000, zone)
    except (ValueError, OverflowError):
        # The first and the last day of the calendar lie beyond it with some offsets.
        return _LAST if unix_ms > 0 else _FIRST
