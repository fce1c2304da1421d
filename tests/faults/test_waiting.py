"""Who waits for a result while the server of queue and results is killed and comes back."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import redis
from yard import Server

from celeriac import Celery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S = 30.0


@contextmanager
def own_server(folder: Path) -> Iterator[Server]:
    server = Server("redis", folder)
    server.start()
    try:
        yield server
    finally:
        server.close()


def test_a_result_reaches_who_waited_for_it_through_a_restart(tmp_path: Path) -> None:
    with own_server(tmp_path) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        app = Celery("t", broker=url, backend=url, set_as_current=False)
        sent = app.send_task("t.slow")
        got: list[object] = []
        waiter = threading.Thread(target=lambda: got.append(sent.get(timeout=WAIT_S)))
        waiter.start()
        server.kill()
        server.start()
        with redis.Redis(port=server.port) as worker:
            assert worker.llen("celery") == 1
            document = {"status": "SUCCESS", "result": "kept", "traceback": None, "children": []}
            key, text = f"celery-task-meta-{sent.id}", json.dumps({**document, "task_id": sent.id})
            worker.set(key, text)
            worker.publish(key, text)
        waiter.join(WAIT_S)
        assert got == ["kept"]
        app.close()
