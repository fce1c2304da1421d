"""How an application gets its settings.

Source:
    celery/app/base.py (names and arguments).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.app import finding
from celeriac.app.parts import Parts
from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterable, Mapping


class Configured(Parts):
    """Settings from modules, objects, the environment and the command line."""

    namespace: str | None
    configured: bool
    on_configure: Any = None
    on_after_configure: Any = None
    _config_source: Any
    _config_source_silent: bool
    _pending_defaults: deque[Callable[[], Any]]

    def _load_config(self) -> None:
        self.on_configure.send(sender=self)
        source = self._config_source
        config: Mapping[str, Any] = {}
        if source is not None:
            if self.loader.config_from_object(source, silent=self._config_source_silent):
                config = self.loader.conf
        else:
            config = self.loader.conf
        self.configured = True
        self._conf.load(self.prepare_config(dict(config)), self.namespace)
        while self._pending_defaults:
            self._conf.add_defaults(self._pending_defaults.popleft()())
        self.on_after_configure.send(sender=self, source=self._conf)

    def prepare_config(self, c: dict[str, Any]) -> dict[str, Any]:
        """Change a configuration before it is used; for subclasses.

        Returns:
            The configuration.
        """
        return c

    def config_from_object(
        self,
        obj: Any,
        silent: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        force: bool = False,  # noqa: FBT001, FBT002
        namespace: str | None = None,
    ) -> Any:
        """Read settings from an object.

        Args:
            obj: A mapping, an object with attributes, or the path of one.
            silent: Whether a module that cannot be imported is ignored.
            force: Whether to read now, not when the first setting is needed.
            namespace: Prefix of the names (``CELERY``).

        Returns:
            The settings, if they were read now.
        """
        self._config_source = obj
        self._config_source_silent = silent
        self.namespace = namespace or self.namespace
        was_configured, self.configured = self.configured, False
        self._conf.reset(self._load_config)
        if force or was_configured:
            self._conf.resolve()
            return self._conf
        return None

    def config_from_envvar(
        self,
        variable_name: str,
        silent: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        force: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        """Read settings from the module that an environment variable names.

        Args:
            variable_name: The variable.
            silent: Whether a missing variable or module is ignored.
            force: Whether to read now.

        Returns:
            As `config_from_object`; False if there is no such variable.

        Raises:
            ImproperlyConfigured: The variable is not set.
        """
        module = finding.environment(variable_name)
        if not module:
            if silent:
                return False
            message = (
                f"The environment variable {variable_name!r} is not set, and as such the "
                "configuration could not be loaded. Set it to the path of a configuration module."
            )
            raise ImproperlyConfigured(message)
        return self.config_from_object(module, silent=silent, force=force)

    def config_from_cmdline(self, argv: Iterable[str], namespace: str = "celery") -> None:
        """Read settings from a command line (``name=value``)."""
        self._conf.update(self.loader.cmdline_config_parser(argv, namespace))

    def add_defaults(self, fun: Any) -> None:
        """Add settings that everything else overrides.

        Args:
            fun: A mapping, or a function that returns one when the configuration is read.
        """
        defaults: Callable[[], Any] = fun if callable(fun) else lambda: fun
        if self.configured:
            self._conf.add_defaults(defaults())
        else:
            self._pending_defaults.append(defaults)

    def either(self, default_key: str, *defaults: Any) -> Any:
        """Return the first value that is not None, or a setting.

        Returns:
            The value.
        """
        return next((value for value in defaults if value is not None), self.conf.get(default_key))

    def autodiscover_tasks(
        self,
        packages: Any = None,
        related_name: str | None = "tasks",
        force: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
    ) -> Any:
        """Import the module ``tasks`` of packages, when a worker imports its modules.

        Args:
            packages: Names of packages, or a function that returns them.
            related_name: Name of the module.
            force: Whether to import now.

        Returns:
            The modules, if they were imported now.
        """
        return finding.autodiscover(self, packages, related_name, force=force)
