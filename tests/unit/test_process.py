"""What the Rust module does for processes: dying with the parent, and logs."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from celeriac import _native

PATIENCE_S = 20.0


def run_python(code):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def is_running(pid):
    """Whether a process runs; a zombie that nobody reaps counts as ended."""
    try:
        with Path(f"/proc/{pid}/stat").open(encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_that_asked_for_it_is_killed_with_its_parent():
    parent = run_python(
        """
        import os, time
        from celeriac import _native
        ready, tell = os.pipe()
        if os.fork() == 0:
            _native.die_with_parent()
            os.write(tell, b"x")
            time.sleep(600)
        os.read(ready, 1)
        child = os.popen(f"cat /proc/{os.getpid()}/task/{os.getpid()}/children").read().split()[0]
        print(child, flush=True)
        time.sleep(600)
        """
    )
    child = int(parent.stdout.readline())
    assert is_running(child)
    parent.kill()
    parent.wait(PATIENCE_S)
    parent.stdout.close()
    deadline = time.monotonic() + PATIENCE_S
    while is_running(child) and time.monotonic() < deadline:
        os.sched_yield()
    assert not is_running(child)


def test_no_logs_is_an_empty_list_and_a_limit_of_zero_takes_nothing():
    _native.take_logs(100_000)
    assert _native.take_logs(100_000) == []
    assert _native.take_logs(0) == []


def test_what_rust_logs_arrives_with_level_logger_and_text():
    program = run_python(
        """
        import socket
        from celeriac import _native
        ours, theirs = socket.socketpair()
        channel = _native.ChildChannel(theirs.detach())
        ours.sendall(bytes([1, 0, 0, 0, 99]))
        try:
            channel.next(20.0)
        except EOFError:
            print(_native.take_logs(10))
        """
    )
    printed, _ = program.communicate(timeout=PATIENCE_S)
    expected = (
        40,
        "celeriac.links.channel",
        "the link to the worker broke error=malformed frame: kind 99 does not exist",
    )
    assert printed.strip() == repr([expected])
