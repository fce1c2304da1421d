"""Every example runs as a reader would run it, and says what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
# What each must print; a file that is missing here fails the second test.
PROMISES = {
    "first_steps.py": "2 + 3 = 5",
    "many_at_once.py": "all answers are right",
    "when_it_fails.py": "caught: division by zero",
    "later_and_then.py": "not run: expired",
    "demo/run.py": "The worker stopped cleanly.",
}
NOT_EXAMPLES = {"worker_process.py"}


def run(script: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELER")}
    environment = {**kept, "CELERIAC_DB": str(folder / "queue.db"), **more}
    return subprocess.run(
        [sys.executable, str(EXAMPLES / script)],
        env={**environment, "PYTHONPATH": str(EXAMPLES.parent / "python")},
        capture_output=True,
        text=True,
        timeout=55,
        cwd=folder,
    )


@pytest.mark.parametrize("script", sorted(PROMISES))
def test_an_example_keeps_its_promise_on_the_embedded_queue(script, tmp_path):
    finished = run(script, tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert PROMISES[script] in finished.stdout


def test_every_example_is_tested():
    found = {path.name for path in EXAMPLES.glob("*.py")} - NOT_EXAMPLES
    assert found == {name for name in PROMISES if "/" not in name}


def test_the_same_program_runs_on_redis_when_a_url_says_so(tmp_path, redis_url):
    finished = run(
        "first_steps.py", tmp_path, CELERY_BROKER_URL=redis_url, CELERY_RESULT_BACKEND=redis_url
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "2 + 3 = 5" in finished.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_embedded_queue_appears_beside_the_module_when_nothing_is_set(tmp_path):
    for name in ("first_steps.py", "worker_process.py"):
        (tmp_path / name).write_text((EXAMPLES / name).read_text())
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELER")}
    finished = subprocess.run(
        [sys.executable, str(tmp_path / "first_steps.py")],
        env={**kept, "PYTHONPATH": str(EXAMPLES.parent / "python")},
        capture_output=True,
        text=True,
        timeout=55,
        cwd="/",
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert [path.name for path in tmp_path.glob("*.db")] != []
