"""Existing imports, served from celeriac. Each program has a process of its own: the tests' own has
the real Celery loaded."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SERVE = "import celeriac; celeriac.as_celery()"

IMPORTS = """
from billiard.einfo import ExceptionInfo
from billiard.exceptions import SoftTimeLimitExceeded, WorkerLostError
from celery import Celery, Task, chain, chord, current_app, group, shared_task, signature, states
from celery.app.task import Task as SameTask
from celery.contrib.abortable import AbortableTask
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry
from celery.result import AsyncResult
from celery.signals import task_failure, task_prerun, worker_ready
from celery.utils.log import get_task_logger
from kombu import Exchange, Queue, binding
from kombu.common import Broadcast
from kombu.exceptions import OperationalError
from kombu.serialization import register
from kombu.utils.json import register_type
import celery.app.task
import celery.exceptions
"""


def run(program: str, folder: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=folder or ROOT,
        env={"PYTHONPATH": str(ROOT / "python"), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_users_import_from_celery_kombu_and_billiard_is_there() -> None:
    run(f"{SERVE}\n{IMPORTS}")


def test_the_same_imports_are_the_real_celerys() -> None:
    run(IMPORTS)


def test_nothing_of_the_real_celery_is_loaded() -> None:
    program = f"""
{SERVE}
{IMPORTS}
import sys
roots = ("celery", "kombu", "billiard")
files = {{n: m.__file__ for n, m in sys.modules.items() if n.split(".")[0] in roots}}
print([name for name, file in files.items() if "/celeriac/" not in file], "amqp" in sys.modules)
"""
    assert run(program) == "[] False"


def test_a_module_is_one_object_whichever_name_it_is_imported_by() -> None:
    program = f"""
{SERVE}
import celery.app.task, celeriac.app.task, celery.exceptions, celeriac.exceptions
print(celery.app.task is celeriac.app.task, celery.exceptions.Retry is celeriac.exceptions.Retry)
print(celeriac.app.task.__spec__.name, celery.Task is celeriac.Task)
import importlib
print(importlib.reload(celeriac.states).__name__)
"""
    assert run(program).split("\n") == ["True True", "celeriac.app.task True", "celeriac.states"]


def test_exceptions_keep_the_names_that_celery_writes() -> None:
    program = f"""
{SERVE}
from billiard.exceptions import SoftTimeLimitExceeded
from celery.exceptions import MaxRetriesExceededError
from kombu.exceptions import OperationalError
from celeriac.exceptions import wire_module
print([wire_module(c) for c in (SoftTimeLimitExceeded, MaxRetriesExceededError, OperationalError)])
"""
    assert run(program) == "['billiard.exceptions', 'celery.exceptions', 'kombu.exceptions']"


def test_calling_it_twice_changes_nothing() -> None:
    assert run(f"{SERVE}; celeriac.as_celery(); import sys; print(len(sys.meta_path))") == run(
        f"{SERVE}; import sys; print(len(sys.meta_path))"
    )


@pytest.mark.parametrize("name", ["celery", "kombu", "billiard"])
def test_it_is_refused_when_the_real_one_is_loaded(name: str) -> None:
    program = f"""
import {name}, celeriac
try:
    celeriac.as_celery()
except ImportError as error:
    print(error)
"""
    said = run(program)
    assert said.startswith(f"celeriac cannot stand in for '{name}': it is loaded already, from /")
    assert "before the first import" in said


@pytest.mark.parametrize("name", ["celery.no_such", "kombu.transport.redis", "billiard.pool"])
def test_a_module_that_is_not_there_is_named(name: str) -> None:
    program = f"""
{SERVE}
try:
    import {name}
except ModuleNotFoundError as error:
    print(error)
"""
    said = run(program)
    assert said.startswith(f"No module named '{'.'.join(name.split('.')[:2])}' in celeriac")
    assert "not there yet" in said


def test_a_name_that_is_not_there_is_an_import_error() -> None:
    program = f"""
{SERVE}
try:
    from celery import no_such_name
except ImportError as error:
    print(error)
"""
    assert "'no_such_name' from 'celery'" in run(program)


def test_what_is_composed_of_tasks_is_served() -> None:
    program = f"""
{SERVE}
import celeriac
from celery import chain, chord, group
from celery.canvas import Signature, chunks, xmap
print(group is celeriac.group, chain is celeriac.chain, chord is celeriac.chord)
"""
    assert run(program).split() == ["True"] * 3


def test_integrations_see_a_version_of_celery() -> None:
    program = f"""
{SERVE}
import celery, celeriac, importlib.metadata
print(celery.__version__, celery.VERSION >= (5, 1), importlib.metadata.version("celery"))
print(celeriac.__version__ != celery.__version__)
"""
    assert run(program).split("\n") == ["5.7.0 True 5.7.0", "True"]


def test_a_project_may_have_a_module_named_celery_in_its_package(tmp_path: Path) -> None:
    package = tmp_path / "proj"
    package.mkdir()
    package.joinpath("__init__.py").write_text("from .celery import app\n")
    package.joinpath("celery.py").write_text("from celery import Celery\napp = Celery('proj')\n")

    assert run(f"{SERVE}\nimport proj; print(type(proj.app).__module__)", tmp_path).startswith(
        "celeriac.app"
    )


def test_forked_children_are_served_too() -> None:
    program = f"""
{SERVE}
import os, sys
child = os.fork()
if not child:
    from celery import shared_task
    os._exit(0 if shared_task.__module__.startswith("celeriac") else 1)
print(os.waitpid(child, 0)[1])
"""
    assert run(program) == "0"


def test_users_except_clauses_catch_what_is_raised() -> None:
    program = f"""
{SERVE}
from celery import Celery
from kombu.exceptions import OperationalError
app = Celery("x", broker="redis://127.0.0.1:1/0", set_as_current=False)
try:
    app.send_task("t", retry=False)
except OperationalError as error:
    print(type(error).__name__)
"""
    assert run(program) == "OperationalError"


def test_the_command_line_refuses_clearly() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import celery\nfrom celeriac.cli.main import main\nmain()",
            "--as-celery",
        ],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "python")},
    )
    assert done.returncode == 2
    assert "cannot stand in for 'celery'" in done.stderr
