"""Memory of a process and all below it, from /proc."""

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
