"""The page "From Celery" says nothing that is not so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from celeriac.cli.absent import ABSENT
from celeriac.settings.table import BY_NAME

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "from-celery.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("program", PROGRAMS, ids=["the import", "as_celery"])
def test_what_to_change_gives_celeriacs_application(program, tmp_path):
    proof = "\nassert Celery.__module__.startswith('celeriac.'), Celery\nassert shared_task"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program + proof],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        timeout=50,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_every_setting_the_page_names_is_one():
    named = set(re.findall(r"`((?:broker|result|task|worker)_\w+)", PAGE))
    assert len(named) > 5
    assert named - BY_NAME.keys() == set()


def test_every_command_it_calls_absent_is_absent():
    named = set(re.findall(r"`celeriac (\w+)`", section("What is not there")))
    assert named != set()
    assert named - set(ABSENT) == set()


def test_the_command_it_shows_finds_an_application_of_celery(tmp_path):
    (tmp_path / "proj.py").write_text("from celery import Celery\napp = Celery('proj')\n")
    (command,) = re.findall(r"\$ (celeriac --as-celery -A proj .*)", PAGE)
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        timeout=50,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Execute tasks." in done.stdout
