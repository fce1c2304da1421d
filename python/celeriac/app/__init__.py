"""Applications and tasks."""

from celeriac._current import app_or_default, get_current_app, set_default_app_factory
from celeriac._current import pop_task as pop_current_task
from celeriac._current import push_task as push_current_task
from celeriac.app.application import Celery
from celeriac.app.pickling import AppPickler
from celeriac.app.proxy import Proxy
from celeriac.app.shared import shared_task

__all__ = [
    "AppPickler",
    "Celery",
    "app_or_default",
    "default_app",
    "pop_current_task",
    "push_current_task",
    "shared_task",
]


def _default_app() -> Celery:
    return Celery("default", loader="default", set_as_current=False)


set_default_app_factory(_default_app)
default_app: Proxy = Proxy(get_current_app)
