"""The examples of the guide's pages run as they are written, one after the other.

A block with a title is a file; a worker runs the tasks in it. A block of text is what that worker
prints.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples"))

from worker_process import WorkerProcess  # noqa: E402 - beside the examples

#: The pages, and how many programs each has at least: a page that is read wrongly has none.
PAGES = {
    "asyncio": 4,
    "calling-tasks": 20,
    "canvas": 8,
    "events": 1,
    "serializers": 4,
    "workers": 2,
}
BLOCK = re.compile(r'^```(\w+)(?: title="([\w.]+)")?\n(.*?)^```', re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str, str]]:
    """Kind, title and content of what a page shows."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return BLOCK.findall(text)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch):
    found = blocks(page)
    programs = [text for kind, title, text in found if kind == "python" and not title]
    assert len(programs) >= PAGES[page]
    for name in [name for name in os.environ if name.startswith("CELER")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "python"))
    files = {title: text for kind, title, text in found if kind == "python" and title}
    for title, text in files.items():
        (tmp_path / title).write_text(text, encoding="utf-8")
    script = tmp_path / "examples_of_the_page.py"
    script.write_text("\n".join(programs), encoding="utf-8")
    with WorkerProcess(str(tmp_path / "proj.py")) if files else nullcontext() as worker:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)],
            capture_output=True,
            text=True,
            timeout=100,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
    for printed in [text for kind, _, text in found if kind == "text"]:
        assert printed.strip() in worker.output


def test_every_page_with_a_program_that_runs_is_tested():
    others = {
        "brokers",
        "from-celery",
        "first-steps",
    }  # settings and commands; the second has a test
    with_programs = {
        path.stem
        for path in (ROOT / "docs").glob("*.md")
        if any(kind == "python" for kind, *_ in blocks(path.stem))
    }
    assert with_programs - others == set(PAGES)
