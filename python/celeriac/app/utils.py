"""Celery's import path for settings and finding applications: re-exports, and nothing else."""

from celeriac.app.finding import find_app
from celeriac.app.pickling import AppPickler
from celeriac.app.report import bugreport
from celeriac.settings import Settings

__all__ = ["AppPickler", "Settings", "bugreport", "find_app"]
