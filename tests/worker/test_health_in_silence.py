"""How old a worker's last proof is when its broker has fallen silent, without a farewell."""

import os
import time
import uuid
from urllib.parse import urlsplit

import kombu
import pytest
from line import Line
from running import Running, until

from celeriac import probe

pytestmark = pytest.mark.timeout(120)
PORTS = {"redis": 6379, "amqp": 5672}
#: A proof comes every 5 s, and the file is written each second.
MAX_AGE_S = 7
#: What was on its way through the line, and how exact the two clocks of a proof's age are.
GRACE_MS = 500

PROJECT = """
from pathlib import Path
from celeriac import Celery

app = Celery("proj", broker={broker!r})
app.conf.task_default_queue = {queue!r}
app.conf.worker_health_file = str(Path(__file__).parent / "health")
"""


@pytest.fixture(params=["redis", "rabbitmq"])
def line(request, tmp_path):
    """The only way from a project to its broker."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    else:
        url = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
    parts, queue = urlsplit(url), f"silence-{uuid.uuid4().hex[:8]}"
    made = Line(parts.port or PORTS[parts.scheme])
    userinfo, at, _ = parts.netloc.rpartition("@")
    through = parts._replace(netloc=f"{userinfo}{at}127.0.0.1:{made.port}").geturl()
    (tmp_path / "proj.py").write_text(PROJECT.format(broker=through, queue=queue))
    yield made
    made.close()
    with kombu.Connection(url) as connection, connection.channel() as channel:
        channel.queue_delete(queue)


def proved_ms(folder):
    return int(probe._members((folder / "health").read_text())["proved_ms"])


def healthy(folder):
    return probe.judge(str(folder / "health"), MAX_AGE_S, time.time())[0]


def test_what_a_worker_has_not_heard_after_the_silence_began_proves_nothing(tmp_path, line):
    with Running(tmp_path, "-P", "solo") as worker:
        worker.ready()
        until((tmp_path / "health").exists)
        first_ms = proved_ms(tmp_path)
        until(lambda: proved_ms(tmp_path) > first_ms + 2 * GRACE_MS)
        assert healthy(tmp_path)
        line.silence(on=True)
        silent_ms = time.time() * 1000
        until(lambda: not healthy(tmp_path))
        assert proved_ms(tmp_path) < silent_ms + GRACE_MS
