"""One task for many items: `xmap`, `xstarmap`, `chunks`.

Source:
    protocol: ``celery.map`` and ``celery.starmap`` are tasks; chunks are a group of the latter.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from celeriac.canvas.group import group
from celeriac.canvas.lazy import LazyTasks
from celeriac.canvas.signature import Signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SHOWN_CHARS = 100


class _basemap(Signature):  # noqa: N801 - Celery's name
    """A task that calls another for each item, one after the other."""

    _task_name = ""
    _call = ""

    def __init__(self, task: Any, it: Iterable[Any], **options: Any) -> None:
        app = options.pop("app", None)
        items = it if isinstance(it, (list, tuple)) else LazyTasks(it)
        super().__init__(
            self._task_name, (), {"task": task, "it": items}, options, immutable=True, app=app
        )

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Any:
        """Make one of a dictionary that came in a message.

        Returns:
            The signature.
        """
        return cls(d["kwargs"]["task"], d["kwargs"]["it"], app=app, **d["options"])

    def apply_async(
        self, args: Any = None, kwargs: Any = None, route_name: str | None = None, **opts: Any
    ) -> Any:
        """Send it, to the queue of the task that it calls.

        Returns:
            A handle to a list of results.
        """
        del args, kwargs
        task = self["kwargs"]["task"]
        given = {key: value for key, value in opts.items() if value is not None}
        _, _, options = self._merge(options=given)
        route_name = route_name or options.pop("route_name", None) or _name_of(task)
        return self.type.apply_async(
            (), {"task": task, "it": list(self["kwargs"]["it"])}, route_name=route_name, **options
        )

    def __repr__(self) -> str:
        items = repr(self["kwargs"]["it"])
        shown = items if len(items) <= _SHOWN_CHARS else f"{items[: _SHOWN_CHARS - 3]}..."
        return f"[{_name_of(self['kwargs']['task'])}({self._call}) for x in {shown}]"


@Signature.register_type()
class xmap(_basemap):  # noqa: N801 - Celery's name
    """A task that calls another with each item: ``task.map(items)``."""

    _task_name = "celery.map"
    _call = "x"


@Signature.register_type()
class xstarmap(_basemap):  # noqa: N801 - Celery's name
    """A task that calls another with each item as its arguments: ``task.starmap(items)``."""

    _task_name = "celery.starmap"
    _call = "*x"


@Signature.register_type()
class chunks(Signature):  # noqa: N801 - Celery's name
    """Items in parts of `n`, each part one task of a group.

    Args:
        task: A signature.
        it: Items: the arguments of one call each.
        n: How many to a part.
        **options: Options of the group.

    """

    def __init__(self, task: Any, it: Iterable[Any], n: int, **options: Any) -> None:
        app = options.pop("app", None)
        items = it if isinstance(it, (list, tuple)) else LazyTasks(it)
        super().__init__(
            "celery.chunks", (), {"task": task, "it": items, "n": n}, options,
            immutable=True, app=app,
        )  # fmt: skip

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Any:
        """Make one of a dictionary that came in a message.

        Returns:
            The signature.
        """
        inside = d["kwargs"]
        return cls(inside["task"], inside["it"], inside["n"], app=app, **d["options"])

    def __call__(self, **options: Any) -> Any:
        """Send it.

        Returns:
            A `GroupResult` of lists.
        """
        return self.apply_async(**options)

    def apply_async(self, args: Any = None, kwargs: Any = None, **opts: Any) -> Any:  # type: ignore[override]  # Celery's signature
        """Send a task for each part.

        Returns:
            A `GroupResult` of lists.
        """
        opts.setdefault("route_name", _name_of(self["kwargs"]["task"]))
        return self.group().apply_async(args, kwargs, **opts)

    def group(self) -> Any:
        """Make the group.

        Returns:
            A group of `xstarmap`.
        """
        inside = self["kwargs"]
        return group(
            (
                xstarmap(inside["task"], part, app=self._app)
                for part in _parts(inside["it"], inside["n"])
            ),
            app=self._app,
        )

    @classmethod
    def apply_chunks(cls, task: Any, it: Iterable[Any], n: int, app: Any = None) -> Any:
        """Send a task for each part.

        Returns:
            A `GroupResult` of lists.
        """
        return cls(task, it, n, app=app)()


def _parts(items: Iterable[Any], n: int) -> Iterator[list[Any]]:
    source = iter(items)
    while part := list(islice(source, n)):
        yield part


def _name_of(task: Any) -> Any:
    return task["task"] if isinstance(task, dict) else getattr(task, "name", task)
