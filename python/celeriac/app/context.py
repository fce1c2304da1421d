"""`self.request`: what a task knows about its own call.

Source:
    celery/app/task.py ``Context`` (attributes and defaults); protocol: message headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Headers that are attributes of their own; every other one is in `headers`.
_STANDARD = frozenset({
    "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries",
    "timelimit", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result",
    "replaced_task_nesting", "stamped_headers", "stamps", "compression",
})  # fmt: skip


class Context:
    """The fields of a call, as attributes.

    Args:
        *args: Mappings of fields.
        **kwargs: More fields.

    """

    _children: list[Any] | None = None
    _protected = 0
    args: Any = None
    callbacks: list[Any] | None = None
    called_directly = True
    chain: list[Any] | None = None
    chord: Any = None
    correlation_id: str | None = None
    delivery_info: dict[str, Any] | None = None
    errbacks: list[Any] | None = None
    eta: str | None = None
    expires: Any = None
    group: str | None = None
    group_index: int | None = None
    headers: dict[str, Any] | None = None
    hostname: str | None = None
    id: str | None = None
    ignore_result: bool | None = False
    is_eager = False
    kwargs: Any = None
    logfile: Any = None
    loglevel: Any = None
    origin: str | None = None
    parent_id: str | None = None
    properties: dict[str, Any] | None = None
    replaced_task_nesting = 0
    reply_to: str | None = None
    retries = 0
    root_id: str | None = None
    shadow: str | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None
    task: str | None = None
    taskset: str | None = None
    timelimit: Any = None
    utc: bool | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.update(*args, **kwargs)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set fields."""
        self.__dict__.update(*args, **kwargs)

    def clear(self) -> None:
        """Forget all fields."""
        self.__dict__.clear()

    def get(self, key: str, default: Any = None) -> Any:
        """Look a field up.

        Returns:
            Its value, or `default`.
        """
        return getattr(self, key, default)

    def __repr__(self) -> str:
        return f"<Context: {vars(self)!r}>"

    def __getattr__(self, name: str) -> Any:
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(message)

    @property
    def time_limit(self) -> float | None:
        """The hard time limit in seconds."""
        return self.timelimit[0] if self.timelimit else None

    @property
    def soft_time_limit(self) -> float | None:
        """The soft time limit in seconds."""
        return self.timelimit[1] if self.timelimit else None

    @property
    def children(self) -> list[Any]:
        """Results of the tasks this one has called."""
        if self._children is None:
            self._children = []
        return self._children

    @classmethod
    def from_message(
        cls,
        headers: Mapping[str, Any],
        properties: Mapping[str, Any] | None,
        embed: Mapping[str, Any] | None,
        delivery_info: dict[str, Any] | None,
        hostname: str | None,
        *,
        is_eager: bool = False,
        args: Any = (),
        kwargs: Any = None,
    ) -> Context:
        """Make the request of a message.

        Args:
            headers: The message's headers. Custom ones are attributes, too, and are in `headers`.
            properties: ``correlation_id``, ``reply_to``, ...
            embed: The third element of the body.
            delivery_info: ``exchange``, ``routing_key``, ``priority``, ``redelivered``.
            hostname: The worker's node name.
            is_eager: Whether the task runs in the process that called it.
            args: The task's arguments.
            kwargs: Its keyword arguments.

        Returns:
            The request.
        """
        fields = dict(headers)
        given = properties or {}
        custom = {key: value for key, value in headers.items() if key not in _STANDARD}
        fields.update(
            headers=custom or None,
            properties=dict(given),
            correlation_id=given.get("correlation_id"),
            reply_to=given.get("reply_to"),
            delivery_info=delivery_info,
            hostname=hostname,
            is_eager=is_eager,
            called_directly=False,
            args=args,
            kwargs={} if kwargs is None else kwargs,
        )
        fields.setdefault("retries", 0)
        fields.update(embed or {})
        if fields.get("taskset") is not None:
            fields["group"] = fields["taskset"]
        return cls(fields)

    def as_execution_options(self) -> dict[str, Any]:
        """Return the options with which this call would be made again.

        Returns:
            Options of `Task.apply_async`.
        """
        options = {
            "task_id": self.id,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.chain,
            "link": self.callbacks,
            "link_error": self.errbacks,
            "expires": self.expires,
            "soft_time_limit": self.soft_time_limit,
            "time_limit": self.time_limit,
            "headers": self.headers,
            "retries": self.retries,
            "reply_to": self.reply_to,
            "replaced_task_nesting": self.replaced_task_nesting,
            "origin": self.origin,
        }
        if self.stamps and self.stamped_headers is not None:
            options["stamped_headers"] = self.stamped_headers
            options.update({name: self.stamps.get(name, []) for name in self.stamped_headers})
        return options


class LateContext(Context):
    """A request that is read from its message when somebody looks: most tasks never do.

    From then on it is a `Context` and nothing else.

    Args:
        read: Makes the request.
        *args: Its arguments.
    """

    def __init__(self, read: Callable[..., Context], *args: Any) -> None:
        _set(self, "_late", (read, args))

    def __getattribute__(self, name: str) -> Any:
        _arrive(self)
        return getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _arrive(self)
        setattr(self, name, value)

    def __delattr__(self, name: str) -> None:
        _arrive(self)
        delattr(self, name)


_set = object.__setattr__


def _arrive(late: LateContext) -> None:
    # Two threads may do it at once: both read the same.
    fields = object.__getattribute__(late, "__dict__")
    late_fields = fields.get("_late")
    if late_fields is not None:
        read, args = late_fields
        fields.update(vars(read(*args)))
    _set(late, "__class__", Context)
    fields.pop("_late", None)
