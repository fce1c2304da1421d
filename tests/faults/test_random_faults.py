"""Faults drawn by chance while tasks are sent and executed: nothing lost, all doubling explained.

``CELERIAC_TEST_FAULTS`` says how many on each broker, ``CELERIAC_TEST_SEED`` draws others.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from journal import Reader
from judge import Verdict, is_late, judge
from misfortune import Fault, happens
from yard import POOLS, STOP_S, Yard, yard

if TYPE_CHECKING:
    from pathlib import Path

COUNT = int(os.environ.get("CELERIAC_TEST_FAULTS", "8"))
SEED = int(os.environ.get("CELERIAC_TEST_SEED", "1"))
#: When it has not consumed by then, nobody waits any longer.
STUCK_S = 60.0
DRAIN_S = 120.0
pytestmark = pytest.mark.timeout(400 + 30 * COUNT)


@pytest.mark.parametrize("broker", ["redis", "rabbitmq", "sqlite"])
def test_nothing_is_lost_whatever_goes_wrong(broker: str, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    journals = closing(Reader(tmp_path / "executed")), closing(Reader(tmp_path / "sent"))
    with yard(broker, tmp_path) as made, journals[0] as executed, journals[1] as sent:
        wait(made, executed, lambda: bool(executed.notes), STUCK_S)
        faults, after_s = misfortunes(made, executed, chance)
        made.stop_publishing()
        sent.read()
        wait(made, executed, lambda: not left(sent, executed), DRAIN_S)
        ends = [stopped(made, role) for role in POOLS]
        executed.read()
        found = judge(sent.notes, executed.notes, faults)
        found.consumed_after_s = after_s
        print(report(broker, found, faults))
        assert found.lost == []
        assert found.phantoms == []
        assert found.unexplained == []
        assert ends == [0] * len(POOLS)
        assert leftovers(made) == {}
    limits = {fault.what: fault.limit_s for fault in faults}
    late = {what: max(times) for what, times in after_s.items() if max(times) > (limits[what] or 0)}
    assert late == {}


def misfortunes(
    made: Yard, executed: Reader, chance: random.Random
) -> tuple[list[Fault], dict[str, list[float]]]:
    """Let things go wrong; most of the time only after all have recovered."""
    faults: list[Fault] = []
    after_s: dict[str, list[float]] = {}
    while len(faults) < COUNT:
        faults.append(fault := happens(made, chance))
        print(fault, flush=True)
        if chance.random() < 0.2:
            time.sleep(chance.uniform(0, 2))  # the next one meets what is not over yet
            continue
        for role, member in list(made.members.items()):
            if role in POOLS and (fault.limit_s is None or member.name in fault.names):
                name = member.name
                wait(made, executed, lambda name=name: began(executed, name, fault), STUCK_S)
                if fault.limit_s is not None:
                    took_s = began(executed, name, fault)
                    after_s.setdefault(fault.what, []).append(took_s)
        time.sleep(chance.uniform(0.1, 0.6))
    return faults, after_s


def began(executed: Reader, name: str, fault: Fault) -> float:
    """How long after a fault a worker started a task; 0 when it has not yet."""
    first_s = 0.0
    for note in reversed(executed.notes):
        if note.at_s <= fault.ended_s:
            break
        if note.what == "start" and note.who == name:
            first_s = note.at_s - fault.ended_s
    return first_s


def wait(made: Yard, executed: Reader, condition, wait_s: float) -> None:
    """Read on until something is so."""
    deadline_s = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline_s, logs(made)
        if not executed.read():
            time.sleep(0.02)


def left(sent: Reader, executed: Reader) -> list[str]:
    """What was confirmed and is not executed yet."""
    ran = {note.task for note in executed.notes if note.what == "start"}
    done = {note.task for note in executed.notes if note.what == "done"}
    return [
        note.task
        for note in sent.notes
        if note.what == "sent" and note.task not in (done if is_late(note.task) else ran)
    ]


def stopped(made: Yard, role: str) -> int:
    """Stop a worker warmly."""
    made.ready(role)
    process = made.members[role].process
    process.send_signal(signal.SIGTERM)
    return process.wait(STOP_S)


def leftovers(made: Yard) -> dict[str, int]:
    """What is still on the server."""
    return {what: count for what, count in made.contents().items() if count}


def logs(made: Yard) -> str:
    """The ends of all logs."""
    return "\n".join(
        f"== {member.name}\n" + member.log.read_text(errors="replace")[-3000:]
        for member in made.members.values()
    )


def report(broker: str, found: Verdict, faults: list[Fault]) -> str:
    """What is to be known of a run."""
    kinds = ", ".join(f"{what} {n}" for what, n in Counter(f.what for f in faults).most_common())
    lines = [
        f"{broker}: {len(faults)} faults ({kinds})",
        f"  confirmed {found.sent}, not confirmed {found.unsent}, executed {found.executed}",
        f"  lost {len(found.lost)}, executed twice {found.twice}, unexplained"
        f" {len(found.unexplained)}",
    ]
    for what, times in sorted(found.consumed_after_s.items()):
        lines.append(
            f"  after {what}: median {sorted(times)[len(times) // 2]:.2f} s,"
            f" longest {max(times):.2f} s"
        )
    return "\n".join(lines)
