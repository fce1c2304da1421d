"""Producers that fork, in every way Python has, and in a web server that loads them before."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "python"
WAIT_S = 30.0
pytestmark = pytest.mark.timeout(120)

TASKS = """
import os
from pathlib import Path
from celeriac import Celery

HERE = Path(__file__).parent
app = Celery("jobs", broker=os.environ["JOBS_URL"], backend=os.environ["JOBS_URL"])
app.conf.task_default_queue = os.environ["JOBS_QUEUE"]

@app.task(bind=True)
def note(self, who):
    with (HERE / "ran").open("a") as file:
        file.write(f"{self.request.id}\\n")
    return who
"""

FORKING = """
import json, multiprocessing, os, sys
import jobs

EACH = 10

def produce(who, out):
    sent = [jobs.note.delay(f"{who}-{n}") for n in range(EACH)]
    values = [one.get(timeout=30) for one in sent]
    assert values == [f"{who}-{n}" for n in range(EACH)], values
    out.put([one.id for one in sent])

if __name__ == "__main__":
    method, when = sys.argv[1:]
    context = multiprocessing.get_context(method)
    early = [jobs.note.delay("early")] if when == "after" else []
    out = context.Queue()
    children = [context.Process(target=produce, args=(f"child{n}", out)) for n in range(3)]
    for child in children:
        child.start()
    mine = early + [jobs.note.delay(f"parent-{n}") for n in range(EACH)]
    for one in mine:
        one.get(timeout=30)
    ids = [one.id for one in mine]
    for _ in children:
        ids += out.get(timeout=40)
    for child in children:
        child.join(30)
        assert child.exitcode == 0, child.exitcode
    mine.append(jobs.note.delay("last"))
    assert mine[-1].get(timeout=30) == "last"
    print(json.dumps([*ids, mine[-1].id]))
"""

WEB = """
import os
import jobs

if os.environ["JOBS_WHEN"] == "after":
    jobs.note.delay("preloaded").get(timeout=30)

def application(environ, start_response):
    sent = jobs.note.delay(f"request of {os.getpid()}")
    value = sent.get(timeout=30)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{sent.id} {os.getpid()} {value}".encode()]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    server = os.environ.get("CELERIAC_TEST_REDIS", "redis://127.0.0.1:6379")
    monkeypatch.setenv("JOBS_URL", f"{server}/12")
    monkeypatch.setenv("JOBS_QUEUE", f"forks-{uuid.uuid4()}")
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    (tmp_path / "jobs.py").write_text(TASKS)
    (tmp_path / "forking.py").write_text(FORKING)
    (tmp_path / "web.py").write_text(WEB)
    return tmp_path


@contextlib.contextmanager
def running(folder, *arguments, log):
    with (folder / log).open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=folder, stdout=file, stderr=file
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(WAIT_S)
            finally:
                process.kill()


def worker(folder):
    options = ("-A", "jobs", "worker", "-P", "threads", "-c", "4")
    return running(folder, "celeriac", *options, log="worker.log")


def executions(folder):
    return Counter((folder / "ran").read_text().split())


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_parent_and_children_publish_and_get_results_each_task_once(folder, method, when):
    with worker(folder):
        finished = subprocess.run(
            [sys.executable, "forking.py", method, when],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=80,
        )
    assert finished.returncode == 0, finished.stderr
    ids = finished.stdout.strip().strip("[]").replace('"', "").split(", ")
    assert len(ids) == 41 + (when == "after")
    assert executions(folder) == Counter(ids)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_a_web_server_that_loads_the_producer_before_it_forks(folder, kind, when, monkeypatch):
    monkeypatch.setenv("JOBS_WHEN", when)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ("--preload", "-w", "4", "-k", kind, "-b", f"127.0.0.1:{port}", "web")
    threads = ("--threads", "4") if kind == "gthread" else ()
    with (
        worker(folder),
        running(
            folder, "gunicorn", "--no-control-socket", *threads, *options, log="web.log"
        ) as web,
    ):
        url = f"http://127.0.0.1:{port}/"
        first = asked_first(url, web, folder)
        with ThreadPoolExecutor(8) as pool:
            answers = [first, *pool.map(asked, [url] * 59)]
            # Who accepts a connection is the kernel's choice.
            while len({answer.split()[1] for answer in answers}) == 1 and len(answers) < 2_000:
                answers += pool.map(asked, [url] * 60)
    ids, pids = zip(*(answer.split()[:2] for answer in answers), strict=True)
    assert all(answer.endswith(f"request of {answer.split()[1]}") for answer in answers)
    assert len(set(pids)) > 1, "several processes have answered"
    ran = executions(folder)
    assert {task_id: ran[task_id] for task_id in ids} == dict.fromkeys(ids, 1)
    assert ran.total() == len(answers) + (when == "after")


def asked(url):
    with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        return answer.read().decode()


def asked_first(url, web, folder):
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            return asked(url)
        except urllib.error.URLError:  # noqa: PERF203 - until it listens
            log = (folder / "web.log").read_text()
            assert web.poll() is None, log
            assert time.monotonic() < deadline_s, log
            time.sleep(0.05)
