import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import states
from celeriac.worker.outcome import (
    Expired,
    Failed,
    HandedBack,
    Ignored,
    LostTooOften,
    NotRegisteredHere,
    Poisonous,
    Refused,
    Rejected,
    Retried,
    Succeeded,
    TimedOut,
    Undecodable,
    WorkerLost,
)
from celeriac.worker.settle import AT_THE_DOOR, AckPolicy, Settlement, Verdict, decide

outcomes = st.one_of(
    st.sampled_from(
        [Succeeded(), Failed(), Retried(), Ignored(), Expired(), HandedBack(), NotRegisteredHere()]
    ),
    st.builds(Rejected, st.booleans()),
    st.builds(WorkerLost, st.text(), st.booleans()),
    st.builds(TimedOut, st.floats(0.1, 100)),
    st.builds(LostTooOften, st.integers(1, 9), st.integers(0, 8)),
    st.builds(Refused, st.text()),
    st.builds(Undecodable, st.text()),
    st.builds(Poisonous, st.text()),
)
policies = st.builds(AckPolicy, st.booleans(), st.booleans(), st.booleans(), st.booleans())
LATE = AckPolicy(acks_late=True)


@given(outcomes, policies)
def test_broker_hears_of_a_delivery_exactly_once(outcome, policy):
    told_early = not policy.acks_late
    assert (decide(outcome, policy).verdict is Verdict.ALREADY_ACKED) == told_early


@given(outcomes, policies)
def test_what_will_be_delivered_again_has_no_result_yet_unless_it_ran_out_of_time(outcome, policy):
    settlement = decide(outcome, policy)
    if settlement.verdict in {Verdict.REQUEUE, Verdict.REQUEUE_LOST}:
        failed = isinstance(outcome, TimedOut)
        assert settlement.state == (states.FAILURE if failed else None)


@given(outcomes)
def test_what_is_kept_has_failed_where_its_task_could_be_told(outcome):
    settlement = decide(outcome, LATE)
    if settlement.verdict in {Verdict.ASIDE, Verdict.ASIDE_LOST}:
        is_failure = isinstance(outcome, NotRegisteredHere | LostTooOften)
        assert settlement.state == (states.FAILURE if is_failure else None)


@given(outcomes, policies)
def test_a_reason_is_given_only_to_what_is_set_aside(outcome, policy):
    settlement = decide(outcome, policy)
    assert not settlement.reason or settlement.verdict is Verdict.ASIDE


def test_success_and_retry_are_acknowledged_with_their_state():
    assert decide(Succeeded(), LATE) == Settlement(Verdict.ACK, states.SUCCESS)
    assert decide(Retried(), LATE) == Settlement(Verdict.ACK, states.RETRY)


def test_ignore_leaves_the_state_alone():
    assert decide(Ignored(), LATE) == Settlement(Verdict.ACK)


def test_failure_is_rejected_where_failures_are_not_acknowledged():
    stubborn = AckPolicy(acks_late=True, acks_on_failure=False)
    assert decide(Failed(), LATE) == Settlement(Verdict.ACK, states.FAILURE)
    assert decide(Failed(), stubborn) == Settlement(Verdict.REJECT, states.FAILURE)


def test_reject_with_requeue_goes_back_and_without_it_fails():
    assert decide(Rejected(requeue=True), LATE) == Settlement(Verdict.REQUEUE)
    assert decide(Rejected(requeue=False), LATE) == Settlement(Verdict.REJECT, states.FAILURE)


def test_reject_after_an_early_ack_only_stores_the_failure():
    early = AckPolicy()
    assert decide(Rejected(requeue=False), early).state == states.FAILURE
    assert decide(Rejected(requeue=True), early).state is None


def test_lost_worker_fails_the_task_unless_it_is_to_be_run_again():
    again = AckPolicy(acks_late=True, reject_on_worker_lost=True)
    assert decide(WorkerLost("x"), LATE) == Settlement(Verdict.ACK, states.FAILURE)
    assert decide(WorkerLost("x"), again) == Settlement(Verdict.REQUEUE_LOST)


def test_a_late_task_that_a_cold_stop_broke_off_goes_back_as_the_real_celery_restores_it():
    assert decide(WorkerLost("x", in_cold_stop=True), LATE) == Settlement(Verdict.REQUEUE)
    assert decide(WorkerLost("x", in_cold_stop=True), AckPolicy()).state == states.FAILURE


def test_lost_worker_after_an_early_ack_always_fails_the_task():
    early = AckPolicy(reject_on_worker_lost=True)
    assert decide(WorkerLost("x"), early).state == states.FAILURE


def test_what_was_not_started_goes_back():
    assert decide(HandedBack(), AT_THE_DOOR) == Settlement(Verdict.REQUEUE)


def test_expired_is_acknowledged_as_revoked():
    assert decide(Expired(), AT_THE_DOOR) == Settlement(Verdict.ACK, states.REVOKED)


def test_unknown_task_is_kept_with_a_failure():
    settlement = decide(NotRegisteredHere(), AT_THE_DOOR)
    assert (settlement.verdict, settlement.state) == (Verdict.ASIDE, states.FAILURE)


@pytest.mark.parametrize("outcome", [Refused("why"), Undecodable("why")])
def test_what_may_not_or_cannot_be_read_is_kept_without_a_result(outcome):
    assert decide(outcome, AT_THE_DOOR) == Settlement(Verdict.ASIDE, None, "why")


def test_poisonous_message_is_set_aside_with_its_reason():
    assert decide(Poisonous("why"), AT_THE_DOOR) == Settlement(Verdict.ASIDE, None, "why")


def test_poison_found_after_an_early_ack_is_told_to_the_caller():
    assert decide(Poisonous("why"), AckPolicy()).state == states.FAILURE


@pytest.mark.parametrize(
    ("policy", "settlement"),
    [
        (LATE, Settlement(Verdict.ACK, states.FAILURE)),
        (AckPolicy(), Settlement(Verdict.ALREADY_ACKED, states.FAILURE)),
        (
            AckPolicy(acks_late=True, acks_on_timeout=False),
            Settlement(Verdict.REQUEUE_LOST, states.FAILURE),
        ),
    ],
)
def test_a_task_that_ran_out_of_time_failed_also_where_it_is_to_run_again(policy, settlement):
    assert decide(TimedOut(3), policy) == settlement
