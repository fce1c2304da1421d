"""What a worker does for Django: checks, and connections that no task inherits from another.

Source:
    celery/fixups/django.py ``DjangoWorkerFixup`` (when connections are closed).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from celeriac import signals

__all__ = ("DjangoWorkerFixup",)

_SKIP_CHECKS = "CELERY_SKIP_CHECKS"
_ALREADY_GONE = ("closed", "not connected")


class DjangoWorkerFixup:
    """Sets Django up in a worker, and closes its connections around every task.

    Args:
        app: The application.

    """

    worker: Any = None

    def __init__(self, app: Any) -> None:
        self.app = app
        #: Number of tasks that share a connection; None closes it around each.
        self.db_reuse_max = app.conf.get("CELERY_DB_REUSE_MAX", None)
        self._recycled = 0

    def django_setup(self) -> None:
        """Load Django's settings and models."""
        import django  # noqa: PLC0415 - only with Django

        django.setup()

    def validate_models(self) -> None:
        """Set Django up and run its checks, unless CELERY_SKIP_CHECKS is set."""
        self.django_setup()
        if not os.environ.get(_SKIP_CHECKS):
            from django.core.checks import run_checks  # noqa: PLC0415 - only with Django

            run_checks()

    def install(self) -> DjangoWorkerFixup:
        """Begin to close connections.

        Returns:
            The fixup.
        """
        # By the loader's hooks, not by task_postrun: whoever listens to that signal may look at
        # the result, and every result would be stored before it, in a round trip of its own.
        loader = self.app.loader
        loader.on_task_init = self.on_task_init
        loader.on_process_cleanup = self.on_process_cleanup
        signals.beat_embedded_init.connect(self.close_database)
        signals.worker_process_init.connect(self.on_worker_process_init)
        self.close_database()
        self.close_cache()
        return self

    def on_worker_process_init(self, **_kwargs: Any) -> None:
        """Let go of what a child inherited, without a word to the servers on the other side."""
        for connection in _connections():
            if connection.connection is not None:
                _detach(connection)
        self._close_all()
        self.close_cache()

    def on_task_init(self, task_id: str, task: Any) -> None:  # noqa: ARG002 - the hook's
        """Close connections before a task: time has passed, and the server may have gone."""
        self.close_database()

    def on_process_cleanup(self) -> None:
        """Close connections after a task: no transaction or session setting outlives it."""
        self.close_database()
        self.close_cache()

    def close_database(self, **_kwargs: Any) -> None:
        """Close the connections to databases, or count the task (`CELERY_DB_REUSE_MAX`)."""
        if self.db_reuse_max:
            # Asked before and after each task.
            self._recycled += 1
            if self._recycled <= self.db_reuse_max * 2:
                return
            self._recycled = 0
        self._close_all()

    def close_cache(self) -> None:
        """Close the connections to caches."""
        from django.core import cache  # noqa: PLC0415 - only with Django

        cache.close_caches()

    def _close_all(self) -> None:
        for connection in _connections():
            self._close(connection)

    def _close(self, connection: Any) -> None:
        from django.db import DatabaseError, InterfaceError  # noqa: PLC0415 - only with Django

        try:
            connection.close()
            if self._has_pool(connection):
                connection.close_pool()
        except InterfaceError:
            pass  # it is gone already
        except DatabaseError as exc:
            if not any(word in str(exc) for word in _ALREADY_GONE):
                raise

    def _has_pool(self, connection: Any) -> bool:
        # A pool's threads do not survive the fork of a child.
        pooled = connection.settings_dict.get("OPTIONS", {}).get("pool")
        prefork = "prefork" in str(getattr(self.worker, "pool_cls", ""))
        return bool(pooled) and prefork and hasattr(connection, "close_pool")


def _connections() -> list[Any]:
    from django.db import connections  # noqa: PLC0415 - only with Django

    return list(connections.all(initialized_only=True))


def _detach(connection: Any) -> None:
    # The parent speaks on this socket: closing ours politely would end its session, too. What is
    # written from now on goes nowhere.
    with suppress(AttributeError, OSError, TypeError, ValueError):
        number = connection.connection.fileno()
        nowhere = os.open(os.devnull, os.O_RDWR)
        try:
            os.dup2(nowhere, number)
        finally:
            os.close(nowhere)
