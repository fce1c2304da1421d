"""`kombu.utils.url`: credentials in URLs."""

from urllib.parse import quote, unquote

__all__ = ["quote", "safequote", "unquote"]


def safequote(string: str) -> str:
    """Quote a part of a URL, slashes included.

    Returns:
        The part as it may stand in a URL.
    """
    return quote(string, safe="")
