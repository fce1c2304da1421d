"""Celery's import path for logging: re-exports, and nothing else."""

from celeriac.app.logging import Logging, TaskFormatter

__all__ = ["Logging", "TaskFormatter"]
