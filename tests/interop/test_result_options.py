"""Settings and options of results: what a worker stores with them is what Celery's stores."""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest
import redis as redis_client

from processes import Producer, Worker
from test_wire import masked

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAVOURS = ("celery", "celeriac")
WAIT_S = 40.0
#: Settings of all, and the calls whose results are looked at.
SETTINGS = {
    "all that is stored": (
        {"result_extended": True, "result_expires": 600, "task_track_started": True},
        [
            "tasks.add.apply_async((1, 2), task_id=ID)",
            "tasks.add.apply_async((1,), {'y': 2}, task_id=ID, shadow='shown', retries=1)",
            "tasks.fail.apply_async(('KeyError', 'k'), task_id=ID)",
            "tasks.add.apply_async((1, 2), task_id=ID, ignore_result=True)",
            "tasks.silent.apply_async((KEY,), task_id=ID)",
            "tasks.silent.apply_async((KEY,), task_id=ID, ignore_result=False)",
        ],
    ),
    "errors alone": (
        {"task_ignore_result": True, "task_store_errors_even_if_ignored": True},
        [
            "tasks.add.apply_async((1, 2), task_id=ID)",
            "tasks.add.apply_async((1, 2), task_id=ID, ignore_result=False)",
            "tasks.fail.apply_async(('KeyError', 'k'), task_id=ID)",
            "app.send_task('tasks.fail', ('KeyError', 'k'), task_id=ID, ignore_result=True)",
        ],
    ),
}


class Stage(NamedTuple):
    """A worker of each kind, on a queue of its kind's name, and producers that call them."""

    queue: str
    producers: dict[str, Producer]
    redis: redis_client.Redis

    def stored(self, producer: str, worker: str, call: str) -> tuple[list[str], str | None, bool]:
        """The states that were published, the document that is left, and whether it expires."""
        task_id, key = str(uuid.uuid4()), f"key-{uuid.uuid4().hex}"
        document = f"celery-task-meta-{task_id}"
        queue = f"{self.queue}-{worker}"
        call = call.replace("ID", f"{task_id!r}, queue={queue!r}").replace("KEY", repr(key))
        with self.redis.pubsub() as heard:
            heard.subscribe(document)
            assert heard.get_message(timeout=WAIT_S)["type"] == "subscribe"
            self.producers[producer].text(f"({call}).id")
            # The worker runs one at a time: when this one has ended, the other has.
            self.producers[producer].ask(
                f"tasks.echo.apply_async((7,), queue={queue!r}, ignore_result=False)"
                ".get(timeout=30)"
            )
            states = []
            while (message := heard.get_message(timeout=0.05)) is not None:
                states.append(json.loads(message["data"])["status"])
        text = self.redis.get(document)
        expires = self.redis.ttl(document) > 0
        return states, None if text is None else plain(text.decode()), expires


def plain(text: str) -> str:
    """A document without what differs from run to run."""
    text = re.sub(r'"traceback": "(?:[^"\\]|\\.)*"', '"traceback": "<text>"', text)
    text = re.sub(r'"(worker|queue)": "[^"]*"', r'"\1": "<name>"', text)
    return masked(re.sub(r"key-[0-9a-f]{32}", "<key>", text))


@pytest.fixture(scope="module", params=SETTINGS)
def setting(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def stage(setting: str, session_redis_url: str) -> Iterator[Stage]:
    """Both workers with these settings."""
    name = f"results-{uuid.uuid4().hex[:8]}"
    with contextlib.ExitStack() as opened:
        client = redis_client.Redis.from_url(session_redis_url, socket_timeout=WAIT_S + 10)
        opened.enter_context(client)
        patch = opened.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("INTEROP_CONF", json.dumps(SETTINGS[setting][0]))
        producers = {}
        for flavour in FLAVOURS:
            worker = Worker(flavour, session_redis_url, f"{name}-{flavour}")
            opened.callback(worker.stop)
            producers[flavour] = Producer(flavour, session_redis_url, name)
            opened.callback(producers[flavour].stop)
        yield Stage(name, producers, client)


@pytest.mark.timeout(180)
def test_what_is_stored_is_what_celerys_worker_stores(setting, stage):
    for call in SETTINGS[setting][1]:
        expected = stage.stored("celery", "celery", call)
        for producer, worker in [
            ("celery", "celeriac"),
            ("celeriac", "celery"),
            ("celeriac", "celeriac"),
        ]:
            found = stage.stored(producer, worker, call)
            assert found == expected, f"{call}: {producer} to {worker}"


@pytest.mark.timeout(180)
def test_the_settings_had_their_effect(setting, stage):
    """The comparison above would be as happy with nothing at all."""
    plain_call = "tasks.add.apply_async((1, 2), task_id=ID)"
    failing_call = "tasks.fail.apply_async(('KeyError', 'k'), task_id=ID)"
    states, text, expires = stage.stored("celeriac", "celeriac", plain_call)
    if setting == "errors alone":
        assert text is None
        assert '"status": "FAILURE"' in stage.stored("celeriac", "celeriac", failing_call)[1]
        return
    assert states == ["STARTED", "SUCCESS"]
    assert expires
    assert '"name": "tasks.add", "args": [1, 2], "kwargs": {}' in text
