"""``python -m celeriac``, and the ``celeriac`` command."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `typing` takes as long to import as Python to start
if TYPE_CHECKING:
    from typing import Any

__all__ = ("main",)


def main() -> Any:
    """Run the command line.

    Returns:
        As `celeriac.cli.main.main`.
    """
    if sys.argv[1:2] == ["health"]:
        # Probes ask every few seconds: no click, no application.
        from celeriac.probe import main as probe  # noqa: PLC0415

        sys.exit(probe(sys.argv[2:]))
    from celeriac.cli.main import main as command_line  # noqa: PLC0415

    return command_line()


if __name__ == "__main__":
    main()
