"""What the application asks: names, callers, annotations, modules.

Source:
    celery/app/base.py, celery/app/annotations.py, kombu ``oid_from``.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac.app.loading import symbol_by_name
from celeriac.app.proxy import maybe_evaluate
from celeriac.nodenames import gethostname

if TYPE_CHECKING:
    from types import FrameType

_PACKAGE = __name__.partition(".")[0]


def caller_module() -> str | None:
    """Name the module that makes an application: the first caller outside of this package.

    Returns:
        The module's name; None where there is none.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the way to look at callers
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if isinstance(name, str) and name.partition(".")[0] != _PACKAGE:
            return name
        frame = frame.f_back
    return None


def environment(name: str) -> str | None:
    """Read an environment variable.

    Returns:
        Its value; None where it is not set.
    """
    return os.environ.get(name)


def warn(category: type[Warning], text: str) -> None:
    """Warn the caller of the application's method."""
    warnings.warn(category(text), stacklevel=3)


def load_builtins() -> None:
    """Import the tasks that every application owns."""
    importlib.import_module("celeriac.app.builtins")


def task_name(main: str | None, name: str, module: str) -> str:
    """Name a task.

    Args:
        main: The application's name.
        name: The function's name.
        module: The function's module.

    Returns:
        ``<module>.<name>``. The application's name stands for a module that is run.
    """
    if module == "__main__":
        module = main or module
    return f"{module}.{name}" if module else name


def gen_task_name(app: Any, name: str, module_name: str) -> str:
    """Name a task of an application.

    Returns:
        Its name.
    """
    return task_name(app.main, name, module_name)


def autodiscover(app: Any, packages: Any, related_name: str | None, *, force: bool) -> Any:
    """Import modules of tasks, now or when a worker imports its modules.

    Returns:
        The modules, if they were imported now.
    """

    def discover(**_kwargs: Any) -> Any:
        return app.loader.autodiscover_tasks(_packages(app, packages), related_name)

    if force:
        return discover()
    signals.import_modules.connect(discover, weak=False, sender=app)
    return None


def _packages(app: Any, packages: Any) -> Iterable[str]:
    if callable(packages):
        packages = packages()
    if packages:
        listed: Iterable[str] = packages
        return listed
    return [name for fixup in app._fixups for name in _listed_by(fixup)]  # noqa: SLF001 - our own


def _listed_by(fixup: Any) -> Iterable[str]:
    lister = getattr(fixup, "autodiscover_tasks", None)
    return lister() if lister is not None else ()


def annotations_of(setting: Any, task: Any) -> list[tuple[str, Any]]:
    """List what `task_annotations` says of a task.

    Args:
        setting: A mapping of names (``*`` is every task) to attributes, an object with
            ``annotate`` and ``annotate_any``, the path of one, or a list of these.
        task: The task.

    Returns:
        Pairs of attribute and value, the general ones first.
    """
    if not setting:
        return []
    listed = setting if isinstance(setting, (list, tuple)) else [setting]
    sources = [symbol_by_name(item) for item in listed]
    general = [_annotation(source, "*", task) for source in sources]
    special = [_annotation(source, task.name, task) for source in sources]
    return [pair for found in (*general, *special) for pair in (found or {}).items()]


def _annotation(source: Any, name: str, task: Any) -> Mapping[str, Any] | None:
    if isinstance(source, Mapping):
        found: Mapping[str, Any] | None = source.get(name)
        return found
    source = source() if isinstance(source, type) else source
    if name == "*":
        return source.annotate_any() if hasattr(source, "annotate_any") else None
    return source.annotate(task)  # type: ignore[no-any-return]


def subclass_with(
    app: Any, cls: Any, name: str | None, attribute: str, reverse: str | None, kw: dict[str, Any]
) -> Any:
    """Make a subclass that knows the application.

    Args:
        app: The application.
        cls: The class, or its path.
        name: The subclass's name.
        attribute: The attribute that holds the application.
        reverse: The attribute of the application that holds the class, for pickling.
        kw: More attributes; ``keep_reduce`` keeps the class's own way to pickle.

    Returns:
        The subclass.
    """
    base = symbol_by_name(cls)
    keep_reduce = kw.pop("keep_reduce", False)
    attributes = {attribute: app, "__module__": base.__module__, "__doc__": base.__doc__, **kw}
    if not keep_reduce:
        attributes["__reduce__"] = functools.partialmethod(_reduce, reverse or base.__name__)
    return type(name or base.__name__, (base,), attributes)


def _reduce(self: Any, reverse: str) -> Any:
    arguments = self.__reduce_args__() if hasattr(self, "__reduce_args__") else ()
    return _make, (self.app, reverse, arguments)


def _make(app: Any, attribute: str, arguments: Any) -> Any:
    return getattr(app, attribute)(*arguments)


def object_id(app: Any, thread: int | None = None) -> str:
    """Identify an application in this process, or in a thread of it.

    Args:
        app: The application.
        thread: The thread; the process's first by default.

    Returns:
        UUID text, the same whenever it is asked for.
    """
    ident = threading.main_thread().ident if thread is None else thread
    text = f"{gethostname()}-{os.getpid():x}-{ident:x}-{id(app):x}"
    digits = hashlib.sha256(text.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"


def find_app(name: str, load: Callable[[str], Any] = symbol_by_name) -> Any:
    """Find an application by what ``-A`` names.

    Args:
        name: ``module``, ``package``, ``module:attribute`` or ``module.attribute``.
        load: Imports a path.

    Returns:
        The application.

    Raises:
        AttributeError: The module has no application.
        ModuleNotFoundError: There is no such module.
    """
    found = _load(name, load)
    if not hasattr(found, "__path__") and not hasattr(found, "__file__"):
        return maybe_evaluate(found)
    for attribute in ("app", "celery"):
        candidate = getattr(found, attribute, None)
        if candidate is not None and _is_app(candidate):
            return candidate
    if hasattr(found, "__path__"):
        try:
            return find_app(f"{name}.celery", load)
        except ModuleNotFoundError as exc:
            if exc.name != f"{name}.celery":
                raise
    for candidate in vars(found).values():
        if _is_app(candidate):
            return candidate
    message = f"Module {name!r} has no attribute 'celery'"
    raise AttributeError(message)


def _load(name: str, load: Callable[[str], Any]) -> Any:
    if ":" in name:
        return load(name)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        # `module.attribute`, unless a module on the way is at fault.
        if "." not in name or exc.name is None or not name.startswith(exc.name):
            raise
        return load(name)


def _is_app(candidate: Any) -> bool:
    return hasattr(candidate, "send_task") and hasattr(candidate, "tasks")
