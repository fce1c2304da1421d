"""Instructions that the hottest functions of the core execute, compared with what is stored.

``make instructions`` compares, ``make instructions ARGS=--save`` stores. Counts of callgrind do not
depend on how busy a machine is; they do depend on the compiler, so another compiler than the stored
one gets a wider tolerance. A function that has become cheaper by more than the tolerance fails as
well: the new count is to be stored, or it could grow back unseen.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STORED = Path(__file__).with_name("instructions.json")
#: Each with what it stands for on a message's way (docs/develop/journey.md).
FUNCTIONS = {
    "build_a_message": "headers and properties of a call from its template",
    "encode_an_envelope": "kombu's envelope for Redis",
    "decode_an_envelope": "the same, read",
    "peek_at_headers": "the headers that a worker decides on",
    "write_json": "ten records as JSON",
    "read_json": "the same, read",
    "enter_and_confirm": "a message's way through the ledger",
    "insert_and_cancel_a_timer": "a timer beside ten thousand others",
}
TIMES = 2_000
#: Parts of a stored count. Random ids and the allocator move a count by less than one percent.
TOLERANCE, TOLERANCE_OF_ANOTHER_COMPILER = 0.03, 0.15
WAIT_S = 300.0
#: The core in one piece, so that no count depends on how it is cut; not the wheel's link-time
#: optimization, which takes minutes. Whatever profile the environment sets does not matter.
PROFILE = (
    "profile.bench.lto='off'",
    "profile.bench.codegen-units=16",
    "profile.bench.incremental=false",
    "profile.bench.package.celeriac-core.codegen-units=1",
)


def built() -> str:
    """Build the bench, always in the same way.

    Returns:
        The program.
    """
    command = ["cargo", "bench", "--locked", "--quiet", "-p", "celeriac-core"]
    command += ["--bench", "instructions", "--no-run", "--message-format", "json"]
    command += [part for setting in PROFILE for part in ("--config", setting)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        found = json.loads(line)
        if found.get("target", {}).get("name") == "instructions" and found.get("executable"):
            program: str = found["executable"]
            return program
    sys.exit("instructions: cargo built no bench of that name")


def counted(program: str, name: str) -> float:
    """Count what one call of a function executes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "counts")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={file}"]
        command += ["--collect-atstart=no", f"--toggle-collect=*instructions::{name}*"]
        done = subprocess.run(
            [*command, program, name, str(TIMES)],
            capture_output=True, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"instructions: {name} failed:\n{done.stderr}")
        found = re.search(r"^totals: (\d+)", file.read_text(), re.MULTILINE)
    if found is None or not int(found[1]):
        sys.exit(f"instructions: callgrind counted nothing in {name}; is it inlined?")
    return int(found[1]) / TIMES


def compiler() -> str:
    """The version of rustc."""
    command = ["rustc", "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def compared(counts: dict[str, float], stored: dict[str, Any]) -> list[str]:
    """Compare with the stored counts.

    Returns:
        What is beyond the tolerance.
    """
    is_same = stored["compiler"] == compiler()
    tolerance = TOLERANCE if is_same else TOLERANCE_OF_ANOTHER_COMPILER
    if not is_same:
        print(f"stored by {stored['compiler']}, here is {compiler()}: ±{tolerance:.0%}")
    wrong = []
    for name, count in counts.items():
        before = stored["instructions"].get(name)
        change = count / before - 1 if before else float("inf")
        print(f"{name:28} {count:10,.0f} {change:+8.1%}   {FUNCTIONS[name]}")
        if abs(change) > tolerance:
            wrong.append(
                f"{name}: {before or 0:,.0f} instructions are stored, {count:,.0f} counted"
            )
    return wrong


def main() -> int:
    """Count, then compare or store.

    Returns:
        1 where a count is beyond the tolerance.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help="store the counts")
    given = parser.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("instructions: valgrind is not installed (Debian: apt-get install valgrind)")
    program = built()
    counts = {name: counted(program, name) for name in FUNCTIONS}
    if given.save:
        report = {"compiler": compiler(), "instructions": {k: round(v) for k, v in counts.items()}}
        STORED.write_text(json.dumps(report, indent=1) + "\n")
        return 0
    wrong = compared(counts, json.loads(STORED.read_text()))
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        print("if that is meant: make instructions ARGS=--save, and commit it", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
