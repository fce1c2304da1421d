"""What a task's end means for the workflow around it: a chord that joins, steps that never run.

Whatever is to follow a task that failed is failed with it, so that nobody waits for a result that
will never come.

Source:
    protocol: chord completion, worker semantics (failure).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac.app import link
from celeriac.app.context import Context
from celeriac.backends.exception_form import travelling
from celeriac.canvas import maybe_signature
from celeriac.canvas.compose import kind
from celeriac.exceptions import ChordError, OperationalError
from celeriac.nodenames import new_id
from celeriac.result.waiting import allow_join_result
from celeriac.serialization import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac._protocols import App

logger = logging.getLogger("celeriac.chords")

#: How long the process that has run a part tries to reach the store, or to send the body.
PATIENCE_S = 60.0
#: How long one try to send the body may take; the claim is renewed before each.
TRY_S = 30.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
#: How often a part that came again looks whether the body was sent.
_LOOK_S = 0.5
_WAIT_S = 10.0


def part_returned(
    app: App, backend: Any, request: Any, state: str, value: Any, *, may_wait: bool = True
) -> None:
    """Report the end of a task to the chord it is part of; the last one sends the body.

    Nothing is raised: a chord that cannot be joined is logged, and its body failed.

    Args:
        app: The application.
        backend: The task's result backend.
        request: The task's request context.
        state: SUCCESS, FAILURE or REVOKED.
        value: What the task returned, or its exception.
        may_wait: Whether a part that comes again waits for who is to send the body.
    """
    if not request.chord or not request.group:
        return
    try:
        _Part(app, backend, request).join(state, value, may_wait=may_wait)
    except Exception:
        logger.exception(
            "The result of task %s was not counted in its chord %s, whose body %s may never run. "
            "Is the result backend %s reachable? Delivering the task again counts it.",
            request.id,
            request.group,
            request.chord.get("task"),
            backend.as_uri(),
        )


class _Part:
    def __init__(self, app: App, backend: Any, request: Any) -> None:
        self._app = app
        self._backend = backend
        self._request = request
        self._group_id: str = request.group
        self._token = new_id()
        self._has_groups = False
        # Longer than the join may take, or another process would send the body, too.
        join_s = app.conf.result_chord_join_timeout or 5.0
        self._claim_s = max(5, int(join_s * 2))

    def join(self, state: str, value: Any, *, may_wait: bool) -> None:
        backend, native = self._backend, self._backend.native
        if native is None or not native.has_chords:
            own = getattr(backend, "on_chord_part_return", None)
            if own is not None:
                own(self._request, state, value)
            return
        if state in states.EXCEPTION_STATES:
            value = backend.prepare_exception(travelling(value))
        content = dumps([1, self._request.id, state, value], backend.serializer)[2]
        verdict, parts = self._insisting(lambda: self._count(native, content))
        if verdict == "taken" and may_wait:
            verdict, parts = self._once_unclaimed(native, content)
        if verdict == "complete":
            self._close(native, parts)

    def _once_unclaimed(self, native: Any, content: bytes) -> Any:
        # This part comes again while another process is to send the body. That one may be dead,
        # and this delivery the last there is: it is not done before the body is sent, or ours to.
        verdict, parts = "taken", ()
        until = time.monotonic() + TRY_S + self._claim_s + _LONGEST_PAUSE_S
        while verdict == "taken" and time.monotonic() < until:
            time.sleep(_LOOK_S)
            verdict, parts = self._insisting(lambda: self._count(native, content))
        return verdict, parts

    def _count(self, native: Any, content: bytes) -> Any:
        return native.join_chord(
            self._group_id,
            self._request.id,
            self._request.group_index,
            content,
            self._backend.joins_in_order,
            self._backend.chord_expires_s,
            self._token,
            self._claim_s,
            _WAIT_S,
        )

    def _close(self, native: Any, parts: Sequence[bytes]) -> None:
        body = maybe_signature(self._request.chord, app=self._app)
        try:
            values = self._values(parts)
            if not self._insisting(lambda: self._send(native, body, values)):
                logger.warning("Chord %s is joined by another process, too", self._group_id)
                return
        except Exception as exc:  # noqa: BLE001 - a part's failure, or any of a user's values
            error = (
                exc
                if isinstance(exc, ChordError)
                else _chord_error(f"Callback error: {exc!r}", exc)
            )
            native.fail_chord(self._group_id, _WAIT_S)
            fail_unsent(self._app, self._backend, body, error, runs_errbacks=True)
            return
        if not native.close_chord(
            self._group_id, self._token, max(2 * self._claim_s, 300), _WAIT_S
        ):
            logger.warning("Chord %s was claimed by another process meanwhile", self._group_id)
            return
        if self._has_groups:
            # Not before: whoever joins after this process has died needs the header's shape.
            self._backend.delete_group(self._group_id)

    def _send(self, native: Any, body: Any, values: list[Any]) -> bool:
        claim_s = int(TRY_S) + self._claim_s
        is_ours = native.keep_chord_claim(self._group_id, self._token, claim_s, _WAIT_S)
        if is_ours:
            body.delay(values)
        return bool(is_ours)

    def _values(self, parts: Sequence[bytes]) -> list[Any]:
        backend = self._backend
        values = [self._value(part) for part in parts]
        nested = backend.restore_group(self._group_id)
        if nested is None:
            return values
        # Members of the header are groups themselves: their results are lists in the list.
        self._has_groups = True
        with allow_join_result():
            joined: list[Any] = nested.join(
                timeout=self._app.conf.result_chord_join_timeout, propagate=True
            )
        return joined

    def _value(self, part: bytes) -> Any:
        backend = self._backend
        mime, encoding = backend.content
        _, task_id, state, value = loads(part, mime, encoding, backend.accept)
        if state in states.EXCEPTION_STATES:
            value = backend.exception_to_python(value)
        if state in states.PROPAGATE_STATES:
            text = f"Dependency {task_id} raised {value!r}"
            raise _chord_error(text, value)
        return value

    def _insisting(self, work: Any) -> Any:
        # Does what a broker or a store may refuse for a while.
        until = time.monotonic() + PATIENCE_S
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return work()
            except OperationalError as exc:
                if time.monotonic() + pause_s > until:
                    raise
                logger.warning("Chord %s: next try in %.1f s: %s", self._group_id, pause_s, exc)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def join_by_looking(app: App, backend: Any, header: Any, body: Any) -> None:
    """Send a chord's body with the results of its header, which are all there; or fail it.

    Args:
        app: The application.
        backend: The result backend.
        header: A `GroupResult`.
        body: The body.
    """
    try:
        with allow_join_result():
            values = header.join(timeout=app.conf.result_chord_join_timeout, propagate=True)
        body.delay(values)
    except Exception as exc:  # noqa: BLE001 - a task's failure, or any of a user's values
        culprit = next((result for result in header.results if result.failed()), None)
        at_fault = "Callback error:" if culprit is None else f"Dependency {culprit.id} raised"
        error = _chord_error(f"{at_fault} {exc!r}", exc)
        fail_unsent(app, backend, body, error, runs_errbacks=True)


def _chord_error(text: str, cause: BaseException) -> ChordError:
    error = ChordError(text)
    error.__cause__ = cause
    return error


def fail_rest_of_chain(
    app: App, backend: Any, request: Any, exc: BaseException, traceback: str | None
) -> None:
    """Store the failure under the ids of the chain steps that will never run.

    Args:
        app: The application.
        backend: The result backend.
        request: The failed task's request context.
        exc: What it raised.
        traceback: Where, formatted.
    """
    for step in request.chain or ():
        sig = maybe_signature(step, app=app)
        fail_unsent(app, backend, sig, exc, traceback, runs_errbacks=False)


def fail_unsent(
    app: App,
    backend: Any,
    sig: Any,
    exc: BaseException,
    traceback: str | None = None,
    *,
    runs_errbacks: bool,
) -> None:
    """Fail what a signature would have answered for, and all that would have followed it.

    Args:
        app: The application.
        backend: The result backend.
        sig: A frozen signature that will never be sent.
        exc: Why.
        traceback: Where, formatted.
        runs_errbacks: Whether its errbacks are called.
    """
    options, inside = sig.options, sig["kwargs"]
    context = Context(
        id=options.get("task_id"),
        task=sig["task"],
        args=sig["args"],
        kwargs=inside,
        errbacks=_listed(options.get("link_error")),
        chain=options.get("chain"),
        chord=options.get("chord"),
        group=options.get("group_id"),
        group_index=options.get("group_index"),
        root_id=options.get("root_id"),
        parent_id=options.get("parent_id"),
        delivery_info={},
    )
    match kind(sig):
        case "group":
            members = [maybe_signature(task, app=app) for task in inside["tasks"]]
        case "chain":
            members = [maybe_signature(task, app=app) for task in inside["tasks"]]
        case "chord":
            members = [maybe_signature(inside["body"], app=app)]
        case _:
            members = []
    if not members and context.id is not None:
        backend.store_result(context.id, exc, states.FAILURE, traceback, request=context)
    if runs_errbacks and context.errbacks:
        link.run_errbacks(app, context, exc, traceback)
    for member in members:
        fail_unsent(app, backend, member, exc, traceback, runs_errbacks=runs_errbacks)
    if not members:
        part_returned(app, backend, context, states.FAILURE, exc)
    fail_rest_of_chain(app, backend, context, exc, traceback)


def _listed(value: Any) -> list[Any] | None:
    if value is None:
        return None
    return list(value) if isinstance(value, (list, tuple)) else [value]
