"""`app.amqp`: the queues of an application and its router.

Source:
    celery/app/amqp.py ``AMQP``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from celeriac.app.loading import symbol_by_name
from celeriac.routing import Exchange, Queue, Queues, Router, prepare

if TYPE_CHECKING:
    from celeriac import routing
    from celeriac.app.producing import Producer

__all__ = ["AMQP", "Queues"]


class AMQP:
    """Queues and routes, made from the settings when first asked for.

    Args:
        app: The application.

    """

    argsrepr_maxsize = 1024
    kwargsrepr_maxsize = 1024
    queues_cls = Queues
    autoexchange: Any = None

    def __init__(self, app: Any) -> None:
        self.app = app
        self._lock = threading.RLock()
        self._made: dict[str, Any] = {}
        self._version = -1

    @property
    def Producer(self) -> type[Producer]:  # noqa: N802 - Celery's name
        """The class of what messages are sent through: ``app.amqp.Producer(connection)``."""
        from celeriac.app.producing import Producer  # noqa: PLC0415 - most applications need none

        return Producer

    def _once(self, name: str, make: Any) -> Any:
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]

    @property
    def default_exchange(self) -> Exchange:
        """The exchange of queues that name none."""
        conf = self.app.conf
        return Exchange(conf.task_default_exchange, conf.task_default_exchange_type)

    @property
    def default_queue(self) -> Queue:
        """The queue of tasks that no rule matches."""
        return self.queues.named(self.app.conf.task_default_queue)

    @property
    def queues(self) -> routing.Queues:
        """The queues that are known, by name."""
        made: routing.Queues = self._once("queues", lambda: self.Queues(self.app.conf.task_queues))
        return made

    @queues.setter
    def queues(self, queues: Any) -> None:
        self._made["queues"] = self.Queues(queues)
        self.flush_routes()

    def Queues(  # noqa: N802 - Celery's name
        self,
        queues: Any,
        create_missing: bool | None = None,  # noqa: FBT001 - Celery's signature
        create_missing_queue_type: str | None = None,
        create_missing_queue_exchange_type: str | None = None,
        autoexchange: Any = None,
        max_priority: int | None = None,
    ) -> routing.Queues:
        """Make the mapping of queues.

        Args:
            queues: As in `task_queues`; empty makes the default queue.
            create_missing: Whether to make queues when they are asked for.
            create_missing_queue_type: ``classic`` or ``quorum``.
            create_missing_queue_exchange_type: Type of their exchanges.
            autoexchange: Makes the exchange of a missing queue.
            max_priority: ``x-max-priority`` of all queues.

        Returns:
            Queues by name.
        """
        conf = self.app.conf
        if not queues and conf.task_default_queue:
            queues = (self._configured_default(),)
        return self.queues_cls(
            queues,
            self.default_exchange,
            conf.task_create_missing_queues if create_missing is None else create_missing,
            create_missing_queue_type or conf.task_create_missing_queue_type,
            create_missing_queue_exchange_type or conf.task_create_missing_queue_exchange_type,
            autoexchange or self.autoexchange,
            conf.task_queue_max_priority if max_priority is None else max_priority,
            conf.task_default_routing_key,
        )

    def _configured_default(self) -> Queue:
        conf = self.app.conf
        quorum = conf.task_default_queue_type not in {None, "classic"}
        arguments = {"x-queue-type": conf.task_default_queue_type} if quorum else None
        return Queue(
            conf.task_default_queue,
            self.default_exchange,
            conf.task_default_routing_key,
            queue_arguments=arguments,
        )

    @property
    def router(self) -> routing.Router:
        """What decides where a task goes."""
        version = self.app.conf.version
        if version != self._version:
            self._made.pop("router", None)
            self._version = version
        made: routing.Router = self._once("router", self.Router)
        return made

    @router.setter
    def router(self, router: Any) -> None:
        self.app.conf.touch()
        self._version = self.app.conf.version
        self._made["router"] = router

    def Router(  # noqa: N802 - Celery's name
        self,
        queues: routing.Queues | None = None,
        create_missing: bool | None = None,  # noqa: ARG002, FBT001 - Celery's signature
    ) -> routing.Router:
        """Make a router of the settings.

        Returns:
            A router.
        """
        conf = self.app.conf
        rules = prepare(conf.task_routes, symbol_by_name)
        return Router(rules, queues or self.queues, conf.task_default_queue)

    @property
    def producer_pool(self) -> Any:
        """The pool that lends producers; the application's."""
        return self.app.producer_pool

    @property
    def routes(self) -> Any:
        """The rules."""
        return self.router.routes

    def flush_routes(self) -> None:
        """Read `task_routes` anew."""
        self._made.pop("router", None)
        self.app.conf.touch()
