"""Celery's import path for small things: re-exports, and nothing else."""

from functools import cached_property

from celeriac.app.finding import gen_task_name
from celeriac.app.loading import import_from_cwd, instantiate
from celeriac.app.loading import qualname as get_full_cls_name
from celeriac.app.loading import symbol_by_name as get_cls_by_name
from celeriac.app.logging import LOG_LEVELS
from celeriac.nodenames import new_id as gen_unique_id
from celeriac.nodenames import new_id as uuid
from celeriac.nodenames import nodename, nodesplit
from celeriac.routing import worker_direct

__all__ = [
    "LOG_LEVELS",
    "cached_property",
    "gen_task_name",
    "gen_unique_id",
    "get_cls_by_name",
    "get_full_cls_name",
    "import_from_cwd",
    "instantiate",
    "nodename",
    "nodesplit",
    "uuid",
    "worker_direct",
]
