"""Importing what an application consists of: its configuration, its modules, its tasks.

Source:
    celery/loaders/ (names of hooks), celery/utils/imports.py (paths of objects).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac.exceptions import ImproperlyConfigured, NotConfigured

if TYPE_CHECKING:
    from types import ModuleType

BUILTIN_MODULES = frozenset({"celeriac.app.builtins"})
DEFAULT_CONFIG_MODULE = "celeryconfig"
MODULE_VARIABLE = "CELERY_CONFIG_MODULE"


@contextmanager
def cwd_in_path() -> Iterator[None]:
    """Have the working directory on the module path."""
    try:
        cwd = os.getcwd()  # noqa: PTH109 - as it must appear in sys.path
    except FileNotFoundError:
        cwd = ""
    if not cwd or cwd in sys.path:
        yield
        return
    sys.path.insert(0, cwd)
    try:
        yield
    finally:
        if cwd in sys.path:
            sys.path.remove(cwd)


def import_from_cwd(
    module: str, imp: Callable[..., Any] | None = None, package: str | None = None
) -> Any:
    """Import a module with the working directory on the path.

    Returns:
        The module.
    """
    with cwd_in_path():
        return (imp or importlib.import_module)(module, package=package)


def symbol_by_name(
    name: Any,
    aliases: Mapping[str, str] | None = None,
    imp: Callable[..., Any] | None = None,
    package: str | None = None,
    sep: str = ".",
    default: Any = None,
    **kwargs: Any,
) -> Any:
    """Find an object by its path.

    Args:
        name: ``module:attribute``, ``module.attribute`` or an alias; anything that is not text is
            returned as it is. A leading ``celery.`` is ours where we have the module.
        aliases: Paths by short name.
        imp: Imports a module; `importlib.import_module` by default.
        package: What a relative path is relative to.
        sep: Separates module and attribute where there is no colon.
        default: Returned if the object cannot be found.
        **kwargs: Given to `imp`.

    Returns:
        The object.

    Raises:
        ImportError: There is no such module, and no default.
        AttributeError: The module has no such attribute, and there is no default.
    """
    if not isinstance(name, str):
        return name
    path = (aliases or {}).get(name) or name
    split = ":" if ":" in path else sep
    module_name, _, attribute = path.rpartition(split)
    if not module_name:
        module_name, attribute = attribute, ""
    try:
        module = (imp or importlib.import_module)(_ours(module_name), package=package, **kwargs)
        return getattr(module, attribute) if attribute else module
    except (ImportError, AttributeError):
        if default is None:
            raise
    return default


def _ours(module: str) -> str:
    # Compat: settings name Celery's own classes (`celery.app.log:Logging`).
    if module.partition(".")[0] == "celery" and "celery" not in sys.modules:
        return "celeriac" + module[len("celery") :]
    return module


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """Find a class by its path and make an instance.

    Returns:
        The instance.
    """
    return symbol_by_name(name)(*args, **kwargs)


def qualname(obj: Any) -> str:
    """Name an object with its module.

    Returns:
        ``module.name``.
    """
    if not hasattr(obj, "__name__") and hasattr(obj, "__class__"):
        obj = obj.__class__
    name = getattr(obj, "__qualname__", None) or obj.__name__
    return name if "." in name and not obj.__module__ else f"{obj.__module__}.{name}"


class BaseLoader:
    """Imports modules, reads the configuration, and has hooks around a worker's life.

    Args:
        app: The application.

    """

    builtin_modules = BUILTIN_MODULES
    configured = False
    override_backends: Mapping[str, str] = {}
    worker_initialized = False

    def __init__(self, app: Any, **_kwargs: Any) -> None:
        self.app = app
        self.task_modules: set[str] = set()
        self._conf: Mapping[str, Any] | None = None

    def now(self, utc: bool = True) -> datetime:  # noqa: FBT001, FBT002 - Celery's signature
        """Return the time.

        Args:
            utc: In UTC, or in the machine's zone.

        Returns:
            The time, without an offset.
        """
        moment = datetime.now(timezone.utc) if utc else datetime.now().astimezone()
        return moment.replace(tzinfo=None)

    def on_task_init(self, task_id: str, task: Any) -> None:
        """Called before a task is executed."""

    def on_process_cleanup(self) -> None:
        """Called after a task was executed."""

    def on_worker_init(self) -> None:
        """Called when a worker starts."""

    def on_worker_shutdown(self) -> None:
        """Called when a worker stops."""

    def on_worker_process_init(self) -> None:
        """Called when a child process of a worker starts."""

    def import_task_module(self, module: str) -> Any:
        """Import a module of tasks.

        Returns:
            The module.
        """
        self.task_modules.add(module)
        return self.import_from_cwd(module)

    def import_module(self, module: str, package: str | None = None) -> Any:
        """Import a module.

        Returns:
            The module.
        """
        return importlib.import_module(module, package=package)

    def import_from_cwd(
        self, module: str, imp: Callable[..., Any] | None = None, package: str | None = None
    ) -> Any:
        """Import a module with the working directory on the path.

        Returns:
            The module.
        """
        return import_from_cwd(module, imp or self.import_module, package)

    def import_default_modules(self) -> list[Any]:
        """Import the modules of the settings ``imports`` and ``include``, and what listens for it.

        Returns:
            The modules.
        """
        # What a listener raises, as of a module that cannot be imported, goes to the caller: a
        # worker without its tasks would refuse their messages.
        for _, response in signals.import_modules.send(sender=self.app):
            if isinstance(response, Exception):
                raise response
        return [self.import_task_module(module) for module in sorted(self.default_modules)]

    def init_worker(self) -> None:
        """Prepare a worker: import the modules, once."""
        if not self.worker_initialized:
            self.worker_initialized = True
            self.import_default_modules()
            self.on_worker_init()

    def shutdown_worker(self) -> None:
        """End a worker."""
        self.on_worker_shutdown()

    def init_worker_process(self) -> None:
        """Prepare a child process of a worker."""
        self.on_worker_process_init()

    @property
    def default_modules(self) -> set[str]:
        """The modules a worker imports."""
        conf = self.app.conf
        return {*self.builtin_modules, *(conf.imports or ()), *(conf.include or ())}

    def config_from_object(self, obj: Any, silent: bool = False) -> bool:  # noqa: FBT001, FBT002
        """Read a configuration.

        Args:
            obj: A mapping, an object with attributes, or the path of one.
            silent: Whether a module that cannot be imported is ignored.

        Returns:
            Whether there is a configuration.

        Raises:
            ImportError: The module cannot be imported.
            AttributeError: The module has no such object.
        """
        if isinstance(obj, str):
            try:
                obj = self._find_object(obj)
            except (ImportError, AttributeError):
                if silent:
                    return False
                raise
        self._conf = as_mapping(obj)
        self.configured = True
        return True

    def _find_object(self, path: str) -> Any:
        if ":" in path:
            return symbol_by_name(path, imp=self.import_from_cwd)
        try:
            return self.import_from_cwd(path)
        except ModuleNotFoundError:
            # Not a module: `package.module.attribute`, unless a module on the way is at fault.
            if "." not in path:
                raise
            return symbol_by_name(path, imp=self.import_from_cwd)

    def read_configuration(self, env: str = MODULE_VARIABLE) -> Mapping[str, Any]:
        """Read the configuration that an environment variable names.

        Returns:
            Names and values; empty where the variable is not set.
        """
        path = os.environ.get(env)
        return as_mapping(self._find_object(path)) if path else {}

    @property
    def conf(self) -> Mapping[str, Any]:
        """What was read."""
        if self._conf is None:
            self._conf = self.read_configuration()
        return self._conf

    def autodiscover_tasks(
        self, packages: Iterable[str], related_name: str | None = "tasks"
    ) -> list[Any]:
        """Import the module of that name of each package which has one.

        Returns:
            The modules.
        """
        found = autodiscover_tasks(packages, related_name)
        self.task_modules.update(module.__name__ for module in found)
        return found

    def find_module(self, module: str) -> Any:
        """Look for a module.

        Returns:
            Its spec, or None.
        """
        return importlib.util.find_spec(module)

    def cmdline_config_parser(
        self, args: Iterable[str], namespace: str = "celery"
    ) -> dict[str, Any]:
        """Read settings from a command line.

        Args:
            args: ``name=value``, ``.name=value`` or ``namespace.name=value``.
            namespace: What a leading dot stands for.

        Returns:
            Values by name.
        """
        return dict(_cmdline_setting(arg, namespace) for arg in args)


class AppLoader(BaseLoader):
    """The loader of applications that are made by hand."""


class Loader(BaseLoader):
    """The default application's loader: reads ``celeryconfig``."""

    def read_configuration(  # type: ignore[override]
        self,
        fail_silently: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
    ) -> Mapping[str, Any]:
        """Read ``celeryconfig``, or the module that CELERY_CONFIG_MODULE names.

        Returns:
            Names and values; empty, with a warning, where there is no such module.

        Raises:
            ModuleNotFoundError: The module is missing, and `fail_silently` is False; or one that
                it imports is.
        """
        name = os.environ.get(MODULE_VARIABLE, DEFAULT_CONFIG_MODULE)
        try:
            config = as_mapping(self.import_from_cwd(name))
        except ModuleNotFoundError as exc:
            if not fail_silently or exc.name != name:
                raise
            if MODULE_VARIABLE in os.environ:
                message = f"No {name} module found! Please make sure it exists and is importable."
                warnings.warn(NotConfigured(message), stacklevel=2)
            return {}
        self.configured = True
        return config

    def setup_settings(self, settingsdict: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take settings as they are.

        Returns:
            The settings.
        """
        return settingsdict


_LOADERS = {"app": AppLoader, "default": Loader}


def loader_class(loader: Any) -> type[BaseLoader]:
    """Find a loader's class.

    Args:
        loader: ``app``, ``default``, a path or a class.

    Returns:
        The class.

    Raises:
        ImproperlyConfigured: There is no such loader.
    """
    if isinstance(loader, str) and loader in _LOADERS:
        return _LOADERS[loader]
    try:
        found: type[BaseLoader] = symbol_by_name(loader, imp=import_from_cwd)
    except (ImportError, AttributeError) as exc:
        message = f"Loader {loader!r} cannot be imported ({exc}). Use 'app', 'default' or a path."
        raise ImproperlyConfigured(message) from exc
    return found


def as_mapping(obj: Any) -> Mapping[str, Any]:
    """View an object's attributes as a mapping.

    Args:
        obj: A mapping, a module, a class or any other object.

    Returns:
        Names and values; those that begin with an underscore are left out.
    """
    if isinstance(obj, Mapping):
        return obj
    with warnings.catch_warnings():
        # To read a name is not to use it: Django warns of each deprecated setting that is read.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return {name: getattr(obj, name) for name in dir(obj) if not name.startswith("_")}


def autodiscover_tasks(
    packages: Iterable[str], related_name: str | None = "tasks"
) -> list[ModuleType]:
    """Import ``<package>.<related_name>`` of each package which has it.

    Args:
        packages: Names of packages.
        related_name: Name of the module; None imports the packages alone.

    Returns:
        The modules.
    """
    found = [_related_module(package, related_name) for package in packages]
    return [module for module in found if module is not None]


def _related_module(package: str, related_name: str | None) -> ModuleType | None:
    try:
        module = importlib.import_module(package)
        if not related_name:
            return module
    except ModuleNotFoundError as exc:
        # Compat: Django lists classes (`shop.apps.ShopConfig`); their package is meant.
        parent, _, last = package.rpartition(".")
        if not parent or exc.name is None or not package.startswith(exc.name):
            raise
        package = parent if hasattr(importlib.import_module(parent), last) else package
        if package != parent:
            raise
    name = f"{package}.{related_name}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        # Missing is fine; a missing import inside of it is the user's error.
        if exc.name and name.startswith(exc.name):
            return None
        raise


_CASTS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "bool": lambda text: text.strip().lower() in {"1", "true", "yes", "on"},
    "str": str,
    "string": str,
    "tuple": lambda text: tuple(part.strip() for part in text.split(",")),
    "list": lambda text: [part.strip() for part in text.split(",")],
}


def _cmdline_setting(arg: str, namespace: str) -> tuple[str, Any]:
    key, equals, value = arg.partition("=")
    if not equals:
        message = f"Setting {arg!r} on the command line must be of the form name=value."
        raise ImproperlyConfigured(message)
    prefix, _, rest = key.strip().lower().rpartition(".")
    name = f"{prefix or namespace}_{rest}" if "." in key and (prefix or namespace) else rest
    name = name.removeprefix("celery_")
    if value.startswith("(") and ")" in value:
        kind, _, text = value[1:].partition(")")
        if kind in _CASTS:
            return name, _CASTS[kind](text)
    return name, value
