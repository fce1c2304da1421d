import json
import os
import subprocess
import sys

import pytest
from running import SOURCE

AMQP = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")


def bench(folder, *arguments, settings=""):
    (folder / "proj.py").write_text(
        "from celeriac import Celery\napp = Celery('proj', set_as_current=False)\n" + settings
    )
    return subprocess.run(
        [sys.executable, "-m", "celeriac", "-A", "proj", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=50,
    )


@pytest.mark.parametrize("broker", ["sqlite:///{}/q.db", AMQP])
def test_each_measurement_has_a_figure_and_no_password_is_shown(tmp_path, broker):
    url = broker.format(tmp_path)
    done = bench(tmp_path, "-b", url, "bench", "--seconds", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "guest:guest" not in done.stdout + done.stderr
    assert all(found[name]["per_s"] > 0 for name in ("delay", "publisher", "worker", "round_trip"))
    assert 0 < found["round_trip"]["p50_ms"] <= found["round_trip"]["p99_ms"]


def test_nothing_is_left_and_what_was_there_is_untouched(tmp_path, redis_url, redis):
    redis.lpush("celery", "theirs")
    before = set(redis.keys())
    done = bench(tmp_path, "-b", redis_url, "bench", "--seconds", "0.1")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 7
    assert redis.lrange("celery", 0, -1) == [b"theirs"]
    assert set(redis.keys()) == before


def test_a_broker_in_the_process_is_published_to_alone_and_the_table_says_why(tmp_path):
    done = bench(tmp_path, "-b", "memory:///bench", "bench", "--seconds", "0.1")
    assert done.returncode == 0, done.stderr
    assert "delay(), one by one" in done.stdout
    assert "memory:// lives in one process" in done.stdout
    assert "delay().get()" not in done.stdout


def test_a_broker_that_is_not_there_is_named(tmp_path):
    unreachable = (
        "app.conf.update(broker_connection_timeout=0.2, "
        "task_publish_retry_policy={'max_retries': 0})\n"
    )
    done = bench(
        tmp_path, "-b", "redis://:secret@127.0.0.1:1/0", "bench", "--seconds", "0.1",
        settings=unreachable,
    )  # fmt: skip
    assert done.returncode == 69
    assert "Error: The bench did not finish: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
