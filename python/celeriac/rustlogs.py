"""What the Rust module has to say goes into Python's log."""

import logging

from celeriac._native import has_logs, take_logs

__all__ = ("drain_rust_logs", "has_logs")

_MAX_LINES = 256


def drain_rust_logs() -> None:
    """Log what the Rust module has written since the last time."""
    for level, target, message in take_logs(_MAX_LINES):
        logging.getLogger(target.replace("::", ".")).log(level, "%s", message)
