"""Reading one field of a crontab.

Source:
    celery/schedules.py ``crontab_parser``; crontab(5).
"""

from __future__ import annotations

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES = {
    **{name: number for number, name in enumerate(_MONTHS, 1)},
    **{name: number for number, name in enumerate(_DAYS)},
}
_PART = re.compile(r"(?:(?P<star>\*)|(?P<first>\w+)(?:-(?P<last>\w+))?)(?P<step>/(?P<by>\w+)?)?")


class ParseException(Exception):  # noqa: N818 - Celery's name
    """A field of a crontab cannot be read."""


class crontab_parser:  # noqa: N801 - Celery's name
    """Reads fields with values from `min_` to ``min_ + max_ - 1``.

    A field is ``*``, a number or a name (``mon``, ``march``), a range (``5-10``; ``fri-mon`` goes
    round), any of these except a single number with a step (``*/15``), or several with commas.

    Args:
        max_: How many values there are.
        min_: The lowest.

    """

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_ = max_
        self.min_ = min_

    def parse(self, spec: str) -> set[int]:
        """Read a field.

        Args:
            spec: Its text.

        Returns:
            The values it stands for.

        Raises:
            ParseException: A part is empty or negative, or its step is missing.
            ValueError: A value is out of range, or no name.
        """  # noqa: DOC502 - below
        return {value for part in spec.split(",") for value in self._part(part)}

    def _part(self, part: str) -> list[int]:
        if not part:
            message = "empty part"
            raise self.ParseException(message)
        match = _PART.fullmatch(part)
        if match is None or (match["step"] and not match["star"] and not match["last"]):
            return [self._number(part)]
        if match["star"]:
            values = list(range(self.min_, self.min_ + self.max_))
        else:
            values = self._range(match["first"], match["last"])
        if not match["step"]:
            return values
        if not match["by"]:
            message = "empty filter"
            raise self.ParseException(message)
        return values[:: int(match["by"])]

    def _range(self, first: str, last: str | None) -> list[int]:
        low = self._number(first)
        if last is None:
            return [low]
        high = self._number(last)
        if high >= low:
            return list(range(low, high + 1))
        return [*range(low, self.min_ + self.max_), *range(self.min_, high + 1)]

    def _number(self, text: str) -> int:
        if text.startswith("-"):
            message = "negative numbers not supported"
            raise self.ParseException(message)
        number = _named(text)
        top = self.min_ + self.max_ - 1
        if not self.min_ <= number <= top:
            message = f"{text!r} is out of range: it must be from {self.min_} to {top}."
            raise ValueError(message)
        return number


def _named(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = _NAMES.get(text[:3].lower())
    if number is None:
        message = f"{text!r} is no number and no name of a weekday or month."
        raise ValueError(message)
    return number
