"""What users' type checkers say of tasks and their results."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CALLS = HERE / "calls.py"
CHECK_S = 240

pytestmark = pytest.mark.timeout(CHECK_S + 10)


def _marked() -> set[int]:
    lines = CALLS.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# error")}


def _run(*command: str) -> str:
    env = {**os.environ, "MYPYPATH": str(ROOT / "python")}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=CHECK_S,
    )
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr}"  # errors, and no crash
    return done.stdout


def test_mypy_finds_the_wrong_calls_and_only_those() -> None:
    output = _run("mypy", "--strict", "--no-error-summary", str(CALLS))
    found = re.findall(r"^(.*?):(\d+): error: (.*)$", output, re.MULTILINE)
    assert {path for path, _, _ in found} == {str(CALLS.relative_to(ROOT))}, output
    assert {int(number) for _, number, _ in found} == _marked(), output


def test_pyright_finds_the_wrong_calls_and_only_those() -> None:
    report = json.loads(_run("pyright", "--outputjson", "--project", str(HERE)))
    errors = [one for one in report["generalDiagnostics"] if one["severity"] == "error"]
    assert {one["range"]["start"]["line"] + 1 for one in errors} == _marked(), errors
