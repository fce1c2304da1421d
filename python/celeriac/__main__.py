"""``python -m celeriac``, and the ``celeriac`` command."""

from celeriac.cli.main import main

__all__ = ("main",)

if __name__ == "__main__":
    main()
