"""Queues and exchanges as users declare them.

kombu's own objects are accepted wherever these are: by the names of their attributes.

Source:
    kombu/entity.py (names of attributes and defaults).
"""

from __future__ import annotations

from typing import Any

from celeriac.nodenames import WORKER_DIRECT_EXCHANGE, WORKER_DIRECT_QUEUE_FORMAT, new_id

_DELIVERY_MODES = {"transient": 1, "persistent": 2, 1: 1, 2: 2, "1": 1, "2": 2}


def delivery_mode(value: Any) -> int | None:
    """Read a delivery mode.

    Args:
        value: 1, 2, ``"transient"``, ``"persistent"`` or None.

    Returns:
        1 (kept in memory), 2 (written to disk) or None.

    Raises:
        ValueError: It is none of these.
    """
    if value is None:
        return None
    if value not in _DELIVERY_MODES:
        message = f"Delivery mode must be 1 ('transient') or 2 ('persistent'), not {value!r}."
        raise ValueError(message)
    return _DELIVERY_MODES[value]


class Exchange:
    """An exchange: where messages are sent to, and how it chooses their queues."""

    TRANSIENT_DELIVERY_MODE = 1
    PERSISTENT_DELIVERY_MODE = 2

    def __init__(self, name: str = "", type: str = "", channel: Any = None, **options: Any) -> None:  # noqa: A002, ARG002 - kombu's signature
        self.name = name or ""
        self.type: str = type or "direct"
        self.arguments: dict[str, Any] | None = options.get("arguments")
        self.durable: bool = options.get("durable", True)
        self.passive: bool = options.get("passive", False)
        self.auto_delete: bool = options.get("auto_delete", False)
        self.delivery_mode = delivery_mode(options.get("delivery_mode"))
        self.no_declare: bool = options.get("no_declare") or False

    def __repr__(self) -> str:
        return f"Exchange {self.name or repr('')}({self.type})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Exchange):
            return NotImplemented
        return vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.name, self.type))

    @classmethod
    def of(cls, value: Any) -> Exchange:
        """Accept an exchange of any kind.

        Args:
            value: An `Exchange`, kombu's, a name, or None (the default exchange).

        Returns:
            An exchange.
        """
        if isinstance(value, Exchange):
            return value
        if value is None or isinstance(value, str):
            return cls(value or "")
        names = ("arguments", "durable", "passive", "auto_delete", "delivery_mode", "no_declare")
        options = {name: getattr(value, name) for name in names if hasattr(value, name)}
        return cls(value.name, value.type, **options)

    def as_spec(self) -> dict[str, Any]:
        """Describe the exchange to a broker, as a queue without a name.

        Returns:
            What `Queue.as_spec` returns.
        """
        return {"name": "", **binding(self).as_spec()}

    def options(self) -> dict[str, Any]:
        """List how it is declared.

        Returns:
            What differs from a durable exchange that is declared.
        """
        found = {name: getattr(self, name) for name in ("auto_delete", "passive", "no_declare")}
        listed = {"durable": self.durable, **found, "arguments": self.arguments}
        return {key: value for key, value in listed.items() if bool(value) != (key == "durable")}


class binding:  # noqa: N801 - kombu's name
    """One of several bindings of a queue.

    Args:
        exchange: An `Exchange`, kombu's, or a name.
        routing_key: The key.
        arguments: What a headers exchange compares (RabbitMQ).
        unbind_arguments: Nothing: bindings are not taken back.

    """

    def __init__(
        self,
        exchange: Any = None,
        routing_key: str = "",
        arguments: dict[str, Any] | None = None,
        unbind_arguments: dict[str, Any] | None = None,
    ) -> None:
        self.exchange = Exchange.of(exchange)
        self.routing_key = routing_key
        self.arguments = arguments
        self.unbind_arguments = unbind_arguments

    @classmethod
    def of(cls, value: Any) -> binding:
        """Accept a binding of any kind.

        Args:
            value: A `binding` or kombu's.

        Returns:
            A binding.
        """
        if isinstance(value, binding):
            return value
        return cls(value.exchange, value.routing_key or "", value.arguments)

    def as_spec(self) -> dict[str, Any]:
        """Describe the binding to a broker.

        Returns:
            Its exchange, exchange_type and routing_key; exchange_options and binding_arguments,
            where there are some.
        """
        made: dict[str, Any] = {
            "exchange": self.exchange.name,
            "exchange_type": self.exchange.type,
            "routing_key": self.routing_key,
        }
        more = {"exchange_options": self.exchange.options(), "binding_arguments": self.arguments}
        return made | {key: value for key, value in more.items() if value}

    def __repr__(self) -> str:
        return f"<binding: {self.exchange}->{self.routing_key}>"


_EXTRA_ARGUMENTS = {
    "expires": ("x-expires", 1000),
    "message_ttl": ("x-message-ttl", 1000),
    "max_length": ("x-max-length", 1),
    "max_length_bytes": ("x-max-length-bytes", 1),
    "max_priority": ("x-max-priority", 1),
}
_ATTRIBUTES: dict[str, Any] = {
    "queue_arguments": None,
    "binding_arguments": None,
    "consumer_arguments": None,
    "durable": True,
    "exclusive": False,
    "auto_delete": False,
    "no_ack": False,
    "alias": None,
    "no_declare": None,
    **dict.fromkeys(_EXTRA_ARGUMENTS),
}


class Queue:
    """A queue, and how it is bound.

    Args:
        name: Its name.
        exchange: An `Exchange`, kombu's, or a name; a list of bindings is taken as `bindings`.
        routing_key: The key it is bound with.
        bindings: Further bindings.
        **options: `queue_arguments`, `durable`, `exclusive`, `auto_delete`, `max_priority`,
            `expires` and `message_ttl` (seconds), `max_length`, `max_length_bytes`, ...

    """

    def __init__(
        self,
        name: str = "",
        exchange: Any = None,
        routing_key: str = "",
        channel: Any = None,  # noqa: ARG002 - kombu's signature
        bindings: Any = None,
        on_declared: Any = None,  # noqa: ARG002 - kombu's signature
        **options: Any,
    ) -> None:
        listed = exchange if isinstance(exchange, (list, tuple, set)) else ()
        self.name = name
        self.exchange = Exchange.of(None if listed else exchange)
        self.routing_key = routing_key or options.get("key") or ""
        self.bindings = [binding.of(each) for each in (*(bindings or ()), *listed)]
        for attribute, default in _ATTRIBUTES.items():
            setattr(self, attribute, options.get(attribute, default))

    queue_arguments: dict[str, Any] | None
    binding_arguments: dict[str, Any] | None
    consumer_arguments: dict[str, Any] | None
    durable: bool
    exclusive: bool
    auto_delete: bool
    no_ack: bool
    alias: str | None
    no_declare: bool | None
    expires: float | None
    message_ttl: float | None
    max_length: int | None
    max_length_bytes: int | None
    max_priority: int | None

    @classmethod
    def of(cls, value: Any) -> Queue:
        """Accept a queue of any kind.

        Args:
            value: A `Queue` or kombu's.

        Returns:
            A queue.
        """
        if isinstance(value, Queue):
            return value
        options = {name: getattr(value, name) for name in _ATTRIBUTES if hasattr(value, name)}
        if any(kind.__name__ == "Broadcast" for kind in type(value).__mro__):
            made = Broadcast(queue=value.name, exchange=Exchange.of(value.exchange), **options)
            made.routing_key = value.routing_key or ""
            return made
        return cls(
            value.name,
            value.exchange,
            value.routing_key,
            bindings=getattr(value, "bindings", None),
            **options,
        )

    @classmethod
    def from_dict(cls, name: str, **options: Any) -> Queue:
        """Make a queue of one entry of a `task_queues` mapping.

        Args:
            name: Its name.
            **options: ``exchange``, ``exchange_type``, ``binding_key`` or ``routing_key``, and
                those of the constructor.

        Returns:
            A queue.
        """
        exchange = options.pop("exchange", None)
        kind = options.pop("exchange_type", None)
        key = options.pop("binding_key", None) or options.pop("routing_key", None) or ""
        if exchange is None or isinstance(exchange, str):
            exchange = Exchange(exchange or "", kind or "", **options.pop("exchange_options", {}))
        return cls(name, exchange, key, **options)

    def as_spec(self) -> dict[str, Any]:
        """Describe the queue to a broker.

        Returns:
            Its name, exchange, exchange_type, routing_key, durable, auto_delete and arguments;
            bindings, no_declare and what `binding.as_spec` adds, where there are some.
        """
        arguments = dict(self.queue_arguments or {})
        for attribute, (argument, factor) in _EXTRA_ARGUMENTS.items():
            value = getattr(self, attribute)
            if value is not None:
                arguments[argument] = int(value * factor)
        own = binding(self.exchange, self.routing_key, self.binding_arguments)
        made = {
            "name": self.name,
            **own.as_spec(),
            "durable": bool(self.durable),
            "auto_delete": bool(self.auto_delete),
            "arguments": arguments,
        }
        if self.bindings:
            made["bindings"] = [each.as_spec() for each in self.bindings]
        if self.no_declare:
            made["no_declare"] = True
        return made

    def as_dict(self, recurse: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - kombu's signature
        """List the attributes.

        Args:
            recurse: Whether to list the exchange's, too.

        Returns:
            Attributes by name.
        """
        exchange: Any = dict(vars(self.exchange)) if recurse else self.exchange
        return {**vars(self), "exchange": exchange}

    def __repr__(self) -> str:
        return f"<Queue {self.name} -> {self.exchange} -> {self.routing_key}>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Queue):
            return NotImplemented
        return self.as_spec() == other.as_spec()

    def __hash__(self) -> int:
        return hash(self.name)


class Broadcast(Queue):
    """A queue of its own for every worker, which gets a copy of each message."""

    def __init__(
        self,
        name: str | None = None,
        queue: str | None = None,
        unique: bool = False,  # noqa: FBT001, FBT002 - kombu's signature
        auto_delete: bool = True,  # noqa: FBT001, FBT002
        exchange: Any = None,
        alias: str | None = None,
        **options: Any,
    ) -> None:
        own = f"{queue}.{new_id()}" if unique and queue else queue or f"bcast.{new_id()}"
        fanout = exchange if exchange is not None else Exchange(name or "", "fanout")
        options.update(alias=alias or name, auto_delete=auto_delete)
        super().__init__(own, fanout, **options)


def worker_direct(hostname: Any) -> Queue:
    """Describe the queue of one worker (`worker_direct`).

    Args:
        hostname: Its node name; a queue is returned as it is.

    Returns:
        The queue.
    """
    if isinstance(hostname, Queue):
        return hostname
    exchange = Exchange(WORKER_DIRECT_EXCHANGE)
    return Queue(WORKER_DIRECT_QUEUE_FORMAT.format(hostname=hostname), exchange, hostname)
