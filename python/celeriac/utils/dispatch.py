"""Celery's import path for signals: re-exports, and nothing else."""

from celeriac.signals import Signal

__all__ = ["Signal"]
