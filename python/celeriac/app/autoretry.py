"""``autoretry_for``: retry by itself when some exceptions are raised.

Source:
    celery/app/autoretry.py (options and defaults).
"""

from __future__ import annotations

import functools
import inspect
import random
from typing import Any

from celeriac.exceptions import Ignore, Retry
from celeriac.retry import backoff_s


def add_autoretry_behaviour(task: Any, **options: Any) -> None:
    """Wrap a task's function, if it has ``autoretry_for``.

    Args:
        task: The task.
        **options: ``autoretry_for``, ``dont_autoretry_for`` (exception classes), ``retry_kwargs``,
            ``retry_backoff`` (True or seconds), ``retry_backoff_max`` (seconds), ``retry_jitter``.
    """

    def option(name: str, default: Any) -> Any:
        return options.get(name, getattr(task, name, default))

    catch = tuple(option("autoretry_for", ()))
    if not catch or hasattr(task, "_orig_run"):
        return
    never = tuple(option("dont_autoretry_for", ()))
    retry_kwargs = dict(option("retry_kwargs", {}))
    factor = option("retry_backoff", False)  # noqa: FBT003 - Celery's default
    maximum_s, jitter = option("retry_backoff_max", 600), option("retry_jitter", True)  # noqa: FBT003
    original = task.run

    def retry(exc: BaseException) -> Any:
        wanted = dict(retry_kwargs)
        if factor:
            scale = random.random() if jitter else None  # noqa: S311 - not for secrets
            first_s = 1 if factor is True else factor
            retries = task.request.retries
            wanted["countdown"] = backoff_s(first_s, retries, maximum_s, scale)
        return task.retry(exc=exc, **wanted)

    object.__setattr__(task, "_orig_run", original)
    wrap = _around_coroutine if inspect.iscoroutinefunction(original) else _around_function
    object.__setattr__(task, "run", wrap(original, (Ignore, Retry, *never), catch, retry))


# Compat: `raise` what `retry` returns, for in eager mode it may do so instead of raising.


def _around_function(original: Any, never: Any, catch: Any, retry: Any) -> Any:
    @functools.wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except never:
            raise
        except catch as exc:
            raise retry(exc) from exc

    return run


def _around_coroutine(original: Any, never: Any, catch: Any, retry: Any) -> Any:
    @functools.wraps(original)
    async def run(*args: Any, **kwargs: Any) -> Any:
        import asyncio  # noqa: PLC0415 - `import celeriac` stays quick

        try:
            return await original(*args, **kwargs)
        except never:
            raise
        except catch as exc:
            # In a thread: sending waits for the broker, and others may be on this loop.
            raise await asyncio.to_thread(retry, exc) from exc

    return run
