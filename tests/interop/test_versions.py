"""Every version of Celery on every broker, each way: what a mixed cluster needs on one page.

docs/compatibility.md is the table of these tests; `tests/unit/test_compatibility_page.py` holds the
two together.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest
import redis as redis_client

import places
from places import EVERYWHERE, Place
from processes import Producer, RemoteError, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTIONS = ("celery-to-celeriac", "celeriac-to-celery")
FLEET_TASKS = 30
#: Longer than any command that waits; redis-py would break those off after 5 s.
WAIT_S = 40.0


class Site(NamedTuple):
    """A worker and a producer of each kind. Each worker serves the other kind's producer."""

    place: Place
    producers: dict[str, Producer]
    workers: dict[str, Worker]
    queues: dict[str, str]
    shared_queue: str


class Cell(NamedTuple):
    """One cell of the table: a producer whose calls the other kind's worker executes."""

    producer: Producer
    reader: Producer
    queue: str
    site: Site
    redis: redis_client.Redis

    def ask(self, expression: str) -> object:
        """Value of an expression in the producer's process."""
        return self.producer.ask(expression)


@pytest.fixture(scope="module", params=EVERYWHERE, ids="-".join)
def site(request: pytest.FixtureRequest, session_redis_url: str) -> Iterator[Site]:
    """The processes of a version and a broker."""
    version, broker = request.param
    place = Place(version, broker, places.url_of(broker, session_redis_url))
    name = f"versions-{uuid.uuid4().hex[:8]}"
    queues = {"celery": f"{name}-a", "celeriac": f"{name}-b"}
    shared = f"{name}-shared"
    flavours = {"celery": place.celery, "celeriac": "celeriac"}
    with ExitStack() as stack:
        workers = {
            "celery": Worker(
                place.celery, place.url, queues["celeriac"], "solo", "-n", "a@%h", also=shared
            ),
            "celeriac": Worker(
                "celeriac", place.url, queues["celery"], "prefork", "-c", "2", "-n", "b@%h",
                also=shared,
            ),
        }  # fmt: skip
        for worker in workers.values():
            stack.callback(worker.kill)
        producers = {
            kind: Producer(flavour, place.url, queues[kind]) for kind, flavour in flavours.items()
        }
        for producer in producers.values():
            stack.callback(producer.stop)
        yield Site(place, producers, workers, queues, shared)
        for worker in workers.values():
            assert worker.stop() == 0, worker.lines.text()
        every = [shared, *queues.values(), *(f"{queue}-other" for queue in queues.values())]
        assert places.delete(broker, *every) == 0


@pytest.fixture(scope="module", params=DIRECTIONS)
def cell(request: pytest.FixtureRequest, site: Site, session_redis_url: str) -> Iterator[Cell]:
    """One direction at a site."""
    kind, _, other = request.param.partition("-to-")
    with redis_client.Redis.from_url(session_redis_url, socket_timeout=WAIT_S) as client:
        yield Cell(site.producers[kind], site.producers[other], site.queues[kind], site, client)


def test_calls_return_their_results(cell):
    assert cell.ask("tasks.add.delay(2, 3).get(timeout=20)") == 5
    assert cell.ask("app.send_task('tasks.add', (4,), {'y': 5}).get(timeout=20)") == 9


def test_values_of_all_types_arrive_and_come_back(cell):
    value = "[None, 1.5, 2**90, 'é', {'k': [b'\\xff', decimal.Decimal('1.10')]}]"
    assert cell.producer.text(f"tasks.echo.delay({value}).get(timeout=20)") == (
        "[None, 1.5, 1237940039285380274899124224, 'é', {'k': [b'\\xff', Decimal('1.10')]}]"
    )


@pytest.mark.parametrize("serializer", ["msgpack", "yaml"])
def test_other_serializers_are_read(cell, serializer):
    call = f"tasks.echo.apply_async(([1, 'é', None],), serializer={serializer!r})"
    assert cell.ask(f"{call}.get(timeout=20)") == [1, "é", None]


def test_a_failure_is_raised_again_as_its_own_class(cell):
    with pytest.raises(RemoteError) as raised:
        cell.ask("tasks.fail_custom.delay(7, 'seven').get(timeout=20)")
    assert (raised.value.name, raised.value.args_text) == ("errors.CustomError", "(7, 'seven')")


def test_an_unknown_task_fails_as_not_registered(cell):
    with pytest.raises(RemoteError) as raised:
        cell.ask("app.send_task('tasks.nowhere').get(timeout=20)")
    assert raised.value.name.endswith("exceptions.NotRegistered")


def test_a_running_task_is_started_then_succeeds(cell):
    gate, key = f"{cell.queue}:gate", f"{cell.queue}:go"
    task_id = cell.ask(f"tasks.hold.delay({gate!r}, {key!r}).id")
    assert cell.redis.blpop([gate], timeout=20) is not None
    assert cell.ask(f"app.AsyncResult({task_id!r}).state") == "STARTED"
    cell.redis.rpush(key, "on")
    done = "(lambda r: (r.get(timeout=20), r.state))"
    assert cell.ask(f"{done}(app.AsyncResult({task_id!r}))") == ("on", "SUCCESS")


def test_a_retried_task_runs_again_until_it_succeeds(cell):
    assert cell.ask("tasks.flaky.delay(2).get(timeout=30)") == 2


def test_an_ignored_result_is_not_stored(cell):
    key = f"{cell.queue}:silent"
    task_id = cell.ask(f"tasks.silent.delay({key!r}).id")
    assert cell.redis.blpop([key], timeout=20) is not None
    assert cell.ask("tasks.add.delay(1, 2).get(timeout=20)") == 3
    assert cell.redis.get(f"celery-task-meta-{task_id}") is None


def test_a_countdown_and_an_eta_are_waited_for(cell):
    clock = "__import__('time').monotonic()"
    eta = "dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=0.5)"
    calls = (
        f"[tasks.add.apply_async((1, 2), countdown=0.5), tasks.add.apply_async((3, 4), eta={eta})]"
    )
    waited = f"(lambda start: ([r.get(timeout=20) for r in {calls}], {clock} - start))({clock})"
    results, waited_s = cell.ask(waited)
    assert results == [3, 7]
    assert waited_s >= 0.5


def test_an_expired_task_ends_revoked(cell):
    with pytest.raises(RemoteError) as raised:
        cell.ask("tasks.add.apply_async((1, 2), expires=-1).get(timeout=20)")
    assert raised.value.name.endswith("exceptions.TaskRevokedError")


def test_links_and_errbacks_are_called(cell):
    key = f"{cell.queue}:links"
    cell.ask(f"tasks.add.apply_async((2, 3), link=tasks.note.s({key!r})).get(timeout=20)")
    assert cell.redis.blpop([key], timeout=20) == (key.encode(), b"5")
    errback = f"tasks.note_failure.s({key!r})"
    call = f"tasks.fail.apply_async(('KeyError', 'k'), link_error={errback})"
    said = f"{cell.ask(f'{call}.id')} KeyError('k') True"
    assert cell.redis.blpop([key], timeout=20) == (key.encode(), said.encode())


def test_custom_headers_reach_the_task(cell):
    call = "tasks.context.apply_async(headers={'tenant': 'blue', 'n': 5}, shadow='pretty')"
    seen = cell.ask(f"{call}.get(timeout=20)")
    assert seen["headers"] == {"tenant": "blue", "n": 5}
    assert (seen["shadow"], seen["retries"]) == ("pretty", 0)


def test_results_are_read_by_clients_of_both_kinds(cell):
    task_id = cell.ask("(lambda r: (r.get(timeout=20), r.id))(tasks.echo.delay([1, None]))")[1]
    read = "(lambda r: (r.get(timeout=20), r.state))"
    assert cell.reader.ask(f"{read}(app.AsyncResult({task_id!r}))") == ([1, None], "SUCCESS")
    call = "tasks.fail.delay('KeyError', 'k')"
    task_id = cell.ask(f"(lambda r: (r.get(timeout=20, propagate=False) and r.id))({call})")
    read = f"app.AsyncResult({task_id!r}).get(timeout=20, propagate=False)"
    assert cell.reader.text(read) == "KeyError('k')"


def test_protocol_1_is_executed(cell):
    send = "tasks.protocol1.send_task"
    assert cell.ask(f"{send}('tasks.add', (2,), {{'y': 3}}).get(timeout=20)") == 5
    assert cell.ask(f"{send}('tasks.add', (2, 3), countdown=0.2).get(timeout=20)") == 5
    assert cell.ask(f"{send}('tasks.flaky', (1,)).get(timeout=20)") == 1
    with pytest.raises(RemoteError) as raised:
        cell.ask(f"{send}('tasks.fail', ('KeyError', 'k')).get(timeout=20)")
    assert raised.value.name == "builtins.KeyError"
    with pytest.raises(RemoteError) as raised:
        cell.ask(f"{send}('tasks.add', (1, 2), expires=-1).get(timeout=20)")
    assert raised.value.name.endswith("exceptions.TaskRevokedError")
    for serializer in ("msgpack", "yaml"):
        call = f"{send}('tasks.echo', ([1, 'é'],), serializer={serializer!r})"
        assert cell.ask(f"{call}.get(timeout=20)") == [1, "é"]
        call = f"{send}('tasks.add', (2, 3), countdown=0.2, serializer={serializer!r})"
        assert cell.ask(f"{call}.get(timeout=20)") == 5
        with pytest.raises(RemoteError, match=r"tasks\.nowhere"):
            cell.ask(f"{send}('tasks.nowhere', serializer={serializer!r}).get(timeout=20)")
    key = f"{cell.queue}:protocol1"
    link = f"{send}('tasks.add', (2, 3), link=tasks.note.s({key!r})).id"
    cell.ask(link)
    assert cell.redis.blpop([key], timeout=20) == (key.encode(), b"5")


def test_a_fleet_of_both_kinds_shares_one_queue(cell):
    key = f"{cell.queue}:fleet"
    options = f"queue={cell.site.shared_queue!r}"
    hosts = cell.ask(
        f"[r.get(timeout=30) for r in"
        f" [tasks.whose.apply_async(({key!r},), {options}) for _ in range({FLEET_TASKS})]]"
    )
    assert {host.partition("@")[0] for host in hosts} == {"a", "b"}
    assert cell.redis.llen(key) == FLEET_TASKS
