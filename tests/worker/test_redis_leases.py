"""Leases on Redis that pass to another while their task runs, and peers whose clocks are wrong."""

import os
import shutil
import signal
import subprocess
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
import services
from running import Running, until, until_all

from celeriac import Celery, broker

GET_S = 20
TASKS = 100
VISIBILITY_S = 3
#: Of Debian's package, where a program that is loaded before others finds it.
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
pytestmark = pytest.mark.timeout(120)

PROJECT = """
import select
from pathlib import Path
from celeriac import Celery

HERE = Path(__file__).parent
app = Celery("proj", broker={url!r})
app.conf.update(
    task_default_queue={queue!r},
    broker_transport_options={options!r},
)
done = (HERE / "done").open("a", buffering=1)

def pause(wait_s):
    # Not `time.sleep`: where the clock is shifted, it fails.
    select.select((), (), (), wait_s)

@app.task(ignore_result=True, acks_late=True)
def note(name):
    pause(0.02)
    done.write(name + "\\n")

@app.task(ignore_result=True, acks_late=True)
def hold(name):
    (HERE / "begun").touch()
    while not (HERE / "release").exists():
        pause(0.005)
    done.write(name + "\\n")
"""


class Project:
    def __init__(self, folder, url, **options):
        self.queue = f"leases-{uuid.uuid4().hex[:8]}"
        text = PROJECT.format(url=url, queue=self.queue, options=options)
        (folder / "proj.py").write_text(text)
        self.done = folder / "done"
        self.done.touch()
        self.client = Celery("client", broker=url, set_as_current=False)
        self.client.conf.task_default_queue = self.queue

    def left(self):
        return broker.publisher(self.client).depth(self.queue, GET_S)

    def ran(self):
        return self.done.read_text().split()


@pytest.fixture
def begin(tmp_path, redis_url):
    made = []

    def begun(**options):
        made.append(Project(tmp_path, redis_url, **options))
        return made[0]

    yield begun
    for project in made:
        project.client.close()


def test_an_ack_after_its_lease_has_passed_to_another_is_told_with_its_tag(tmp_path, redis, begin):
    project = begin()
    with Running(tmp_path, "-P", "solo") as worker:
        worker.ready()
        project.client.send_task("proj.hold", ("held",))
        until((tmp_path / "begun").exists)
        (owner,) = redis.zrange("unacked_owners", 0, -1)
        (tag,) = redis.smembers(b"unacked_owner." + owner)
        redis.smove(b"unacked_owner." + owner, "unacked_owner.another", tag)
        (tmp_path / "release").touch()
        assert tag.decode() in worker.wait_line("the lease has passed to another")
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert redis.hexists("unacked", tag)


def test_acks_in_time_are_no_news(tmp_path, begin):
    project = begin()
    with Running(tmp_path, "-P", "threads", "-c", "2") as worker:
        worker.ready()
        with project.client.publisher() as publisher:
            for number in range(TASKS):
                project.client.send_task("proj.note", (f"{number}",), publisher=publisher)
        until_all(lambda: len(project.ran()), TASKS)
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert "passed to another" not in worker.text
    assert "restored by somebody else" not in worker.text


def faketime():
    """The library that shifts a process's clock."""
    found = sorted(Path("/").glob(FAKETIME[1:]))
    if not found:
        services.install("libfaketime")
        found = sorted(Path("/").glob(FAKETIME[1:]))
    return str(found[0])


@pytest.fixture
def shifted(tmp_path, monkeypatch):
    """Starts workers whose clocks on the wall are wrong, and only these."""

    def started(name, offset):
        with monkeypatch.context() as patched:
            patched.setenv("LD_PRELOAD", faketime())
            patched.setenv("FAKETIME", offset)
            patched.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            return Running(tmp_path, "-P", "threads", "-c", "2", "-n", f"{name}@here")

    return started


def test_peers_whose_clocks_are_minutes_apart_take_nothing_from_each_other(
    tmp_path, redis, begin, shifted
):
    options = {"unacked_restore_interval": 0.5, "unacked_restore_throttle": 1}
    project = begin(visibility_timeout=VISIBILITY_S, lease_timeout=VISIBILITY_S, **options)
    with shifted("ahead", "+10m") as ahead, shifted("behind", "-10m") as behind:
        ahead.ready()
        behind.ready()
        project.client.send_task("proj.hold", ("held",))
        until((tmp_path / "begun").exists)
        with project.client.publisher() as publisher:
            for number in range(3 * TASKS):
                project.client.send_task("proj.note", (f"{number}",), publisher=publisher)
        # As long as leases and the visibility timeout last, and both sweep again and again.
        until_all(lambda: len(project.ran()), 3 * TASKS)
        began_s, _ = redis.time()
        until(lambda: redis.time()[0] - began_s > VISIBILITY_S + 1)
        (tmp_path / "release").touch()
        until_all(lambda: len(project.ran()), 3 * TASKS + 1)
        for worker in (ahead, behind):
            worker.signal(signal.SIGTERM)
            assert worker.wait() == 0
    ran = project.ran()
    assert sorted(ran) == sorted(set(ran))
    assert project.left() == 0


def test_the_clocks_of_that_test_are_wrong():
    program = ["date", "+%s"]
    environment = {**os.environ, "LD_PRELOAD": faketime(), "FAKETIME": "-10m"}
    now, then = (
        int(subprocess.run(program, env=given, capture_output=True, check=True).stdout)
        for given in (os.environ, environment)
    )
    assert 590 <= now - then <= 610, shutil.which("date")


#: A death is seen within about 4 s; the rest is for a busy machine.
SEEN_S = 6


@contextmanager
def pair(folder, *options):
    """Two workers."""
    with (
        Running(folder, *options, "-n", "first@here") as first,
        Running(folder, *options, "-n", "second@here") as second,
    ):
        yield first.ready(), second.ready()


def hold(project, folder, workers):
    """Sends a task that is held; returns the worker that runs it, and the other one."""
    project.client.send_task("proj.hold", ("held",))
    until((folder / "begun").exists)
    first, second = workers
    until(lambda: "received" in first.text + second.text)
    return (first, second) if "received" in first.text else (second, first)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_peer_runs_within_seconds_what_a_killed_worker_held(tmp_path, begin, pool):
    project = begin()
    with pair(tmp_path, "-P", pool, "-c", "1") as workers:
        holder, peer = hold(project, tmp_path, workers)
        (tmp_path / "begun").unlink()
        holder.signal(signal.SIGKILL)
        killed_s = time.monotonic()
        until((tmp_path / "begun").exists)
        assert time.monotonic() - killed_s < SEEN_S
        (tmp_path / "release").touch()
        peer.wait_line("succeeded")
        assert "restored what nobody held any more" in peer.text
        peer.signal(signal.SIGTERM)
        assert peer.wait() == 0
    assert project.left() == 0


def test_what_a_stopped_worker_holds_is_not_doubled(tmp_path, redis, begin):
    project = begin()
    with pair(tmp_path, "-P", "threads", "-c", "1") as workers:
        holder, peer = hold(project, tmp_path, workers)
        holder.signal(signal.SIGSTOP)
        began_s, _ = redis.time()
        until(lambda: redis.time()[0] - began_s > SEEN_S)
        holder.signal(signal.SIGCONT)
        (tmp_path / "release").touch()
        holder.wait_line("succeeded")
        for worker in workers:
            worker.signal(signal.SIGTERM)
            assert worker.wait() == 0
        assert "restored" not in peer.text
    assert project.ran() == ["held"]
    assert project.left() == 0


@pytest.fixture
def refusing(tmp_path, redis, redis_url):
    """Projects whose user may not use a command."""
    names, made = [], []

    def begun(rule, **options):
        names.append(f"leases-{uuid.uuid4().hex[:8]}")
        redis.execute_command(
            "ACL", "SETUSER", names[0], "on", ">secret", "~*", "&*", "+@all", rule
        )
        url = redis_url.replace("redis://", f"redis://{names[0]}:secret@")
        made.append(Project(tmp_path, url, **options))
        return made[0]

    yield begun
    for project in made:
        project.client.close()
    redis.acl_deluser(*names)


@pytest.mark.parametrize(
    ("rule", "line"), [("-pubsub", "no PUBSUB NUMSUB"), ("-subscribe", "no SUBSCRIBE")]
)
def test_where_deaths_cannot_be_seen_the_end_of_the_lease_decides(tmp_path, refusing, rule, line):
    project = refusing(rule, lease_timeout=VISIBILITY_S)
    with pair(tmp_path, "-P", "threads", "-c", "1") as workers:
        holder, peer = hold(project, tmp_path, workers)
        (tmp_path / "begun").unlink()
        holder.signal(signal.SIGKILL)
        until((tmp_path / "begun").exists)
        (tmp_path / "release").touch()
        peer.wait_line("succeeded")
        peer.signal(signal.SIGTERM)
        assert peer.wait() == 0
        assert peer.text.count(line) == 1, peer.text


def test_where_nothing_rings_messages_are_found_by_looking(tmp_path, refusing):
    project = refusing("-client|tracking")
    with Running(tmp_path, "-P", "solo") as worker:
        worker.ready()
        for number in range(3):
            project.client.send_task("proj.note", (f"{number}",))
            until_all(lambda: len(project.ran()), number + 1)
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert worker.text.count("no CLIENT TRACKING") == 1, worker.text
    assert project.ran() == ["0", "1", "2"]
