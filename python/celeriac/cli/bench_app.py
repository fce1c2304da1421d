"""The application of ``celeriac bench``: two tasks, a queue of its own, the user's broker.

The worker that the command starts imports it by name and finds its settings in the environment, so
that no password stands in a command line.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from celeriac import Celery
from celeriac.routing import Exchange, Queue

__all__ = ("VARIABLE", "make_app")

VARIABLE = "CELERIAC_BENCH"
#: RabbitMQ removes what a killed bench left: the queue, so many seconds after its last use.
QUEUE_EXPIRES_S = 300
RESULT_EXPIRES_S = 300


def make_app(queue: str, settings: dict[str, Any]) -> Celery:
    """Make the application.

    Args:
        queue: The name of its queue, which nobody else uses.
        settings: Broker, results, and how to reach them.

    Returns:
        An application with the tasks ``celeriac.bench.nothing`` (no result) and
        ``celeriac.bench.now``.
    """
    made = Celery("celeriac-bench", set_as_current=False)
    # The default exchange: nothing is declared but the queue, which goes with its worker.
    own = Queue(queue, Exchange(""), queue, auto_delete=True, expires=QUEUE_EXPIRES_S)
    made.conf.update(
        {
            **settings,
            "task_queues": [own],
            "task_default_queue": queue,
            "task_default_exchange": "",
            "task_default_routing_key": queue,
            "result_expires": RESULT_EXPIRES_S,
            "worker_enable_remote_control": False,
            "broker_connection_retry_on_startup": True,
        }
    )
    made.task(name="celeriac.bench.nothing", ignore_result=True)(_nothing)
    made.task(name="celeriac.bench.now", ignore_result=False)(_now)
    return made


def _nothing() -> None:
    return


def _now() -> float:
    return time.time()  # noqa: TID251 - what the worker's clock says is what is asked for


def __getattr__(name: str) -> Any:
    """Make ``app`` for the worker.

    Args:
        name: What is looked for.

    Returns:
        The application of the environment.

    Raises:
        AttributeError: It is something else, or nobody runs a bench.
    """
    if name != "app" or VARIABLE not in os.environ:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return make_app(**json.loads(os.environ[VARIABLE]))
