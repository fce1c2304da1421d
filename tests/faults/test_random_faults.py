"""Faults drawn by chance while tasks are sent and executed: nothing lost, all doubling explained.

``make faults`` lets 300 happen on each broker; ``CELERIAC_TEST_FAULTS`` says another number, and
``CELERIAC_TEST_SEED`` draws others. How soon workers consume again is judged in long runs only: a
few faults beside other tests measure the machine.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import pytest
from journal import Reader
from judge import Verdict, is_late, judge
from misfortune import Fault, happens
from yard import POOLS, STOP_S, Yard, yard

if TYPE_CHECKING:
    from pathlib import Path

COUNT = int(os.environ.get("CELERIAC_TEST_FAULTS", "5"))
SEED = int(os.environ.get("CELERIAC_TEST_SEED", "1"))
#: When it has not consumed by then, nobody waits any longer.
STUCK_S = 60.0
DRAIN_S = 120.0
LONG_RUN = 20
#: So many tasks a worker may have taken from the broker before the fault (4 for each of 2 slots).
HELD = 8
pytestmark = pytest.mark.timeout(400 + 30 * COUNT)


@pytest.mark.parametrize("broker", ["redis", "rabbitmq", "sqlite"])
def test_nothing_is_lost_whatever_goes_wrong(broker: str, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    journals = closing(Reader(tmp_path / "executed")), closing(Reader(tmp_path / "sent"))
    with yard(broker, tmp_path) as made, journals[0] as executed, journals[1] as sent:
        wait(made, executed, lambda: bool(executed.notes), STUCK_S)
        faults, recoveries = misfortunes(made, executed, chance)
        made.stop_publishing()
        sent.read()
        wait(made, executed, lambda: not left(sent, executed), DRAIN_S)
        ends = [stopped(made, role) for role in POOLS]
        executed.read()
        found = judge(sent.notes, executed.notes, faults)
        print(report(broker, found, faults, recoveries))
        assert found.lost == []
        assert found.phantoms == []
        assert found.unexplained == []
        assert ends == [0] * len(POOLS)
        assert leftovers(made) == {}
    if COUNT >= LONG_RUN:
        assert [one for one in recoveries if one.took_s > one.limit_s] == []


class Recovery(NamedTuple):
    """How long after a fault a worker started a task."""

    what: str
    took_s: float
    limit_s: float


def misfortunes(
    made: Yard, executed: Reader, chance: random.Random
) -> tuple[list[Fault], list[Recovery]]:
    """Let things go wrong; most of the time only after all have recovered."""
    faults: list[Fault] = []
    recoveries: list[Recovery] = []
    at_once: list[Fault] = []
    while len(faults) < COUNT:
        faults.append(fault := happens(made, chance))
        print(fault, flush=True)
        at_once.append(fault)
        if chance.random() < 0.2:
            time.sleep(chance.uniform(0, 2))  # the next one meets what is not over yet
            continue
        recoveries += recovered(made, executed, at_once)
        at_once = []
        time.sleep(chance.uniform(0.1, 0.6))
    return faults, recoveries


def recovered(made: Yard, executed: Reader, faults: list[Fault]) -> list[Recovery]:
    """Wait until all workers that were hit start tasks again."""
    found = []
    somebody_died = any(fault.limit_s is None for fault in faults)
    names = {name for fault in faults for name in fault.names}
    last = faults[-1]
    for role in POOLS:
        name = made.members[role].name
        if not somebody_died and name not in names:
            continue
        wait(made, executed, lambda name=name: began(executed, name, last), STUCK_S)
        if not somebody_died:
            what = last.what if len(faults) == 1 else "several at once"
            limit_s = max(fault.limit_s or 0 for fault in faults)
            found.append(Recovery(what, began(executed, name, last), limit_s))
    return found


def began(executed: Reader, name: str, fault: Fault) -> float:
    """How long after a fault a worker started a task that it had not held yet; 0: not yet."""
    times = []
    for note in reversed(executed.notes):
        if note.at_s <= fault.ended_s:
            break
        if note.what == "start" and note.who == name:
            times.append(note.at_s)
    return times[-HELD - 1] - fault.ended_s if len(times) > HELD else 0.0


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


def report(broker: str, found: Verdict, faults: list[Fault], recoveries: list[Recovery]) -> str:
    """What is to be known of a run."""
    kinds = ", ".join(f"{what} {n}" for what, n in Counter(f.what for f in faults).most_common())
    lines = [
        f"{broker}: {len(faults)} faults ({kinds})",
        f"  confirmed {found.sent}, not confirmed {found.unsent}, executed {found.executed}",
        f"  lost {len(found.lost)}, executed twice {found.twice}, unexplained"
        f" {len(found.unexplained)}",
    ]
    for what in sorted({one.what for one in recoveries}):
        times = sorted(one.took_s for one in recoveries if one.what == what)
        lines.append(
            f"  consumes after {what}: {len(times)} times, median {times[len(times) // 2]:.2f} s,"
            f" longest {times[-1]:.2f} s"
        )
    return "\n".join(lines)
