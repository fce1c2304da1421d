"""Celery's import path for times: re-exports, and nothing else."""

from celeriac.retry import get_exponential_backoff_interval
from celeriac.timestamps import (
    humanize_seconds,
    is_naive,
    make_aware,
    maybe_iso8601,
    maybe_make_aware,
    maybe_timedelta,
    to_utc,
)

__all__ = [
    "get_exponential_backoff_interval",
    "humanize_seconds",
    "is_naive",
    "make_aware",
    "maybe_iso8601",
    "maybe_make_aware",
    "maybe_timedelta",
    "to_utc",
]
