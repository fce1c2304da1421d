"""From the options of a call to a published message.

The fast path is one call into the Rust module with a template that was made once for the task and
its destination. Where a signal has receivers, or the serializer is one of Python's, the message is
built here instead (`celeriac.message`), so that it can be seen and changed.

Source:
    celery/app/base.py ``send_task``, celery/app/amqp.py ``send_task_message``.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac import _native, broker, compression, message, serialization, signals
from celeriac._current import get_current_worker_task
from celeriac.app.checking import check_options
from celeriac.app.sent import telling
from celeriac.nodenames import anon_nodename, new_id
from celeriac.routing import declared, destination
from celeriac.timestamps import absolute, later, to_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger("celeriac.publish")

CONFIRM_WAIT_S = 30.0


class Prepared(NamedTuple):
    """A destination, and the template of the messages that go there."""

    common: message.Common
    template: Any  # `_native.Template`; None where the serializer is not native
    queue: str | None


class Way(NamedTuple):
    """Over what a message is published, and how long one try may take."""

    window: Any
    publisher: Any
    wait_s: float


class Plan(NamedTuple):
    """How a call is published."""

    task_id: str
    send: Any
    policy: Mapping[str, Any]
    retry: bool
    is_ignored: bool


class Sender:
    """Publishes the messages of one application.

    Args:
        app: The application.

    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self._prepared: dict[Any, Prepared] = {}
        self._made_for: Any = None
        self._tells_sent = False

    def send(self, name: str, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        """Publish a call and wait until the broker has it.

        Args:
            name: The task's name.
            args: Its arguments.
            kwargs: Its keyword arguments.
            options: Those of `Celery.send_task`; used up.

        Returns:
            The task's id, and a subscription to its result or None.

        Raises:
            TypeError: The publisher is one for coroutines.
        """
        if getattr(options.get("publisher") or options.get("producer"), "is_awaited", False):
            text = (
                "publisher must be one of app.publisher() or app.get_publisher(): that of "
                "app.apublisher() is for calls that are awaited (aapply_async)."
            )
            raise TypeError(text)
        plan = self.plan(name, args, kwargs, options)
        if not plan.is_ignored:
            self.app.backend.on_task_call(None, plan.task_id)
        subscription = broker.publish_with_retries(plan.send, plan.policy, retry=plan.retry)
        return plan.task_id, subscription

    async def asend(self, name: str, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        """Do as `send`, waiting on the loop; ``publisher`` returns awaitables.

        Returns:
            The task's id, and a subscription to its result or None.
        """
        plan = self.plan(name, args, kwargs, options)
        if not plan.is_ignored:
            await self.app.backend.aon_task_call(None, plan.task_id)
        from celeriac import aio  # noqa: PLC0415 - asyncio is slow to import

        subscription = await aio.publish_with_retries(plan.send, plan.policy, retry=plan.retry)
        return plan.task_id, subscription

    def plan(self, name: str, args: Any, kwargs: Any, options: dict[str, Any]) -> Plan:
        """Say how a call is published; nothing is sent.

        Returns:
            The plan.
        """
        args, kwargs = _checked(args, kwargs)
        check_options(options)
        window, publisher = self._way(options)
        wait_s = _wait_s(options)
        retry = options.pop("retry", None)
        policy = options.pop("retry_policy", None)
        conf = self.app.conf
        _inherit(conf, options)
        task_id = options.pop("task_id", None) or new_id()
        ignored = bool(options.get("ignore_result"))
        prepared = self._prepare(name, args, kwargs, options)
        call = self._call(task_id, options)
        way = Way(window, publisher, wait_s)
        if signals.before_task_publish.receivers or signals.after_task_publish.receivers:
            send = self._visible(prepared, call, args, kwargs, way, policy)
        elif prepared.template is None:
            send = self._slow(prepared, call, args, kwargs, way)
        else:
            results = None if ignored or window is not None else self._results()
            send = self._fast(prepared, call, args, kwargs, way, results)
        if self._tells_sent:
            send = telling(self.app, send, prepared.common, prepared.queue, call, args, kwargs)
        default = conf.task_publish_retry_policy
        return Plan(
            task_id,
            send,
            {**default, **policy} if policy else default,
            conf.task_publish_retry if retry is None else bool(retry),
            ignored,
        )

    def _way(self, options: dict[str, Any]) -> tuple[Any, Any]:
        # A window, or the publisher of the connection that the caller names.
        lent = options.get("publisher") or options.get("producer")
        if hasattr(lent, "publish_parts"):
            return lent, None
        # Compat: a `Producer`, ours or kombu's, stands for its connection.
        for option in ("publisher", "producer", "connection"):
            if options.get(option) is not None:
                return None, broker.publisher_of(self.app, options[option], option)
        return None, broker.publisher(self.app)

    # Paths -------------------------------------------------------------------------------------

    def _fast(
        self, prepared: Prepared, call: Any, args: Any, kwargs: Any, way: Any, results: Any
    ) -> Any:
        window, publisher, wait_s = way
        if window is not None:
            return lambda: window.publish(prepared.template, args, kwargs, call, wait_s)
        template = prepared.template

        def send() -> Any:
            return publisher.publish(template, args, kwargs, call, results, wait_s)[1]

        return send

    def _slow(self, prepared: Prepared, call: Any, args: Any, kwargs: Any, way: Any) -> Any:
        built = self._built(prepared.common, call, args, kwargs)
        return self._parts(prepared, built, way, call)

    def _visible(
        self, prepared: Prepared, call: Any, args: Any, kwargs: Any, way: Any, policy: Any
    ) -> Any:
        common = prepared.common
        built = self._built(common, call, args, kwargs)
        exchange = call.get("exchange", common.exchange)
        routing_key = call.get("routing_key", common.routing_key)
        signals.before_task_publish.send(
            sender=common.task,
            body=built.body,
            exchange=exchange,
            routing_key=routing_key,
            declare=list(common.declare),
            headers=built.headers,
            properties=built.properties,
            retry_policy=policy,
        )
        parts = self._parts(prepared, built, way, call)

        def tell() -> None:
            signals.after_task_publish.send(
                sender=common.task,
                body=built.body,
                headers=built.headers,
                exchange=exchange,
                routing_key=routing_key,
            )

        def send() -> Any:
            subscription = parts()
            if inspect.isawaitable(subscription):
                from celeriac import aio  # noqa: PLC0415 - see above

                return aio.then(subscription, tell)
            tell()
            return subscription

        return send

    def _parts(
        self, prepared: Prepared, built: message.TaskMessage, way: Any, call: Mapping[str, Any]
    ) -> Any:
        window, publisher, wait_s = way
        common = prepared.common
        headers, properties, body = message.encode(built, common.serializer, common.compression)
        if call.get("mandatory") is not None:
            properties["mandatory"] = call["mandatory"]
        exchange = call.get("exchange", common.exchange)
        routing_key = call.get("routing_key", common.routing_key)
        parts = (headers, properties, body, exchange, routing_key, common.declare)
        if window is not None:
            return lambda: window.publish_parts(*parts, wait_s=wait_s)
        # Protocol 1 has no header of that name.
        ignored = built.headers.get("ignore_result", common.ignore_result)
        results = None if ignored else self._results()
        return lambda: publisher.publish_parts(*parts, results, wait_s)

    def _built(
        self, common: message.Common, call: Mapping[str, Any], args: Any, kwargs: Any
    ) -> message.TaskMessage:
        conf = self.app.conf
        if conf.task_protocol == 1:
            return message.build_protocol1(common, call, args, kwargs, utc=conf.enable_utc)
        return message.build(common, call, args, kwargs)

    def _results(self) -> Any:
        return self.app.backend.native

    # Preparing ---------------------------------------------------------------------------------

    def _prepare(self, name: str, args: Any, kwargs: Any, options: dict[str, Any]) -> Prepared:
        """Find the destination and template of a call, making them when first needed.

        Returns:
            Both; `options` lose what they are made from.
        """
        app = self.app
        own_router, declare = options.pop("router", None), options.pop("declare", None)
        router = app.amqp.router
        # The process is part of the key for `origin`, which names it.
        state = (app.conf.version, os.getpid(), id(router))
        if state != self._made_for:
            self._prepared.clear()
            self._made_for = state
            self._tells_sent = bool(app.conf.task_send_sent_event)
        route_name = options.pop("route_name", None) or name
        task_type = options.pop("task_type", None)
        own = tuple([options.pop(key, None) for key in _ROUTING])
        codec = (options.pop("serializer", None), options.pop("compression", None))
        ignore = options.get("ignore_result")
        parts = (name, route_name, own, codec, ignore, task_type is not None)
        key = parts if router.is_static and own_router is None and declare is None else None
        found = self._prepared.get(key) if key is not None and _is_hashable(key) else None
        if found is not None:
            return found
        given = {k: v for k, v in zip(_ROUTING, own, strict=True) if v is not None}
        if own_router is None:
            routed = router.route(given, route_name, args, kwargs, task_type=task_type)
        else:
            routed = router.settle(own_router.route(given, route_name, args, kwargs, task_type))
        serializer = codec[0] or routed.pop("serializer", None) or app.conf.task_serializer
        packing = codec[1] or routed.pop("compression", None) or app.conf.task_compression
        if routed.get("priority") is None:
            routed["priority"] = self._default_priority(routed, task_type)
        made = self._made(name, routed, (serializer, packing), ignore, declare)
        if key is not None and _is_hashable(key) and len(self._prepared) < _MAX_PREPARED:
            self._prepared[key] = made
        return made

    def template_of(self, task: Any, options: Mapping[str, Any]) -> Any:
        """Make the template of the calls that say nothing but their arguments.

        Args:
            task: The task.
            options: Those that every call of it has.

        Returns:
            The template; None where arguments decide, or Python does.
        """
        if not self.app.amqp.router.is_static:
            return None
        left = {**options, "ignore_result": task.ignore_result, "task_type": task}
        check_options(options)
        prepared = self._prepare(task.name, (), {}, left)
        limits: dict[str, Any] = {}
        _limits(limits, left)
        left.pop("ignore_result")
        if left or prepared.template is None:
            return None
        if not limits:
            return prepared.template
        return _native.Template(**{**prepared.common._asdict(), **limits})

    def _default_priority(self, routed: Mapping[str, Any], task_type: Any) -> int | None:
        default: int | None = self.app.conf.task_default_priority
        # Compat: on AMQP kombu writes the priority 0 where Celery names none, and leaves it out
        # where a task is called with a queue of the caller's and no rule adds to it.
        is_left_out = "priority" in routed and task_type is not None
        return 0 if default is None and not is_left_out else default

    def _made(
        self,
        name: str,
        routed: Mapping[str, Any],
        codec: tuple[str, str | None],
        ignore: Any,
        declare: Any,
    ) -> Prepared:
        app = self.app
        serializer = serialization.serializer(codec[0])
        packing = compression.method(codec[1]) if codec[1] else None
        where = destination(routed, app.conf)
        common = message.Common(
            task=name,
            origin=anon_nodename(),
            exchange=where.exchange,
            routing_key=where.routing_key,
            declare=where.declare if declare is None else declared(declare),
            serializer=serializer.name,
            reply_to=app.thread_oid,
            shadow=None,
            timelimit=(None, None),
            ignore_result=ignore,
            delivery_mode=where.delivery_mode,
            priority=routed.get("priority"),
            repr_max_levels=app.conf.task_repr_maxlevels,
            compression=packing.content_type if packing else None,
        )
        fields = common._asdict()
        native = (
            serializer.is_native
            and (packing is None or packing.is_native)
            and app.conf.task_protocol != 1
        )
        return Prepared(common, _native.Template(**fields) if native else None, where.queue)

    def _call(self, task_id: str, options: dict[str, Any]) -> dict[str, Any]:
        """Translate options into what differs from call to call.

        Returns:
            The keys of `message.build`.
        """
        call: dict[str, Any] = {"task_id": task_id, "reply_to": self.app.thread_oid}
        special: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for option, value in options.items():
            if value is None or option in _IGNORED:
                if option in _WITHOUT_EFFECT and value:
                    _warn_without_effect(option)
                continue
            key = _CALL_KEYS.get(option)
            if key is not None:
                call[key] = value
            elif option in _SPECIAL:
                special[option] = value
            else:
                extra[option] = value
        headers = call.get("headers")
        if headers is not None and not isinstance(headers, dict):
            call["headers"] = dict(headers)
        if special:
            self._times(call, special)
            _expiration(call, special)
            _limits(call, special)
            _links(call, special)
            _stamps(call, special, extra)
        if extra:
            call["properties"] = extra
        return call

    def _times(self, call: dict[str, Any], options: dict[str, Any]) -> None:
        countdown, eta = options.pop("countdown", None), options.pop("eta", None)
        expires = options.pop("expires", None)
        if countdown is None and eta is None and expires is None:
            return
        now = self.app.now()
        if countdown:
            eta = later(now, timedelta(seconds=countdown))
        if eta is not None:
            call["eta"] = eta.isoformat() if isinstance(eta, datetime) else str(eta)
        if expires is not None:
            moment = absolute(expires, now)
            if moment is not None:
                # Compat: an explicit time is written as it was given, text included.
                call["expires"] = expires if isinstance(expires, str) else moment.isoformat()
                call["expiration"] = _left_ms(moment, now)


def _wait_s(options: dict[str, Any]) -> float:
    # Compat: py-amqp waits so long to write, and then so long for the confirm.
    given = [options.pop(name, None) for name in ("timeout", "confirm_timeout")]
    limits = [float(limit) for limit in given if limit is not None]
    return sum(limits) if limits else CONFIRM_WAIT_S


def _expiration(call: dict[str, Any], options: dict[str, Any]) -> None:
    seconds = options.pop("expiration", None)
    if seconds is not None:
        call.setdefault("expiration", str(int(seconds * 1000)))


_MAX_PREPARED = 10_000
_ROUTING = ("queue", "exchange", "routing_key", "exchange_type", "priority", "delivery_mode")
_CALL_KEYS = {
    "group_id": "group",
    "group_index": "group_index",
    "retries": "retries",
    "root_id": "root_id",
    "parent_id": "parent_id",
    "argsrepr": "argsrepr",
    "kwargsrepr": "kwargsrepr",
    "origin": "origin",
    "shadow": "shadow",
    "replaced_task_nesting": "replaced_task_nesting",
    "headers": "headers",
    "reply_to": "reply_to",
    "correlation_id": "correlation_id",
    "mandatory": "mandatory",
    "chain": "chain",
    "chord": "chord",
}
_SPECIAL = frozenset({
    "countdown", "eta", "expires", "time_limit", "soft_time_limit", "link", "link_error",
    "stamped_headers", "stamps", "expiration",
})  # fmt: skip
#: Options that say something to this side only.
_IGNORED = frozenset({
    "add_to_parent", "connection", "result_cls", "ignore_result", "immediate", "publisher",
    "producer",
})  # fmt: skip


#: Those of them that a caller would miss.
_WITHOUT_EFFECT = frozenset({"immediate"})


@functools.cache
def _warn_without_effect(option: str) -> None:
    # Once in a process: it is the same in every message.
    logger.warning("The option %s of apply_async has no effect in this version.", option)


def _checked(args: Any, kwargs: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    args = () if args is None else args
    kwargs = {} if kwargs is None else kwargs
    if not isinstance(args, (list, tuple)):
        text = f"task args must be a list or tuple, not {type(args).__name__}"
        raise TypeError(text)
    if not isinstance(kwargs, Mapping):
        text = f"task keyword arguments must be a mapping, not {type(kwargs).__name__}"
        raise TypeError(text)
    return args, kwargs


def _inherit(conf: Any, options: dict[str, Any]) -> None:
    """Take root, parent and priority from the task that runs here."""
    parent = get_current_worker_task()
    if parent is None:
        return
    request = parent.request
    if not options.get("root_id"):
        options["root_id"] = request.root_id or request.id
    if not options.get("parent_id"):
        options["parent_id"] = request.id
    if conf.task_inherit_parent_priority and options.get("priority") is None:
        options["priority"] = (request.delivery_info or {}).get("priority")


def _is_hashable(key: Any) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True


def _limits(call: dict[str, Any], options: dict[str, Any]) -> None:
    hard, soft = options.pop("time_limit", None), options.pop("soft_time_limit", None)
    if hard is not None or soft is not None:
        call["timelimit"] = (hard, soft)


def _links(call: dict[str, Any], options: dict[str, Any]) -> None:
    for option, key in (("link", "callbacks"), ("link_error", "errbacks")):
        value = options.pop(option, None)
        if value:
            call[key] = list(value) if isinstance(value, (list, tuple)) else [value]


def _stamps(call: dict[str, Any], options: dict[str, Any], extra: dict[str, Any]) -> None:
    names = options.pop("stamped_headers", None)
    stamps = dict(options.pop("stamps", None) or {})
    if names:
        stamps.update({name: extra.pop(name) for name in names if name in extra})
        call["stamped_headers"] = sorted(names)
    if stamps:
        call["stamps"] = {key: stamps[key] for key in stamps if not names or key in names}


def _left_ms(moment: datetime, now: datetime) -> str:
    # Two times of one zone would be subtracted as clocks on the wall show them.
    return str(max(0, int((to_utc(moment) - to_utc(now)).total_seconds() * 1000)))
