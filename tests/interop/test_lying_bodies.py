"""Bodies that are not what their headers say, or would do harm, beside the real Celery."""

from __future__ import annotations

import base64
import bz2
import json
import time
import uuid
import zlib

import pytest

from processes import Worker

pytestmark = pytest.mark.timeout(180)
WAIT_S = 60
PLAIN = b'[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
LIES = [
    ("application/x-gzip", PLAIN),
    ("application/x-gzip", b""),
    ("application/x-gzip", zlib.compress(PLAIN)[:-3]),
    ("application/x-gzip", bz2.compress(PLAIN)),
    ("application/x-bz2", zlib.compress(PLAIN)),
    ("application/x-brotli", PLAIN),
    ("application/x-lzma", PLAIN),
    ("application/zstd", PLAIN),
    ("application/x-of-nobody", PLAIN),
]
#: Without a compression it is YAML.
OBJECTS = ("", b"- !!python/object/apply:os.getpid []\n- {}\n- {}\n")
BOMB = ("application/x-gzip", zlib.compress(bytes(2_000_000)))


def envelope(compression, body, queue):
    """A call of `tasks.add`, as it lies on Redis."""
    task_id = str(uuid.uuid4())
    headers = {"lang": "py", "task": "tasks.add", "id": task_id, "root_id": task_id}
    headers |= {"argsrepr": "(1, 2)", "kwargsrepr": "{}", "retries": 0}
    headers |= {"compression": compression} if compression else {}
    properties = {
        "correlation_id": task_id,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": str(uuid.uuid4()),
    }
    text = json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json" if compression else "application/x-yaml",
            "headers": headers,
            "properties": properties,
        }
    )
    return task_id, text


@pytest.mark.parametrize("flavour", ["celery", "celeriac"])
def test_a_body_that_lies_or_would_build_objects_is_discarded_and_hurts_no_other(
    flavour, monkeypatch, session_redis_url, session_redis
):
    monkeypatch.setenv("INTEROP_CONF", json.dumps({"worker_prefetch_multiplier": 1}))
    queue = f"lies-{uuid.uuid4().hex[:8]}"
    # Celery has no limit for what a body may become.
    cases = [*LIES, OBJECTS, *([BOMB] if flavour == "celeriac" else [])]
    if flavour == "celeriac":
        monkeypatch.setenv("INTEROP_CONF", json.dumps({"decompressed_max_bytes": 1_000_000}))
    worker = Worker(flavour, session_redis_url, queue, "prefork", "-c", "1")
    try:
        lying, good = [], []
        for compression, body in cases:
            for names, packed in ((lying, body), (good, zlib.compress(PLAIN))):
                said = compression if names is lying else "application/x-gzip"
                task_id, text = envelope(said, packed, queue)
                names.append(task_id)
                session_redis.lpush(queue, text)
        deadline_s = time.monotonic() + WAIT_S
        while not all(results := session_redis.mget([f"celery-task-meta-{i}" for i in good])):
            assert time.monotonic() < deadline_s, worker.lines.text()
            time.sleep(0.05)
        assert [json.loads(text)["result"] for text in results] == [3] * len(good)
    finally:
        code = worker.stop()
    assert code == 0, worker.lines.text()
    assert worker.lines.text().count("Can't decode message body") == len(cases)
    assert not any(session_redis.mget([f"celery-task-meta-{i}" for i in lying]))
    assert session_redis.exists(queue) == 0
    assert not [record for record in session_redis.hvals("unacked") if queue.encode() in record]
