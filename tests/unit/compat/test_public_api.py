"""Celery's documented names, at Celery's documented paths."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest
import table

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = table.rows()


@pytest.fixture(scope="module")
def lacks() -> Iterator[dict[tuple[str, str], str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield {row.key: lack for row in ROWS if (lack := table.lack(row)) is not None}


def test_the_table_is_whole_and_says_each_thing_once() -> None:
    assert len(ROWS) > 1300
    assert len({row.key for row in ROWS}) == len(ROWS)
    assert set(table.not_yet()) <= {row.key for row in ROWS}


def test_every_row_is_kept_or_listed_as_not_yet(lacks: dict[tuple[str, str], str]) -> None:
    known = table.not_yet()
    new = {key: lack for key, lack in lacks.items() if key not in known}
    assert not new, "no longer as Celery has it"


def test_nothing_is_listed_as_not_yet_that_is_kept(lacks: dict[tuple[str, str], str]) -> None:
    kept = [key for key in table.not_yet() if key not in lacks]
    assert not kept, "kept now: strike it off not_yet.tsv"


def test_not_yet_says_what_each_row_lacks(lacks: dict[tuple[str, str], str]) -> None:
    assert {key: lacks.get(key) for key in table.not_yet()} == table.not_yet()


def _row(kind: str, name: str, detail: str, module: str = "celeriac") -> table.Row:
    return table.Row(module, kind, name, detail)


@pytest.mark.parametrize(
    ("row", "lack"),
    [
        (_row("function", "no_such_name", ""), "absent"),
        (_row("function", "f", "", "celeriac.no_such_module"), "absent"),
        (_row("class", "shared_task", "()"), "kind"),
        (_row("method", "Task.delay", "(self, *args, **kwargs)"), None),
        (_row("method", "Task.delay", "(self, args, kwargs)"), "signature"),
        (_row("method", "Task.no_such_name", "(self)"), "absent"),
        (_row("attribute", "Task.max_retries", "3"), None),
        (_row("attribute", "Task.max_retries", "4"), "value"),
        (_row("property", "Task.delay", ""), "kind"),
        (_row("exception", "Retry", " <- OSError", "celeriac.exceptions"), "bases"),
    ],
)
def test_a_row_that_is_wrong_is_found_out(row: table.Row, lack: str | None) -> None:
    assert table.lack(row) == lack


@pytest.mark.parametrize(
    ("written", "alike"),
    [
        ("(a, b=1, *args, c=<object>, **kwargs)", True),
        ("(a, b: 'int' = 1, *rest, c=<function f at 0x1>, **others) -> 'None'", True),
        ("(a, b=2, *args, c=<object>, **kwargs)", False),
        ("(a, b=True, *args, c=<object>, **kwargs)", False),
        ("(b, a=1, *args, c=<object>, **kwargs)", False),
        ("(a, b, *args, c=<object>, **kwargs)", False),
        ("(a, b=1, *args, c, **kwargs)", False),
        ("(a, b=1, c=<object>, **kwargs)", False),
        ("(a, b=1, c=<object>, *args, **kwargs)", False),
    ],
)
def test_names_order_and_defaults_of_parameters_are_compared(written: str, alike: bool) -> None:
    def f(a, b=1, *args, c=object(), **kwargs):  # noqa: B008
        return a, b, args, c, kwargs

    row = _row("function", "f", written)
    assert table.parameters_alike(table.written(row.detail), table.ours(f)) is alike
