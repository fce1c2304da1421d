"""Applications travel by name where they can, otherwise by their settings.

Source:
    celery/app/utils.py ``AppPickler``.
"""

from __future__ import annotations

import sys
from typing import Any


class AppPickler:
    """Makes an application again from what was pickled."""

    def __call__(self, cls: Any, *args: Any) -> Any:
        """Make the application.

        Returns:
            The application.
        """
        kwargs = self.build_kwargs(*args)
        app = self.construct(cls, **kwargs)
        self.prepare(app, **kwargs)
        return app

    def prepare(self, app: Any, **kwargs: Any) -> None:
        """Give the application its settings."""
        app.conf.update(kwargs["changes"])

    def build_kwargs(self, *args: Any) -> dict[str, Any]:
        """Name the arguments.

        Returns:
            Arguments by name.
        """
        return self.build_standard_kwargs(*args)

    def build_standard_kwargs(
        self, main: str | None, changes: Any, loader: Any, config_source: Any = None
    ) -> dict[str, Any]:
        """Name the arguments.

        Returns:
            Arguments by name.
        """
        names = {"main": main, "changes": changes, "loader": loader, "set_as_current": False}
        return {**names, "config_source": config_source}

    def construct(self, cls: Any, **kwargs: Any) -> Any:
        """Make the application.

        Returns:
            The application.
        """
        return cls(**kwargs)


def reduce_app(app: Any) -> tuple[Any, tuple[Any, ...]]:
    """Say how an application is pickled.

    Returns:
        By name, if it is an attribute of the module that made it; otherwise by its arguments.
    """
    module = sys.modules.get(app.defined_in or "")
    if module is not None and module.__name__ != "__main__":
        for name, value in vars(module).items():
            if value is app:
                return _by_name, (module.__name__, name)
    source = app._config_source  # noqa: SLF001 - our own
    arguments = (app.main, dict(app.conf.changes), app.loader_cls, source)
    return _by_value, (type(app), app.Pickler, arguments)


def _by_name(module: str, name: str) -> Any:
    __import__(module)
    return getattr(sys.modules[module], name)


def _by_value(cls: Any, pickler: Any, arguments: tuple[Any, ...]) -> Any:
    return pickler()(cls, *arguments)
