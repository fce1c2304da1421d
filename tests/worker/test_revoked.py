"""The ids of tasks that are not to be started."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from celeriac.worker.revoked import Revoked

LIMIT = 5
EXPIRES_S = 10.0
IDS = st.sampled_from("abcdefgh")


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@given(st.lists(st.tuples(IDS, st.floats(0, 6))))
def test_the_newest_ids_are_known_until_their_time_is_over(steps):
    clock = Clock()
    revoked = Revoked(LIMIT, EXPIRES_S, clock)
    model: dict[str, float] = {}
    for task_id, pause_s in steps:
        clock.now_s += pause_s
        revoked.add([task_id])
        model.pop(task_id, None)
        model[task_id] = clock.now_s + EXPIRES_S
        model = {one: until for one, until in model.items() if until > clock.now_s}
        model = dict(list(model.items())[-LIMIT:])
        assert list(revoked) == list(model)
        assert all((one in revoked) == (one in model) for one in "abcdefgh")
        assert len(revoked) <= LIMIT


def test_what_other_versions_of_celery_send_is_merged_and_nonsense_is_not():
    revoked = Revoked(LIMIT, EXPIRES_S, Clock())
    revoked.merge(["a", 1, None])
    revoked.merge({"b": [1.5, "b"]})
    revoked.merge("cd")
    revoked.merge(None)
    assert list(revoked) == ["a", "b"]


def test_limits_come_from_celerys_variables(monkeypatch):
    monkeypatch.setenv("CELERY_WORKER_REVOKES_MAX", "2")
    monkeypatch.setenv("CELERY_WORKER_REVOKE_EXPIRES", "3")
    clock = Clock()
    revoked = Revoked(clock=clock)
    revoked.add("abc")
    assert list(revoked) == ["b", "c"]
    clock.now_s = 3.5
    assert list(revoked) == []
