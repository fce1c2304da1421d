"""Find the application that ``-A`` names.

Source:
    Celery's documentation, "Application discovery".
"""

import traceback
from types import ModuleType
from typing import Any

from celeriac import Celery
from celeriac.app.loading import import_from_cwd, symbol_by_name

__all__ = ("NoApp", "find_app")


class NoApp(Exception):  # noqa: N818 - not an error of ours
    """There is no application where the user said; the text says what to do."""


def find_app(path: str) -> Any:
    """Import an application.

    Args:
        path: ``module``, ``module:attribute``, ``module.attribute``, or a package with a module
            ``celery``.

    Returns:
        The application.

    Raises:
        NoApp: There is none. Where the user's own code failed, with its traceback.
    """
    try:
        return _application(path)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (
            path == exc.name or path.startswith((f"{exc.name}.", f"{exc.name}:"))
        ):
            message = (
                "Unable to load celery application.\n"
                f"The module {exc.name} was not found.\n"
                "Hint: modules are looked for in this directory and in PYTHONPATH; "
                "--workdir changes the directory."
            )
            raise NoApp(message) from None
        raise NoApp(_failed(path)) from None
    except _NotThere as exc:
        message = f"Unable to load celery application.\n{exc}"
        raise NoApp(message) from None
    except Exception:  # noqa: BLE001 - whatever the user's code raises is shown
        raise NoApp(_failed(path)) from None


class _NotThere(Exception):  # noqa: N818 - turned into NoApp
    pass


def _application(path: str) -> Any:
    found = _search(path)
    if hasattr(found, "Worker"):
        return found
    message = (
        f"'{path}' is no application but of type {type(found).__name__}.\n"
        "Hint: name the object that Celery(...) returned."
    )
    raise _NotThere(message)


def _search(path: str) -> Any:
    try:
        found = symbol_by_name(path, imp=import_from_cwd)
    except AttributeError:
        if ":" in path:
            module, _, name = path.partition(":")
            message = (
                f"Module '{module}' has no attribute '{name}'.\n"
                f"Hint: -A {module}:app, where app = Celery(...) stands in {module}."
            )
            raise _NotThere(message) from None
        found = import_from_cwd(path)
    if not isinstance(found, ModuleType):
        return found
    return _app_in(found, path)


def _app_in(module: ModuleType, path: str) -> Any:
    for name in ("app", "celery"):
        candidate = getattr(module, name, None)
        if candidate is not None and not isinstance(candidate, ModuleType):
            return candidate
    if hasattr(module, "__path__"):
        submodule = f"{path}.celery"
        try:
            return _search(submodule)
        except ModuleNotFoundError as exc:
            if exc.name != submodule:
                raise
        except _NotThere:
            pass
    for candidate in vars(module).values():
        if isinstance(candidate, Celery):
            return candidate
    message = (
        f"Module '{path}' has no attribute 'celery'.\n"
        f"Hint: it holds no application; -A {path}:name takes one of another name."
    )
    raise _NotThere(message)


def _failed(path: str) -> str:
    return (
        "Unable to load celery application.\n"
        f"While trying to load the module {path} the following error occurred:\n"
        f"{traceback.format_exc()}\n"
        "Hint: the last lines of the traceback are in the application's own code; "
        f'python -c "import {path.partition(":")[0]}" shows the same.'
    )
