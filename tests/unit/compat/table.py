"""The table of Celery's public names, and what of it is wrong here."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OPAQUE = object()


@dataclass(frozen=True)
class Row:
    module: str
    kind: str
    name: str
    detail: str

    @property
    def key(self) -> tuple[str, str]:
        return self.module, self.name


def rows() -> list[Row]:
    return [Row(*fields) for fields in _fields("public_api.tsv")]


def not_yet() -> dict[tuple[str, str], str]:
    return {(module, name): lack for module, name, lack in _fields("not_yet.tsv")}


def _fields(name: str) -> list[list[str]]:
    lines = (HERE / name).read_text().splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def lack(row: Row) -> str | None:
    """Say what is missing or wrong about a row: absent, kind, signature, bases or value."""
    try:
        module = importlib.import_module(row.module)
    except ImportError:
        return "absent"
    owner, _, last = row.name.rpartition(".")
    if owner:
        return _lack_of_member(module, owner, last, row)
    if row.kind == "module":
        return None if _importable(f"{row.module}.{row.name}") else "absent"
    try:
        found = getattr(module, row.name)
    except AttributeError:
        return "absent"
    return _LACKS[row.kind](found, row.detail)


def _importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def _lack_of_member(module: Any, owner: str, name: str, row: Row) -> str | None:
    cls = getattr(module, owner, None)
    if not inspect.isclass(cls):
        return "absent"
    if row.kind != "method" and not hasattr(cls, name):
        return None if _only_on_instances(cls, name) else "absent"
    found = inspect.getattr_static(cls, name, None)
    if row.kind == "property" or isinstance(found, property):
        return "kind" if isinstance(found, types.FunctionType) else None
    if row.kind == "attribute":
        return _lack_of_value(getattr(cls, name), row.detail)
    function = found.__func__ if isinstance(found, (classmethod, staticmethod)) else found
    return "absent" if function is None else _lack_of_callable(function, row.detail)


def _only_on_instances(cls: type, name: str) -> bool:
    if any(name in vars(kind).get("__annotations__", {}) for kind in cls.__mro__):
        return True
    make = _INSTANCES.get(cls.__name__)
    return make is not None and hasattr(make(), name)


def _settings() -> Any:
    return importlib.import_module("celeriac").Celery(set_as_current=False).conf


# Classes whose attributes are looked up, not declared.
_INSTANCES = {"Settings": _settings}


def _lack_of_callable(found: Any, detail: str) -> str | None:
    if not callable(found):
        return "kind"
    if not detail.startswith("("):
        return None
    if isinstance(found, types.MethodDescriptorType):
        return None  # of CPython's own class, which is then a base of Celery's class, too
    return None if parameters_alike(written(detail), ours(found)) else "signature"


def _lack_of_class(found: Any, detail: str) -> str | None:
    if not inspect.isclass(found):
        return "kind"
    signature, _, bases = detail.partition(" <- ")
    if bases and _names(bases).isdisjoint({kind.__name__ for kind in found.__mro__[1:]}):
        return "bases"
    return _lack_of_callable(found, signature)


def _names(bases: str) -> set[str]:
    return {base.strip().rpartition(".")[2] for base in bases.split(",")}


def _lack_of_exception(found: Any, detail: str) -> str | None:
    if not (inspect.isclass(found) and issubclass(found, BaseException)):
        return "kind"
    return _lack_of_class(found, detail)


def _lack_of_value(found: Any, detail: str) -> str | None:
    try:
        expected = ast.literal_eval(detail)
    except (ValueError, SyntaxError):
        return None
    return None if type(found) is type(expected) and found == _renamed(expected) else "value"


def _lack_of_data(found: Any, detail: str) -> str | None:
    # What Celery says of itself (its version, its author) is not to be imitated.
    return None


_LACKS = {
    "class": _lack_of_class,
    "exception": _lack_of_exception,
    "function": _lack_of_callable,
    "data": _lack_of_data,
}

Parameter = tuple[str, str, Any]


def parameters_alike(theirs: list[Parameter], ours: list[Parameter]) -> bool:
    """Compare kinds, names and defaults, in order."""
    if len(theirs) != len(ours):
        return False
    return all(_alike(one, other) for one, other in zip(theirs, ours, strict=True))


def _alike(theirs: Parameter, ours: Parameter) -> bool:
    (kind, name, default), (our_kind, our_name, our_default) = theirs, ours
    if kind != our_kind:
        return False
    if kind in {"*", "**"}:
        return True  # what the rest is called cannot be seen by a caller
    if name != our_name:
        return False
    if default is OPAQUE:
        return our_default is not inspect.Parameter.empty
    return type(default) is type(our_default) and _renamed(default) == _renamed(our_default)


def _renamed(value: Any) -> Any:
    # Names on the wire and of loggers are still Celery's; paths are ours.
    return re.sub(r"\bcelery\b", "celeriac", value) if isinstance(value, str) else value


def ours(found: Any) -> list[Parameter]:
    signature = inspect.signature(found)
    param = inspect.Parameter
    signs = {param.VAR_POSITIONAL: "*", param.VAR_KEYWORD: "**", param.KEYWORD_ONLY: "keyword"}
    return [(signs.get(p.kind, ""), name, p.default) for name, p in signature.parameters.items()]


@functools.cache
def written(signature: str) -> list[Parameter]:
    text = re.sub(r"<(?:[^<>]|<[^<>]*>)*>", "_OPAQUE", signature.partition(" -> ")[0])
    function = ast.parse(f"def f{text}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    none = [inspect.Parameter.empty] * (len(positional) - len(given.defaults))
    defaults = [*none, *map(_default, given.defaults)]
    found: list[Parameter] = [
        ("", one.arg, default) for one, default in zip(positional, defaults, strict=True)
    ]
    if given.vararg:
        found.append(("*", given.vararg.arg, inspect.Parameter.empty))
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        value = inspect.Parameter.empty if default is None else _default(default)
        found.append(("keyword", one.arg, value))
    if given.kwarg:
        found.append(("**", given.kwarg.arg, inspect.Parameter.empty))
    return found


def _default(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return OPAQUE
    return value
