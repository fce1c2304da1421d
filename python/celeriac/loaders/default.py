"""Celery's import path for the default loader: re-exports, and nothing else."""

from celeriac.app.loading import DEFAULT_CONFIG_MODULE, Loader

__all__ = ["DEFAULT_CONFIG_MODULE", "Loader"]
