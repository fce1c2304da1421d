"""The version of Celery whose names and protocol we have."""

from typing import NamedTuple

__all__ = ("VERSION", "version_info_t")


class version_info_t(NamedTuple):  # noqa: N801 - Celery's name
    """A version of Celery, in parts."""

    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str


VERSION = version_info_t(5, 7, 0, "", "")
