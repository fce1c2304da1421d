"""The short way of a plain call: what was worked out for the one before, while it still holds.

Most calls of a task say nothing but their arguments, and through which publisher they go. All else
about their messages (where to, the template, the policy of retries, the handle's class) follows
from the task and the settings, so it is worked out once. Whatever could change it, or wants to see
the message, makes the call go the long way (`Celery.send_task`), which yields the same bytes
(`tests/unit/test_shortcut.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import _current, _native, broker, signals
from celeriac.app.publishing import BatchPublisher
from celeriac.backends.core import Backend
from celeriac.result.single import AsyncResult
from celeriac.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_S = 30.0
_before, _after = signals.before_task_publish, signals.after_task_publish
_before.on_change = _after.on_change = _native.expire_shortcuts
Settings.watchers.append(_native.expire_shortcuts)


class Shortcut:
    """How the plain calls of one task are sent.

    Args:
        task: The task.
        app: Its application.
        template: What its messages have in common; None where each call has to be looked at.
        era: `_native.shortcut_era()` of before the others were looked at.

    """

    __slots__ = (
        "_app", "_era", "_handle", "_plain", "_results", "_template",
        "hand_members_over", "hand_over",
    )  # fmt: skip

    def __init__(self, task: Any, app: Any, template: Any, era: int) -> None:
        self._app = app
        self._era = era
        self._template = template
        self._plain: _native.PlainCalls | None = None
        #: Sends a call through a publisher: see `_native.PlainCalls`.
        self.hand_over: Callable[[Any, Any, Any], AsyncResult | None] = _nothing
        #: Sends members of a group through a publisher: see `_native.PlainCalls`.
        self.hand_members_over: Callable[..., tuple[list[str], Any]] = _none_of_them
        if template is None:
            return
        check = getattr(task, "__header__", None) if task.typing else None
        ignored = bool(task.ignore_result)
        self._results = None if ignored else app.backend.native
        self._handle = app.AsyncResult.maker(app, task.backend, task.name, ignored=ignored)
        self._plain = plain = _native.PlainCalls(
            era=era,
            template=template,
            check=check,
            takes=getattr(check, "takes", None),
            own=app.__dict__,
            running=_current.running_tasks.get,
            local=app.thread_local,
            batch=BatchPublisher,
            again=self._hand_over_again,
            app=app,
            handle=self._handle,
        )
        self.hand_over, self.hand_members_over = plain.hand_over, plain.hand_members_over

    def holds(self) -> bool:
        """Say whether nothing has changed since it was made.

        Returns:
            Whether it need not be made anew.
        """
        return self._era == _native.shortcut_era()

    def send(self, args: Any, kwargs: Any) -> AsyncResult | None:
        """Send a call that says nothing more over the application's connection, and wait for that.

        Args:
            args: Its positional arguments.
            kwargs: Its keyword arguments.

        Returns:
            A handle to its result; None: nothing was sent, it has to go the long way.

        Raises:
            TypeError: The arguments are not what the task takes.
        """  # noqa: DOC502 - raised by the task's header
        plain = self._plain
        admitted = None if plain is None else plain.admitted(args, kwargs)
        if plain is None or admitted is None:
            return None
        publisher: Any = broker.publisher(self._app)
        if type(publisher) is not _native.Publisher:  # a hub's, see `celeriac.green`
            return None
        task_id = _native.new_id()
        message = (self._template, *admitted, self._oid(), task_id, self._results, WAIT_S)
        try:
            subscription = publisher.publish_plain(*message)
        except Exception as exc:  # noqa: BLE001 - raised again, unless a further try succeeds
            subscription = self._again(lambda: publisher.publish_plain(*message), exc)
        handle: AsyncResult = self._handle(task_id)
        if subscription is not None:
            handle.follow(subscription)
        return handle

    def _oid(self) -> str:
        try:
            oid: str = self._app.thread_local.oid
        except AttributeError:
            oid = self._app.thread_oid
        return oid

    def _hand_over_again(
        self, window: Any, args: Any, kwargs: Any, group: Any, failed: Exception
    ) -> str:
        # What has failed is not in the window, so that it needs no id to be known by.
        group_id, index = group or (None, None)
        call = {"reply_to": self._oid(), "group": group_id, "group_index": index}
        message = (self._template, args, kwargs, call, WAIT_S)
        task_id: str = self._again(lambda: window.publish(*message), failed)
        return task_id

    def _again(self, send: Callable[[], Any], failed: Exception) -> Any:
        # The policy counts the try that has failed as its first.
        first = [failed]

        def attempt() -> Any:
            if first:
                raise first.pop()
            return send()

        conf = self._app.conf
        policy = conf.task_publish_retry_policy
        return broker.publish_with_retries(attempt, policy, retry=conf.task_publish_retry)


def _nothing(*_call: Any) -> None:
    """Send nothing: the call has to be looked at."""


def _none_of_them(first: Any, *_group: Any) -> tuple[list[str], Any]:
    return [], first


def shortcut_of(task: Any, app: Any, plain: type) -> Shortcut:
    """Work out how the plain calls of a task are sent.

    Args:
        task: The task.
        app: Its application.
        plain: `Task` as it is here, of which nothing that matters must be overridden.

    Returns:
        The shortcut; one that sends nothing where calls have to go the long way.
    """
    era = _native.shortcut_era()
    kind = type(task)
    is_plain = (
        all(getattr(kind, name) is getattr(plain, name) for name in _OF_TASK)
        and not any(name in task.__dict__ for name in _OF_TASK)
        and task._modelled is None  # noqa: SLF001 - our own
        and task._backend is None  # noqa: SLF001 - see above
        and type(app).send_task is type(app).plain_send_task
        and not app.conf.task_always_eager
        and app.AsyncResult.__init__ is AsyncResult.__init__
        and type(app.backend).on_task_call is Backend.on_task_call
        and not (_before.receivers or _after.receivers)
    )
    options = task.options_of_calls()
    return Shortcut(task, app, app.sender.template_of(task, options) if is_plain else None, era)


_OF_TASK = ("AsyncResult", "shadow_name", "_merged_options", "_sent_arguments", "backend")
