"""Run all Python tests in two halves at the same time, each with servers of its own.

``python tools/halves.py [PYTEST ARGUMENTS]``: most tests wait for a process or a server most of
their time, so that two cores do both halves in little more than the time of the longer one. The
first half has the servers that run on this machine, the second one has its own (``services.py``).
What a half prints is shown with its name in front; the exit code is 0 when both have passed.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

#: By name: what says which servers it gets, and what it runs.
HALVES: dict[str, tuple[list[str], list[str]]] = {
    "interop": ([], ["tests/interop"]),
    "others": (["--own"], ["tests", "--ignore=tests/interop"]),
}


def show(name: str, process: subprocess.Popen[str]) -> None:
    """Print what a half says, line by line.

    Args:
        name: The half.
        process: Its process, whose output is a pipe.
    """
    for line in process.stdout or ():
        sys.stdout.write(f"{name:>8} | {line}")
        sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Run both halves.

    Args:
        arguments: Passed on to pytest.

    Returns:
        0 when both have passed.
    """
    services = str(Path(__file__).with_name("services.py"))
    processes = {
        name: subprocess.Popen(
            [sys.executable, services, *servers, "--", "pytest", *arguments, *tests],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for name, (servers, tests) in HALVES.items()
    }
    readers = [threading.Thread(target=show, args=half) for half in processes.items()]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    codes = {name: process.wait() for name, process in processes.items()}
    failed = [name for name, code in codes.items() if code]
    print(f"halves: failed: {', '.join(failed)}" if failed else "halves: both passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
