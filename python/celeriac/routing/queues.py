"""The queues an application knows, and those it makes when asked for.

Source:
    celery/app/amqp.py ``Queues``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from celeriac.exceptions import ImproperlyConfigured, QueueNotFound
from celeriac.routing.entities import Exchange, Queue


class Queues(dict[str, Queue]):
    """Queues by name. A name that is missing is made, unless that is switched off."""

    def __init__(
        self,
        queues: Any = None,
        default_exchange: Exchange | None = None,
        create_missing: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        create_missing_queue_type: str | None = None,
        create_missing_queue_exchange_type: str | None = None,
        autoexchange: Any = None,
        max_priority: int | None = None,
        default_routing_key: str | None = None,
    ) -> None:
        super().__init__()
        self.aliases: dict[str, Queue] = {}
        self.default_exchange = default_exchange
        self.default_routing_key = default_routing_key
        self.create_missing = create_missing
        self.create_missing_queue_type = create_missing_queue_type
        self.create_missing_queue_exchange_type = create_missing_queue_exchange_type
        self.autoexchange = autoexchange
        self.max_priority = max_priority
        self._consume_from: dict[str, Queue] | None = None
        for queue in _listed(queues):
            self.add(queue)

    def __getitem__(self, name: str) -> Queue:
        return self.aliases.get(name) or super().__getitem__(name)

    def __missing__(self, name: str) -> Queue:
        if not self.create_missing:
            raise KeyError(name)
        return self.add(self.new_missing(name))

    def __setitem__(self, name: str, queue: Queue) -> None:
        if self.default_exchange and not queue.exchange.name:
            queue.exchange = self.default_exchange
        super().__setitem__(name, queue)
        if queue.alias:
            self.aliases[queue.alias] = queue

    def add(self, queue: Any, **kwargs: Any) -> Queue:
        """Add a queue.

        Args:
            queue: A `Queue`, kombu's, or a name.
            **kwargs: With a name: see `Queue.from_dict`.

        Returns:
            The queue, with what it leaves open filled in.
        """
        made = Queue.from_dict(queue, **kwargs) if isinstance(queue, str) else Queue.of(queue)
        if not made.exchange.name and self.default_exchange:
            made.exchange = self.default_exchange
        if not made.routing_key:
            made.routing_key = self.default_routing_key or ""
        if self.max_priority is not None and made.max_priority is None:
            made.max_priority = self.max_priority
        self[made.name] = made
        return made

    def add_compat(self, name: str, **options: Any) -> Queue:
        """Add a queue by name and options.

        Returns:
            The queue.
        """
        options.setdefault("routing_key", options.get("binding_key"))
        return self.add(name, **options)

    def new_missing(self, name: str) -> Queue:
        """Make the queue for a name that nobody declared.

        Returns:
            A durable queue with an exchange and a binding of its own name.
        """
        kind = self.create_missing_queue_exchange_type or ""
        exchange = self.autoexchange(name) if self.autoexchange else Exchange(name, kind)
        quorum = self.create_missing_queue_type not in {None, "classic"}
        arguments = {"x-queue-type": self.create_missing_queue_type} if quorum else None
        return Queue(name, exchange, name, queue_arguments=arguments)

    @property
    def consume_from(self) -> dict[str, Queue]:
        """The queues a worker takes messages from."""
        return self if self._consume_from is None else self._consume_from

    def select(self, include: str | Iterable[str] | None) -> None:
        """Consume from these queues only; those that are missing are made.

        Args:
            include: Names, as a list or separated by commas.

        Raises:
            ImproperlyConfigured: A queue is missing, and missing ones are not to be made.
        """
        if not include:
            return
        try:
            self._consume_from = {name: self[name] for name in _names(include)}
        except KeyError as exc:
            message = (
                f"Trying to select queue subset of {_names(include)!r}, but queue {exc} is not "
                "defined in the `task_queues` setting. Add it there, or set "
                "`task_create_missing_queues`."
            )
            raise ImproperlyConfigured(message) from None

    def deselect(self, exclude: str | Iterable[str] | None) -> None:
        """Do not consume from these queues.

        Args:
            exclude: Names, as a list or separated by commas.

        Raises:
            ImproperlyConfigured: A queue is unknown.
        """
        names = _names(exclude or ())
        unknown = [name for name in names if name not in self and not self.create_missing]
        if unknown:
            message = (
                f"Trying to deselect queue subset of {names!r}, but queue {unknown[0]!r} is not "
                f"defined in the `task_queues` setting."
            )
            raise ImproperlyConfigured(message)
        if names:
            left = self.consume_from.items()
            self._consume_from = {name: queue for name, queue in left if name not in names}

    def select_add(self, queue: Any, **kwargs: Any) -> Queue:
        """Add a queue and consume from it, too.

        Returns:
            The queue.
        """
        added = self.add(queue, **kwargs)
        if self._consume_from is not None:
            self._consume_from[added.name] = added
        return added

    def format(self, indent: int = 0, indent_first: bool = True) -> str:  # noqa: FBT001, FBT002 - Celery's signature
        """List the queues as the worker's banner shows them.

        Returns:
            A line for each.
        """
        rows = [
            f".> {name:<16} exchange={queue.exchange.name}({queue.exchange.type}) "
            f"key={queue.routing_key}"
            for name, queue in sorted(self.consume_from.items())
        ]
        pad = " " * indent
        text = f"\n{pad}".join(rows)
        return pad + text if indent_first else text

    def named(self, name: str) -> Queue:
        """Look a queue up, making it where that is allowed.

        Returns:
            The queue.

        Raises:
            QueueNotFound: It is not in `task_queues`, and missing ones are not to be made.
        """
        try:
            return self[name]
        except KeyError:
            message = f"Queue {name!r} missing from task_queues"
            raise QueueNotFound(message) from None


def _names(names: str | Iterable[str]) -> list[str]:
    listed = names.split(",") if isinstance(names, str) else list(names)
    return [name.strip() for name in listed if name.strip()]


def _listed(queues: Any) -> list[Queue]:
    if not queues:
        return []
    if isinstance(queues, Mapping):
        return [_of_mapping(name, value) for name, value in queues.items()]
    return [
        Queue(queue, queue, queue) if isinstance(queue, str) else Queue.of(queue)
        for queue in queues
    ]


def _of_mapping(name: str, value: Any) -> Queue:
    return Queue.from_dict(name, **value) if isinstance(value, Mapping) else Queue.of(value)
