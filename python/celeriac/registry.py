"""Celery's import path for the current application's tasks: re-exports, and nothing else."""

from celeriac.app.registry import TaskRegistry
from celeriac.app.registry import current_tasks as tasks

__all__ = ["TaskRegistry", "tasks"]
