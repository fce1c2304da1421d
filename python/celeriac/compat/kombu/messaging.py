"""`kombu.messaging`: producers, and queues again."""

from celeriac.app.producing import Producer
from celeriac.routing import Exchange, Queue

__all__ = ["Exchange", "Producer", "Queue"]
