"""A worker whose program registers its serializer with kombu."""

import pytest
from kombu import serialization
from running import TASKS, Running

from celeriac import Celery
from celeriac.exceptions import TaskRevokedError

pytestmark = pytest.mark.timeout(120)
GET_S = 60

BACKWARDS = """
import json
from kombu import serialization

serialization.register(
    "backwards",
    lambda value: json.dumps(value)[::-1].encode("utf-16"),
    lambda data: json.loads(data.decode("utf-16")[::-1]),
    "application/x-backwards",
    "binary",
)
"""
SETTINGS = {
    "task_serializer": "backwards",
    "result_serializer": "backwards",
    "accept_content": ["backwards"],
}


@pytest.fixture
def client(tmp_path):
    (tmp_path / "proj.py").write_text(f"{BACKWARDS}\n{TASKS}\napp.conf.update({SETTINGS})\n")
    exec(BACKWARDS, {})
    url = f"sqlite:///{tmp_path}/q.db"
    app = Celery("client", broker=url, backend=url, set_as_current=False)
    app.conf.update(SETTINGS)
    yield app
    app.close()
    serialization.unregister("backwards")


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_arguments_results_and_errors_travel_in_it(tmp_path, client, pool):
    with Running(tmp_path, "-P", pool, "-c", "1") as worker:
        worker.ready()
        sent = client.send_task("proj.add", ("é", "漢"), compression="zstd")
        assert sent.get(timeout=GET_S) == "é漢"
        failed = client.send_task("proj.add", (1, "漢"))
        with pytest.raises(TypeError, match="unsupported operand"):
            failed.get(timeout=GET_S)
        late = client.send_task("proj.add", (1, 2), expires=-1)
        with pytest.raises(TaskRevokedError):
            late.get(timeout=GET_S)
        client.send_task("proj.add", (1, 2), serializer="json")
        worker.wait_line("Refusing to deserialize untrusted content of type application/json")
