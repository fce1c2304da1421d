"""Celery's import path for texts: re-exports, and nothing else."""

from celeriac.reprs import truncate

__all__ = ["truncate"]
