"""Celery's import path for the command line: re-exports, and nothing else."""

from celeriac.cli.main import celeriac as celery
from celeriac.cli.main import main as _main

__all__ = ["celery", "main"]


def main() -> int:
    """Run the command line.

    Returns:
        The exit code, if the process does not end.
    """
    return int(_main() or 0)
