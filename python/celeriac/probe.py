"""``celeriac health``: whether a worker takes messages, from the file that it writes.

For probes that run every few seconds: imports nothing of the application, and little of Python.
"""

from __future__ import annotations

import os
import sys
import time

__all__ = ("BUSY", "CONSUMING", "FULL", "LOST", "VARIABLE", "judge", "main")

#: The states in the file: messages are taken; all places of the prefetch are taken; the main loop
#: executes a task itself, as the solo pool's does; the broker is not reached.
CONSUMING, FULL, BUSY, LOST = "consuming", "full", "busy", "lost"
VARIABLE = "CELERIAC_HEALTH_FILE"
MAX_AGE_S = 30.0
USAGE = f"""Usage: celeriac health [--file PATH] [--max-age SECONDS]

  Exits with 0 when the worker has proved within the last seconds that it takes messages, or that
  all it may hold is in work; with 1 and a reason otherwise. Imports no application.

Options:
  --file PATH        worker_health_file of the worker; default: ${VARIABLE}
  --max-age SECONDS  how old a proof may be; default: {MAX_AGE_S:g}
  --help             Show this message and exit."""
EX_UNHEALTHY, EX_USAGE = 1, 64


def judge(path: str, max_age_s: float, now_s: float) -> tuple[bool, str]:
    """Judge a worker by its file.

    Args:
        path: The file.
        max_age_s: How old a proof may be, in seconds.
        now_s: The time, in seconds since the epoch.

    Returns:
        Whether the worker is healthy, and a sentence that says why.
    """
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes long to import
            found = _members(file.read())
        worker, pid, state = found["worker"], found["pid"], found["state"]
        written_s, looped_s = int(found["written_ms"]) / 1000, int(found["looped_ms"]) / 1000
        proved_s = int(found["proved_ms"]) / 1000
    except FileNotFoundError:
        return False, f"no worker writes {path}: it has not started, or it has ended"
    except (OSError, ValueError, KeyError) as exc:
        return False, f"{path} is not the health file of a worker: {exc!r}"
    silent_s, still_s, unproved_s = now_s - written_s, now_s - looped_s, now_s - proved_s
    name = f"{worker} (pid {pid})"
    if silent_s > max_age_s:
        return False, f"{name} stands still, or is gone: it was seen {silent_s:.0f} s ago"
    if state == BUSY:
        return True, f"{name} executes a task since {still_s:.0f} s, and takes no others meanwhile"
    if still_s > max_age_s:
        return False, f"{name} stands still: its main loop was seen {still_s:.0f} s ago"
    if state == FULL:
        return (
            True,
            f"{name} works on all that it may hold; it took messages {unproved_s:.0f} s ago",
        )
    if unproved_s > max_age_s:
        why = "the broker is not reached" if state == LOST else "nothing says why"
        return False, f"{name} takes no messages since {unproved_s:.0f} s: {why}"
    return True, f"{name} takes messages, proved {unproved_s:.0f} s ago"


def _members(text: str) -> dict[str, str]:
    # Its JSON has a line for each member (`celeriac.worker.health`): read so, it does not need
    # `json`, which takes as long to import as Python to start.
    lines = [line.rstrip(",").split(": ", 1) for line in text.splitlines()[1:-1]]
    return {name.strip('"'): value.strip('"') for name, value in lines}


def main(arguments: list[str]) -> int:
    """Run the command.

    Args:
        arguments: After ``celeriac health``.

    Returns:
        The exit code.
    """
    path, max_age_s = os.environ.get(VARIABLE, ""), MAX_AGE_S
    option = ""
    rest = [part for argument in arguments for part in argument.split("=", 1)]
    try:
        while rest:
            option = rest.pop(0)
            if option == "--help":
                sys.stdout.write(USAGE + "\n")
                return 0
            if option == "--file":
                path = rest.pop(0)
            elif option == "--max-age":
                max_age_s = float(rest.pop(0))
            else:
                return _misused(f"no such option: {option}")
    except IndexError:
        return _misused(f"{option} needs a value")
    except ValueError as exc:
        return _misused(f"--max-age is a number of seconds: {exc}")
    if not path:
        return _misused(f"no --file and no ${VARIABLE}")
    healthy, why = judge(path, max_age_s, time.time_ns() / 1e9)
    (sys.stdout if healthy else sys.stderr).write(why + "\n")
    return 0 if healthy else EX_UNHEALTHY


def _misused(why: str) -> int:
    sys.stderr.write(f"celeriac health: {why}\n\n{USAGE}\n")
    return EX_USAGE
