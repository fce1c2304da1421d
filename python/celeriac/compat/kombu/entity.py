"""`kombu.entity`: queues and exchanges."""

from celeriac.routing import Exchange, Queue, binding

__all__ = ["PERSISTENT_DELIVERY_MODE", "TRANSIENT_DELIVERY_MODE", "Exchange", "Queue", "binding"]

TRANSIENT_DELIVERY_MODE = Exchange.TRANSIENT_DELIVERY_MODE
PERSISTENT_DELIVERY_MODE = Exchange.PERSISTENT_DELIVERY_MODE
