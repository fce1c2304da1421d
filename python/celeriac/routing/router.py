"""`task_routes`: which queue a task goes to.

Source:
    celery/app/routes.py; protocol: where a message is published to.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from celeriac.exceptions import ImproperlyConfigured
from celeriac.routing.entities import Broadcast, Exchange, Queue, delivery_mode
from celeriac.routing.queues import Queues

Rule = Callable[..., Any]


class MapRoute:
    """Rules by name: exact names first, then globs and patterns in their order."""

    def __init__(self, map: Any) -> None:  # noqa: A002 - Celery's name
        self.map: dict[str, Any] = {}
        self.patterns: list[tuple[re.Pattern[str], Any]] = []
        for name, route in map.items() if isinstance(map, Mapping) else map:
            if isinstance(name, re.Pattern):
                self.patterns.append((name, route))
            elif "*" in name:
                self.patterns.append((re.compile(fnmatch.translate(name)), route))
            else:
                self.map[name] = route

    def __call__(self, name: str, *_args: Any, **_kwargs: Any) -> dict[str, Any] | None:
        """Answer with the first rule for `name`.

        Returns:
            Options; None if there is no rule.
        """
        if name in self.map:
            return _as_route(self.map[name])
        for pattern, route in self.patterns:
            if pattern.match(name):
                return _as_route(route)
        return None


def _as_route(route: Any) -> dict[str, Any]:
    return {"queue": route} if isinstance(route, str) else dict(route)


def prepare(routes: Any, load: Callable[[str], Any] | None = None) -> list[Rule]:
    """Make rules of the `task_routes` setting.

    Args:
        routes: A mapping, a function, the path of one, a pair, or a list of these.
        load: Turns a path (``"proj.routes:choose"``) into an object.

    Returns:
        Functions of (name, args, kwargs, options, task=) that return a route or None.
    """
    if not routes:
        return []
    listed = routes if isinstance(routes, (list, tuple)) else [routes]
    if (
        isinstance(routes, tuple)
        and len(routes) == _PAIR
        and isinstance(routes[0], (str, re.Pattern))
    ):
        listed = [dict([routes])]
    return [_rule(route, load) for route in listed]


_PAIR = 2


def _rule(route: Any, load: Callable[[str], Any] | None) -> Rule:
    if isinstance(route, (Mapping, list, tuple)):
        return MapRoute(route)
    if isinstance(route, str) and load is not None:
        loaded = load(route)
        return _rule(loaded() if isinstance(loaded, type) else loaded, load)
    chooser = getattr(route, "route_for_task", None)
    if chooser is not None:
        return lambda name, args, kwargs, options, task=None: chooser(name, args, kwargs)  # noqa: ARG005
    if callable(route):
        return route  # type: ignore[no-any-return]
    message = f"task_routes has {route!r}: expected a mapping, a function, or the path of one."
    raise ImproperlyConfigured(message)


class Router:
    """Decides where a task's message goes.

    Args:
        routes: Rules (see `prepare`).
        queues: The queues that exist.
        default_queue: Name of the queue for what no rule matches.
    """

    def __init__(
        self,
        routes: list[Rule] | None = None,
        queues: Queues | None = None,
        default_queue: str = "celery",
    ) -> None:
        self.routes = routes or []
        self.queues = queues if queues is not None else Queues()
        self.default_queue = default_queue

    @property
    def is_static(self) -> bool:
        """Whether the answer depends on nothing but the task's name and options."""
        return all(isinstance(rule, MapRoute) for rule in self.routes)

    def route(
        self,
        options: Mapping[str, Any],
        name: str,
        args: Any = (),
        kwargs: Any = None,
        task_type: Any = None,
    ) -> dict[str, Any]:
        """Merge what the rules say under the options of the call.

        Args:
            options: The options of the call; they win.
            name: The task's name.
            args: Its arguments, for functions that look at them.
            kwargs: Its keyword arguments.
            task_type: The task, where it is known.

        Returns:
            The options, with ``queue`` as a `Queue` where there is one.
        """
        merged = dict(options)
        if not merged.get("queue"):
            found = self.lookup_route(name, args, kwargs, options, task_type)
            merged = _merge(self.expand_destination(found), merged) if found else merged
        else:
            found = self.lookup_route(name, args, kwargs, options, task_type) or {}
            rest = {key: value for key, value in found.items() if key not in _DESTINATION}
            merged = _merge(rest, self.expand_destination(merged))
            if not found:
                # Compat: where nothing is merged, Celery's None stays, and is no priority.
                merged.setdefault("priority", None)
        return self._aimed(merged)

    def settle(self, routed: Mapping[str, Any]) -> dict[str, Any]:
        """Complete what another router has answered.

        Args:
            routed: The options of a call, as that router has merged them.

        Returns:
            The options, with ``queue`` as a `Queue` where there is one.
        """
        return self._aimed(self.expand_destination(routed))

    def _aimed(self, options: dict[str, Any]) -> dict[str, Any]:
        if not options.get("queue") and not options.get("exchange"):
            options["queue"] = self.queues.named(self.default_queue)
        return options

    def expand_destination(self, route: Any) -> dict[str, Any]:
        """Turn the name of a queue into the queue.

        Args:
            route: A queue's name, or options with one.

        Returns:
            Options.
        """
        expanded = _as_route(route)
        queue = expanded.get("queue")
        if isinstance(queue, str):
            expanded["queue"] = self.queues.named(queue)
        elif queue is not None:
            expanded["queue"] = Queue.of(queue)
        return expanded

    def lookup_route(
        self,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        options: Any = None,
        task_type: Any = None,
    ) -> dict[str, Any] | None:
        """Ask the rules in turn.

        Returns:
            The first answer, as options; None if no rule matches.
        """
        for rule in self.routes:
            found = rule(name, args, kwargs, options or {}, task=task_type)
            if found:
                return _as_route(found)
        return None


_DESTINATION = frozenset({"queue", "exchange", "exchange_type", "routing_key"})


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    return {**low, **{key: value for key, value in high.items() if value is not None}}


class Destination(NamedTuple):
    """Where a message is published to, and what must exist before."""

    exchange: str
    routing_key: str
    declare: tuple[dict[str, Any], ...]
    delivery_mode: int
    #: The queue's name, where one was chosen.
    queue: str | None


def destination(options: Mapping[str, Any], conf: Any) -> Destination:
    """Say where a message with these options is published to.

    Args:
        options: Options after routing: ``queue`` (a `Queue`), ``exchange``, ``exchange_type``,
            ``routing_key``, ``delivery_mode``.
        conf: The settings.

    Returns:
        A direct queue is addressed by its name through the default exchange; every other goes
        through its own exchange with the given key, or the key of the queue's binding.

    Source:
        celery/app/amqp.py ``send_task_message``.
    """
    queue: Queue | None = options.get("queue")
    given = options.get("exchange")
    own = Exchange.of(given) if given else None
    key = options.get("routing_key")
    aimed = own if queue is None else queue.exchange
    mode = delivery_mode(options.get("delivery_mode")) or (aimed.delivery_mode if aimed else None)
    mode = mode or delivery_mode(conf.task_default_delivery_mode) or 2
    kind = options.get("exchange_type") or (aimed.type if aimed else "direct")
    if queue is None:
        name = own.name if own else ""
        key = key or conf.task_default_routing_key
        return Destination(name, key, _exchange(own or Exchange(), kind), mode, None)
    if kind == "direct" and not (own and key):
        return Destination("", queue.name, _needed(queue), mode, queue.name)
    through = own or queue.exchange
    key = key or queue.routing_key or conf.task_default_routing_key
    declare = (*_needed(queue), *_exchange(through, kind))
    return Destination(through.name, key, declare, mode, queue.name)


def declared(entities: Any) -> tuple[dict[str, Any], ...]:
    """Describe what a caller wants to be there before its message.

    Args:
        entities: A queue or an exchange, or several, ours or kombu's.

    Returns:
        What brokers are told.
    """
    several = entities if isinstance(entities, (list, tuple, set)) else (entities,)
    found: list[dict[str, Any]] = []
    for entity in several:
        if hasattr(entity, "routing_key"):
            queue = Queue.of(entity)
            found += _needed(queue) or _exchange(queue.exchange, queue.exchange.type)
        else:
            exchange = Exchange.of(entity)
            found += [exchange.as_spec()] if exchange.name else []
    return tuple(found)


def _needed(queue: Queue) -> tuple[dict[str, Any], ...]:
    # Each worker makes a Broadcast's queue for itself; who sends has none.
    return () if isinstance(queue, Broadcast) else (queue.as_spec(),)


def _exchange(exchange: Exchange, kind: str) -> tuple[dict[str, Any], ...]:
    # A type that is no matter of tables of bindings must be known to who sends. Direct and topic
    # exchanges are not declared, as in Celery: a name alone does not say with which arguments.
    if kind not in {"fanout", "headers"} or exchange.name.startswith("amq.") or not exchange.name:
        return ()
    return ({**exchange.as_spec(), "exchange_type": kind},)
