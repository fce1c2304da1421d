"""Following a task to those that it has called.

Source:
    celery/result.py ``AsyncResult.iterdeps``, ``collect``, ``get_leaf``, ``build_graph`` (names and
    order).
"""

from __future__ import annotations

from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import IncompleteStream
from celeriac.result.graph import DependencyGraph, GraphFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator


class Tree:
    """What a handle can do with the handles of the tasks that its own has called."""

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:  # noqa: FBT001, FBT002 - Celery's signature
        """Walk from this handle to those below it, level by level.

        Args:
            intermediate: Whether tasks that are not done are passed over; what they will have
                called is not known yet.

        Yields:
            Pairs of a handle's parent (None for this one) and the handle.

        Raises:
            IncompleteStream: A task is not done, and `intermediate` is false.
        """
        queued: deque[tuple[Any, Any]] = deque([(None, self)])
        while queued:
            pair = queued.popleft()
            yield pair
            node = pair[1]
            if node.ready():
                queued.extend((node, child) for child in node.children or ())
            elif not intermediate:
                raise IncompleteStream

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[tuple[Any, Any]]:  # noqa: FBT001, FBT002 - Celery's signature
        """Wait for each of them in turn.

        Args:
            intermediate: As of `iterdeps`.
            **kwargs: Options of `AsyncResult.get`.

        Yields:
            Pairs of a handle and its value.
        """
        for _, node in self.iterdeps(intermediate=intermediate):
            yield node, node.get(**kwargs)

    def get_leaf(self) -> Any:
        """Wait for each of them in turn.

        Returns:
            The value of the last.
        """
        value = None
        for _, node in self.iterdeps():
            value = node.get()
        return value

    def build_graph(self, intermediate: bool = False, formatter: Any = None) -> DependencyGraph:  # noqa: FBT001, FBT002 - Celery's signature
        """Make a graph of this handle and those below it.

        Args:
            intermediate: As of `iterdeps`.
            formatter: Draws it; see `celeriac.result.graph.GraphFormatter`.

        Returns:
            The graph: ``graph[handle]`` is the list of what the task has called.
        """
        root = getattr(self, "id", None)
        graph = DependencyGraph(formatter=formatter or GraphFormatter(root=root, shape="oval"))
        for parent, node in self.iterdeps(intermediate=intermediate):
            graph.add_arc(node)
            if parent is not None:
                graph.add_edge(parent, node)
        return graph

    @cached_property
    def graph(self) -> DependencyGraph:
        """The graph of this handle and those below it; all of them must be done."""
        return self.build_graph()
