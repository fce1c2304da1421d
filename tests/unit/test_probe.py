"""What `celeriac health` says of a worker's file."""

import json
import subprocess
import sys

import pytest

from celeriac.probe import judge, main

NOW_S = 1_000_000.0


def written(path, state="consuming", written=1, looped=1, proved=1):
    ages = {"written_ms": written, "looped_ms": looped, "proved_ms": proved}
    found = {name: int((NOW_S - age_s) * 1000) for name, age_s in ages.items()}
    found = {"worker": "w@h", "pid": 7, "state": state, **found}
    path.write_text(json.dumps(found, indent=0))
    return str(path)


@pytest.mark.parametrize(
    ("given", "healthy", "why"),
    [
        ({}, True, "w@h (pid 7) takes messages, proved 1 s ago"),
        ({"state": "lost", "proved": 29}, True, "takes messages, proved 29 s ago"),
        ({"state": "lost", "proved": 31}, False, "since 31 s: the broker is not reached"),
        ({"proved": 31}, False, "takes no messages since 31 s"),
        ({"state": "full", "proved": 999}, True, "works on all that it may hold"),
        ({"state": "full", "looped": 31}, False, "its main loop was seen 31 s ago"),
        ({"state": "busy", "looped": 999}, True, "executes a task since 999 s"),
        ({"state": "busy", "written": 31}, False, "stands still, or is gone"),
    ],
)
def test_a_worker_is_judged_by_its_last_proof(tmp_path, given, healthy, why):
    found = judge(written(tmp_path / "health", **given), 30, NOW_S)
    assert found[0] is healthy
    assert why in found[1]


def test_without_a_file_no_worker_runs(tmp_path):
    healthy, why = judge(str(tmp_path / "none"), 30, NOW_S)
    assert not healthy
    assert "has not started, or it has ended" in why


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"worker": 1', "{\n5\n}", '{\n"pid": 7\n}'])
def test_a_file_of_another_kind_is_named(tmp_path, text):
    (tmp_path / "health").write_text(text)
    healthy, why = judge(str(tmp_path / "health"), 30, NOW_S)
    assert not healthy
    assert "is not the health file of a worker" in why


@pytest.mark.parametrize("arguments", [[], ["--file"], ["--max-age", "soon"], ["--what"]])
def test_wrong_options_are_explained(arguments, capsys, monkeypatch):
    monkeypatch.delenv("CELERIAC_HEALTH_FILE", raising=False)
    assert main(arguments) == 64
    assert "Usage: celeriac health" in capsys.readouterr().err


def test_the_command_imports_neither_an_application_nor_the_rust_module(tmp_path):
    code = (
        "import sys; sys.argv = ['celeriac', 'health', '--file', sys.argv[1]]\n"
        "from celeriac.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, sorted(n for n in sys.modules if 'celeriac' in n"
        " or n in ('click', 'asyncio', 'json', 're', 'typing')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "none")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "1 ['celeriac', 'celeriac.__main__', 'celeriac.probe']"
