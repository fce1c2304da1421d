"""What handlers and signals are told about an exception.

Source:
    billiard/einfo.py ``ExceptionInfo`` (attributes and arguments).
"""

import sys
import traceback
from types import TracebackType

__all__ = ("ExceptionInfo", "users_traceback")

#: Who calls a task: the worker, or `apply` and the task's own wrappers.
_OURS = ("celeriac.app.", "celeriac.worker.")


class ExceptionInfo:
    """An exception with its traceback, as text and as an object.

    Attributes:
        type: The exception's class.
        exception: The exception.
        traceback: The formatted traceback.
        tb: The traceback itself, beginning with the user's first frame.
        internal: Whether it came from the worker and not from the task.

    Raises:
        ValueError: No exception was given, and none is being handled.
    """

    def __init__(
        self,
        exc_info: tuple[type[BaseException], BaseException, TracebackType | None] | None = None,
        internal: bool = False,  # noqa: FBT001, FBT002 - billiard's signature
    ) -> None:
        kind, exception, tb = exc_info or sys.exc_info()
        if kind is None or exception is None:
            message = "There is no exception to describe."
            raise ValueError(message)
        self.type = kind
        self.exception = exception
        self.tb = users_traceback(tb)
        self.internal = internal
        self.traceback = "".join(traceback.format_exception(kind, exception, self.tb))

    @property
    def exc_info(self) -> tuple[type[BaseException], BaseException, TracebackType | None]:
        """The triple that `logging` takes."""
        return self.type, self.exception, self.tb

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {self.exception!r}>"


def users_traceback(tb: TracebackType | None) -> TracebackType | None:
    """Skip our own frames at the beginning of a traceback.

    Args:
        tb: A traceback.

    Returns:
        The first frame of the user's and what follows; `tb` where all are ours.
    """
    frame = tb
    while frame is not None and _is_ours(frame):
        frame = frame.tb_next
    return frame or tb


def _is_ours(tb: TracebackType) -> bool:
    module = tb.tb_frame.f_globals.get("__name__", "")
    return isinstance(module, str) and module.startswith(_OURS)
