"""Celery's import path for texts of values: re-exports, and nothing else."""

from celeriac.reprs import saferepr

__all__ = ["saferepr"]
