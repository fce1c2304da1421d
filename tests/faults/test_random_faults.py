"""Faults drawn by chance while tasks are sent and executed: nothing lost, all doubling explained.

``make faults`` lets 300 happen on each broker; ``CELERIAC_TEST_FAULTS`` says another number,
``CELERIAC_TEST_SEED`` draws others, and ``CELERIAC_TEST_LONG_STOPS`` adds workers that stand still
for longer than their leases last. ``CELERIAC_TEST_FAULTS_OF=celery`` (or ``celery-late``) lets the
same happen to the real Celery, whose figures are told and not judged. How soon workers consume
again is judged in long runs only: a few faults beside other tests measure the machine.
"""

from __future__ import annotations

import os
import random
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from course import STUCK_S, Course, wait
from journal import Reader
from judge import judge, missing
from subject import SUBJECT
from yard import POOLS, Work, yard

import report

if TYPE_CHECKING:
    from pathlib import Path

    from yard import Yard

COUNT = int(os.environ.get("CELERIAC_TEST_FAULTS", "5"))
SEED = int(os.environ.get("CELERIAC_TEST_SEED", "1"))
LONG_STOPS = int(os.environ.get("CELERIAC_TEST_LONG_STOPS", "0"))
DRAIN_S = 120.0
LONG_RUN = 20
#: In a long run tasks take longer: three brokers at once are to measure themselves.
WORK = Work(task_s=0.02 if COUNT < LONG_RUN else 0.05)
BROKERS = ["redis", "rabbitmq", "sqlite"] if SUBJECT.is_ours else ["redis", "rabbitmq"]
pytestmark = pytest.mark.timeout(400 + 30 * COUNT + 200 * LONG_STOPS)


@pytest.mark.parametrize("broker", BROKERS)
def test_nothing_is_lost_whatever_goes_wrong(broker: str, tmp_path: Path) -> None:
    journals = closing(Reader(tmp_path / "executed")), closing(Reader(tmp_path / "sent"))
    with (
        yard(broker, tmp_path, WORK, SUBJECT) as made,
        journals[0] as executed,
        journals[1] as sent,
    ):
        course = Course(made, executed, random.Random(SEED))
        assert wait(executed, lambda: bool(executed.notes), STUCK_S), made.logs()
        course.run(COUNT, LONG_STOPS)
        made.stop_publishing()
        sent.read()
        wait(executed, lambda: not left(made, sent, executed), DRAIN_S)
        ends = [made.stop(role) for role in POOLS]
        executed.read()
        found = judge(sent.notes, executed.notes, course.faults, SUBJECT.is_late)
        told = report.figures(made, course, found, leftovers(made))
        print(report.text(told))
        report.keep(told)
        if not SUBJECT.is_ours:
            return
        assert found.lost == [], made.logs()
        assert found.phantoms == []
        assert found.unexplained == []
        assert ends == [0] * len(POOLS)
        assert told["left"] == {}
    if COUNT >= LONG_RUN:
        assert [one for one in course.recoveries if not in_time(one)] == []


def left(made: Yard, sent: Reader, executed: Reader) -> list[str]:
    """What was confirmed and is not executed yet."""
    confirmed = (note.task for note in sent.notes if note.what == "sent")
    return missing(confirmed, executed.notes, made.subject.is_late)


def in_time(one) -> bool:
    """Whether a worker consumed again as soon as is promised."""
    return one.took_s is not None and one.took_s <= one.limit_s


def leftovers(made: Yard) -> dict[str, int]:
    """What is still on the server."""
    return {what: count for what, count in made.contents().items() if count}
