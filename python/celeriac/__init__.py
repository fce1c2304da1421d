"""celeriac: a distributed task queue that speaks Celery's wire protocol.

Names come when they are asked for: a probe or a console command does not pay for what it never
uses. Their types are in `__init__.pyi`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes as long to import as Python to start
if TYPE_CHECKING:
    from typing import Any

#: Where each name is; its own name there, unless a second one is given.
_PLACES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Celery", "bugreport", "shared_task"), ("celeriac.app",)),
    **dict.fromkeys(("Broadcast", "Exchange", "Queue", "binding"), ("celeriac.routing",)),
    **dict.fromkeys(
        (
            *("Signature", "chain", "chord", "chunks", "group"),
            *("maybe_signature", "signature", "xmap", "xstarmap"),
        ),
        ("celeriac.canvas",),
    ),
    "Task": ("celeriac.app.task",),
    "__version__": ("celeriac._native",),
    "as_celery": ("celeriac._as_celery",),
    "subtask": ("celeriac.canvas", "signature"),
    "uuid": ("celeriac.nodenames", "new_id"),
}
_CURRENT = {"current_app": "get_current_app", "current_task": "get_current_task"}


__all__ = list({**_PLACES, **_CURRENT})  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415 - see above

    if name in _PLACES:
        module, *other = _PLACES[name]
        found = getattr(import_module(module), *(other or [name]))
    elif name in _CURRENT:
        current = import_module("celeriac._current")
        found = import_module("celeriac.app.proxy").Proxy(getattr(current, _CURRENT[name]))
    else:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
