"""The command line."""

from typing import Any

__all__ = ("main",)


def main(argv: list[str] | None = None, app: Any = None) -> Any:
    """Run the command line (see `celeriac.cli.main`).

    Args:
        argv: The arguments; those of the process by default.
        app: The application, where ``-A`` does not name one.

    Returns:
        The exit code, if the process does not end.
    """
    # Loaded when it is run: the child of a pool imports no commands.
    from celeriac.cli import main as program  # noqa: PLC0415

    return program.main(argv, app)
