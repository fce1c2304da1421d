import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.worker.outcome import (
    Failed,
    HandedBack,
    Ignored,
    Poisonous,
    Rejected,
    Retried,
    Succeeded,
    Undecodable,
)
from celeriac.worker.reports import from_frame, to_frame

reportable = st.one_of(
    st.sampled_from([Succeeded(), Failed(), Retried(), Ignored()]),
    st.builds(Rejected, st.booleans()),
    st.builds(Undecodable, st.text(st.characters(codec="utf-8"))),
    st.builds(Poisonous, st.text(st.characters(codec="utf-8"))),
)


@given(reportable)
def test_an_outcome_survives_the_way_to_the_worker(outcome):
    assert from_frame(*to_frame(outcome)) == outcome


def test_a_lone_surrogate_in_a_reason_does_not_stop_the_report():
    code, detail = to_frame(Undecodable("\ud800"))
    assert from_frame(code, detail) == Undecodable("?")


def test_an_outcome_of_the_worker_alone_is_not_reported_by_a_child():
    with pytest.raises(ValueError, match="HandedBack"):
        to_frame(HandedBack())


def test_an_unknown_code_is_named():
    with pytest.raises(ValueError, match="outcome 200"):
        from_frame(200, b"")
