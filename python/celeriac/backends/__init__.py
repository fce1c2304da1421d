"""Result backends, chosen by URL."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from celeriac.backends.base import Backend, BaseBackend, DisabledBackend, NativeBackend
from celeriac.broker import embedded_url, is_embedded
from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from celeriac._protocols import App

__all__ = ["Backend", "BaseBackend", "DisabledBackend", "NativeBackend", "open_backend"]

_NATIVE = ("memory", "cache+memory", "sqlite", "redis", "rediss", "redis+socket", "socket")


def open_backend(app: App) -> Any:
    """Make the result backend of an application.

    Args:
        app: The application. Its ``result_backend`` is a URL, a class, the path of one, or None.

    Returns:
        A backend; `DisabledBackend` where none is configured but a broker is.

    Raises:
        ImproperlyConfigured: There is no such backend.
    """
    given = app.conf.result_backend
    if isinstance(given, type):
        return given(app=app)
    if not given:
        if is_embedded(app):
            return NativeBackend(app, url=embedded_url(app))
        return DisabledBackend(app)
    scheme, _, rest = str(given).partition("://")
    if scheme == "disabled":
        return DisabledBackend(app)
    if scheme in _NATIVE:
        return NativeBackend(app, url=given if rest or "://" in given else f"{given}://")
    # Compat: a path of a class may be followed by its own URL: `proj.results:Backend+db://host`.
    path, _, own = scheme.partition("+")
    if ":" in path or "." in path:
        url = f"{own}://{rest}" if own else given
        return _class(path)(app=app, url=url)
    plugin = _plugin(path)
    if plugin is not None:
        return plugin(app=app, url=given)
    message = (
        f"Result backend {scheme!r} is not supported. There are: redis://, sqlite:///, memory://, "
        "disabled://, and the path of a class (package.module:Class)."
    )
    raise ImproperlyConfigured(message)


def _class(path: str) -> Any:
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as exc:
        message = f"Result backend {path!r} cannot be imported: {exc}"
        raise ImproperlyConfigured(message) from exc


def _plugin(name: str) -> Any:
    # Loaded where needed: reading the metadata of all packages takes 50 ms.
    from importlib.metadata import entry_points  # noqa: PLC0415

    for group in ("celeriac.result_backends", "celery.result_backends"):
        for entry in entry_points(group=group, name=name):
            return entry.load()
    return None
