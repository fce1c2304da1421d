"""`kombu.common`: queues for all workers, and declaring by hand."""

from typing import Any

from celeriac.nodenames import new_id as uuid
from celeriac.routing import Broadcast, Queue

__all__ = ["Broadcast", "maybe_declare", "uuid"]

_DECLARE_WAIT_S = 30.0


def maybe_declare(entity: Any, channel: Any = None, retry: bool = False, **_policy: Any) -> bool:  # noqa: ARG001, FBT001, FBT002 - kombu's signature
    """Declare a queue; exchanges are declared with the queues that are bound to them.

    Args:
        entity: A queue or an exchange.
        channel: A channel of `app.connection()`.
        retry: Ignored: the connection tries again by itself.

    Returns:
        Whether something was declared.
    """
    if not hasattr(entity, "routing_key") or channel is None:
        return False
    channel.publisher.declare(Queue.of(entity).as_spec(), _DECLARE_WAIT_S)
    return True
