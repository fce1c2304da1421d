"""Celery's import path for exceptions that travel: re-exports, and nothing else."""

from celeriac.backends.exception_form import UnpickleableExceptionWrapper

__all__ = ["UnpickleableExceptionWrapper"]
