"""No results: asking for one is an error that says how to configure a backend."""

from __future__ import annotations

from typing import Any

from celeriac.backends.core import NO_BACKEND, BaseBackend

_NO_CHORDS = (
    "A chord needs a result backend, for it gathers results; none is configured. A group that is "
    "followed by a task is a chord, too.\nSet result_backend, such as "
    "Celery(..., backend='redis://localhost')."
)


class DisabledBackend(BaseBackend):
    """Keeps nothing; asking for a result is an error that says how to configure one."""

    is_disabled = True

    def as_uri(self, *_args: Any, **_kwargs: Any) -> str:
        """Say that there is none.

        Returns:
            ``disabled://``.
        """
        return "disabled://"

    def store_result(self, *_args: Any, **_kwargs: Any) -> None:
        """Keep nothing."""

    def ensure_chords_allowed(self) -> None:
        """Refuse chords, which gather results.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(_NO_CHORDS)

    def _is_disabled(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(NO_BACKEND)

    get_state = get_status = get_result = get_traceback = _is_disabled
    get_task_meta_for = wait_for = get_many = _is_disabled
    get_task_meta = forget = subscribe = _is_disabled
