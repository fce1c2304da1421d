"""The small rooms of the worker."""

import datetime
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from celeriac import Celery
from celeriac.exceptions import ImproperlyConfigured, OperationalError
from celeriac.worker.banner import Facts, banner
from celeriac.worker.connect import reach_broker
from celeriac.worker.options import loglevel_number, names, options_from
from celeriac.worker.pidfile import Pidfile
from celeriac.worker.pools.prefork.forks import human_status
from celeriac.worker.pools.prefork.slot import Child, Given
from celeriac.worker.unsupported import report_unsupported


class Broken:
    """A publisher whose broker answers at the given try."""

    url = "redis://:secret@here:1/0"

    def __init__(self, answers_at):
        self.left = answers_at

    def declare(self, queue, wait_s):
        self.left -= 1
        if self.left > 0:
            raise OperationalError("refused")


def test_a_broker_is_tried_again_with_growing_pauses(caplog):
    pauses = []
    assert reach_broker(Broken(4), [{"name": "a"}], 100, lambda s: pauses.append(s) or True)
    assert pauses == [2.0, 4.0, 6.0]
    assert "Trying again in 6.00 seconds... (3/100)" in caplog.text
    assert "secret" not in caplog.text


def test_a_broker_is_given_up_after_the_last_try():
    pauses = []
    with pytest.raises(OperationalError):
        reach_broker(Broken(99), [{"name": "a"}], 2, lambda s: pauses.append(s) or True)
    assert len(pauses) == 2


def test_pauses_do_not_grow_for_ever():
    pauses = []
    reach_broker(Broken(30), [{"name": "a"}], None, lambda s: pauses.append(s) or True)
    assert max(pauses) == 30.0


def test_a_stop_ends_the_tries():
    assert not reach_broker(Broken(9), [{"name": "a"}], 100, lambda _: False)


def test_a_stale_pidfile_is_replaced(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "pid").write_text(f"{ended.pid}\n")
    pidfile = Pidfile(str(tmp_path / "pid"))
    pidfile.acquire()
    assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
    pidfile.release()
    assert not (tmp_path / "pid").exists()


def test_a_live_pidfile_ends_the_program_with_celerys_exit_code(tmp_path):
    (tmp_path / "pid").write_text(f"{os.getppid()}\n")
    with pytest.raises(SystemExit) as caught:
        Pidfile(str(tmp_path / "pid")).acquire()
    assert caught.value.code == 73
    assert (tmp_path / "pid").exists()


@pytest.mark.parametrize(
    ("status", "words"),
    [(9, "signal 9 (SIGKILL)"), (3 << 8, "exitcode 3"), (0, "exitcode 0"), (64, "signal 64")],
)
def test_the_end_of_a_process_is_worded_as_celery_does(status, words):
    assert human_status(status).startswith(words)


class Link:
    def recall(self):
        pass


def child(tasks, *, is_taken=True):
    made = Child(1, Link(), born_s=0.0, is_ready=True)
    made.given.extend(Given(n, f"request-{n}") for n in range(tasks))
    if tasks:
        made.given[0].is_taken = is_taken
    return made


def test_what_waits_behind_a_task_is_due_for_recall_after_10_ms():
    one = child(2)
    one.taken_s = 5.0
    assert one.holds_up(5.004) == pytest.approx(0.006)
    assert one.holds_up(5.011) < 0


def test_nothing_is_recalled_where_nothing_waits_or_it_was_recalled():
    assert child(1).holds_up(9.0) is None
    slow = child(2)
    slow.is_slow = True
    assert slow.holds_up(9.0) is None


def test_a_slow_child_has_room_for_one_task():
    slow = child(0)
    slow.is_slow = True
    assert slow.room(4) == 1
    assert child(1).room(4) == 3
    slow.given.append(Given(1, "request"))
    assert slow.room(4) == 0


def test_what_is_given_back_leaves_the_child_in_order():
    one = child(4)
    assert one.take_back([3, 1]) == ["request-1", "request-3"]
    assert [given.seq for given in one.given] == [0, 2]


def options(**given):
    conf = SimpleNamespace(
        worker_pool="prefork",
        worker_concurrency=None,
        worker_prefetch_multiplier=4,
        worker_send_task_events=False,
        worker_pool_start_method="fork",
        task_time_limit=None,
        task_soft_time_limit=None,
        worker_max_tasks_per_child=None,
        worker_max_memory_per_child=None,
    )
    conf.__dict__.update(given.pop("conf", {}))
    return options_from(conf, None, given)


def test_prefetch_is_the_multiplier_for_each_process():
    assert options(concurrency="3").prefetch == 12
    assert options(concurrency=3, prefetch_multiplier=0).prefetch == 0
    assert options(pool="solo", concurrency=8).prefetch == 4


@pytest.mark.parametrize("given", [{"concurrency": "-1"}, {"concurrency": "x"}, {"pool": "gevent"}])
def test_options_that_cannot_be_are_refused(given):
    with pytest.raises(ImproperlyConfigured):
        options(**given)


def test_another_way_to_start_children_is_refused():
    with pytest.raises(ImproperlyConfigured, match="'fork' or 'spawn', not 'forkserver'"):
        options(conf={"worker_pool_start_method": "forkserver"})


def test_levels_and_lists_are_read_as_people_write_them():
    assert loglevel_number("info") == logging.INFO
    assert loglevel_number(None) == logging.WARNING
    assert names("a, b,,c") == ["a", "b", "c"]
    assert names("") is None
    with pytest.raises(ImproperlyConfigured, match="LOUD"):
        loglevel_number("LOUD")


def facts(**more):
    return Facts(
        hostname="w@h",
        app="p:0x1",
        transport="memory://",
        results="disabled://",
        concurrency="1 (solo)",
        task_events=False,
        queues={},
        tasks=["b", "a", "celery.x"],
        **more,
    )


NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)


def test_tasks_are_listed_at_info_and_built_in_ones_at_debug():
    assert "[tasks]" not in banner(facts(), logging.WARNING, NOW)
    assert "  . a\n  . b\n" in banner(facts(), logging.INFO, NOW)
    assert "celery.x" not in banner(facts(), logging.INFO, NOW)
    assert "  . celery.x" in banner(facts(), logging.DEBUG, NOW)


def test_the_banner_tells_of_the_embedded_queue():
    assert "embedded queue x" in banner(facts(note="embedded queue x"), None, NOW)


def test_a_task_with_a_time_limit_stops_a_worker_that_cannot_hold_it_unless_allowed(caplog):
    app = Celery("t", broker="memory://", set_as_current=False)

    @app.task(name="t.slow", time_limit=5, shared=False)
    def slow():
        return None

    app.finalize()
    with pytest.raises(ImproperlyConfigured, match=r"t\.slow\.time_limit=5"):
        report_unsupported(app, {}, allow_unsupported=False, pool="threads")
    assert "The threads pool cannot hold tasks to time limits; -P prefork can." in caplog.text
    report_unsupported(app, {}, allow_unsupported=True, pool="solo")
    assert "t.slow.time_limit=5" in caplog.text
    report_unsupported(app, {}, allow_unsupported=False, pool="prefork")


def test_what_has_no_effect_is_named_in_one_warning(caplog):
    app = Celery("t", broker="memory://", set_as_current=False)
    app.conf.worker_state_db = "/x"
    app.finalize()
    report_unsupported(app, {"--statedb": ("/y", False)}, allow_unsupported=False)
    (record,) = caplog.records
    assert "worker_state_db='/x'" in record.getMessage()
    assert "--statedb='/y'" in record.getMessage()


def test_a_transport_option_without_effect_is_named(caplog):
    app = Celery("t", broker="redis://here/0", set_as_current=False)
    app.conf.broker_transport_options = {"health_check_interval": 5}
    app.finalize()
    report_unsupported(app, {}, allow_unsupported=False)
    assert "broker_transport_options['health_check_interval']=5" in caplog.text


def test_nothing_is_said_where_everything_has_its_effect(caplog):
    app = Celery("t", broker="memory://", set_as_current=False)
    app.finalize()
    report_unsupported(app, {}, allow_unsupported=False)
    assert not caplog.records
