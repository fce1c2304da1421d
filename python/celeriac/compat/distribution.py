"""What `importlib.metadata` says of Celery while celeriac stands in for it."""

from __future__ import annotations

from importlib.metadata import Distribution
from pathlib import Path
from typing import TYPE_CHECKING

from celeriac.compat.version import VERSION

if TYPE_CHECKING:
    from os import PathLike

__all__ = ("celery_distribution",)


class _Served(Distribution):
    def __init__(self, version: str) -> None:
        self._metadata = f"Metadata-Version: 2.1\nName: celery\nVersion: {version}\n"

    def read_text(self, filename: str) -> str | None:
        """Read a file of the distribution's own.

        Returns:
            Its text; None where there is no such file.
        """
        return self._metadata if filename == "METADATA" else None

    def locate_file(self, path: str | PathLike[str]) -> Path:  # type: ignore[override,unused-ignore]
        """Find an installed file.

        Returns:
            Its path beside our modules.
        """
        return Path(__file__).parent / path


def celery_distribution() -> Distribution:
    """Describe the Celery whose names we have as installed.

    Returns:
        A distribution without files or entry points.
    """
    return _Served(".".join(map(str, VERSION[:3])))
