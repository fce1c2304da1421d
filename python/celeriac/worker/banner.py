"""What a worker prints at its start. People and scripts look for its fields.

Source:
    Celery 5.7's banner (field names and order).
"""

import logging
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celeriac._native import __version__

__all__ = ("Facts", "banner")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the banner says.

    Attributes:
        hostname: The node name.
        app: The application's name and address.
        transport: The broker's URL, without password.
        results: The result backend's URL, without password.
        concurrency: How many tasks at once, and the pool's name.
        task_events: Whether monitors get task events.
        queues: The queues consumed.
        tasks: The registered tasks.
        note: One more line, such as where the embedded queue is.
    """

    hostname: str
    app: str
    transport: str
    results: str
    concurrency: str
    task_events: bool
    queues: Mapping[str, Any]
    tasks: Iterable[str]
    note: str | None = None


def banner(facts: Facts, loglevel: int | None, now: datetime) -> str:
    """Compose the banner.

    Args:
        facts: What to say.
        loglevel: At INFO or below the tasks are listed, at DEBUG also the built-in ones.
        now: The time.

    Returns:
        Text of several lines.
    """
    events = "ON" if facts.task_events else "OFF (enable -E to monitor tasks in this worker)"
    lines = [
        " ",
        f" {facts.hostname} v{__version__} (celeriac)",
        "",
        f" {platform.platform()} {now.replace(microsecond=0, tzinfo=None)}",
        "",
        " [config]",
        f" .> app:         {facts.app}",
        f" .> transport:   {facts.transport}",
        f" .> results:     {facts.results}",
        f" .> concurrency: {facts.concurrency}",
        f" .> task events: {events}",
        "",
        " [queues]",
        *(f" .> {_described(queue)}" for queue in facts.queues.values()),
        "",
    ]
    if facts.note:
        lines += [f" {facts.note}", ""]
    if loglevel is not None and loglevel <= logging.INFO:
        lines += ["[tasks]", *_listed(facts.tasks, loglevel), ""]
    return "\n".join(lines)


def _described(queue: Any) -> str:
    exchange = queue.exchange
    name = getattr(exchange, "name", exchange) or ""
    kind = getattr(exchange, "type", "direct")
    return f"{queue.name:<16} exchange={name}({kind}) key={queue.routing_key}"


def _listed(tasks: Iterable[str], loglevel: int) -> list[str]:
    shown = sorted(tasks)
    if loglevel > logging.DEBUG:
        shown = [name for name in shown if not name.startswith("celery.")]
    return [f"  . {name}" for name in shown]
