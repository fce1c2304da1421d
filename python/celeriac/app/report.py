"""What a bug report should say.

Source:
    celery/app/utils.py, bugreport (which fields there are).
"""

from __future__ import annotations

import platform
from typing import Any

from celeriac import broker
from celeriac._native import __version__, redacted

__all__ = ("bugreport",)


def bugreport(app: Any) -> str:
    """Describe versions, system, broker, backend and settings, without passwords.

    Args:
        app: The application.

    Returns:
        Text of several lines.
    """
    url, _options = broker.write_url(app)
    loader = type(app.loader)
    return (
        "\n"
        f"software -> celeriac:{__version__} py:{platform.python_version()}\n"
        f"platform -> system:{platform.system()} arch:{', '.join(platform.architecture())}\n"
        f"            kernel version:{platform.release()} imp:{platform.python_implementation()}\n"
        f"loader   -> {loader.__module__}.{loader.__qualname__}\n"
        f"settings -> transport:{redacted(url)} results:{app.backend.as_uri()}\n"
        "\n"
        f"{app.conf.humanize()}\n"
    )
