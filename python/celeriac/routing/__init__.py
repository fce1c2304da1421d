"""Where messages go: queues, exchanges, and the rules that choose between them."""

from celeriac.routing.entities import (
    Broadcast,
    Exchange,
    Queue,
    binding,
    delivery_mode,
    worker_direct,
)
from celeriac.routing.queues import Queues
from celeriac.routing.router import (
    Destination,
    MapRoute,
    Router,
    declared,
    destination,
    prepare,
)

__all__ = [
    "Broadcast",
    "Destination",
    "Exchange",
    "MapRoute",
    "Queue",
    "Queues",
    "Router",
    "binding",
    "declared",
    "delivery_mode",
    "destination",
    "prepare",
    "worker_direct",
]
