"""Pickles that processes of Celery read, and theirs: classes travel under Celery's names.

Source:
    protocol: names that travel. A peer need not have the other package installed.
"""

from __future__ import annotations

import io
import os
import pickle
from typing import Any, ClassVar

from celeriac.exceptions import class_from_wire, wire_module

__all__ = ("PROTOCOL", "Unpickler", "dumps", "loads", "survives_pickling")

PROTOCOL = int(os.environ.get("PICKLE_PROTOCOL", pickle.DEFAULT_PROTOCOL))

#: Where Celery has what we have, by the beginning of our module's name.
_MODULES = {
    "celeriac.backends.exception_form": "celery.utils.serialization",
    "celeriac.canvas": "celery.canvas",
    "celeriac.schedules": "celery.schedules",
    "celeriac.states": "celery.states",
}
#: What has another name there, too.
_RENAMED = {
    ("celeriac.app.registry", "unpickle_task"): ("celery.app.registry", "_unpickle_task_v2"),
}
_OURS = {theirs: ours for ours, theirs in _RENAMED.items()}


def dumps(value: Any) -> bytes:
    """Pickle a value.

    Args:
        value: Any value that can be pickled.

    Returns:
        A pickle without names of ours where Celery has the same.
    """
    data = pickle.dumps(value, protocol=PROTOCOL)
    if b"celeriac" not in data:
        return data
    # Names are written by Python's own pickler alone, which is slow: only where there are some.
    out = io.BytesIO()
    _Pickler(out, PROTOCOL).dump(value)
    return out.getvalue()


#: The one in C asks nobody for names.
_Python: Any = pickle._Pickler  # type: ignore[attr-defined,unused-ignore]  # noqa: SLF001


class _Pickler(_Python):  # type: ignore[misc]  # of any type, see there
    dispatch: ClassVar[dict[type, Any]] = dict(_Python.dispatch)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write the name of a class or function."""
        found = _celerys_name(obj, name)
        if found is None:
            super().save_global(obj, name)
            return
        if self.proto >= 4:  # noqa: PLR2004 - the protocol that has STACK_GLOBAL
            for part in found:
                self.save(part)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + "\n".join((*found, "")).encode())
        self.memoize(obj)


# Its table calls what its class has, not what is overridden here.
_Pickler.dispatch[type(dumps)] = _Pickler.save_global


def _celerys_name(obj: Any, name: str | None) -> tuple[str, str] | None:
    module = getattr(obj, "__module__", None) or ""
    if not module.startswith("celeriac."):
        return None
    own = name or obj.__qualname__
    if isinstance(obj, type):
        theirs = wire_module(obj)
        if theirs != module:
            return theirs, own
    renamed = _RENAMED.get((module, own))
    if renamed is not None:
        return renamed
    for ours, theirs in _MODULES.items():
        if module == ours or module.startswith(f"{ours}."):
            return theirs, own
    return None


def loads(data: bytes) -> Any:
    """Read a pickle, of this process or of one of Celery's.

    Args:
        data: The pickle, of somebody who is trusted: it may run any code.

    Returns:
        The value.
    """
    return Unpickler(io.BytesIO(data)).load()


class Unpickler(pickle.Unpickler):
    """Reads what Celery processes pickle: `celery.*` names are ours where we have them."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: D102 - inherited
        ours = _OURS.get((module, name))
        if ours is not None:
            return super().find_class(*ours)
        if module.partition(".")[0] == "celery":
            try:
                return super().find_class(f"celeriac{module[6:]}", name)
            except (ImportError, AttributeError):
                pass
        own = class_from_wire(module, name)
        return super().find_class(module, name) if own is None else own


def survives_pickling(value: Any) -> bool:
    """Say whether a value would arrive where it is sent pickled.

    Args:
        value: Any value.

    Returns:
        Whether it can be pickled, and what comes out can be made again.
    """
    try:
        pickle.loads(pickle.dumps(value))
    except Exception:  # noqa: BLE001 - pickling calls the user's code
        return False
    return True
