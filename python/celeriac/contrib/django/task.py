"""`DjangoTask`: the base of tasks in a Django project; sends when the transaction has committed."""

from __future__ import annotations

import functools
from typing import Any

from django.db import transaction

from celeriac.app.task import Task

__all__ = ("DjangoTask",)


class DjangoTask(Task[Any, Any]):
    """A task that can wait for the database's transaction before it is sent."""

    abstract = True

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Call `delay` when the transaction commits; at once where there is none.

        Nothing is sent if it is rolled back. There is no result to wait for.
        """
        transaction.on_commit(functools.partial(self.delay, *args, **kwargs))

    def apply_async_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Call `apply_async` when the transaction commits; at once where there is none."""
        transaction.on_commit(functools.partial(self.apply_async, *args, **kwargs))
