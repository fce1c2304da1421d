"""The pool's decisions, without processes."""

from types import SimpleNamespace

import pytest

from celeriac.worker.outcome import Expired, Failed, HandedBack, Succeeded, TimedOut, WorkerLost
from celeriac.worker.pools.prefork.pool import PreforkPool
from celeriac.worker.pools.prefork.slot import SLOW_S, Child
from celeriac.worker.reports import WORN_OUT


class Link:
    def __init__(self):
        self.sent, self.recalls, self.is_stopped = [], 0, False
        self.written = []

    def send(self, seq, delivery, extra):
        self.sent.append(seq)

    def flush(self):
        self.written.append(list(self.sent))

    def recall(self):
        self.recalls += 1

    def stop(self):
        self.is_stopped = True

    def close(self):
        pass


class Host:
    def __init__(self):
        self.begun, self.done, self.late = [], [], set()

    def is_too_late(self, request):
        return request.id in self.late

    def started(self, request, pid):
        self.begun.append(request.id)

    def executed(self, request, report):
        self.begun.append(request.id)
        self.done.append((request.id, report.outcome))

    def ended(self, request, report):
        self.done.append((request.id, report.outcome))


class Server:
    kind = "Fork"

    """Children end by SIGKILL; nothing else is said."""

    def reports(self):
        return []

    def wait_exit(self, slot, wait_s):
        return 9


def request(name, limits=(None, None)):
    return SimpleNamespace(
        id=name,
        name=name,
        delivery=SimpleNamespace(timelimit=limits),
        task=SimpleNamespace(time_limit=None, soft_time_limit=None),
        expires_ms=0,
    )


def event(kind, slot, seq=0, seqs=()):
    return SimpleNamespace(
        kind=kind, slot=slot, seq=seq, seqs=list(seqs), code=0, detail=b"", document=b"{}"
    )


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr(
        "celeriac.worker.pools.prefork.pool.time", SimpleNamespace(monotonic=lambda: now.s)
    )
    return now


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def pool(host, clock, monkeypatch):
    made = PreforkPool(Server, host, size=2, max_given=4, start_wait_s=4.0)
    made._server = Server()
    for slot in (1, 2):
        made._children[slot] = Child(slot, Link(), born_s=clock.s, is_ready=True)
    monkeypatch.setattr(made, "_order_child", lambda: None)
    return made


def leave_one_child(pool):
    del pool._children[2]
    pool._size = 1


def sent(pool, slot):
    return pool._children[slot].link.sent


def submit(pool, *names):
    for name in names:
        pool.submit(request(name))


def test_free_children_come_before_a_look_ahead(pool):
    submit(pool, "a", "b")
    assert (sent(pool, 1), sent(pool, 2)) == ([1], [2])


def test_a_look_ahead_is_bounded_and_spread(pool):
    submit(pool, *"abcdefghijkl")
    assert (len(sent(pool, 1)), len(sent(pool, 2))) == (4, 4)
    assert len(pool._pending) == 4


def test_an_outcome_makes_room_for_what_is_pending(pool, host):
    submit(pool, *"abcdefghi")
    pool.hear(event("taken", 1, 1))
    pool.hear(event("outcome", 1, 1))
    assert host.done == [("a", Succeeded())]
    assert len(sent(pool, 1)) == 5
    assert not pool._pending


def test_what_is_given_together_is_written_together(pool):
    submit(pool, *"abcdef")
    first, second = (pool._children[slot].link for slot in (1, 2))
    assert (first.written, second.written) == ([], [])
    pool.tend()
    pool.tend()
    assert (first.written, second.written) == ([[1, 3, 5]], [[2, 4, 6]])


def test_tasks_that_began_and_ended_together_are_heard_of_once_each(pool, host):
    submit(pool, *"abcdefghi")
    told = event("executed", 1)
    told.executed = [(1, 0, None, None), (3, 1, b"{}", None)]
    pool.hear(told)
    assert host.done == [("a", Succeeded()), ("c", Failed())]
    assert pool._children[1].done == 2
    assert sent(pool, 1) == [1, 3, 5, 7, 9]


def test_a_child_that_has_grown_is_replaced_although_its_words_came_together(pool):
    submit(pool, "a", "b")
    told = event("executed", 1)
    told.executed = [(1, WORN_OUT, None, None)]
    pool.hear(told)
    assert pool._children[1].link.is_stopped


def test_what_waits_behind_a_slow_task_is_recalled_once_and_given_to_a_free_child(pool, clock):
    submit(pool, "slow", "b", "c")
    pool.hear(event("taken", 1, 1))
    pool.hear(event("taken", 2, 2))
    pool.hear(event("outcome", 2, 2))
    clock.s += SLOW_S * 2
    pool.tend()
    pool.tend()
    assert pool._children[1].link.recalls == 1
    pool.hear(event("recalled", 1, seqs=[3]))
    assert sent(pool, 2) == [2, 4]


def test_what_a_child_gives_back_when_it_is_free_again_is_given_to_it(pool, clock):
    leave_one_child(pool)
    submit(pool, "slow", "b")
    pool.hear(event("taken", 1, 1))
    clock.s += SLOW_S * 2
    pool.tend()
    pool.hear(event("outcome", 1, 1))
    pool.hear(event("recalled", 1, seqs=[2]))
    assert sent(pool, 1) == [1, 2, 3]


def test_a_child_that_was_slow_gets_no_look_ahead_until_it_is_quick_again(pool, clock):
    leave_one_child(pool)
    submit(pool, "slow")
    pool.hear(event("taken", 1, 1))
    clock.s += SLOW_S * 2
    pool.hear(event("outcome", 1, 1))
    submit(pool, "b", "c")
    assert sent(pool, 1) == [1, 2]
    pool.hear(event("taken", 1, 2))
    pool.hear(event("outcome", 1, 2))
    submit(pool, "d")
    assert sent(pool, 1) == [1, 2, 3, 4]


def test_a_dead_childs_task_is_lost_and_the_others_are_handed_back(pool, host):
    leave_one_child(pool)
    submit(pool, "a", "b")
    pool.hear(event("taken", 1, 1))
    pool.hear(event("gone", 1))
    assert host.done == [
        ("a", WorkerLost("Worker exited prematurely: signal 9 (SIGKILL) Job: 1.")),
        ("b", HandedBack()),
    ]


def test_a_task_that_expires_while_it_waits_for_a_child_is_not_given_to_one(pool, host):
    late = request("late")
    late.expires_ms = 1
    host.late.add("late")
    pool.submit(late)
    assert host.done == [("late", Expired())]
    assert sent(pool, 1) == []


def test_a_warm_stop_recalls_what_is_not_started(pool, host):
    submit(pool, *"abcdefghij")
    pool.hear(event("taken", 1, 1))
    pool.hand_back()
    assert [name for name, _ in host.done] == ["i", "j"]
    waiting = [given.seq for given in pool._children[1].given if given.seq != 1]
    pool.hear(event("recalled", 1, seqs=waiting))
    assert ("c", HandedBack()) in host.done
    assert not pool.is_idle
    everything = [given.seq for given in pool._children[2].given]
    pool.hear(event("recalled", 2, seqs=everything))
    pool.hear(event("outcome", 1, 1))
    assert pool.is_idle


def test_a_child_that_does_not_get_ready_is_given_up(pool, host, clock, caplog):
    killed = []
    pool._server.kill = lambda slot, signum: killed.append(slot)
    pool._children[1].is_ready = False
    clock.s += 5.0
    pool.tend()
    assert killed == [1]
    assert "Timed out waiting for ForkPoolWorker-1 to start" in caplog.text


def test_a_task_beyond_its_hard_limit_is_killed_and_what_waits_behind_it_is_handed_back(
    pool, host, clock, caplog
):
    leave_one_child(pool)
    killed = []
    pool._server.kill = lambda slot, signum: killed.append(slot)
    pool.submit(request("a", limits=(2.0, 1.0)))
    submit(pool, "b")
    pool.hear(event("taken", 1, 1))
    assert pool.tend() <= 1.0
    clock.s += 1.5
    pool.tend()
    pool.tend()
    assert caplog.text.count("Soft time limit (1s) exceeded for a[a]") == 1
    assert not killed
    clock.s += 0.5
    pool._size = 0
    pool.tend()
    assert killed == [1]
    assert host.done == [("a", TimedOut(2.0)), ("b", HandedBack())]
    assert caplog.text.count("Hard time limit (2s) exceeded for a[a]") == 1
    assert "exited with" not in caplog.text


def test_a_limit_ends_with_its_task(pool, host, clock):
    pool.submit(request("a", limits=(2.0, None)))
    pool.hear(event("taken", 1, 1))
    pool.hear(event("outcome", 1, 1))
    clock.s += 5
    pool.tend()
    assert host.done == [("a", Succeeded())]


def test_a_child_that_has_done_all_it_may_gets_no_more_and_is_replaced(pool, monkeypatch):
    leave_one_child(pool)
    ordered = []
    monkeypatch.setattr(pool, "_order_child", lambda: ordered.append(True))
    pool._max_tasks = 2
    submit(pool, "a", "b", "c")
    child = pool._children[1]
    assert child.link.sent == [1, 2]
    for seq in (1, 2):
        assert not child.link.is_stopped
        pool.hear(event("taken", 1, seq))
        pool.hear(event("outcome", 1, seq))
    assert child.link.is_stopped
    assert ordered == [True]
    assert [request.id for request in pool._pending] == ["c"]


def test_a_child_that_has_grown_too_large_gives_back_what_waits_before_it_retires(pool):
    leave_one_child(pool)
    submit(pool, "a", "b")
    pool.hear(event("taken", 1, 1))
    worn_out = event("outcome", 1, 1)
    worn_out.code = WORN_OUT
    pool.hear(worn_out)
    child = pool._children[1]
    assert (child.link.recalls, child.link.is_stopped) == (1, False)
    pool.hear(event("recalled", 1, seqs=[2]))
    assert child.link.is_stopped
    assert [request.id for request in pool._pending] == ["b"]


def test_a_child_that_retires_is_no_accident(pool, monkeypatch, caplog):
    leave_one_child(pool)
    ordered = []
    monkeypatch.setattr(pool, "_order_child", lambda: ordered.append(True))
    submit(pool, "a")
    pool.hear(event("taken", 1, 1))
    worn_out = event("outcome", 1, 1)
    worn_out.code = WORN_OUT
    pool.hear(worn_out)
    pool.hear(event("gone", 1))
    assert ordered == [True]
    assert not caplog.text


def test_a_child_that_retires_is_given_nothing_although_it_is_free(pool):
    leave_one_child(pool)
    pool._max_tasks = 1
    submit(pool, "a")
    pool.hear(event("taken", 1, 1))
    pool.hear(event("outcome", 1, 1))
    submit(pool, "b")
    assert sent(pool, 1) == [1]
    assert [request.id for request in pool._pending] == ["b"]
