"""Canvases drawn at random, and the value of a plain evaluation of each."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass(frozen=True)
class Step:
    """A task that adds to its input, or to a number of its own where it has none."""

    number: int
    start: int | None = None

    def text(self) -> str:
        return f"tasks.plus.s({'' if self.start is None else f'{self.start}, '}{self.number})"

    def value(self, given: Any) -> Any:
        return deep_total(given if self.start is None else self.start) + self.number


@dataclass(frozen=True)
class Composed:
    """A chain, group or chord."""

    kind: str
    parts: tuple[Any, ...]
    by_operator: bool = False

    def text(self) -> str:
        texts = [part.text() for part in self.parts]
        if self.kind == "chord":
            return f"flavour.chord([{', '.join(texts[:-1])}], {texts[-1]})"
        if self.kind == "chain" and self.by_operator:
            return "(" + " | ".join(texts) + ")"
        return f"flavour.{self.kind}({', '.join(texts)})"

    def value(self, given: Any) -> Any:
        if self.kind == "group":
            return [part.value(given) for part in self.parts]
        if self.kind == "chord":
            return self.parts[-1].value([part.value(given) for part in self.parts[:-1]])
        for part in self.parts:
            given = part.value(given)
        return given


def deep_total(value: Any) -> Any:
    """The sum of all numbers in a list of lists."""
    return sum(map(deep_total, value)) if isinstance(value, list) else value


def drawn(random: Random, depth: int, *, first: bool = True) -> Any:
    """Draw a canvas; its tasks have an input unless they come first.

    Args:
        random: The source; a seed gives the same canvas again.
        depth: How many levels of chains, groups and chords.
        first: Whether nothing comes before.

    Returns:
        A `Step` or a `Composed`.
    """
    kind = random.choice(["step", "group", "chord", "chain", "chain"]) if depth else "step"
    if kind == "step":
        return Step(random.randint(-9, 9), random.randint(-9, 9) if first else None)
    count = random.randint(1, 3)
    if kind == "chain":
        parts = [drawn(random, depth - 1, first=first)]
        parts += [drawn(random, depth - 1, first=False) for _ in range(count)]
        return Composed(kind, tuple(parts), random.random() < 0.5)
    parts = [drawn(random, depth - 1, first=first) for _ in range(count)]
    if kind == "chord":
        parts.append(drawn(random, depth - 1, first=False))
    return Composed(kind, tuple(parts))


def whole(canvas: Any) -> Composed:
    """A canvas with one task behind it, so that it has one value."""
    return Composed("chain", (canvas, Step(0)))


def several(seed: int, count: int, depth: int = 4) -> list[Composed]:
    """Draw canvases, each by a seed of its own.

    Returns:
        The canvases.
    """
    return [whole(drawn(Random(seed + number), depth)) for number in range(count)]
