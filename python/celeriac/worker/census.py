"""Which tasks are with this worker, and how many it has started."""

import time
from collections import Counter

from celeriac.worker.request import Request

__all__ = ("Census",)


class Census:
    """Knows every task between the door and its settlement.

    Attributes:
        started_total: How many were started, by task name.
    """

    def __init__(self) -> None:
        self._requests: dict[str, Request] = {}
        self.started_total: Counter[str] = Counter()

    def enter(self, request: Request) -> None:
        """Note a task that was admitted.

        Args:
            request: The task.
        """
        self._requests[request.id] = request

    def start(self, request: Request) -> None:
        """Note that a task runs.

        Args:
            request: The task.
        """
        request.time_start = time.time_ns() / 1e9
        self.started_total[request.task.name] += 1

    def pass_through(self, request: Request) -> None:
        """Note that a task was started and has ended since anybody looked.

        Args:
            request: The task.
        """
        self.started_total[request.task.name] += 1
        self.leave(request)

    def leave(self, request: Request) -> None:
        """Note that a task is settled.

        Args:
            request: The task.
        """
        # Another delivery of the same task may have taken its place.
        if self._requests.get(request.id) is request:
            del self._requests[request.id]

    def find(self, task_id: str) -> Request | None:
        """Find a task.

        Args:
            task_id: Its id.

        Returns:
            The task; None where it is not here.
        """
        return self._requests.get(task_id)

    def active(self) -> list[Request]:
        """List what runs.

        Returns:
            Tasks, in the order they came in.
        """
        return [request for request in self._requests.values() if request.time_start is not None]

    def reserved(self) -> list[Request]:
        """List what waits for a process.

        Returns:
            Tasks, in the order they came in.
        """
        return [request for request in self._requests.values() if request.time_start is None]
