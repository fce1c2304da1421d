"""`kombu`: what users of Celery import from it."""

from typing import Any, NoReturn

from celeriac.app.connection import Connection
from celeriac.app.producing import Producer
from celeriac.nodenames import new_id as uuid
from celeriac.routing import Exchange, Queue, binding

BrokerConnection = Connection

__all__ = [
    "BrokerConnection",
    "Connection",
    "Consumer",
    "Exchange",
    "Producer",
    "Queue",
    "binding",
    "uuid",
]


class Consumer:
    """Consuming by hand is not there: tasks are consumed by workers."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        message = "kombu.Consumer is not in celeriac. Make it a task, which a worker executes."
        raise NotImplementedError(message)
