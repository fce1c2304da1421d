"""The registry of remote control's commands: Celery's, and the user's own.

Source:
    celery/worker/control.py (names and arguments of the decorators).
"""

from collections import UserDict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

__all__ = ("Command", "Panel", "control_command", "inspect_command")


_F = TypeVar("_F", bound=Callable[..., Any])


class _Decorator(Protocol):
    """Takes a function of any shape, and gives it back."""

    def __call__(self, function: _F, /) -> _F: ...


class Command(NamedTuple):
    """What is known of a command, besides its function.

    Attributes:
        alias: Its older name.
        type: ``control`` changes something, ``inspect`` does not.
        visible: Whether it is listed.
        default_timeout: Seconds clients wait for answers.
        help: One sentence.
        signature: Its arguments on the command line, as shown.
        args: Their names and types.
        variadic: The argument that takes all the rest.
    """

    alias: str | None
    type: str
    visible: bool
    default_timeout: float
    help: str
    signature: str | None
    args: Sequence[tuple[str, Callable[[Any], Any]]] | None
    variadic: str | None


class Panel(UserDict[str, Callable[..., Any]]):
    """All commands of this process, by name and alias."""

    # Compat: `data` is the class's, so that all instances are one registry.
    data: dict[str, Callable[..., Any]] = {}  # noqa: RUF012 - an instance attribute of UserDict
    #: What is known of each, by name.
    meta: ClassVar[dict[str, Command]] = {}

    @classmethod
    def register(cls, *args: Any, **kwargs: Any) -> Any:
        """Add a command; also as a decorator, with or without options.

        Args:
            *args: The function.
            **kwargs: See `Command`; ``name`` is the function's by default, and ``help`` the first
                line of its docstring.

        Returns:
            The function, or what takes it.
        """
        take = cls._taking(**kwargs)
        return take(*args) if args else take

    @classmethod
    def _taking(  # noqa: PLR0913 - Celery's options
        cls,
        *,
        name: str | None = None,
        alias: str | None = None,
        type: str = "control",  # noqa: A002 - Celery's name
        visible: bool = True,
        default_timeout: float = 1.0,
        help: str | None = None,  # noqa: A002 - Celery's name
        signature: str | None = None,
        args: Sequence[tuple[str, Callable[[Any], Any]]] | None = None,
        variadic: str | None = None,
    ) -> _Decorator:
        def take(function: _F) -> _F:
            known_as = name or function.__name__
            text = help or (function.__doc__ or "").strip().partition("\n")[0]
            cls.meta[known_as] = Command(
                alias, type, visible, default_timeout, text, signature, args, variadic
            )
            cls.data[known_as] = function
            if alias:
                cls.data[alias] = function
            return function

        return take


def control_command(**kwargs: Any) -> _Decorator:
    """Make a function a command that changes something.

    Args:
        **kwargs: See `Panel.register`.

    Returns:
        A decorator.
    """
    decorator: _Decorator = Panel.register(type="control", **kwargs)
    return decorator


def inspect_command(**kwargs: Any) -> _Decorator:
    """Make a function a command that tells something.

    Args:
        **kwargs: See `Panel.register`.

    Returns:
        A decorator.
    """
    decorator: _Decorator = Panel.register(type="inspect", **kwargs)
    return decorator
