"""The course of a run: things go wrong, and the workers have to consume again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from misfortune import LONG_STOP, drawn, happens
from yard import POOLS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from journal import Reader
    from misfortune import Fault, Kind
    from yard import Yard

#: When it has not consumed by then, nobody waits any longer.
STUCK_S = 60.0
#: So many tasks a worker may have taken from the broker before the fault (4 for each of 2 slots).
HELD = 8
#: How often a fault meets what is not over yet.
SOON = 0.2


class Recovery(NamedTuple):
    """How long after a fault a worker started a task.

    Attributes:
        what: The fault.
        took_s: How long; None: it did not, and was killed and started again.
        limit_s: What is promised.
    """

    what: str
    took_s: float | None
    limit_s: float


class Course:
    """Lets things go wrong in a yard.

    Args:
        made: The yard.
        executed: Its workers' journal.
        chance: What is drawn is drawn from it.

    Attributes:
        faults: What went wrong.
        recoveries: How soon workers consumed again.
        gone: Workers that ended though nobody had killed them.
    """

    def __init__(self, made: Yard, executed: Reader, chance: random.Random) -> None:
        self._made, self._executed, self._chance = made, executed, chance
        self.faults: list[Fault] = []
        self.recoveries: list[Recovery] = []
        self.gone: list[str] = []

    def run(self, count: int, long_stops: int = 0) -> None:
        """Let so much go wrong; most of the time only after all have recovered."""
        at_once: list[Fault] = []
        for _ in range(count):
            at_once.append(self._happens(drawn(self._made, self._chance)))
            if self._chance.random() < SOON:
                time.sleep(self._chance.uniform(0, 2))
                continue
            self._recover(at_once)
            at_once = []
            time.sleep(self._chance.uniform(0.1, 0.6))
        self._recover(at_once)
        for _ in range(long_stops):
            self._recover([self._happens(LONG_STOP)])

    def _happens(self, kind: Kind) -> Fault:
        fault = happens(self._made, kind, self._chance)
        print(len(self.faults) + 1, fault, flush=True)
        self.faults.append(fault)
        return fault

    def _recover(self, faults: list[Fault]) -> None:
        """Wait until all workers that were hit start tasks again."""
        if not faults:
            return
        somebody_died = any(fault.limit_s is None for fault in faults)
        names = {name for fault in faults for name in fault.names}
        what = faults[0].what if len(faults) == 1 else "several at once"
        limit_s = max(fault.limit_s or 0 for fault in faults)
        for role in POOLS:
            name = self._made.members[role].name
            if not somebody_died and name not in names:
                continue
            took_s = self._begins(role, name, faults[-1])
            if not somebody_died or took_s is None:
                self.recoveries.append(Recovery(what, took_s, limit_s))

    def _begins(self, role: str, name: str, fault: Fault) -> float | None:
        """How long after a fault a worker started tasks; one of another kind may never do so."""
        process = self._made.members[role].process
        if self._made.subject.is_ours:
            # One that has just been started may take its time for that on a busy machine.
            self._made.ready(role)

        def is_over() -> bool:
            return bool(self._began(name, fault)) or process.poll() is not None

        is_in_time = wait(self._executed, is_over, STUCK_S)
        if took_s := self._began(name, fault):
            return took_s
        if self._made.subject.is_ours:
            raise AssertionError(f"{name} does not consume after {fault}\n{self._made.logs()}")
        if is_in_time:
            self.gone.append(name)
        else:
            self._made.members[role].kill()
        self._made.begin(role)
        return None

    def _began(self, name: str, fault: Fault) -> float:
        """When it started a task that it had not held yet; 0: not yet."""
        times = []
        for note in reversed(self._executed.notes):
            if note.at_s <= fault.ended_s:
                break
            if note.what == "start" and note.who == name:
                times.append(note.at_s)
        return times[-HELD - 1] - fault.ended_s if len(times) > HELD else 0.0


def wait(executed: Reader, condition: Callable[[], bool], wait_s: float) -> bool:
    """Read on until something is so; False: it did not come about."""
    deadline_s = time.monotonic() + wait_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        if not executed.read():
            time.sleep(0.02)
    return True
