"""A queue in a file: its disk is full, another program has locked it, its worker is killed."""

import contextlib
import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from running import Running, until

from celeriac import Celery, broker
from celeriac.exceptions import OperationalError

GET_S = 20
DISK_BYTES = 2 << 20
#: What a killed worker held is back by then.
BACK_S = 5.0
AS_ROOT = [] if os.geteuid() == 0 else ["sudo"]

PROJECT = """
import time
from pathlib import Path
from celeriac import Celery

HERE = Path(__file__).parent
app = Celery("proj", broker=f"sqlite:///{HERE}/disk/q.db", backend=f"sqlite:///{HERE}/disk/q.db")

@app.task
def add(x, y):
    return x + y

@app.task(acks_late=True)
def hold(begun, release):
    (HERE / begun).touch()
    while not (HERE / release).exists():
        time.sleep(0.005)
    return "held"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "proj.py").write_text(PROJECT)
    return tmp_path


@pytest.fixture
def disk(folder):
    """A disk of 2 MiB below the queue; of memory, which is full like any other."""
    path = folder / "disk"
    options = f"size={DISK_BYTES},uid={os.getuid()}"
    subprocess.run([*AS_ROOT, "mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
    yield path
    # A connection of a process that has just ended may keep it busy for a moment.
    subprocess.run([*AS_ROOT, "umount", "--lazy", path], check=True)


@pytest.fixture
def client(folder):
    url = f"sqlite:///{folder}/disk/q.db"
    app = Celery("client", broker=url, backend=url, set_as_current=False)
    yield app
    app.close()


def fill(disk):
    """Leaves not a byte."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - it ends the loop


def send_until_it_fails(client):
    for _ in range(100):
        client.send_task("proj.add", ("x" * 10_000, 1), retry=False, ignore_result=True)


def test_a_full_disk_is_an_error_to_the_caller_who_may_send_again_when_there_is_room(disk, client):
    client.send_task("proj.add", (0, 0))
    fill(disk)
    with pytest.raises(OperationalError, match="disk is full"):
        send_until_it_fails(client)
    (disk / "filler").unlink()
    sent = client.send_task("proj.add", (1, 1))
    assert broker.publisher(client).depth("celery", GET_S) >= 2
    assert sent.state == "PENDING"


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_whose_disk_is_full_goes_on_by_itself_when_there_is_room(
    folder, disk, client, pool
):
    with Running(folder, "-P", pool, "-c", "1") as worker:
        worker.ready()
        held = client.send_task("proj.hold", ("begun", "release"))
        until((folder / "begun").exists)
        fill(disk)
        with contextlib.suppress(OperationalError):
            send_until_it_fails(client)
        (folder / "release").touch()
        worker.wait_line("disk is full")
        (disk / "filler").unlink()
        assert held.get(timeout=GET_S) == "held"
        assert client.send_task("proj.add", (1, 1)).get(timeout=GET_S) == 2
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert broker.publisher(client).depth("celery", GET_S) == 0


LOCKS = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
database.execute("ROLLBACK")
"""


@contextlib.contextmanager
def locked(path):
    """Another program writes, and takes its time. Not this one: its locks would be its own."""
    command = [sys.executable, "-c", LOCKS, path]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as program:
        assert program.stdout.readline() == "locked\n"
        yield
        program.communicate("\n", GET_S)


def test_who_sends_and_who_works_waits_for_another_programs_lock(folder, client):
    with Running(folder, "-P", "threads", "-c", "1") as worker:
        worker.ready()
        client.send_task("proj.add", (0, 0)).get(timeout=GET_S)
        results = []
        sender = threading.Thread(
            target=lambda: results.append(client.send_task("proj.add", (1, 1)).get(timeout=GET_S))
        )
        with locked(folder / "disk" / "q.db"):
            sender.start()
            # Longer than the busy handler of a connection waits.
            sender.join(1.0)
            assert sender.is_alive()
        sender.join(GET_S)
        assert results == [2]
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert "Traceback" not in worker.text


def test_a_lock_that_is_held_for_too_long_is_an_error_that_says_so(folder, client):
    client.send_task("proj.add", (0, 0))
    with locked(folder / "disk" / "q.db"), pytest.raises(OperationalError, match="lock"):
        client.send_task("proj.add", (1, 1), retry=False, timeout=0.5)


def test_what_a_killed_worker_held_is_done_by_another_within_5_s(folder, client):
    with Running(folder, "-P", "threads", "-c", "1") as first:
        first.ready()
        held = client.send_task("proj.hold", ("begun", "release"))
        until((folder / "begun").exists)
        with Running(folder, "-P", "threads", "-c", "1", "-n", "second@here") as second:
            second.ready()
            (folder / "begun").unlink()
            first.process.kill()
            killed_s = time.monotonic()
            until((folder / "begun").exists)
            assert time.monotonic() - killed_s < BACK_S
            (folder / "release").touch()
            assert held.get(timeout=GET_S) == "held"
            second.signal(signal.SIGTERM)
            assert second.wait() == 0


def test_a_queue_file_that_is_deleted_while_it_is_used_is_made_anew_and_told(folder, client):
    with Running(folder, "-P", "threads", "-c", "2") as worker:
        worker.ready()
        held = client.send_task("proj.hold", ("begun", "release"))
        until((folder / "begun").exists)
        for file in (folder / "disk").glob("q.db*"):
            if file.is_file():
                file.unlink()
        assert client.send_task("proj.add", (1, 1)).get(timeout=GET_S) == 2
        worker.wait_line("was deleted or replaced while it was in use")
        # What it holds is of a file that is gone: its end takes nothing out of the new one.
        (folder / "release").touch()
        assert held.get(timeout=GET_S) == "held"
        assert client.send_task("proj.add", (2, 2)).get(timeout=GET_S) == 4
        assert client.control.ping(timeout=2)
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert broker.publisher(client).depth("celery", GET_S) == 0
    assert "Traceback" not in worker.text


def test_a_client_whose_locks_another_copy_of_sqlite_has_dropped_still_hears(folder, client):
    sent = client.send_task("proj.add", (1, 1))
    file = folder / "disk" / "q.db"
    log = file.with_name("q.db-wal").stat().st_ino
    with contextlib.closing(sqlite3.connect(file)) as another:
        another.execute("SELECT count(*) FROM messages").fetchone()
    with Running(folder, "-P", "threads", "-c", "1") as worker:
        worker.ready()
        # The worker took the file for nobody's: what this test is about has happened.
        assert file.with_name("q.db-wal").stat().st_ino != log
        assert sent.get(timeout=GET_S) == 2
        assert client.send_task("proj.add", (2, 2)).get(timeout=GET_S) == 4
