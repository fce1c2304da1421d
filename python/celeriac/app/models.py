"""Tasks whose arguments and result are pydantic models: ``@app.task(pydantic=True)``.

A worker validates what came over the wire and hands models to the function; what the function
returns leaves as plain data. A caller may pass models, too: they are sent as what the worker makes
equal models of again.

Source:
    celery/app/base.py (option names, what is validated and dumped, and when it is not).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Modelled", "Options")


class Options(NamedTuple):
    """What `Celery.task` takes beside ``pydantic=True``.

    Attributes:
        strict: Whether values of another type are refused, not converted.
        context: What validators see as their context, beside ``celery_app`` and
            ``celery_task_name``.
        dump_kwargs: Options of ``model_dump``; its ``mode`` is ``json`` by default.
    """

    strict: bool = False
    context: Mapping[str, Any] | None = None
    dump_kwargs: Mapping[str, Any] | None = None


class Modelled:
    """A task's function with models in its annotations.

    Args:
        app: The application.
        function: The function.
        name: The task's name.
        bound: Whether the function's first parameter is the task.
        options: How to validate and dump.

    Raises:
        ImproperlyConfigured: pydantic is not installed.
    """

    def __init__(
        self, app: Any, function: Callable[..., Any], name: str, *, bound: bool, options: Options
    ) -> None:
        try:
            self._base = importlib.import_module("pydantic").BaseModel
        except ModuleNotFoundError as exc:
            message = f"The task {name} has pydantic=True: install pydantic (pip install pydantic)."
            raise ImproperlyConfigured(message) from exc
        self._function = function
        self._signature = inspect.signature(function)
        self._strict = options.strict
        self._context = {**(options.context or {}), "celery_app": app, "celery_task_name": name}
        self._dump_kwargs = {"mode": "json", **(options.dump_kwargs or {})}
        self._bound = bound

    @functools.cached_property
    def _annotations(self) -> dict[str, Any]:
        # When they are first needed: a model may stand below the task.
        raw = {name: one.annotation for name, one in self._signature.parameters.items()}
        raw["return"] = self._signature.return_annotation
        try:
            return {**raw, **typing.get_type_hints(self._function)}
        except (NameError, AttributeError, TypeError):
            return raw  # Compat: what cannot be resolved is not validated.

    @functools.cached_property
    def _models(self) -> dict[str, tuple[Any, bool]]:
        """The models by their parameters, and whether None may stand in their place."""
        found = {}
        for name in self._signature.parameters:
            annotation = self._annotations[name]
            model = _without_none(annotation)
            if _is_class(model) and issubclass(model, self._base):
                found[name] = model, model is not annotation
        return found

    def wrapped(self) -> Callable[..., Any]:
        """Make the function that a worker calls.

        Returns:
            One that validates, calls, and dumps; a coroutine function of a coroutine function.
        """
        function = self._function
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                given = self._validated(args, kwargs)
                return self._dumped(await function(*given.args, **given.kwargs))

            return run_async

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            given = self._validated(args, kwargs)
            return self._dumped(function(*given.args, **given.kwargs))

        return run

    def _validated(self, args: Any, kwargs: Any) -> inspect.BoundArguments:
        given = self._signature.bind(*args, **kwargs)
        for name, value in given.arguments.items():
            kind = self._signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                given.arguments[name] = tuple(self._validate(name, one) for one in value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                given.arguments[name] = {key: self._validate(name, value[key]) for key in value}
            else:
                given.arguments[name] = self._validate(name, value)
        return given

    def _validate(self, name: str, value: Any) -> Any:
        model, takes_none = self._models.get(name, (None, False))
        if model is None or (value is None and takes_none):
            return value
        return model.model_validate(value, strict=self._strict, context=self._context)

    def _dumped(self, value: Any) -> Any:
        returned = _without_none(self._annotations["return"])
        is_promised = isinstance(value, self._base) and _is_class(returned)
        if is_promised and isinstance(value, returned):
            return value.model_dump(**self._dump_kwargs)
        return value

    def dump(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Write the models among a call's arguments as data, where a worker makes equal ones of it.

        Others stay as they are: the serializer has the last word.

        Args:
            args: The positional arguments.
            kwargs: The keyword arguments.

        Returns:
            Both.
        """
        if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
            return args, kwargs  # refused later, as for any task
        if not any(isinstance(value, self._base) for value in (*args, *kwargs.values())):
            return args, kwargs
        parameters = list(self._signature.parameters.values())[1 if self._bound else 0 :]
        by_position = [one.name for one in parameters if one.kind in _BY_POSITION]
        by_name = {one.name for one in parameters if one.kind in _BY_NAME}
        rest = {one.kind: one.name for one in parameters}
        other, others = rest.get(_REST), rest.get(_NAMED_REST)
        dumped = [
            self._dump(by_position[at] if at < len(by_position) else other, value)
            for at, value in enumerate(args)
        ]
        named = {
            name: self._dump(name if name in by_name else others, value)
            for name, value in kwargs.items()
        }
        return dumped, named

    def _dump(self, name: str | None, value: Any) -> Any:
        if name not in self._models or not isinstance(value, self._base):
            return value
        if hasattr(type(value), "__json__"):
            return value  # it knows by itself how it is sent
        try:
            dumped = value.model_dump(**self._dump_kwargs)
            same = self._validate(name, dumped) == value
        except Exception:  # noqa: BLE001 - the model's own code, which may need a worker
            return value
        return dumped if same else value


_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_REST, _NAMED_REST = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
_BY_NAME = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _without_none(annotation: Any) -> Any:
    # `X` of `X | None`; everything else as it is.
    if typing.get_origin(annotation) not in {typing.Union, types.UnionType}:
        return annotation
    others = [one for one in typing.get_args(annotation) if one is not type(None)]
    return others[0] if len(others) == 1 else annotation


def _is_class(annotation: Any) -> bool:
    # Compat: up to Python 3.10 `list[str]` counts as a class.
    return inspect.isclass(annotation) and not isinstance(annotation, types.GenericAlias)
