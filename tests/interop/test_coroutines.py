"""The asyncio pool behind the real Celery's client, on Redis and RabbitMQ."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from places import BROKERS, delete, url_of
from processes import Producer, RemoteError, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

SENT = "[one.get(timeout=30) == one.id for one in [{task}.delay(100) for _ in range(100)]]"


@pytest.fixture(scope="module", params=BROKERS)
def celery(request: pytest.FixtureRequest, session_redis_url: str) -> Iterator[Producer]:
    """A Celery client, whose tasks a worker of ours executes on one loop."""
    queue = f"interop-{uuid.uuid4().hex[:8]}"
    url = url_of(request.param, session_redis_url)
    flags = ["-c", "100", "--prefetch-multiplier", "1", "-n", f"{queue}@%h"]
    worker = Worker("celeriac", url, queue, "aio", *flags)
    producer = Producer("celery", url, queue)
    yield producer
    producer.stop()
    assert worker.stop() == 0, worker.lines.text()
    delete(request.param, queue)


def test_a_hundred_coroutines_and_functions_beside_them(celery: Producer) -> None:
    assert celery.ask(SENT.format(task="tasks.gather")) == [True] * 100
    assert celery.ask("tasks.add.delay(1, 2).get(timeout=30)") == 3
    assert celery.ask("flavour.chain(tasks.add.s(1, 2), tasks.add.s(4))().get(timeout=30)") == 7
    with pytest.raises(RemoteError, match="KeyError"):
        celery.ask("tasks.fail.delay('KeyError', 'k').get(timeout=30)")


@pytest.mark.parametrize(
    ("option", "raised"),
    [
        ("time_limit", "billiard.exceptions.TimeLimitExceeded"),
        ("soft_time_limit", "billiard.exceptions.SoftTimeLimitExceeded"),
    ],
)
def test_a_limit_is_an_exception_that_celery_knows(
    celery: Producer, option: str, raised: str
) -> None:
    with pytest.raises(RemoteError) as caught:
        celery.ask(f"tasks.linger.apply_async({option}=0.2).get(timeout=30)")
    assert caught.value.name == raised


def test_celerys_revoke_cancels_a_coroutine(celery: Producer) -> None:
    task_id = celery.ask("tasks.linger.delay().id")
    active = f"{task_id!r} in str(app.control.inspect(timeout=20.0, limit=1).active())"
    assert any(celery.ask(active) for _ in range(20))
    celery.text(f"app.control.revoke({task_id!r}, terminate=True)")
    with pytest.raises(RemoteError) as caught:
        celery.ask(f"app.AsyncResult({task_id!r}).get(timeout=30)")
    assert caught.value.name == "celery.exceptions.TaskRevokedError"
