"""What the judge of the random faults takes for a reason that a task runs twice."""

import pytest
from journal import Note
from judge import judge
from misfortune import Fault

SENT = [Note(1.0, "try", "t", "p", "-"), Note(1.1, "sent", "t", "p", "-")]
FIRST, SECOND = "w0", "w1"


def unexplained(*runs, fault=None):
    executed = [Note(at_s, "start", "t", who, more) for at_s, who, more in runs]
    faults = [Fault("cut", *fault, 5.0)] if fault else []
    return judge(SENT, executed, faults, lambda _task: True).unexplained


@pytest.mark.parametrize(
    ("runs", "fault"),
    [
        pytest.param(
            [(5.0, FIRST, "-"), (9.0, SECOND, "again")], ((FIRST,), 5.5, 5.6), id="it was hit first"
        ),
        pytest.param(
            [(50.0, FIRST, "again"), (95.0, SECOND, "-")],
            ((SECOND,), 5.0, 95.0),
            id="it stood still meanwhile",
        ),
        pytest.param(
            [(50.0, FIRST, "again"), (95.0, SECOND, "again")],
            ((SECOND,), 5.0, 95.0),
            id="it stood still with what had come again already",
        ),
        pytest.param(
            [(5.2, FIRST, "again"), (5.2001, FIRST, "-")],
            ((FIRST,), 5.0, 5.1),
            id="a child had it when the connection was lost",
        ),
    ],
)
def test_a_second_run_has_a_reason_where_a_fault_hit_who_held_the_message(runs, fault):
    assert unexplained(*runs, fault=fault) == []


@pytest.mark.parametrize(
    ("runs", "fault"),
    [
        pytest.param([(5.0, FIRST, "-"), (9.0, SECOND, "again")], None, id="no fault"),
        pytest.param(
            [(5.0, FIRST, "-"), (9.0, SECOND, "again")], ((SECOND,), 5.5, 5.6), id="another's fault"
        ),
        pytest.param(
            [(5.0, FIRST, "-"), (9.0, SECOND, "-")], ((FIRST,), 5.5, 5.6), id="not delivered again"
        ),
        pytest.param(
            [(5.0, FIRST, "again"), (9.0, SECOND, "again")], ((FIRST,), 1.0, 3.0), id="long before"
        ),
    ],
)
def test_otherwise_it_has_none(runs, fault):
    assert len(unexplained(*runs, fault=fault)) == 1
