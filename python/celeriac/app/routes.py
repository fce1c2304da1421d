"""Celery's import path for routing rules: re-exports, and nothing else."""

from celeriac.routing.router import MapRoute, Router, prepare

__all__ = ["MapRoute", "Router", "prepare"]
