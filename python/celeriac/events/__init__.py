"""Events: what workers and producers tell monitors of tasks and of themselves.

Source:
    celery/events (names, arguments; what is on the wire).
"""

from celeriac.events.dispatcher import EventDispatcher
from celeriac.events.event import Event, event_exchange, get_exchange, group_from
from celeriac.events.receiver import EventReceiver

__all__ = (
    "Event",
    "EventDispatcher",
    "EventReceiver",
    "event_exchange",
    "get_exchange",
    "group_from",
)
