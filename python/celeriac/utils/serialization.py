"""Celery's import path for exceptions that travel: re-exports, and nothing else."""

from celeriac.backends.exception_form import UnpickleableExceptionWrapper
from celeriac.backends.exception_form import travelling as get_pickleable_exception

__all__ = ["UnpickleableExceptionWrapper", "get_pickleable_exception"]
