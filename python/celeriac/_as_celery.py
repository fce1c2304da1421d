"""Serving the names `celery`, `kombu` and `billiard`, so that existing code runs unedited.

``celery.app.task`` is then `celeriac.app.task`, the same module with the same classes. What differs
under Celery's name stands in a file of `celeriac.compat`: `celery` itself, whose version is the
Celery we speak the protocol of, and the parts of `kombu` and `billiard` that users import.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType

__all__ = ("as_celery", "is_serving")

_PACKAGE = __name__.partition(".")[0]
_STAND_INS = Path(__file__).parent / "compat"
_SERVED = ("celery", "kombu", "billiard")


def as_celery() -> None:
    """Serve the names `celery`, `kombu` and `billiard` from celeriac in this process.

    To be called before anything imports them, at the top of ``wsgi.py`` or ``manage.py``::

        import celeriac; celeriac.as_celery()

    ``celeriac --as-celery -A proj worker`` does it for a worker. Calling it again changes nothing.

    Raises:
        ImportError: The real celery, kombu or billiard is loaded already.
    """
    if is_serving():
        return
    loaded = next((name for name in _SERVED if name in sys.modules), None)
    if loaded is not None:
        where = getattr(sys.modules[loaded], "__file__", None) or "an unknown place"
        message = (
            f"celeriac cannot stand in for {loaded!r}: it is loaded already, from {where}. Call "
            "celeriac.as_celery() before the first import of celery, kombu or billiard; "
            f"`python -X importtime` shows who imports {loaded!r} first."
        )
        raise ImportError(message, name=loaded)
    importlib.invalidate_caches()
    sys.meta_path.insert(0, _Finder())


def is_serving() -> bool:
    """Say whether `as_celery` was called in this process, or in the one it was forked from.

    Returns:
        Whether it was.
    """
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


class _Finder(MetaPathFinder):
    """Comes before all others, so that an installed Celery is not found."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the protocol's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        root, _, rest = fullname.partition(".")
        if root not in _SERVED:
            return None
        if root == "celery" and rest:
            return _alias(fullname, f"{_PACKAGE}.{rest}")
        return _stand_in(fullname)

    def find_distributions(self, context: Any) -> Iterable[Any]:
        """Answer `importlib.metadata`: integrations ask it for Celery's version.

        Returns:
            The distribution ``celery``, where that is asked for.
        """
        if context.name not in {None, "celery"}:
            return []
        # By name: this module is below everything, what it serves is on top.
        served = importlib.import_module(f"{_PACKAGE}.compat.distribution")
        return [served.celery_distribution()]


def _alias(fullname: str, ours: str) -> ModuleSpec:
    try:
        found = importlib.util.find_spec(ours)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise _absent(fullname)
    return ModuleSpec(
        fullname, _Alias(ours), is_package=found.submodule_search_locations is not None
    )


def _stand_in(fullname: str) -> ModuleSpec:
    folder = _STAND_INS.joinpath(*fullname.split("."))
    package = folder / "__init__.py"
    file = package if package.exists() else folder.with_suffix(".py")
    # Compat: `celery` is one file; its submodules are found above.
    below = [str(folder)] if file is package else [] if fullname == "celery" else None
    spec = importlib.util.spec_from_file_location(fullname, file, submodule_search_locations=below)
    if spec is None or not file.exists():
        raise _absent(fullname)
    return spec


def _absent(fullname: str) -> ModuleNotFoundError:
    message = (
        f"No module named {fullname!r} in celeriac, which serves "
        f"{fullname.partition('.')[0]!r} in this process (celeriac.as_celery): "
        "it is not there yet, or has no equal here."
    )
    return ModuleNotFoundError(message, name=fullname)


class _Alias(Loader):
    """Makes a module known under a second name: one object, whichever name is imported."""

    def __init__(self, ours: str) -> None:
        self._ours = ours
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002 - the protocol's
        module = importlib.import_module(self._ours)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just put the second name's spec there.
        module.__spec__ = self._spec
