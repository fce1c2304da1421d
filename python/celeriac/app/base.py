"""Celery's import path for the application: re-exports, and nothing else."""

from celeriac.app.application import Celery

__all__ = ["Celery"]
