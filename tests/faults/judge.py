"""What became of every task: compares what was sent with what was executed, and with the faults."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from journal import Note
    from misfortune import Fault

#: A fault may have hit an acknowledgement that was under way when it began.
UNDER_WAY_S = 1.0


@dataclass
class Verdict:
    """The findings.

    Attributes:
        sent: How many tasks were confirmed.
        unsent: How many publishers reported as not confirmed, or were killed with.
        executed: How many were started at least once.
        lost: Confirmed, and never started; of those acknowledged late, never done.
        unfinished: Confirmed and started, and never done.
        phantoms: Executed, and never sent.
        twice: How many were started more than once.
        unexplained: Of those, the ones that no fault explains.
    """

    sent: int = 0
    unsent: int = 0
    executed: int = 0
    unfinished: int = 0
    lost: list[str] = field(default_factory=list)
    phantoms: list[str] = field(default_factory=list)
    twice: int = 0
    unexplained: list[str] = field(default_factory=list)


def missing(
    confirmed: Iterable[str], executed: Iterable[Note], is_late: Callable[[str], bool]
) -> list[str]:
    """What was confirmed and does not count as executed.

    Args:
        confirmed: Ids of tasks.
        executed: The workers' journal.
        is_late: Whether a task is acknowledged late.

    Returns:
        Those never done; of those acknowledged early, never started.
    """
    counted = {
        note.task for note in executed if note.what == ("done" if is_late(note.task) else "start")
    }
    return sorted(set(confirmed) - counted)


def judge(
    sent: Sequence[Note],
    executed: Sequence[Note],
    faults: Sequence[Fault],
    is_late: Callable[[str], bool],
) -> Verdict:
    """Compare the journals.

    Args:
        sent: The publishers' journal.
        executed: The workers'.
        faults: What went wrong.
        is_late: Whether a task is acknowledged late.

    Returns:
        The findings.
    """
    found = Verdict()
    tries = {note.task: note for note in sent if note.what == "try"}
    outcomes = {note.task: note for note in sent if note.what in ("sent", "unsent")}
    confirmed = {task for task, note in outcomes.items() if note.what == "sent"}
    starts: dict[str, list[Note]] = defaultdict(list)
    for note in executed:
        if note.what == "start":
            starts[note.task].append(note)
    done = {note.task for note in executed if note.what == "done"}
    found.unfinished = len(confirmed & set(starts) - done)
    found.sent, found.unsent = len(confirmed), len(tries) - len(confirmed)
    found.executed = len(starts)
    found.lost = missing(confirmed, executed, is_late)
    found.phantoms = sorted(set(starts) - set(tries))
    again = [note for note in sent if note.what == "again"]
    for task, runs in starts.items():
        if len(runs) == 1:
            continue
        found.twice += 1
        if task in tries and _sent_again(tries[task], outcomes.get(task), again):
            continue
        for first, second in pairwise(runs):
            if not _came_again(first, second, faults):
                found.unexplained.append(f"{task}: {first} then {second}")
    return found


def _came_again(first: Note, second: Note, faults: Sequence[Fault]) -> bool:
    """Whether a message was delivered again because something went wrong for who held it.

    Mostly that one has run it first. It runs it second where it stood still for longer than its
    leases last, and where its connection was lost while one of its processes had the message
    already: then the copy that was delivered again may overtake it.
    """
    if second.more == "again" and _hit(first, second, faults):
        return True
    return first.more == "again" and any(
        second.who in fault.names
        and fault.begun_s <= first.at_s
        and fault.ended_s >= first.at_s - UNDER_WAY_S
        for fault in faults
    )


def _sent_again(begun: Note, ended: Note | None, again: Iterable[Note]) -> bool:
    """Whether the publisher sent its ledger again while it waited for a task's confirm."""
    until_s = ended.at_s if ended else math.inf
    return any(note.who == begun.who and begun.at_s <= note.at_s <= until_s for note in again)


def _hit(first: Note, second: Note, faults: Iterable[Fault]) -> bool:
    """Whether something went wrong for who ran a task first, before it was run again."""
    return any(
        first.who in fault.names
        and fault.begun_s <= second.at_s
        and fault.ended_s >= first.at_s - UNDER_WAY_S
        for fault in faults
    )
