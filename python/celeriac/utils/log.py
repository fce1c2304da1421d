"""Celery's import path for logging: re-exports, and nothing else."""

from celeriac.app.logging import (
    LOG_LEVELS,
    ColorFormatter,
    LoggingProxy,
    base_logger,
    get_logger,
    get_task_logger,
    mlevel,
    task_logger,
    worker_logger,
)

__all__ = [
    "LOG_LEVELS",
    "ColorFormatter",
    "LoggingProxy",
    "base_logger",
    "get_logger",
    "get_task_logger",
    "mlevel",
    "task_logger",
    "worker_logger",
]
