"""Applications and tasks."""

from typing import Any

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
    "bugreport",
    "default_app",
    "pop_current_task",
    "push_current_task",
    "shared_task",
]


def bugreport(app: Celery | None = None) -> str:
    """Describe versions, system and settings, without passwords.

    Args:
        app: The application; the current one by default.

    Returns:
        Text of several lines.
    """
    chosen: Any = app or get_current_app()
    text: str = chosen.bugreport()
    return text


def _default_app() -> Celery:
    return Celery("default", loader="default", set_as_current=False)


set_default_app_factory(_default_app)
default_app: Proxy = Proxy(get_current_app)
