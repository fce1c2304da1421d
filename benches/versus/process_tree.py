"""Memory, processor time and wake-ups of a process and all below it, from /proc."""

from __future__ import annotations

from pathlib import Path

KIB_IN_MB = 1024 / 1_000_000


def tree_of(pid: int) -> list[int]:
    """A process and its descendants.

    Returns:
        Their ids, the given one first.
    """
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found = [pid]
    for known in found:
        found.extend(parents.get(known, []))
    return found


def pss_mb(pid: int) -> float:
    """Proportional set size of a process tree.

    Returns:
        Megabytes (10**6 bytes); shared pages are divided among those who share them.
    """
    total_kib = 0
    for one in tree_of(pid):
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        total_kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kib * KIB_IN_MB


def peak_mb(pid: int | str) -> float:
    """The highest resident set of one process since `forget_peak`, in megabytes."""
    return _status(pid, "VmHWM") * KIB_IN_MB


def forget_peak(pid: int | str) -> float:
    """Let the highest resident set be that of now.

    Returns:
        That of now, in megabytes.
    """
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _status(pid, "VmRSS") * KIB_IN_MB


def cpu_s(pid: int) -> float:
    """Processor time of the living threads of a process tree, in seconds, to the nanosecond."""
    return sum(int(one.split()[0]) for one in _of_threads(pid, "schedstat")) / 1e9


def wakeups(pid: int) -> int:
    """How often the threads of a process tree have gone to sleep by themselves."""
    found = 0
    for status in _of_threads(pid, "status"):
        found += int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return found


def _status(pid: int | str, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0])


def _of_threads(pid: int, name: str) -> list[str]:
    found = [Path(f"/proc/{one}/task").glob(f"*/{name}") for one in tree_of(pid)]
    return [text for files in found for file in files if (text := _read(file))]


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""  # the thread ended while we looked
