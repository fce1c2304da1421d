"""Celery's import path for what is current: re-exports, and nothing else."""

from celeriac import current_app, current_task
from celeriac._current import (
    _task_stack,
    app_or_default,
    connect_on_app_finalize,
    get_current_app,
    get_current_task,
    get_current_worker_task,
    set_default_app,
    task_join_will_block,
)
from celeriac._current import pop_task as pop_current_task
from celeriac._current import push_task as push_current_task
from celeriac._current import set_current_app as _set_current_app
from celeriac._current import set_task_join_will_block as _set_task_join_will_block

__all__ = [
    "_set_current_app",
    "_set_task_join_will_block",
    "_task_stack",
    "app_or_default",
    "connect_on_app_finalize",
    "current_app",
    "current_task",
    "get_current_app",
    "get_current_task",
    "get_current_worker_task",
    "pop_current_task",
    "push_current_task",
    "set_default_app",
    "task_join_will_block",
]
