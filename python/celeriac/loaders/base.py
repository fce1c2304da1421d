"""Celery's import path for the base of loaders: re-exports, and nothing else."""

from celeriac.app.loading import BaseLoader, autodiscover_tasks

__all__ = ["BaseLoader", "autodiscover_tasks"]
