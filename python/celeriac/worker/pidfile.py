"""The file that says which process is the worker, and that there is only one."""

import os
import sys
from pathlib import Path

__all__ = ("EX_CANTCREAT", "Pidfile")

EX_CANTCREAT = 73


class Pidfile:
    """A pidfile; one whose process is gone is replaced.

    Args:
        path: Where it is.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._pid = 0

    def acquire(self) -> None:
        """Write the file.

        Raises:
            SystemExit: A worker that lives has it (exit code 73), as in Celery.
        """
        if not self._create():
            if not self._is_stale():
                message = (
                    f"ERROR: Pidfile ({self._path}) already exists.\nSeems we're already running?"
                )
                print(message, file=sys.stderr)  # noqa: T201 - before logging is set up
                raise SystemExit(EX_CANTCREAT)
            print("Stale pidfile exists - Removing it.", file=sys.stderr)  # noqa: T201 - see above
            self._path.unlink(missing_ok=True)
            if not self._create():
                raise SystemExit(EX_CANTCREAT)
        self._pid = os.getpid()

    def release(self) -> None:
        """Remove the file, if this process wrote it."""
        if self._pid == os.getpid():
            self._pid = 0
            self._path.unlink(missing_ok=True)

    def _create(self) -> bool:
        try:
            fd = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(fd, "w") as file:
            file.write(f"{os.getpid()}\n")
        return True

    def _is_stale(self) -> bool:
        try:
            pid = int(self._path.read_text().strip())
        except (OSError, ValueError):
            return True
        # In a container, the number of an earlier run may be this process's own.
        if pid <= 0 or pid == os.getpid():
            return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return True
        return False
