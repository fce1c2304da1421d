"""Celery's import path for loaders: re-exports, and nothing else."""

from celeriac.app.loading import loader_class as get_loader_cls

__all__ = ["get_loader_cls"]
