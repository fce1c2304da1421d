"""The only door to the Rust module."""

from celeriac._core import __version__

__all__ = ["__version__"]
