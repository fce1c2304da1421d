"""Exceptions as result documents carry them.

Source:
    protocol: result document, exception object; celery/backends/base.py
    ``prepare_exception``, ``exception_to_python``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from celeriac import exceptions
from celeriac.exceptions import EncodeError, SecurityError, class_from_wire, wire_module
from celeriac.pickles import survives_pickling
from celeriac.serialization import dumps

_WRAPPER_MODULE = "celery.utils.serialization"


class UnpickleableExceptionWrapper(Exception):  # noqa: N818 - Celery's name
    """Stands for an exception that could not travel.

    Args:
        exc_module: The module of its class.
        exc_cls_name: The name of its class.
        exc_args: Its arguments, where they could travel; otherwise their repr.
        text: Its repr.

    """

    def __init__(
        self, exc_module: str, exc_cls_name: str, exc_args: Any, text: str | None = None
    ) -> None:
        self.exc_module = exc_module
        self.exc_cls_name = exc_cls_name
        self.exc_args = exc_args
        self.text = text
        super().__init__(exc_module, exc_cls_name, exc_args, text)

    def restore(self) -> BaseException:
        """Make an exception of the same name.

        Returns:
            An exception.
        """
        return look_alike(self.exc_cls_name)(*self.exc_args)

    def __str__(self) -> str:
        return self.text or ""


def travelling(exc: BaseException) -> BaseException:
    """Find what is stored of an exception that a Celery process could not pass on.

    Args:
        exc: Any exception.

    Returns:
        The exception itself, where it can be pickled; otherwise one of the nearest base class with
        the same arguments; otherwise a wrapper with its names.

    Source:
        Celery 5.7 stores ``UnpickleableExceptionWrapper`` also where nothing is pickled after all.
    """
    if survives_pickling(exc):
        return exc
    for cls in type(exc).__mro__:
        if cls in {Exception, BaseException, object}:
            continue
        try:
            nearest = cls(*exc.args)
        except Exception:  # noqa: BLE001, S112 - the user's own class
            continue
        if isinstance(nearest, BaseException) and survives_pickling(nearest):
            return nearest
    args = [arg if survives_pickling(arg) else _repr(arg) for arg in exc.args]
    cls = type(exc)
    return UnpickleableExceptionWrapper(cls.__module__, cls.__name__, args, _repr(exc))


def as_document(exc: BaseException, serializer: str = "json") -> dict[str, Any]:
    """Describe an exception.

    Args:
        exc: The exception.
        serializer: What will encode the description.

    Returns:
        ``exc_type``, ``exc_message`` (its arguments; what cannot be encoded is its repr) and
        ``exc_module``, under the names that a Celery process knows.
    """
    if isinstance(exc, UnpickleableExceptionWrapper):
        name, module = type(exc).__name__, _WRAPPER_MODULE
    else:
        name, module = type(exc).__qualname__, wire_module(type(exc))
    return {
        "exc_type": name,
        "exc_message": [_portable(arg, serializer) for arg in exc.args],
        "exc_module": module,
    }


def _portable(value: Any, serializer: str) -> Any:
    try:
        dumps(value, serializer)
    except EncodeError:
        return _repr(value)
    return value


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as exc:  # noqa: BLE001 - `repr` is the user's code
        return f"<Unrepresentable {type(value).__name__!r}: {type(exc).__name__}>"


def from_document(document: Any) -> BaseException | None:
    """Rebuild an exception.

    Args:
        document: What `as_document` made here or in a Celery process; an exception is returned as
            it is.

    Returns:
        An exception of the class it had, if its module is loaded here; otherwise of a class of the
        same name that was made for it. None for None.

    Raises:
        ValueError: The document names no exception.
        SecurityError: It names something that is no exception class.
    """
    if document is None or isinstance(document, BaseException):
        return document
    if not isinstance(document, Mapping) or "exc_type" not in document:
        message = f"Exception information must include the exception type, but is {document!r}"
        raise ValueError(message)
    module, name = document.get("exc_module"), str(document["exc_type"])
    message = document.get("exc_message", "")
    cls = _class_of(module, name)
    if not (isinstance(cls, type) and issubclass(cls, BaseException)):
        text = f"Expected an exception class, got {module}.{name} with payload {message!r}"
        raise SecurityError(text)
    return _instance(cls, message)


def _instance(cls: type[BaseException], message: Any) -> BaseException:
    try:
        return cls(*message) if isinstance(message, (list, tuple)) else cls(message)
    except Exception:  # noqa: BLE001 - the constructor is the user's code
        return Exception(f"{cls}({message})")


def _class_of(module: str | None, name: str) -> Any:
    if module == _WRAPPER_MODULE and name == UnpickleableExceptionWrapper.__name__:
        return UnpickleableExceptionWrapper
    own = class_from_wire(module, name)
    if own is not None:
        return own
    if module is None:
        return _builtin(name) or look_alike(name)
    found: Any = sys.modules.get(module)
    if found is None:
        return look_alike(name)
    for part in name.split("."):
        found = getattr(found, part, None)
    return look_alike(name) if found is None else found


def _builtin(name: str) -> type[BaseException] | None:
    found = getattr(sys.modules["builtins"], name, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


_look_alikes: dict[str, type[Exception]] = {}


def look_alike(name: str) -> type[Exception]:
    """Make an exception class of a name that is not known here (once).

    Args:
        name: The name.

    Returns:
        The class; it says that it is of `celeriac.exceptions`, as Celery's says of its own.
    """
    if name not in _look_alikes:
        # Documents from outside must not fill the memory with classes.
        if len(_look_alikes) >= _MAX_LOOK_ALIKES:
            _look_alikes.clear()
        _look_alikes[name] = type(name, (Exception,), {"__module__": exceptions.__name__})
    return _look_alikes[name]


_MAX_LOOK_ALIKES = 1000
