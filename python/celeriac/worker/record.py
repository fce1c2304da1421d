"""Make a result's document, and store it here where somebody will look for it.

The worker stores a document together with the acknowledgement, in one round trip. Only where
handlers or signals of the user's run after the task, where the backend is a Python class, or where
the document is large, is it stored by the process that executed the task, before those run.
"""

import logging
from typing import Any

from celeriac import states
from celeriac.backends.exception_form import travelling
from celeriac.exceptions import OperationalError
from celeriac.worker.call import Call, Ended
from celeriac.worker.outcome import Rejected

__all__ = ("Recorder",)

logger = logging.getLogger("celeriac.worker.record")

#: A larger document would hold up the worker's settling of others.
MAX_HANDED_OVER_BYTES = 1 << 20
#: How long storing may take before the document is handed to the worker after all.
STORE_WAIT_S = 20.0


class Recorder:
    """Records how calls ended.

    Args:
        backend: The application's backend, which the worker stores to.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def record(self, call: Call, ended: Ended) -> bytes | None:
        """Store a result, or make the document that the worker is to store.

        Args:
            call: The call.
            ended: How it ended.

        Returns:
            The document; None where it is stored already, or none is wanted. An EncodeError says
            that the result cannot be encoded.
        """
        state = _stored_state(ended)
        if state is None or not _is_wanted(call, state):
            return None
        backend = call.task.backend
        if backend.is_disabled:
            return None
        value, text = _value(ended), _traceback(ended)
        request = call.request
        if backend is not self._backend or backend.native is None:
            backend.store_result(request.id, value, state, traceback=text, request=request)
            return None
        document: bytes = backend.document(request.id, value, state, text, request)
        if _stays_here(call, state, document):
            return self._store(request, document, state)
        return document

    def _store(self, request: Any, document: bytes, state: str) -> bytes | None:
        task_id = request.id
        backend = self._backend
        is_final = state in states.READY_STATES
        try:
            expires_s = backend.expires_s(state)
            reply = backend.reply_for(task_id, request)
            backend.native.put(task_id, document, is_final, expires_s, STORE_WAIT_S, reply)
        except OperationalError as exc:
            logger.warning("Result of %s not stored yet, the worker will: %s", task_id, exc)
            return document
        return None


def _stored_state(ended: Ended) -> str | None:
    match ended.outcome:
        case Rejected(requeue):
            return None if requeue else states.FAILURE
        case _:
            return None if ended.state == states.IGNORED else ended.state


def _is_wanted(call: Call, state: str) -> bool:
    if not call.ignores_result:
        return True
    return state != states.SUCCESS and bool(call.task.store_errors_even_if_ignored)


def _value(ended: Ended) -> Any:
    if ended.state == states.RETRY:
        return ended.value.exc
    if ended.state == states.FAILURE:
        return travelling(ended.value)
    return ended.value


def _traceback(ended: Ended) -> str | None:
    if ended.einfo is None or isinstance(ended.outcome, Rejected):
        return None
    return ended.einfo.traceback


def _stays_here(call: Call, state: str, document: bytes) -> bool:
    if len(document) > MAX_HANDED_OVER_BYTES:
        return True
    if state == states.SUCCESS:
        if call.request.chord:
            return True  # the chord's body, which follows at once, may read it
        return call.handlers.watch_success()
    if call.request.errbacks or call.request.chain or call.request.chord:
        return True
    return call.handlers.watch_failure()
