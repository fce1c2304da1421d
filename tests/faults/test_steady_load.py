"""Hours of the same load, with kills: memory stays, throughput stays, nothing is missing.

``make steady`` lets it last ten minutes on each broker; ``CELERIAC_TEST_STEADY_S=3600`` an hour.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from course import wait
from journal import Reader
from judge import judge
from misfortune import NOTICED_S, Kind, happens, kill, kill_a_child
from subject import SUBJECT
from test_random_faults import left, leftovers
from yard import POOLS, Work, yard

import report

if TYPE_CHECKING:
    from misfortune import Fault
    from yard import Yard

SECONDS = int(os.environ.get("CELERIAC_TEST_STEADY_S", "0"))
#: Two publishers send so much together; three workers could do more than twice as much.
RATE = 80
WORK = Work(task_s=0.02, rate=RATE / 2)
#: The worker that lives as long as the run, whose memory is looked at.
SPARED = "w0"
KILLS_EVERY_S = 10.0
DRAIN_S = 120.0
#: What is measured is divided into so many parts; the first one is for warming up.
PARTS = 6
MEMORY, THROUGHPUT = 0.05, 0.10
KINDS = [
    Kind(kill, 1, None, targets=("w1", "w2")),
    Kind(kill_a_child, 1, NOTICED_S, targets=(SPARED, "w2")),
]
#: What the first part warms up with: on RabbitMQ a late acknowledged task whose process dies is
#: published again, over a connection of its own whose buffers (8 MB) stay.
FIRST_KINDS = [Kind(kill_a_child, 1, NOTICED_S, targets=(SPARED,))]
pytestmark = [
    pytest.mark.skipif(not SECONDS, reason="takes minutes: make steady"),
    pytest.mark.timeout(SECONDS + 600),
]


class Sample(NamedTuple):
    """What was so at a time.

    Attributes:
        at_s: When.
        memory_kb: The worker's own, without its children: those are killed.
        executed: How many tasks had begun.
    """

    at_s: float
    memory_kb: int
    executed: int


@pytest.mark.parametrize("broker", ["redis", "rabbitmq", "sqlite"])
def test_memory_and_throughput_stay_while_workers_are_killed(broker: str, tmp_path: Path) -> None:
    journals = closing(Reader(tmp_path / "executed")), closing(Reader(tmp_path / "sent"))
    with (
        yard(broker, tmp_path, WORK, SUBJECT) as made,
        journals[0] as executed,
        journals[1] as sent,
    ):
        assert wait(executed, lambda: bool(executed.notes), DRAIN_S), made.logs()
        faults, samples = load(made, executed)
        made.stop_publishing()
        sent.read()
        wait(executed, lambda: not left(made, sent, executed), DRAIN_S)
        assert [made.stop(role) for role in POOLS] == [0] * len(POOLS)
        executed.read()
        found = judge(sent.notes, executed.notes, faults, SUBJECT.is_late)
        parts = in_parts(samples)
        print(told(broker, faults, found, parts))
        report.keep_steady(broker, len(faults), found, parts)
        assert found.lost == []
        assert found.unexplained == []
        assert leftovers(made) == {}
    (memory_kb, throughput), *_, (last_kb, last_throughput) = parts
    assert abs(last_kb / memory_kb - 1) <= MEMORY, parts
    assert abs(last_throughput / throughput - 1) <= THROUGHPUT, parts


def load(made: Yard, executed: Reader) -> tuple[list[Fault], list[Sample]]:
    """Kill somebody every few seconds, and look at what is spared."""
    chance = random.Random(1)
    faults: list[Fault] = []
    samples: list[Sample] = []
    starts = 0
    begun_s = time.monotonic()
    next_kill_s = begun_s + KILLS_EVERY_S
    while time.monotonic() < begun_s + SECONDS:
        time.sleep(1.0)
        starts += sum(note.what == "start" for note in executed.read())
        memory_kb = private_kb(made.members[SPARED].process.pid)
        samples.append(Sample(time.monotonic() - begun_s, memory_kb, starts))
        if time.monotonic() >= next_kill_s:
            next_kill_s += KILLS_EVERY_S
            kinds = FIRST_KINDS if time.monotonic() < begun_s + SECONDS / PARTS else KINDS
            faults.append(happens(made, chance.choice(kinds), chance))
    return faults, samples


def private_kb(pid: int) -> int:
    """Memory that is a process's own."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


def in_parts(samples: list[Sample]) -> list[tuple[int, float]]:
    """Memory and tasks a second in each part of the run, without the first."""
    size = len(samples) // PARTS
    parts = [samples[at * size : (at + 1) * size] for at in range(1, PARTS)]
    return [
        (
            round(statistics.median(one.memory_kb for one in part)),
            (part[-1].executed - part[0].executed) / (part[-1].at_s - part[0].at_s),
        )
        for part in parts
    ]


def told(broker: str, faults: list[Fault], found, parts: list[tuple[int, float]]) -> str:
    """What is to be known of a run."""
    shown = ", ".join(f"{kb} kB {rate:.1f}/s" for kb, rate in parts)
    return (
        f"{broker}: {SECONDS} s, {len(faults)} kills, confirmed {found.sent}, lost"
        f" {len(found.lost)}, twice {found.twice}, unexplained {len(found.unexplained)}\n  {shown}"
    )
