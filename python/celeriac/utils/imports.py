"""Celery's import path for importing: re-exports, and nothing else."""

from celeriac.app.finding import gen_task_name
from celeriac.app.loading import cwd_in_path, import_from_cwd, instantiate, qualname, symbol_by_name

__all__ = [
    "cwd_in_path",
    "gen_task_name",
    "import_from_cwd",
    "instantiate",
    "qualname",
    "symbol_by_name",
]
