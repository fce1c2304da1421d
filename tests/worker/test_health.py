"""A worker's health file, and what `celeriac health` says of it."""

import os
import signal
import subprocess
import sys

import pytest
from running import SOURCE, Running, until

pytestmark = pytest.mark.timeout(120)

PROJECT = """
import time
from pathlib import Path
from celeriac import Celery

HERE = Path(__file__).parent
app = Celery("proj", broker=f"sqlite:///{HERE}/q.db")
app.conf.worker_health_file = str(HERE / "health")

@app.task(ignore_result=True)
def wait_for(name):
    while not (HERE / name).exists():
        time.sleep(0.01)
"""


def health(folder, max_age_s=30):
    command = [sys.executable, "-m", "celeriac", "health", "--file", str(folder / "health")]
    command += ["--max-age", str(max_age_s)]
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


def says(folder, part, max_age_s=30):
    until(lambda: part in health(folder, max_age_s)[1])


@pytest.mark.parametrize("pool", ["solo", "prefork"])
def test_a_worker_is_healthy_from_its_start_to_its_end(tmp_path, pool):
    (tmp_path / "proj.py").write_text(PROJECT)
    with Running(tmp_path, "-P", pool, "-c", "1") as worker:
        says(tmp_path, "takes messages")
        assert health(tmp_path)[0] == 0
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert health(tmp_path)[0] == 1
    assert "no worker writes" in health(tmp_path)[1]


def test_a_long_task_of_the_solo_pool_is_no_standstill(tmp_path):
    (tmp_path / "proj.py").write_text(PROJECT)
    with Running(tmp_path, "-P", "solo"):
        send = "import proj; proj.wait_for.delay('go')"
        env = {**os.environ, "PYTHONPATH": str(SOURCE)}
        subprocess.run([sys.executable, "-c", send], cwd=tmp_path, env=env, check=True)
        says(tmp_path, "executes a task", max_age_s=0.5)
        (tmp_path / "go").touch()
        says(tmp_path, "takes messages")


def test_a_stopped_process_is_unhealthy(tmp_path):
    (tmp_path / "proj.py").write_text(PROJECT)
    with Running(tmp_path, "-P", "solo") as worker:
        says(tmp_path, "takes messages")
        os.kill(worker.process.pid, signal.SIGSTOP)
        try:
            says(tmp_path, "stands still, or is gone", max_age_s=2)
            assert health(tmp_path, 2)[0] == 1
        finally:
            os.kill(worker.process.pid, signal.SIGCONT)
