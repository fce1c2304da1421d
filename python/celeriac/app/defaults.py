"""Celery's import path for the table of settings: re-exports, and nothing else."""

from celeriac.settings import DEFAULTS
from celeriac.settings import Setting as Option

__all__ = ["DEFAULTS", "Option"]
