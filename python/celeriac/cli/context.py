"""What a command needs to know of the global options."""

from dataclasses import dataclass
from typing import Any

__all__ = ("CLIContext",)


@dataclass(frozen=True, slots=True)
class CLIContext:
    """The application and the global options.

    Attributes:
        app: The application.
        no_color: Whether there are no colours.
        quiet: Whether only what was asked for is printed.
        workdir: The directory that was changed to.
    """

    app: Any
    no_color: bool
    quiet: bool
    workdir: str | None
