"""From `result_backend` to a backend: URLs, paths of classes, and what packages bring along.

Source:
    celery/app/backends.py (aliases, order of what is tried).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from celeriac import _native
from celeriac._current import get_current_app
from celeriac.backends.native import NativeBackend
from celeriac.broker import embedded_url, is_embedded
from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from celeriac._protocols import App

_NATIVE = "celeriac.backends.native:NativeBackend"
_DATABASE = "celeriac.backends.database:DatabaseBackend"
ALIASES = {
    "rpc": "celeriac.backends.rpc:RPCBackend",
    "disabled": "celeriac.backends.disabled:DisabledBackend",
    "db": _DATABASE,
    "database": _DATABASE,
    **dict.fromkeys(
        (
            *("memory", "cache+memory", "sqlite"),
            *("redis", "rediss", "redis+socket", "socket", "sentinel"),
        ),
        _NATIVE,
    ),
}
#: Packages name their backends in these groups of entry points.
GROUPS = ("celeriac.result_backends", "celery.result_backends")


def open_backend(app: App) -> Any:
    """Make the result backend of an application.

    Args:
        app: The application. Its ``result_backend`` is a URL, a class, the path of one, the name
            of an entry point, or None.

    Returns:
        A backend; `DisabledBackend` where none is configured but a broker is.
    """
    given = getattr(app, "backend_cls", None) or app.conf.result_backend
    if given and not isinstance(given, str):
        return given(app=app)
    if not given:
        if is_embedded(app):
            return NativeBackend(app, url=embedded_url(app))
        given = "disabled"
    cls, url = by_url(given, getattr(app, "loader", None))
    return cls(app=app, url=url)


def by_url(backend: str | None = None, loader: Any = None) -> tuple[Any, str | None]:
    """Find the class of a backend and its URL.

    Args:
        backend: A URL, whose scheme may name another in front (``db+sqlite:///...``, as in
            ``package.module:Class+scheme://...``), or the name or path of a class.
        loader: The application's loader, whose names come first.

    Returns:
        The class, and the URL without the name in front; None where there is none.
    """
    text = backend or "disabled"
    if "://" not in text:
        cls = by_name(text, loader)
        is_ours = isinstance(cls, type) and issubclass(cls, NativeBackend)
        return cls, f"{text}://" if is_ours else None
    scheme = text.partition("://")[0]
    if scheme in ALIASES or "+" not in scheme:
        return by_name(scheme, loader), text
    name, _, url = text.partition("+")
    return by_name(name, loader), url


def by_name(
    backend: str | None = None, loader: Any = None, extension_namespace: str = GROUPS[0]
) -> Any:
    """Find the class of a backend.

    Args:
        backend: A scheme, the name of an entry point, or the path of a class
            (``package.module:Class`` or ``package.module.Class``).
        loader: The application's loader, whose ``override_backends`` come first.
        extension_namespace: The group of entry points; after ours comes Celery's.

    Returns:
        The class.

    Raises:
        ImproperlyConfigured: There is no such backend; the message names what there is.
    """
    name = backend or "disabled"
    loader = loader if loader is not None else getattr(get_current_app(), "loader", None)
    path = getattr(loader, "override_backends", {}).get(name) or ALIASES.get(name)
    if path is not None:
        return _class(path)
    groups = GROUPS if extension_namespace in GROUPS else (extension_namespace,)
    plugin = _plugin(name, groups)
    if plugin is not None:
        return plugin
    if ":" in name or "." in name:
        return _class(name)
    message = (
        f"Unknown result backend: {_native.redacted(name)!r}. Did you spell that correctly? There "
        "are: redis://, rediss://, redis+socket://, sentinel://, rpc://, "
        "db+postgresql:// and others of SQLAlchemy's, sqlite:///, "
        "memory://, disabled://, and the path of a class (package.module:Class)."
    )
    raise ImproperlyConfigured(message)


def imported(path: str) -> Any:
    """Import what a setting names.

    Args:
        path: ``package.module:name`` or ``package.module.name``.

    Returns:
        The object.

    Raises:
        ImproperlyConfigured: It cannot be imported.
    """
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as exc:
        message = f"Result backend {path!r} cannot be imported: {exc}"
        raise ImproperlyConfigured(message) from exc


def _class(path: str) -> Any:
    found = imported(path)
    if not callable(found):
        message = f"Unknown result backend: {path!r} is no class but {type(found).__name__}."
        raise ImproperlyConfigured(message)
    return found


def _plugin(name: str, groups: tuple[str, ...]) -> Any:
    # Loaded where needed: reading the metadata of all packages takes 50 ms.
    from importlib.metadata import entry_points  # noqa: PLC0415

    for group in groups:
        for entry in entry_points(group=group, name=name):
            return entry.load()
    return None
