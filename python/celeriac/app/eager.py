"""Executing a task where it is called: `task.apply` and `task_always_eager`.

Source:
    celery/app/task.py ``apply`` (arguments, states).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import serialization, signals, states
from celeriac._current import pop_task, push_task
from celeriac.app import coroutines, link
from celeriac.app.context import Context
from celeriac.app.einfo import ExceptionInfo
from celeriac.app.predicates import state_of
from celeriac.nodenames import new_id
from celeriac.result import EagerResult, denied_join_result

if TYPE_CHECKING:
    from collections.abc import Mapping


def apply(
    task: Any,
    args: Any,
    kwargs: Mapping[str, Any] | None,
    task_id: str | None,
    retries: int | None,
    throw: bool | None,  # noqa: FBT001 - Celery's argument
    options: dict[str, Any],
) -> EagerResult:
    """Execute a task in this process, with its request, handlers, signals and links.

    Args:
        task: The task.
        args: Its arguments.
        kwargs: Its keyword arguments.
        task_id: Its id; a new one by default.
        retries: How often it was retried.
        throw: Whether its exception is raised; `task_eager_propagates` by default.
        options: Others of the call.

    Returns:
        Its result.
    """
    conf = task.app.conf
    throw = conf.task_eager_propagates if throw is None else throw
    request = _request(task, tuple(args or ()), dict(kwargs or {}), task_id, retries or 0, options)
    state, value, text = run(task, request)
    if state == states.RETRY and value.sig is not None:
        return value.sig.apply(retries=(retries or 0) + 1, throw=throw)  # type: ignore[no-any-return]
    if throw and state in states.PROPAGATE_STATES:
        raise value
    result = EagerResult(str(request.id), value, state, traceback=text, name=task.name)
    if task.store_eager_result and not task.ignore_result:
        task.backend.store_result(request.id, value, state, text, request=request)
    return result


def instead_of_sending(
    task: Any, args: Any, kwargs: Mapping[str, Any] | None, task_id: str | None, options: Any
) -> EagerResult:
    """Execute a task in place of sending it: its arguments travel through the serializer.

    Returns:
        Its result.

    Raises:
        EncodeError: The serializer cannot carry the arguments.
    """  # noqa: DOC502 - raised by the serializer
    name = options.get("serializer") or task.app.conf.task_serializer
    content_type, encoding, data = serialization.dumps(
        (args or (), kwargs or {}), name, "arguments"
    )
    args, kwargs = serialization.loads(
        data, content_type, encoding, accept=frozenset({content_type})
    )
    with denied_join_result():
        return apply(task, args, kwargs, task_id, options.pop("retries", 0), None, options)


def _request(
    task: Any, args: Any, kwargs: Any, task_id: str | None, retries: int, options: dict[str, Any]
) -> Context:
    task_id = task_id or new_id()
    callbacks, errbacks = _listed(options.get("link")), _listed(options.get("link_error"))
    info = {
        "is_eager": True,
        "exchange": options.get("exchange"),
        "routing_key": options.get("routing_key"),
        "priority": options.get("priority"),
    }
    return Context(
        id=task_id,
        task=task.name,
        retries=retries,
        is_eager=True,
        called_directly=False,
        args=args,
        kwargs=kwargs,
        logfile=options.get("logfile"),
        loglevel=options.get("loglevel") or 0,
        hostname=None,
        callbacks=callbacks,
        errbacks=errbacks,
        headers=options.get("headers"),
        ignore_result=options.get("ignore_result", False),
        delivery_info=info,
        root_id=options.get("root_id") or task_id,
        parent_id=options.get("parent_id"),
        group=options.get("group_id"),
        group_index=options.get("group_index"),
    )


def _listed(value: Any) -> list[Any] | None:
    if value is None:
        return None
    return list(value) if isinstance(value, (list, tuple)) else [value]


def run(task: Any, request: Context) -> tuple[str, Any, str | None]:
    """Run a task under its request.

    Returns:
        The state, the value or exception, and the traceback as text.
    """
    task_id, args, kwargs = request.id, request.args, request.kwargs
    push_task(task)
    task.request_stack.push(request)
    try:
        call = {"task_id": task_id, "task": task, "args": args, "kwargs": kwargs}
        signals.task_prerun.send(sender=task, **call)
        task.before_start(task_id, args, kwargs)
        state, value, einfo = _outcome(task, request)
        _hand_on(task, request, state, value, einfo)
        if state not in {states.IGNORED, states.REJECTED}:
            task.after_return(state, value, task_id, args, kwargs, einfo)
        signals.task_postrun.send(sender=task, **call, retval=value, state=state)
    finally:
        task.request_stack.pop()
        pop_task()
    if einfo is None or state not in states.EXCEPTION_STATES:
        return state, value, None
    return state, value, einfo.traceback


def _outcome(task: Any, request: Context) -> tuple[str, Any, ExceptionInfo | None]:
    # Only a `__call__` of the user's (or of a tool that has wrapped it) is to be seen.
    body = task.run if type(task).__call__ is type(task).plain_call else task
    try:
        value = body(*request.args, **request.kwargs)
        value = coroutines.run(value) if coroutines.is_coroutine(value) else value
    except Exception as exc:  # noqa: BLE001 - a task is the user's code
        return state_of(exc), exc, ExceptionInfo()
    return states.SUCCESS, value, None


def _hand_on(task: Any, request: Context, state: str, value: Any, einfo: Any) -> None:
    task_id, args, kwargs = request.id, request.args, request.kwargs
    if state == states.SUCCESS:
        link.follow(task.app, request, value)
        task.on_success(value, task_id, args, kwargs)
        signals.task_success.send(sender=task, result=value)
    elif state == states.RETRY:
        task.on_retry(value.exc, task_id, args, kwargs, einfo)
        signals.task_retry.send(sender=task, request=request, reason=value, einfo=einfo)
    elif state == states.FAILURE:
        link.run_errbacks(task.app, request, value, einfo.traceback)
        task.on_failure(value, task_id, args, kwargs, einfo)
        signals.task_failure.send(
            sender=task,
            task_id=task_id,
            exception=value,
            args=args,
            kwargs=kwargs,
            traceback=value.__traceback__,
            einfo=einfo,
        )
