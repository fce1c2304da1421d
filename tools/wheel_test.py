"""Install the wheel as a user would, on every CPython it promises, and use it there.

``python tools/wheel_test.py [VERSION...]`` takes the newest wheel of ``dist/``. For each
interpreter it makes a fresh environment, installs by plain pip, and runs the demo and
``tests/unit`` in a copy of the repository without its sources, where no compiler can be found. It
prints a table, and fails when a cell of it does.

An interpreter is looked for on PATH, in pyenv's and uv's folders, in /usr and in /opt; one that is
not there comes from Debian's unstable release, through `debian_tree`. None is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import debian_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
SUITE = "sid"
PLACES = [
    "~/.pyenv/versions/{version}.*/bin",
    "~/.local/share/uv/python/cpython-{version}.*/bin",
    "/usr/local/bin",
    "/usr/bin",
    "/opt/python/{version}*/bin",
]
PROGRAMS = ["cat", "env", "sh", "sleep"]
COMPILERS = ["cargo", "cc", "clang", "g++", "gcc", "rustc"]
# What installing needs to know of this machine: its package index and its certificates.
CERTIFICATES = Path("/etc/ssl/certs")
OF_PIP = re.compile(r"PIP_(?!CERT)\w+|(HTTPS?|NO)_PROXY|(https?|no)_proxy|CELERIAC_TEST_\w+")
COLUMNS = ["install", "demo", "tests/unit"]
STEP_TIMEOUT_S = 900.0
# Only about the source tree.
NOT_OF_THE_WHEEL = "tests/unit/test_*_page.py"


@dataclass
class Interpreter:
    """A CPython and what became of the wheel on it.

    Attributes:
        version: Its minor version, ``3.12``.
        program: Its path, inside `tree` if there is one.
        tree: The folder of another Debian that it lives in.
        cells: What the table says of it.
    """

    version: str
    program: str
    tree: Path | None = None
    cells: list[str] = field(default_factory=list)

    def command(self, arguments: Sequence[str], work: Path, path: str) -> list[str]:
        """The command line that runs something with no compiler in reach.

        Args:
            arguments: What to run.
            work: The one folder of ours it needs.
            path: Where it finds programs.

        Returns:
            What to give to `subprocess`.
        """
        kept = [f"{name}={value}" for name, value in os.environ.items() if OF_PIP.fullmatch(name)]
        environment = [*kept, f"HOME={work}", f"PATH={path}", "PIP_DISABLE_PIP_VERSION_CHECK=1"]
        if self.tree is None:
            return ["env", "-i", "LC_ALL=C.UTF-8", *environment, *arguments]
        shared = [work, *([CERTIFICATES] if CERTIFICATES.is_dir() else [])]
        return debian_tree.inside(self.tree, arguments, shared=shared, environment=environment)


def candidates(version: str) -> Iterator[str]:
    """Programs that may be a CPython of a version.

    Args:
        version: ``3.12``.

    Yields:
        Paths, the likeliest first.
    """
    name = f"python{version}"
    if on_path := shutil.which(name):
        yield on_path
    for place in PLACES:
        pattern = Path(place.format(version=version)).expanduser() / name
        found = Path("/").glob(str(pattern.relative_to("/")))
        yield from sorted((str(path) for path in found), key=digits, reverse=True)


def digits(path: str) -> list[int]:
    """What sorts 3.13.10 after 3.13.9."""
    return [int(number) for number in re.findall(r"\d+", path)]


def interpreter(version: str) -> Interpreter:
    """Find a CPython, or get one.

    Args:
        version: ``3.12``.

    Returns:
        One that runs and can make environments.
    """
    proof = f"import ensurepip, sys; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
    for program in candidates(version):
        # pyenv's shims are there for versions that are not chosen; they fail.
        if subprocess.run([program, "-c", proof], check=False, capture_output=True).returncode == 0:
            return Interpreter(version, program)
    print(f"wheel_test: no CPython {version} on this machine, taking Debian {SUITE}'s", flush=True)
    packages = [f"python{version}", f"python{version}-venv", "ca-certificates"]
    return Interpreter(version, f"/usr/bin/python{version}", debian_tree.tree(SUITE, packages))


def newest_wheel() -> Path:
    """The wheel to test.

    Returns:
        The newest of ``dist/``.
    """
    wheels = sorted(DIST.glob("celeriac-*.whl"), key=lambda wheel: wheel.stat().st_mtime)
    return wheels[-1] if wheels else sys.exit("wheel_test: no wheel in dist/; run `make wheel`")


def lay_out(work: Path, wheel: Path) -> None:
    """Put there what the tests need: all of the repository but the sources of what is tested.

    Args:
        work: An empty folder.
        wheel: The wheel.
    """
    shutil.copy(wheel, work)
    shutil.copy(ROOT / "pyproject.toml", work)
    without = shutil.ignore_patterns("__pycache__", "*.db*", ".hypothesis")
    for folder in ["tests", "examples", "tools"]:
        shutil.copytree(ROOT / folder, work / folder, ignore=without)
    locked = ["uv", "export", "--locked", "--quiet", "--only-group", "test", "--output-file"]
    requirements = str(work / "requirements.txt")
    subprocess.run([*locked, requirements], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def run(one: Interpreter, arguments: Sequence[str], work: Path, path: str) -> str | None:
    """Run a command, and show what it printed when it fails.

    Args:
        one: Where.
        arguments: What.
        work: Its working folder.
        path: Where it finds programs.

    Returns:
        What it printed, or None when it failed.
    """
    print(f"-- {one.version}: {' '.join(Path(word).name for word in arguments)}", flush=True)
    try:
        done = subprocess.run(
            one.command(["sh", "-c", f'cd {work}; exec "$@"', "sh", *arguments], work, path),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as late:
        print(late.output, f"\nwheel_test: not done in {STEP_TIMEOUT_S} s", flush=True)
        return None
    if done.returncode:
        print(done.stdout, flush=True)
        return None
    return done.stdout


def steps(one: Interpreter, wheel: Path, work: Path) -> Iterator[tuple[str, list[str]]]:
    """What a user does with the wheel, and what we do.

    Args:
        one: On which interpreter.
        wheel: The wheel.
        work: The folder made by `lay_out`.

    Yields:
        A column of the table, and a command.
    """
    python = str(work / "environment" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
    yield "install", [one.program, "-m", "venv", str(work / "environment")]
    yield "install", [*pip, str(work / wheel.name)]
    look = "import celeriac, pathlib, shutil, sys; print(celeriac.__file__);"
    look += f"found = [name for name in {COMPILERS} if shutil.which(name)];"
    look += "here = pathlib.Path(celeriac.__file__).is_relative_to(sys.prefix);"
    look += "sys.exit(f'compilers {found}, installed {here}' if found or not here else 0)"
    yield "install", [python, "-c", look]
    yield "demo", [python, str(work / "examples/demo/run.py")]
    yield "tests/unit", [*pip, "--require-hashes", "-r", str(work / "requirements.txt")]
    run = [python, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    without = ["-o", "pythonpath=tools", f"--ignore-glob={NOT_OF_THE_WHEEL}"]
    yield "tests/unit", [*run, *without, "tests/unit"]


def judge(one: Interpreter, wheel: Path) -> dict[str, str]:
    """Use the wheel on one interpreter.

    Args:
        one: The interpreter.
        wheel: The wheel.

    Returns:
        The cells of its row, by column; a step that failed is the last.
    """
    with tempfile.TemporaryDirectory(prefix="celeriac-wheel-") as folder:
        work = Path(folder)
        lay_out(work, wheel)
        # A few programs of the system, no compiler among them: they live in the same folders.
        (work / "programs").mkdir()
        for name in PROGRAMS:
            Path(work, "programs", name).symlink_to(f"/usr/bin/{name}")
        path = f"{work}/environment/bin:{work}/programs"
        cells: dict[str, str] = {}
        for column, command in steps(one, wheel, work):
            started_s = time.monotonic()
            printed = run(one, command, work, path)
            if printed is None:
                cells[column] = "FAILED"
                break
            summary = re.findall(r"\d+ (?:passed|tasks)\b", printed)[-1:] or ["ok"]
            cells[column] = f"{summary[0]}, {time.monotonic() - started_s:.0f} s"
        return cells


def main(versions: Sequence[str]) -> int:
    """Test the wheel and print the table.

    Args:
        versions: Minor versions of CPython; all that are supported when there are none.

    Returns:
        The exit code.
    """
    wheel = newest_wheel()
    rows = []
    for version in versions or VERSIONS:
        one = interpreter(version)
        cells = judge(one, wheel)
        place = f"Debian {SUITE}" if one.tree else one.program
        rows.append([version, *(cells.get(name, "-") for name in COLUMNS), place])
    print(f"\n{wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB")
    for row in [["CPython", *COLUMNS, "where"], *rows]:
        print(
            "".join(cell.ljust(width) for cell, width in zip(row, [9, 14, 18, 20, 0], strict=True))
        )
    return int(any("FAILED" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
