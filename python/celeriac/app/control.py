"""`app.control`: tell workers what to do, and ask them how they are.

Source:
    celery/app/control.py (names and arguments).
"""
# ruff: noqa: DOC201 - what all methods return is said once, by their class

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from celeriac import broker
from celeriac.app.mailbox import Mailbox, question
from celeriac.exceptions import DuplicateNodenameWarning, ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ("Control", "Inspect", "flatten_reply")

TERM_SIGNAME = "SIGTERM"
_PURGE_WAIT_S = 30.0


def flatten_reply(reply: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Put the answers of several nodes into one dictionary.

    Args:
        reply: Answers, each ``{node: value}``.

    Returns:
        ``{node: value, ...}``. A node that answered twice is warned about: two workers have one
        name.
    """
    nodes: dict[str, Any] = {}
    twice: set[str] = set()
    for answer in reply:
        twice |= nodes.keys() & answer.keys()
        nodes.update(answer)
    if twice:
        message = (
            f"Received multiple replies from node name: {', '.join(sorted(twice))}. "
            "Give each worker a name of its own: -n w1@%h."
        )
        warnings.warn(DuplicateNodenameWarning(message), stacklevel=2)
    return nodes


class Inspect:
    """Asks workers how they are: ``app.control.inspect().active()``.

    Every method returns ``{node: answer}``, or None where nobody answered.

    Args:
        destination: Node names, or one; None asks all.
        timeout: Seconds to wait for the next answer.
        callback: Called with each answer.
        connection: Ignored: the process has its own.
        app: The application.
        limit: How many answers are enough.
        pattern: Matches names of nodes.
        matcher: How: ``glob`` or ``pcre``.
    """

    app: Any = None

    def __init__(
        self,
        destination: Any = None,
        timeout: float = 1.0,
        callback: Callable[[Any], Any] | None = None,
        connection: Any = None,
        app: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self.app = app or self.app
        self.destination = destination
        self.timeout = timeout
        self.callback = callback
        self.connection = connection
        self.limit = limit
        self.pattern = pattern
        self.matcher = matcher

    def _prepare(self, reply: list[dict[str, Any]] | None) -> Any:
        if not reply:
            return None
        by_node = flatten_reply(reply)
        if isinstance(self.destination, str):
            return by_node.get(self.destination)
        return by_node

    def _request(self, command: str, **kwargs: Any) -> Any:
        destination = self.destination
        return self._prepare(
            self.app.control.broadcast(
                command,
                arguments=kwargs,
                destination=[destination] if isinstance(destination, str) else destination,
                callback=self.callback,
                connection=self.connection,
                limit=self.limit,
                timeout=self.timeout,
                reply=True,
                pattern=self.pattern,
                matcher=self.matcher,
            )
        )

    def report(self) -> Any:
        """Ask for what a bug report should say."""
        return self._request("report")

    def clock(self) -> Any:
        """Ask for the logical clocks."""
        return self._request("clock")

    def active(self, safe: bool | None = None) -> Any:  # noqa: FBT001 - Celery's signature
        """Ask which tasks run.

        Args:
            safe: Whether arguments come as text.
        """
        return self._request("active", safe=safe)

    def scheduled(self, safe: bool | None = None) -> Any:  # noqa: ARG002, FBT001 - Celery's
        """Ask which tasks wait for their time.

        Args:
            safe: Ignored, as Celery does.
        """
        return self._request("scheduled")

    def reserved(self, safe: bool | None = None) -> Any:  # noqa: ARG002, FBT001 - Celery's
        """Ask which tasks wait in the workers for a free process.

        Args:
            safe: Ignored, as Celery does.
        """
        return self._request("reserved")

    def stats(self) -> Any:
        """Ask for figures of the workers."""
        return self._request("stats")

    def revoked(self) -> Any:
        """Ask for the ids of revoked tasks."""
        return self._request("revoked")

    def registered(self, *taskinfoitems: str) -> Any:
        """Ask which tasks are registered.

        Args:
            *taskinfoitems: Attributes of tasks to show.
        """
        return self._request("registered", taskinfoitems=taskinfoitems)

    registered_tasks = registered

    def ping(self, destination: Any = None) -> Any:
        """Ask who is there.

        Args:
            destination: Node names, from now on.
        """
        if destination:
            self.destination = destination
        return self._request("ping")

    def active_queues(self) -> Any:
        """Ask which queues are consumed."""
        return self._request("active_queues")

    def query_task(self, *ids: Any) -> Any:
        """Ask for tasks by their ids.

        Args:
            *ids: Ids, or one list of them.
        """
        # Compat: an only argument may be a list (celery/app/control.py).
        if len(ids) == 1 and isinstance(ids[0], (list, tuple)):
            ids = tuple(ids[0])
        return self._request("query_task", ids=ids)

    def conf(self, with_defaults: bool = False) -> Any:  # noqa: FBT001, FBT002 - Celery's signature
        """Ask for the settings.

        Args:
            with_defaults: Whether those that are not set are listed, too.
        """
        return self._request("conf", with_defaults=with_defaults)

    def hello(self, from_node: str, revoked: Any = None) -> Any:
        """Exchange revoked ids.

        Args:
            from_node: The node that asks.
            revoked: The ids it knows.
        """
        return self._request("hello", from_node=from_node, revoked=revoked)

    def memsample(self) -> Any:
        """Ask for a sample of the memory in use."""
        return self._request("memsample")

    def memdump(self, samples: int = 10) -> Any:
        """Ask for the samples taken.

        Args:
            samples: How many.
        """
        return self._request("memdump", samples=samples)

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> Any:  # noqa: A002 - Celery's name
        """Ask for a graph of objects.

        Args:
            type: Their class.
            n: How many.
            max_depth: How deep.
        """
        return self._request("objgraph", num=n, max_depth=max_depth, type=type)


class Control:
    """Tells workers what to do: ``app.control.revoke(task_id)``.

    Every command takes the keyword arguments of `broadcast`; with ``reply=True`` it returns the
    answers, each ``{node: value}``.

    Args:
        app: The application.

    Raises:
        ImproperlyConfigured: Control queues that are durable and exclusive.
    """

    Mailbox = Mailbox

    def __init__(self, app: Any = None) -> None:
        self.app = app
        if app.conf.control_queue_durable and app.conf.control_queue_exclusive:
            message = (
                "control_queue_durable and control_queue_exclusive cannot both be set: an "
                "exclusive queue ends with its connection. Set control_queue_exclusive=False."
            )
            raise ImproperlyConfigured(message)
        self.mailbox = self.Mailbox(app)

    @property
    def inspect(self) -> Any:
        """`Inspect`, of this application."""
        return self.app.subclass_with_self(Inspect, reverse="control.inspect")

    def broadcast(  # noqa: PLR0913, PLR0917 - Celery's signature
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Any = None,
        connection: Any = None,  # noqa: ARG002 - the process has its own
        reply: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        timeout: float = 1.0,
        limit: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        channel: Any = None,  # noqa: ARG002
        pattern: str | None = None,
        matcher: str | None = None,
        **extra_kwargs: Any,
    ) -> Any:
        """Ask all workers, or some, to do something.

        Args:
            command: Name of the command.
            arguments: Its arguments.
            destination: A list of node names; None asks all.
            connection: Ignored: the process has its own.
            reply: Whether to wait for answers.
            timeout: Seconds to wait for the next answer.
            limit: How many answers are enough; by default as many as there are destinations.
            callback: Called with each answer.
            channel: Ignored, as ``connection``.
            pattern: Matches names of nodes.
            matcher: How: ``glob`` or ``pcre``.
            **extra_kwargs: More arguments of the command.

        Returns:
            With ``reply`` the answers, otherwise None.

        Raises:
            ValueError: A destination that is no list, or a pattern that is no text.

        An OperationalError says that the broker cannot be reached.
        """
        if destination is not None and not isinstance(destination, (list, tuple)):
            message = f"destination must be a list or tuple of node names, not {destination!r}"
            raise ValueError(message)
        if not all(isinstance(text, (str, type(None))) for text in (pattern, matcher)):
            message = f"pattern and matcher must be text, not {pattern!r} and {matcher!r}"
            raise ValueError(message)
        if not (pattern and matcher):
            pattern = matcher = None
        asked = question(
            command, {**(arguments or {}), **extra_kwargs}, destination, pattern, matcher
        )
        if not reply:
            self.mailbox.tell(asked, timeout)
            return None
        if limit is None and destination:
            limit = len(destination)
        return self.mailbox.ask(asked, timeout=timeout, limit=limit, callback=callback)

    def purge(self, connection: Any = None) -> int:  # noqa: ARG002 - Celery's signature
        """Delete all messages that wait in the application's queues. They are lost.

        Args:
            connection: Ignored: the process has its own.

        Returns:
            How many those were.
        """
        publisher = broker.publisher(self.app)
        queues = self.app.amqp.queues.consume_from
        return sum(publisher.purge(name, _PURGE_WAIT_S) for name in queues)

    discard_all = purge

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None) -> None:  # noqa: A002, ARG002 - Celery's
        """Ask workers to choose one among them, which does something.

        Args:
            id: The election's id.
            topic: What it is about.
            action: What to do.
            connection: Ignored: the process has its own.
        """
        self.broadcast("election", {"id": id, "topic": topic, "action": action})

    def revoke(
        self,
        task_id: Any,
        destination: Any = None,
        terminate: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        signal: str | None = TERM_SIGNAME,
        **kwargs: Any,
    ) -> Any:
        """Tell workers not to start a task.

        Args:
            task_id: Its id, or a list of ids.
            destination: A list of node names.
            terminate: Whether to end it if it runs, with the process it runs in.
            signal: The signal for that.
            **kwargs: See `broadcast`.
        """
        arguments = {"task_id": task_id, "terminate": terminate, "signal": signal}
        return self.broadcast("revoke", arguments, destination, **kwargs)

    def revoke_by_stamped_headers(
        self,
        headers: Any,
        destination: Any = None,
        terminate: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        signal: str | None = TERM_SIGNAME,
        **kwargs: Any,
    ) -> Any:
        """Tell workers not to start tasks that carry stamps.

        Args:
            headers: Names of stamps, and their values.
            destination: A list of node names.
            terminate: Whether to end those that run.
            signal: The signal for that.
            **kwargs: See `broadcast`.
        """
        arguments = {"headers": headers, "terminate": terminate, "signal": signal}
        return self.broadcast("revoke_by_stamped_headers", arguments, destination, **kwargs)

    def terminate(
        self, task_id: Any, destination: Any = None, signal: str = TERM_SIGNAME, **kwargs: Any
    ) -> Any:
        """Tell workers not to start a task, and to end it if it runs.

        Args:
            task_id: Its id, or a list of ids.
            destination: A list of node names.
            signal: The signal for that.
            **kwargs: See `broadcast`.
        """
        return self.revoke(task_id, destination, terminate=True, signal=signal, **kwargs)

    def ping(self, destination: Any = None, timeout: float = 1.0, **kwargs: Any) -> Any:
        """Ask who is there.

        Args:
            destination: A list of node names.
            timeout: Seconds to wait for the next answer.
            **kwargs: See `broadcast`.

        Returns:
            A list of ``{node: {"ok": "pong"}}``.
        """
        return self.broadcast("ping", {}, destination, reply=True, timeout=timeout, **kwargs)

    def rate_limit(
        self, task_name: str, rate_limit: Any, destination: Any = None, **kwargs: Any
    ) -> Any:
        """Tell workers how often they may start a task.

        Args:
            task_name: The task.
            rate_limit: Starts in a second, or ``"100/m"``.
            destination: A list of node names.
            **kwargs: See `broadcast`.
        """
        arguments = {"task_name": task_name, "rate_limit": rate_limit}
        return self.broadcast("rate_limit", arguments, destination, **kwargs)

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        options: Mapping[str, Any] | None = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Tell workers to consume another queue.

        Args:
            queue: Its name.
            exchange: Its exchange.
            exchange_type: Type of that.
            routing_key: Its binding key.
            options: More options of the queue.
            destination: A list of node names.
            **kwargs: See `broadcast`.
        """
        arguments = {
            "queue": queue,
            "exchange": exchange,
            "exchange_type": exchange_type,
            "routing_key": routing_key,
            **(options or {}),
        }
        return self.broadcast("add_consumer", arguments, destination, **kwargs)

    def cancel_consumer(self, queue: str, destination: Any = None, **kwargs: Any) -> Any:
        """Tell workers to consume a queue no more.

        Args:
            queue: Its name.
            destination: A list of node names.
            **kwargs: See `broadcast`.
        """
        return self.broadcast("cancel_consumer", {"queue": queue}, destination, **kwargs)

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Tell workers how long a task may take.

        Args:
            task_name: The task.
            soft: Seconds until it is interrupted.
            hard: Seconds until it is ended.
            destination: A list of node names.
            **kwargs: See `broadcast`.
        """
        arguments = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", arguments, destination, **kwargs)

    def enable_events(self, destination: Any = None, **kwargs: Any) -> Any:
        """Tell workers to send events.

        Args:
            destination: A list of node names.
            **kwargs: See `broadcast`.
        """
        return self.broadcast("enable_events", {}, destination, **kwargs)

    def disable_events(self, destination: Any = None, **kwargs: Any) -> Any:
        """Tell workers to send no events.

        Args:
            destination: A list of node names.
            **kwargs: See `broadcast`.
        """
        return self.broadcast("disable_events", {}, destination, **kwargs)

    def pool_grow(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Any:
        """Tell workers to execute more tasks at once.

        Args:
            n: How many more.
            destination: A list of node names.
            **kwargs: See `broadcast`.
        """
        return self.broadcast("pool_grow", {"n": n}, destination, **kwargs)

    def pool_shrink(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Any:
        """Tell workers to execute fewer tasks at once.

        Args:
            n: How many fewer.
            destination: A list of node names.
            **kwargs: See `broadcast`.
        """
        return self.broadcast("pool_shrink", {"n": n}, destination, **kwargs)

    def autoscale(self, max: int, min: int, destination: Any = None, **kwargs: Any) -> Any:  # noqa: A002 - Celery's names
        """Tell workers how many processes they may have.

        Args:
            max: At most.
            min: At least.
            destination: A list of node names.
            **kwargs: See `broadcast`.
        """
        return self.broadcast("autoscale", {"max": max, "min": min}, destination, **kwargs)

    def shutdown(self, destination: Any = None, **kwargs: Any) -> Any:
        """Tell workers to finish what runs, and end.

        Args:
            destination: A list of node names.
            **kwargs: See `broadcast`.
        """
        return self.broadcast("shutdown", {}, destination, **kwargs)

    def pool_restart(
        self,
        modules: Any = None,
        reload: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        reloader: Any = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Tell workers to start their processes anew.

        Args:
            modules: Modules to import.
            reload: Whether to import them again.
            reloader: How.
            destination: A list of node names.
            **kwargs: See `broadcast`.
        """
        arguments = {"modules": modules, "reload": reload, "reloader": reloader}
        return self.broadcast("pool_restart", arguments, destination, **kwargs)

    def heartbeat(self, destination: Any = None, **kwargs: Any) -> Any:
        """Tell workers to send a heartbeat.

        Args:
            destination: A list of node names.
            **kwargs: See `broadcast`.
        """
        return self.broadcast("heartbeat", {}, destination, **kwargs)
