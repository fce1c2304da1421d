"""Celery's import path for finding backends: re-exports, and nothing else."""

from celeriac.backends import by_name, by_url

__all__ = ["by_name", "by_url"]
