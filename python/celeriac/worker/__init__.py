"""The worker: takes messages, has them executed, says what became of them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celeriac.worker.service import WorkController as WorkController

    Worker = WorkController

__all__ = ("WorkController", "Worker")


def __getattr__(name: str) -> Any:
    # Looked up late: a room of the worker must not load all the others.
    if name in {"WorkController", "Worker"}:
        from celeriac.worker.service import WorkController  # noqa: PLC0415 - see above

        return WorkController
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
