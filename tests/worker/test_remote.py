"""Remote control of real workers, on the embedded broker: what it does, and what it survives."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid

import pytest
from running import SOURCE, TASKS, Running, until

from celeriac import Celery
from celeriac._native import Mailbox
from celeriac.app.control import flatten_reply
from celeriac.exceptions import (
    DuplicateNodenameWarning,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
)
from celeriac.worker.control import Panel, control_command

NODE = "w1@here"


@pytest.fixture
def app(tmp_path):
    (tmp_path / "proj.py").write_text(TASKS)
    url = f"sqlite:///{tmp_path}/q.db"
    return Celery("proj", broker=url, backend=url)


@pytest.fixture
def worker(app, tmp_path, request):
    pool = getattr(request, "param", ("-P", "prefork", "-c", "1"))
    with Running(tmp_path, "-n", NODE, *pool) as running:
        yield running.ready()


def ask(app, command, **arguments):
    replies = app.control.broadcast(command, arguments, [NODE], reply=True, timeout=10.0)
    assert len(replies) == 1
    return replies[0][NODE]


def raw(app, body, content_type="application/json"):
    """Send a letter that no client of ours would send."""
    mail = app.control.mailbox
    queue = {"name": "nobody", "exchange": mail.reply_exchange, "routing_key": uuid.uuid4().hex}
    box = Mailbox(app.conf.broker_url, {}, queue)
    properties = {"content_type": content_type, "content_encoding": "utf-8"}
    box.send({"clock": 1}, properties, body, mail.exchange, "fanout", "", 10.0)
    box.close(1.0)


MALFORMED = [
    (b"{", "application/json"),
    (b"[]", "application/json"),
    (b"null", "application/json"),
    (b"{}", "application/json"),
    (b'{"method": ["x"], "arguments": [1]}', "application/json"),
    (b'{"method": "ping", "arguments": 5, "reply_to": 5}', "application/json"),
    (b'{"method": "ping", "destination": 5}', "application/json"),
    (b'{"method": "ping", "pattern": "(", "matcher": "pcre"}', "application/json"),
    (b'{"method": "revoke"}', "application/json"),
    (b"\x80\x04.", "application/x-python-serialize"),
]


def test_malformed_control_messages_are_dropped_and_the_next_one_answered(app, worker):
    for body, content_type in MALFORMED:
        raw(app, body, content_type)
        assert ask(app, "ping") == {"ok": "pong"}, body
    assert worker.process.poll() is None


def test_an_unknown_command_and_one_that_fails_answer_with_the_reason(app, worker):
    assert ask(app, "nosuch") == {"error": "KeyError('nosuch')"}
    assert "error" in ask(app, "query_task")
    assert ask(app, "ping") == {"ok": "pong"}


@pytest.mark.parametrize(
    ("pattern", "matcher", "is_meant"),
    [("w?@*", "glob", True), ("v*", "glob", False), ("w\\d@", "pcre", True), ("x", "pcre", False)],
)
def test_nodes_are_chosen_by_pattern(app, worker, pattern, matcher, is_meant):
    found = app.control.ping(
        timeout=10.0 if is_meant else 0.5, limit=1, pattern=pattern, matcher=matcher
    )
    assert bool(found) == is_meant


def test_what_runs_waits_and_was_started_is_told(app, worker, tmp_path):
    running = app.send_task("proj.hold", ("begun", "release"))
    until((tmp_path / "begun").exists)
    waiting = app.send_task("proj.add", (1, 2))
    until(lambda: ask(app, "reserved"))
    (active,), (reserved,) = ask(app, "active"), ask(app, "reserved")
    assert (active["id"], active["args"], active["name"]) == (
        running.id,
        ["begun", "release"],
        "proj.hold",
    )
    assert active["time_start"] > 0
    assert (reserved["id"], reserved["time_start"]) == (waiting.id, None)
    found = ask(app, "query_task", ids=[running.id, waiting.id, "unknown"])
    assert {one: state for one, (state, _) in found.items()} == {
        running.id: "active",
        waiting.id: "reserved",
    }
    (tmp_path / "release").touch()
    assert waiting.get(timeout=20) == 3
    until(lambda: not ask(app, "active"))
    stats = ask(app, "stats")
    assert stats["total"] == {"proj.hold": 1, "proj.add": 1}
    assert stats["pid"] == worker.process.pid
    assert stats["pool"]["processes"] == [active["worker_pid"]]


def test_a_task_that_waits_for_a_process_is_revoked(app, worker, tmp_path):
    app.send_task("proj.hold", ("begun", "release"))
    until((tmp_path / "begun").exists)
    revoked, kept = (app.send_task("proj.add", (1, 2)) for _ in range(2))
    until(lambda: len(ask(app, "reserved")) == 2)
    ask(app, "revoke", task_id=[revoked.id])
    (tmp_path / "release").touch()
    assert kept.get(timeout=20) == 3
    with pytest.raises(TaskRevokedError):
        revoked.get(timeout=20)
    assert ask(app, "stats")["total"] == {"proj.hold": 1, "proj.add": 1}


def test_a_task_that_runs_is_terminated_with_its_process_and_the_next_one_runs(
    app, worker, tmp_path
):
    running = app.send_task("proj.hold_again", ("begun", "release"))
    until((tmp_path / "begun").exists)
    assert ask(app, "revoke", task_id=running.id, terminate=True) == {
        "ok": f"terminate: {running.id}"
    }
    with pytest.raises(TaskRevokedError, match="terminated"):
        running.get(timeout=20)
    assert app.send_task("proj.add", (1, 2)).get(timeout=20) == 3
    assert ask(app, "active") == []
    assert ask(app, "terminate", task_id="unknown", signal="KILL") == {
        "ok": "terminate: tasks unknown"
    }


@pytest.mark.parametrize("worker", [("-P", "solo")], indirect=True)
def test_a_pool_that_cannot_terminate_says_so(app, worker):
    assert (
        "run the worker with -P prefork"
        in ask(app, "revoke", task_id="some", terminate=True)["error"]
    )
    assert ask(app, "revoked") == ["some"]


def test_a_worker_that_starts_learns_what_is_revoked(app, worker, tmp_path):
    ask(app, "revoke", task_id=["a", "b"])
    with Running(tmp_path, "-n", "w2@here", "-P", "solo") as second:
        second.ready()
        until(lambda: app.control.inspect(["w2@here"], 10.0).revoked() == {"w2@here": ["a", "b"]})


def test_the_pool_grows_and_shrinks_with_its_prefetch(app, worker, tmp_path):
    assert ask(app, "pool_grow", n=2) == {"ok": "pool will grow"}
    held = [app.send_task("proj.hold", (f"begun{n}", "release")) for n in range(3)]
    until(lambda: all((tmp_path / f"begun{n}").exists() for n in range(3)))
    stats = ask(app, "stats")
    assert (stats["pool"]["max-concurrency"], stats["prefetch_count"]) == (3, 12)
    assert ask(app, "pool_shrink", n=2) == {"ok": "pool will shrink"}
    assert "one must be left" in ask(app, "pool_shrink", n=1)["error"]
    (tmp_path / "release").touch()
    assert len({one.get(timeout=20) for one in held}) == 3
    until(lambda: len(ask(app, "stats")["pool"]["processes"]) == 1)
    assert app.send_task("proj.add", (1, 2)).get(timeout=20) == 3
    assert "exited" not in worker.text


@pytest.mark.parametrize(
    "worker", [("-P", "threads", "-c", "1"), ("-P", "aio", "-c", "1")], indirect=True
)
def test_pools_of_threads_grow_and_shrink_too(app, worker, tmp_path):
    ask(app, "pool_grow", n=1)
    held = [app.send_task("proj.hold", (f"begun{n}", "release")) for n in range(2)]
    until(lambda: all((tmp_path / f"begun{n}").exists() for n in range(2)))
    assert ask(app, "pool_shrink") == {"ok": "pool will shrink"}
    (tmp_path / "release").touch()
    assert {one.get(timeout=20) for one in held} == {worker.process.pid}
    assert app.send_task("proj.add", (1, 2)).get(timeout=20) == 3


@pytest.mark.parametrize("worker", [("-P", "solo")], indirect=True)
def test_a_pool_of_one_neither_grows_nor_limits_tasks_and_says_so(app, worker):
    assert "one size" in ask(app, "pool_grow")["error"]
    answer = ask(app, "time_limit", task_name="proj.add", hard=3)
    assert "cannot hold this task to time limits" in answer["error"]


def test_time_limits_are_changed_while_the_worker_runs(app, worker):
    assert ask(app, "time_limit", task_name="nosuch", hard=3) == {"error": "unknown task"}
    done = {"ok": "time limits set successfully"}
    assert ask(app, "time_limit", task_name="proj.hold", hard=None, soft=0.2) == done
    with pytest.raises(SoftTimeLimitExceeded):
        app.send_task("proj.hold", ("begun", "release")).get(timeout=20)
    assert ask(app, "time_limit", task_name="proj.hold", hard=0.2) == done
    with pytest.raises(TimeLimitExceeded):
        app.send_task("proj.hold", ("begun", "release")).get(timeout=20)


def test_tasks_are_revoked_by_their_stamps_wherever_they_are(app, worker, tmp_path):
    def stamped(value, *arguments, **options):
        signature = app.signature(*arguments, **options)
        signature.stamp(visitor=None, customer=value)
        return signature.apply_async()

    running = stamped("a", "proj.hold", ("begun", "release"))
    until((tmp_path / "begun").exists)
    waiting, kept = (stamped(value, "proj.add", (1, 2)) for value in "ab")
    later = stamped("a", "proj.add", (1, 2), options={"countdown": 300})
    until(lambda: len(ask(app, "reserved")) == 2 and ask(app, "scheduled"))
    headers = {"customer": ["a", "x"]}
    assert ask(app, "revoke_by_stamped_headers", headers=headers) == {
        "ok": f"headers {headers} flagged as revoked, but not terminated"
    }
    for one in (later, stamped("x", "proj.add", (1, 2))):
        with pytest.raises(TaskRevokedError, match="revoked"):
            one.get(timeout=20)
    answer = ask(app, "revoke_by_stamped_headers", headers=["customer=a"], terminate=True)
    assert answer == {"ok": "headers {'customer': 'a'} revoked"}
    with pytest.raises(TaskRevokedError, match="terminated"):
        running.get(timeout=20)
    with pytest.raises(TaskRevokedError, match="revoked"):
        waiting.get(timeout=20)
    assert kept.get(timeout=20) == 3


@pytest.mark.parametrize("command", ["pool_restart", "autoscale", "election", "rate_limit"])
def test_a_command_that_is_not_there_answers_in_one_sentence(app, worker, command):
    assert f"{command} is not there in celeriac yet" in ask(app, command)["error"]


def test_a_worker_is_shut_down_by_command(app, worker):
    app.control.shutdown([NODE])
    assert worker.wait() == 0, worker.text


def test_a_worker_without_remote_control_hears_nothing(app, tmp_path):
    arguments = ("-n", NODE, "-P", "solo", "--", "worker.enable_remote_control=no")
    with Running(tmp_path, *arguments) as running:
        running.ready()
        assert app.control.ping([NODE], timeout=0.5) == []


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "celeriac", "-A", "proj", *arguments],
        cwd=folder, env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


def test_commands_print_json_and_purge_counts(app, worker, tmp_path):
    done = run(tmp_path, "inspect", "ping", "--json")
    assert json.loads(done.stdout) == {NODE: {"ok": "pong"}}
    done = run(tmp_path, "-q", "status")
    assert (done.returncode, done.stdout.split()) == (0, [f"{NODE}:", "OK"])
    app.control.cancel_consumer("celery", reply=True, limit=1)
    app.send_task("proj.add", (1, 2))
    done = run(tmp_path, "purge", "-f")
    assert done.stdout == "Purged 1 message from 1 known task queue.\n"
    done = run(tmp_path, "list", "bindings")
    assert done.stdout.splitlines()[2].split() == ["celery", "celery", "celery"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("inspect", "nosuch"), 2, "Available inspect commands: active,"),
        (("control", "pool_grow", "many"), 2, "takes arguments: [N=1]"),
        (("control", "pool_grow", "1", "2"), 2, "takes arguments: [N=1]"),
        (("-b", "redis://127.0.0.1:1/0", "status"), 69, "Could not connect to the message broker"),
        (("call", "proj.add", "-a", "{}"), 2, "is not a JSON array"),
        (("migrate", "a", "b"), 64, "celeriac migrate is not in this version"),
    ],
)
def test_what_cannot_be_done_is_said_with_celerys_exit_code(tmp_path, arguments, code, said):
    (tmp_path / "proj.py").write_text("from celeriac import Celery\napp = Celery('proj')\n")
    done = run(tmp_path, *arguments)
    assert done.returncode == code
    assert said in done.stderr


def test_report_names_versions_and_hides_passwords(tmp_path):
    (tmp_path / "proj.py").write_text(
        "from celeriac import Celery\napp = Celery(broker='amqp://me:hidden@host//')\n"
    )
    done = run(tmp_path, "report")
    assert "software -> celeriac:" in done.stdout
    assert "hidden" not in done.stdout


def test_the_answers_of_two_workers_with_one_name_are_warned_about():
    with pytest.warns(DuplicateNodenameWarning, match="a@here"):
        assert flatten_reply([{"a@here": 1}, {"a@here": 2}, {"b@here": 3}]) == {
            "a@here": 2, "b@here": 3,
        }  # fmt: skip


def test_commands_of_the_users_own_are_registered_as_with_celery(monkeypatch):
    monkeypatch.setattr(Panel, "data", dict(Panel.data))
    monkeypatch.setattr(Panel, "meta", dict(Panel.meta))

    @control_command(args=[("n", int)], signature="[N=1]", alias="older")
    def increase(state, n=1):
        """Increase something."""
        return {"ok": n}

    assert Panel.data["increase"] is Panel.data["older"] is increase
    assert Panel.meta["increase"].help == "Increase something."
    assert Panel.meta["increase"].type == "control"
