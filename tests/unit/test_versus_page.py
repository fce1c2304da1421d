"""The page of `make versus` and the raw figures beside it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERSUS = ROOT / "benches" / "versus"
DOCS = ROOT / "docs" / "performance"
SHOWN = f"""
import json, sys
sys.path[:0] = [{str(VERSUS)!r}, {str(ROOT / "benches")!r}]
import page
print(page.shown(json.load(sys.stdin)))
"""


def shown(report):
    # In a process of its own: the modules of the bench have names that other tests use, too.
    command = [sys.executable, "-c", SHOWN]
    done = subprocess.run(
        command, input=json.dumps(report), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def row(found, trouble=None):
    goal = {"asked": "≥ 40 × Celery", "unit": "×", "figure": "per_s", "found": found}
    return {
        "name": "drain",
        "what": "drain of no-ops",
        "sides": ["celery", "celeriac"],
        "values": {"celery": {"per_s": [900.0, 1000.0]}, "celeriac": {"per_s": [35_000.0]}},
        "trouble": trouble or {},
        "goals": [goal],
        "rounds": 2,
        "quick": 1.0,
        "commit": "abc",
    }


def report(*rows):
    kept = json.loads((DOCS / "versus.json").read_text())
    return {**kept, "rows": list(rows)}


def test_the_page_shows_the_raw_figures_that_are_kept_beside_it():
    raw = json.loads((DOCS / "versus.json").read_text())
    assert shown(raw) in (DOCS / "versus.md").read_text()


def test_a_goal_that_is_missed_is_written_as_missed_with_its_figure():
    missed = {"value": 36.8, "ends": [35.0, 38.9], "is_met": False}
    text = shown(report(row(missed)))
    assert "| drain of no-ops | ≥ 40 × Celery | 36.8 × (35 – 38.9) | **missed** |" in text
    assert "* drain of no-ops: ≥ 40 × Celery was the goal, 36.8 × (35 – 38.9) was measured." in text
    assert "0 goals met, 1 missed" in text


def test_a_side_that_could_not_be_measured_is_named_with_its_reason():
    text = shown(report(row(None, {"rabbitmq-c": "missing: no C compiler"})))
    assert "| ≥ 40 × Celery |  | not measured |" in text
    assert "no figures of rabbitmq-c (missing: no C compiler)" in text


def test_rows_of_different_runs_are_said_to_be_so():
    met = {"value": 41.0, "ends": [41.0, 41.0], "is_met": True}
    text = shown(report(row(met), {**row(met), "commit": "def", "quick": 4.0}))
    assert "1 of commit abc with the work divided by 1; 1 of commit def" in text
