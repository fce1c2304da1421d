"""`billiard.einfo`: exceptions with their tracebacks."""

from celeriac.app.einfo import ExceptionInfo

__all__ = ["ExceptionInfo"]
