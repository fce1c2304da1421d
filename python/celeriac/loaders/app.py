"""Celery's import path for the loader of applications: re-exports, and nothing else."""

from celeriac.app.loading import AppLoader

__all__ = ["AppLoader"]
