"""The worker: takes messages, has them executed, says what became of them."""

from celeriac.worker.service import WorkController

__all__ = ("WorkController",)
