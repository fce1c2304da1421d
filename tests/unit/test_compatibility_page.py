"""The tables of docs/compatibility.md are the tests that there are, cell by cell."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import celery_versions  # noqa: E402 - a tool of the repository

PAGE = (ROOT / "docs" / "compatibility.md").read_text()
INTEROP = ROOT / "tests" / "interop"
OPTIONS = ast.parse((INTEROP / "test_options.py").read_text())
MARKS = {"celeriac": "●", "celery-to-celeriac": "▶", "celeriac-to-celery": "◀"}
TESTS = ast.parse((ROOT / "tests" / "interop" / "test_versions.py").read_text())
PLACES = ast.parse((ROOT / "tests" / "interop" / "places.py").read_text())


def rows(heading):
    """Cells of the first table below a heading, without its head."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def constant(module, name):
    for node in module.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"no {name}")


def test_the_table_of_cells_is_what_the_tests_run_over():
    versions, brokers = constant(PLACES, "VERSIONS"), constant(PLACES, "BROKERS")
    directions = constant(TESTS, "DIRECTIONS")
    expected = {
        f"[{direction}-{version}-{broker}]"
        for version in versions for broker in brokers for direction in directions
    }  # fmt: skip
    found = set(re.findall(r"\[[a-z-]+-\d\.\d-[a-z]+\]", "".join(map("".join, rows("Cells")))))
    assert found == expected
    assert len(rows("Cells")) == len(versions) * len(brokers)


def test_every_behaviour_is_a_test_and_every_test_is_on_the_page():
    tests = {node.name for node in TESTS.body if isinstance(node, ast.FunctionDef)}
    named = [re.search(r"`(test_\w+)`", row[1]).group(1) for row in rows("Behaviour")]
    assert sorted(named) == sorted(name for name in tests if name.startswith("test_"))


def test_every_behaviour_runs_in_every_cell():
    for node in TESTS.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert "cell" in [argument.arg for argument in node.args.args], node.name
            marks = [ast.unparse(mark) for mark in node.decorator_list]
            assert not any("skip" in mark or "xfail" in mark for mark in marks), node.name


def named_tests(module):
    named = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    return [node for node in named if node.name.startswith("test_")]


def cells_of_options(test):
    """The marks of a test of an option, by broker: where it runs, and in which directions."""
    servers, embedded = constant(OPTIONS, "SERVERS"), constant(OPTIONS, "EMBEDDED")
    left_out = constant(OPTIONS, "NOT_ON").get(test, ())
    directions = ["celeriac", *constant(OPTIONS, "DIRECTIONS")]
    marks = {broker: " ".join(MARKS[one] for one in directions) for broker in servers}
    marks |= dict.fromkeys(embedded, MARKS["celeriac"])
    return ["-" if broker in left_out else marks[broker] for broker in (*servers, *embedded)]


def test_every_option_has_a_test_in_every_cell_and_every_test_a_row():
    found = {}
    for _, test, *cells in rows("Options of a call"):
        found[re.fullmatch(r"`(test_\w+)`", test).group(1)] = cells
    assert found == {node.name: cells_of_options(node.name) for node in named_tests(OPTIONS)}


def test_the_cells_of_the_options_are_those_that_the_page_speaks_of():
    head = "| option | test | Redis | RabbitMQ | SQLite | memory |"
    assert head in PAGE
    brokers = constant(OPTIONS, "SERVERS") + constant(OPTIONS, "EMBEDDED")
    assert [name.lower() for name in head.strip("| ").split(" | ")[2:]] == list(brokers)
    assert f"Celery {' and '.join(constant(OPTIONS, 'MET'))}" in PAGE


def test_no_test_of_an_option_is_left_out_of_a_cell():
    for node in named_tests(OPTIONS):
        assert "cell" in [argument.arg for argument in node.args.args], node.name
        marks = [ast.unparse(mark) for mark in node.decorator_list]
        assert not any("skip" in mark or "xfail" in mark for mark in marks), node.name


def test_every_option_of_a_call_that_is_documented_has_a_row():
    from celeriac.app.checking import _CHECKS

    table = " ".join(row[0] for row in rows("Options of a call"))
    elsewhere = {
        # of the canvas, of who sends, or of one broker: they have tests of their own
        "exchange_type", "stamped_headers", "stamps", "timeout", "replaced_task_nesting", "origin",
        "declare", "router", "mandatory",
    }  # fmt: skip
    missing = {name for name in _CHECKS if f"`{name}`" not in table} - elsewhere
    assert missing == set()


def test_the_versions_on_the_page_are_the_locked_ones():
    locked = (ROOT / "uv.lock").read_text()
    for series, celery, kombu, amqp in rows("Versions"):
        for package, version in (("celery", celery), ("kombu", kombu), ("amqp", amqp)):
            if series in celery_versions.REQUIREMENTS:
                text = (celery_versions.LOCKS / f"celery-{series}.txt").read_text()
                assert f"\n{package}=={version} " in "\n" + text
            else:
                assert f'name = "{package}"\nversion = "{version}"' in locked
    assert len(rows("Versions")) == len(constant(PLACES, "VERSIONS"))
