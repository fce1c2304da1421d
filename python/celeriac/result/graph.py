"""The tasks that a task has called, as a graph that can be walked and drawn.

Source:
    celery/utils/graph.py ``DependencyGraph``, ``GraphFormatter`` (names and what they return).
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator


class GraphFormatter:
    """Writes nodes and edges in Graphviz's language; override a method to draw otherwise.

    Args:
        root: The node that everything comes from.
        **scheme: Attributes of the graph, its nodes and its edges.

    """

    def __init__(self, root: Any = None, **scheme: Any) -> None:
        self.root = root
        self.scheme = scheme

    def head(self, **attrs: Any) -> str:
        """Begin the graph.

        Returns:
            The first lines.
        """
        return f"digraph dependencies {{\n    graph {self.attrs({'root': self.root, **attrs})}"

    def tail(self) -> str:
        """End the graph.

        Returns:
            The last line.
        """
        return "}"

    def label(self, obj: Any) -> str:
        """Name a node.

        Returns:
            Such as a task's id.
        """
        return str(obj)

    def node(self, obj: Any, **attrs: Any) -> str:
        """Draw a task that has called others.

        Returns:
            A line.
        """
        return f"    {_quoted(self.label(obj))} {self.attrs(attrs)}"

    def terminal_node(self, obj: Any, **attrs: Any) -> str:
        """Draw a task that has called none.

        Returns:
            A line.
        """
        return self.node(obj, **{"style": "dashed", **attrs})

    def edge(self, a: Any, b: Any, **attrs: Any) -> str:
        """Draw that one task has called another.

        Returns:
            A line.
        """
        return f"    {_quoted(self.label(a))} -> {_quoted(self.label(b))} {self.attrs(attrs)}"

    def attrs(self, d: dict[str, Any]) -> str:
        """Write attributes, the scheme's among them.

        Returns:
            Such as ``[shape="oval"]``.
        """
        given = {**self.scheme, **d}.items()
        shown = (f"{key}={_quoted(value)}" for key, value in given if value is not None)
        return f"[{', '.join(shown)}]"


class DependencyGraph:
    """Objects, and which of them each depends on.

    Args:
        it: Pairs of an object and those that it depends on.
        formatter: Draws it; see `GraphFormatter`.

    """

    def __init__(self, it: Any = None, formatter: Any = None) -> None:
        self.formatter = formatter if formatter is not None else GraphFormatter()
        self.adjacent: dict[Hashable, list[Any]] = {}
        if it is not None:
            self.update(it)

    def add_arc(self, obj: Any) -> None:
        """Add an object, unless it is there."""
        self.adjacent.setdefault(obj, [])

    def add_edge(self, A: Any, B: Any) -> None:  # noqa: N803 - Celery's names
        """Say that `A` depends on `B`."""
        self[A].append(B)

    def connect(self, graph: DependencyGraph) -> None:
        """Add another graph's objects."""
        self.adjacent.update(graph.adjacent)

    def update(self, it: Iterable[tuple[Any, Iterable[Any]]]) -> None:
        """Add objects and what they depend on."""
        pairs = [(obj, list(dependencies)) for obj, dependencies in it]
        for obj, _ in pairs:
            self.add_arc(obj)
        for obj, dependencies in pairs:
            for dependency in dependencies:
                self.add_edge(obj, dependency)

    def edges(self) -> Iterator[Any]:
        """List what depends on something.

        Returns:
            The objects.
        """
        return (obj for obj, dependencies in self.adjacent.items() if dependencies)

    def valency_of(self, obj: Any) -> int:
        """Count the edges below an object.

        Returns:
            How many; 0 if it is not in the graph.
        """
        count, waiting = 0, [obj]
        while waiting:
            below = self.adjacent.get(waiting.pop(), ())
            count += len(below)
            waiting.extend(below)
        return count

    def topsort(self) -> list[Any]:
        """Sort the objects so that each comes after what it depends on.

        Returns:
            The objects. Those of a cycle, which has no such order, stand together.
        """
        done: dict[Any, None] = {}
        entered: set[Any] = set()
        for start in self.adjacent:
            waiting = [(start, False)]
            while waiting:
                obj, is_left = waiting.pop()
                if is_left:
                    done.setdefault(obj)
                elif obj not in entered:
                    entered.add(obj)
                    waiting.append((obj, True))
                    below = self.adjacent.get(obj, ())
                    waiting.extend((one, False) for one in reversed(below))
        return list(done)

    def to_dot(self, fh: IO[str], formatter: Any = None) -> None:
        """Write it in Graphviz's language.

        Args:
            fh: An open file.
            formatter: Draws it; the graph's own by default.
        """
        draw = formatter if formatter is not None else self.formatter
        lines = [draw.head()]
        for obj, below in self.adjacent.items():
            lines.append(draw.node(obj) if below else draw.terminal_node(obj))
            lines.extend(draw.edge(obj, one) for one in below)
        fh.write("\n".join([*(line.rstrip("\n") for line in lines), draw.tail(), ""]))

    def items(self) -> Iterable[tuple[Any, list[Any]]]:
        """List the objects with what they depend on.

        Returns:
            Pairs.
        """
        return self.adjacent.items()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.adjacent)

    def __len__(self) -> int:
        return len(self.adjacent)

    def __contains__(self, obj: object) -> bool:
        return obj in self.adjacent

    def __getitem__(self, obj: Any) -> list[Any]:
        return self.adjacent[obj]

    def __repr__(self) -> str:
        return "\n".join(f"{obj}({self.valency_of(obj)})" for obj in self.adjacent)


def _quoted(value: Any) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
