"""Stand-ins for objects that are made, or looked up, when they are first used."""

from __future__ import annotations

import importlib
import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_set = object.__setattr__
_get = object.__getattribute__


class Proxy:
    """Acts like the object that a function returns, asked for at each use.

    Args:
        local: The function.
        args: Its arguments.
        kwargs: Its keyword arguments.
        name: `__name__` of the proxy.

    """

    __slots__ = ("__dict__", "_args", "_doc", "_kwargs", "_local", "_name")

    def __init__(
        self,
        local: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        name: str | None = None,
        __doc__: str | None = None,  # noqa: A002 - Celery's signature
    ) -> None:
        _set(self, "_local", local)
        _set(self, "_args", args or ())
        _set(self, "_kwargs", kwargs or {})
        _set(self, "_name", name)
        _set(self, "_doc", __doc__)

    def _get_current_object(self) -> Any:
        local = _get(self, "_local")
        return local(*_get(self, "_args"), **_get(self, "_kwargs"))

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The object's class, so that `isinstance` answers for the object."""
        return type(self._get_current_object())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get_current_object(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object.

        Returns:
            What it returns.
        """
        return self._get_current_object()(*args, **kwargs)

    def __repr__(self) -> str:
        return repr(self._get_current_object())

    def __str__(self) -> str:
        return str(self._get_current_object())

    def __dir__(self) -> list[str]:
        return dir(self._get_current_object())

    def __bool__(self) -> bool:
        return bool(self._get_current_object())

    def __hash__(self) -> int:
        return hash(self._get_current_object())

    def __eq__(self, other: object) -> bool:
        return bool(self._get_current_object() == other)

    def __ne__(self, other: object) -> bool:
        return bool(self._get_current_object() != other)

    def __reduce__(self) -> Any:
        return self._get_current_object().__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._get_current_object().__reduce_ex__(protocol)


def _forward(name: str) -> Any:
    function = getattr(operator, name)

    def method(self: Proxy, other: Any) -> Any:
        return function(self._get_current_object(), other)

    return method


def _forward_item(name: str) -> Any:
    function = getattr(operator, name)

    def method(self: Proxy, i: Any) -> Any:
        return function(self._get_current_object(), i)

    return method


def _set_item(self: Any, i: Any, value: Any) -> None:
    self._get_current_object()[i] = value


for _name in ("__lt__", "__le__", "__gt__", "__ge__", "__add__", "__or__", "__and__"):
    setattr(Proxy, _name, _forward(_name))
for _name in ("__getitem__", "__delitem__", "__contains__"):
    setattr(Proxy, _name, _forward_item(_name))
Proxy.__setitem__ = _set_item  # type: ignore[index]
Proxy.__len__ = lambda self: len(self._get_current_object())  # type: ignore[attr-defined]
Proxy.__iter__ = lambda self: iter(self._get_current_object())  # type: ignore[attr-defined]
Proxy.__enter__ = lambda self: self._get_current_object().__enter__()  # type: ignore[attr-defined]
Proxy.__exit__ = lambda self, *a, **kw: self._get_current_object().__exit__(*a, **kw)  # type: ignore[attr-defined]


class PromiseProxy(Proxy):
    """A proxy whose object is made once, at the first use."""

    __slots__ = ("_then", "_thing")

    def _get_current_object(self) -> Any:
        try:
            return _get(self, "_thing")
        except AttributeError:
            return self.__evaluate__()

    # A task is called through its proxy many times: these are found without a step of Python.
    # Before the object is made they are not, and `__getattr__` makes it.
    delay = property(operator.attrgetter("_thing.delay"), doc="That of the task.")
    apply_async = property(operator.attrgetter("_thing.apply_async"), doc="That of the task.")
    s = property(operator.attrgetter("_thing.s"), doc="That of the task.")

    def __then__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function once the object is made (at once if it is).

        Returns:
            What the function returned, if it was called.
        """
        if self.__evaluated__():
            return fun(*args, **kwargs)
        try:
            pending = _get(self, "_then")
        except AttributeError:
            pending = []
            _set(self, "_then", pending)
        pending.append((fun, args, kwargs))
        return None

    def __evaluated__(self) -> bool:
        """Say whether the object is made.

        Returns:
            Whether it is.
        """
        try:
            _get(self, "_thing")
        except AttributeError:
            return False
        return True

    def __maybe_evaluate__(self) -> Any:
        """Make the object if it is not made yet.

        Returns:
            The object.
        """
        return self._get_current_object()

    def __evaluate__(self) -> Any:
        """Make the object.

        Returns:
            The object.
        """
        thing = Proxy._get_current_object(self)  # noqa: SLF001 - our own
        _set(self, "_thing", thing)
        try:
            pending = _get(self, "_then")
        except AttributeError:
            pending = []
        for fun, args, kwargs in pending:
            fun(*args, **kwargs)
        return thing


def _doc(proxy: Any) -> Any:
    given = _get(proxy, "_doc")
    return given if given is not None else proxy._get_current_object().__doc__  # noqa: SLF001


def _module(proxy: Any) -> Any:
    return proxy._get_current_object().__module__  # noqa: SLF001


# A class has one `__doc__` and one `__module__`: here they must answer for the object.
for _cls in (Proxy, PromiseProxy):
    _cls.__doc__ = property(_doc)  # type: ignore[assignment]
    _cls.__module__ = property(_module)  # type: ignore[assignment]


def maybe_evaluate(obj: Any) -> Any:
    """Make the object behind a promise.

    Returns:
        The object; anything else is returned as it is.
    """
    made = getattr(type(obj), "__maybe_evaluate__", None)
    return made(obj) if made else obj


def try_import(module: str, default: Any = None) -> Any:
    """Import a module that may be missing.

    Returns:
        The module, or `default`.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        return default
