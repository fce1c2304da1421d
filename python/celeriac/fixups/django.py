"""Django: set up before tasks are imported, its connections closed around every task.

Source:
    celery/fixups/django.py (names, order); Celery's guide "First steps with Django".
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from celeriac import _current, signals
from celeriac.exceptions import FixupWarning

if TYPE_CHECKING:
    from celeriac.app import Celery

__all__ = ("DjangoFixup", "fixup")

_DEFAULT_TASK_CLS = "celeriac.app.task:Task"
_DJANGO_TASK_CLS = "celeriac.contrib.django.task:DjangoTask"


def fixup(app: Celery, env: str = "DJANGO_SETTINGS_MODULE") -> DjangoFixup | None:
    """Adapt an application to Django, where an environment variable names its settings.

    Args:
        app: The application.
        env: The variable.

    Returns:
        The fixup; None without Django.
    """
    if not os.environ.get(env) or "django" in str(app.loader_cls).lower():
        return None
    if importlib.util.find_spec("django") is None:
        text = f"{env} is set, but Django is not installed: tasks run without its fixup."
        warnings.warn(FixupWarning(text), stacklevel=2)
        return None
    return DjangoFixup(app).install()


class DjangoFixup:
    """Adapts an application to Django.

    Args:
        app: The application.

    """

    def __init__(self, app: Celery) -> None:
        self.app = app
        if _current.default_app is None:
            app.set_default()
        self._worker_fixup: Any = None

    def install(self) -> DjangoFixup:
        """Listen for what a worker does.

        Returns:
            The fixup.
        """
        # The project's own modules come before installed ones, as with `manage.py`.
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as it must appear in sys.path
        self.app.loader.now = self.now
        if self.app.task_cls == _DEFAULT_TASK_CLS:
            self.app.task_cls = _DJANGO_TASK_CLS
        signals.import_modules.connect(self.on_import_modules, sender=self.app)
        signals.worker_init.connect(self.on_worker_init, dispatch_uid=(__name__, id(self)))
        return self

    @property
    def worker_fixup(self) -> Any:
        """What is done in a worker; made when it is first asked for."""
        if self._worker_fixup is None:
            from celeriac.fixups.django_worker import DjangoWorkerFixup  # noqa: PLC0415 - of workers

            self._worker_fixup = DjangoWorkerFixup(self.app)
        return self._worker_fixup

    @worker_fixup.setter
    def worker_fixup(self, value: Any) -> None:
        self._worker_fixup = value

    def on_import_modules(self, **kwargs: Any) -> None:  # noqa: ARG002 - the signal's
        """Set Django up, before modules of tasks are imported."""
        self.worker_fixup.validate_models()

    def on_worker_init(self, **kwargs: Any) -> None:
        """Close connections around every task of a worker of this application."""
        worker = kwargs.get("sender")
        theirs = getattr(worker, "app", None)
        if theirs is not None and theirs != self.app:
            return
        self.worker_fixup.worker = worker
        self.worker_fixup.install()

    def now(self, utc: bool = False) -> datetime:  # noqa: FBT001, FBT002 - Celery's signature
        """Return the time as Django has it.

        Args:
            utc: Whether to return it in UTC.

        Returns:
            The time; aware if `USE_TZ` is set.
        """
        if utc:
            return datetime.now(timezone.utc)
        from django.utils import timezone as zone  # noqa: PLC0415 - only with Django

        moment: datetime = zone.now()
        return moment

    def autodiscover_tasks(self) -> list[str]:
        """List the packages that may have tasks.

        Returns:
            The names of the installed apps.
        """
        from django.apps import apps  # noqa: PLC0415 - only with Django

        return [config.name for config in apps.get_app_configs()]
