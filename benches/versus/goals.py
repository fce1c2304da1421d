"""What a row of the table holds: who is measured, and what is asked of the figures."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from surroundings import Figures

#: By side and figure, the value of each round.
Values = dict[str, dict[str, list[float]]]

OURS = "celeriac"
UNITS = {"%": 100.0, "×": 1.0}


@dataclass(frozen=True)
class Goal:
    """Something that is asked of one figure of ours.

    Attributes:
        figure: Its name.
        unit: "×" and "%" are of another's figure; anything else is our own figure's unit.
        at_least: The least that meets the goal.
        at_most: The most that meets it.
        over: Whose figure ours is divided by; None is nobody's.
        theirs: The other figure, where its name is not ours'.
        words: What `over` stands for, where its name does not say it.
    """

    figure: str
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    over: str | None = None
    theirs: str | None = None
    words: str | None = None

    def asked(self) -> str:
        """The goal as a reader writes it."""
        limit = self.at_least if self.at_least is not None else self.at_most
        sign = "≥" if self.at_least is not None else "≤"
        of = "" if self.over is None else f" {self.words or self.over}"
        return f"{sign} {number(limit * UNITS.get(self.unit, 1.0))} {self.unit}{of}"

    def found(self, values: Values) -> dict[str, Any] | None:
        """Judge what was measured.

        Returns:
            The median over the rounds, its ends, and whether it meets the goal; None where one
            side has no figure. A ratio is taken within each round, then its median.
        """
        ours = values.get(OURS, {}).get(self.figure, [])
        if self.over is not None:
            theirs = values.get(self.over, {}).get(self.theirs or self.figure, [])
            ours = [one / other for one, other in zip(ours, theirs, strict=False)]
        if not ours:
            return None
        median = statistics.median(ours)
        is_met = (self.at_least is None or median >= self.at_least) and (
            self.at_most is None or median <= self.at_most
        )
        return {"value": median, "ends": [min(ours), max(ours)], "is_met": is_met}

    def shown(self, value: float) -> str:
        """A value in the goal's unit."""
        return f"{number(value * UNITS.get(self.unit, 1.0))} {self.unit}"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What `--only` looks at.
        what: The row in words.
        sides: Who is measured, in the order in which the table shows them.
        goals: What is asked.
        rounds: At most so many, where one takes long.
    """

    name: str
    what: str
    sides: dict[str, Callable[[], Figures]]
    goals: tuple[Goal, ...]
    rounds: int | None = None


def number(value: float) -> str:
    """A number with three digits that matter."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.2g}"
