"""Every option of a call on every broker, with celeriac on both ends and with Celery on either.

docs/compatibility.md has the table of these tests; `tests/unit/test_compatibility_page.py` holds
the two together. One worker serves a cell.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest
import redis as redis_client

from places import VERSIONS, channel, url_of
from processes import Producer, RemoteError, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The oldest and the newest version; what lies between is in `test_versions`.
MET = ("5.4", "5.7")
SERVERS = ("redis", "rabbitmq")
EMBEDDED = ("sqlite", "memory")
DIRECTIONS = ("celery-to-celeriac", "celeriac-to-celery")
CELLS = [f"celeriac-{broker}" for broker in (*SERVERS, *EMBEDDED)] + [
    f"{direction}-{version}-{broker}"
    for version in MET for broker in SERVERS for direction in DIRECTIONS
]  # fmt: skip
#: Two Celerys: that a test asks for what Celery really does.
CONTROLS = [f"control-{version}-{broker}" for version in MET for broker in SERVERS]
#: What cannot be there: memory is never away.
NOT_ON = {"test_a_broker_that_is_away_is_an_operational_error": ("memory",)}
#: Where nobody listens.
AWAY = {
    "redis": "redis://127.0.0.1:1/0",
    "rabbitmq": "amqp://guest:guest@127.0.0.1:1//",
    "sqlite": "sqlite:////proc/there-is-no-such-folder/queue.db",
}
WAIT_S = 40.0


class Cell(NamedTuple):
    """A producer whose calls a worker executes."""

    broker: str
    producer: Producer
    queue: str
    notes: redis_client.Redis

    def ask(self, expression: str) -> object:
        """Value of an expression in the producer's process."""
        return self.producer.ask(expression)

    def noted(self, key: str) -> str:
        """What a task has noted under a key."""
        found = self.notes.blpop([key], timeout=20)
        assert found is not None, f"nothing under {key}"
        return found[1].decode()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `cell` its cells."""
    left_out = NOT_ON.get(metafunc.function.__name__, ())
    every = CELLS + (CONTROLS if os.environ.get("CELERIAC_TEST_INTEROP") == "all" else [])
    cells = [cell for cell in every if not cell.endswith(tuple(left_out) or " ")]
    metafunc.parametrize("cell", cells, indirect=True, scope="module")


@pytest.fixture(scope="module")
def cell(
    request: pytest.FixtureRequest, session_redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cell]:
    """The processes of one cell."""
    *kinds, broker = request.param.split("-")
    flavour = VERSIONS.get(kinds[-1], "celeriac")
    celerys_producer = kinds[0] in {"celery", "control"}
    celerys_worker = kinds[0] == "control" or kinds[1:3] == ["to", "celery"]
    queue = f"options-{uuid.uuid4().hex[:8]}"
    if broker in SERVERS:
        url = url_of(broker, session_redis_url)
    elif broker == "sqlite":
        file = f"sqlite:///{tmp_path_factory.mktemp('options')}/queue.db"
        url = f"{file} {file} {session_redis_url}"
    else:
        url = f"memory://{queue} memory://{queue} {session_redis_url}"
    is_inside = broker == "memory"
    if not is_inside:
        kind, pool = (flavour, ["solo"]) if celerys_worker else ("celeriac", ["prefork", "-c", "2"])
        worker = Worker(kind, url, queue, *pool)
    producer = Producer(
        flavour if celerys_producer else "celeriac", url, queue, worker_inside=is_inside
    )
    with redis_client.Redis.from_url(session_redis_url, socket_timeout=WAIT_S) as notes:
        yield Cell(broker, producer, queue, notes)
    producer.stop()
    if not is_inside:
        assert worker.stop() == 0, worker.lines.text()
    if broker == "rabbitmq":
        with channel() as opened:
            for name in (queue, f"{queue}-other"):
                opened.queue_delete(name)
                opened.exchange_delete(name)


def context(cell: Cell, options: str) -> dict[str, object]:
    """The request that a task sees of a call with options."""
    seen = cell.ask(f"tasks.context.apply_async({options}).get(timeout=20)")
    assert isinstance(seen, dict)
    return seen


def test_link_is_called_with_the_result_in_front(cell):
    key = f"{cell.queue}:link"
    links = f"[tasks.note.s({key!r}), tasks.note.si('immutable', {key!r})]"
    assert cell.ask(f"tasks.add.apply_async((2, 3), link={links}).get(timeout=20)") == 5
    assert sorted([cell.noted(key), cell.noted(key)]) == ["'immutable'", "5"]


def test_a_links_result_is_a_child(cell):
    call = "tasks.add.apply_async((2, 2), link=tasks.add.s(16))"
    asked = "(lambda r: (r.get(timeout=20), [c.get(timeout=20) for c in r.children]))"
    found = cell.ask(f"{asked}({call})")
    assert found == (4, [20])


def test_link_error_is_called_with_request_exception_and_traceback(cell):
    key = f"{cell.queue}:errback"
    call = f"tasks.fail.apply_async(('KeyError', 'k'), link_error=tasks.note_failure.s({key!r}))"
    task_id = cell.ask(f"{call}.id")
    assert cell.noted(key) == f"{task_id} KeyError('k') True"


def test_link_error_of_the_old_form_is_sent_with_the_id(cell):
    task_id = cell.ask(
        "tasks.fail.apply_async(('KeyError', 'k'), link_error=tasks.note_failed_id.s()).id"
    )
    assert cell.noted(f"{cell.queue}:failed") == task_id


def test_a_groups_results_come_in_its_order(cell):
    call = "flavour.group(tasks.add.s(n, n) for n in range(5)).apply_async()"
    assert cell.ask(f"{call}.get(timeout=20)") == [0, 2, 4, 6, 8]


def test_on_message_sees_states_of_the_tasks_own(cell):
    value, seen = cell.ask(f"states_until_seen({cell.queue + ':seen'!r})")
    assert value == "seen"
    assert seen[-1] == ("SUCCESS", "seen")
    assert seen[0][0] == "PROGRESS"


CLOCK = "__import__('time').monotonic()"


def waited(cell: Cell, call: str) -> tuple[object, float]:
    """The value of a call, and how many seconds its caller has waited for it."""
    asked = f"(lambda start: ({call}.get(timeout=20), {CLOCK} - start))({CLOCK})"
    value, waited_s = cell.ask(asked)
    return value, waited_s


def test_a_countdown_may_be_a_fraction_and_is_waited_for(cell):
    value, waited_s = waited(cell, "tasks.add.apply_async((1, 2), countdown=0.25)")
    assert value == 3
    assert waited_s >= 0.25


def test_an_eta_is_waited_for(cell):
    eta = "dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=0.25)"
    value, waited_s = waited(cell, f"tasks.add.apply_async((1, 2), eta={eta})")
    assert value == 3
    assert waited_s >= 0.25


def test_an_eta_without_an_offset_is_in_the_zone_of_the_application(cell):
    eta = "dt.datetime.now(dt.timezone.utc).replace(tzinfo=None) + dt.timedelta(seconds=0.25)"
    value, waited_s = waited(cell, f"tasks.add.apply_async((1, 2), eta={eta})")
    assert value == 3
    assert 0.25 <= waited_s < 15


@pytest.mark.parametrize(
    "expires", ["-1", "dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)"], ids=["seconds", "moment"]
)
def test_what_has_expired_is_revoked(cell, expires):
    with pytest.raises(RemoteError) as raised:
        cell.ask(f"tasks.add.apply_async((1, 2), expires={expires}).get(timeout=20)")
    assert raised.value.name.endswith("exceptions.TaskRevokedError")


def test_what_expires_later_runs(cell):
    assert context(cell, "expires=600")["expires"] is not None


def test_a_policy_of_retries_is_the_producers_own(cell):
    policy = {
        "max_retries": 3,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 0.2,
        "retry_errors": None,
    }
    assert context(cell, f"retry=True, retry_policy={policy}")["headers"] is None


def test_a_broker_that_is_away_is_an_operational_error(cell):
    with pytest.raises(RemoteError) as raised:
        cell.ask(f"to_nobody({AWAY[cell.broker]!r})")
    assert raised.value.name.endswith("exceptions.OperationalError")


def test_a_retried_task_runs_again(cell):
    assert cell.ask("tasks.flaky.delay(1).get(timeout=30)") == 1


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml"])
def test_a_serializer_is_read(cell, serializer):
    call = f"tasks.echo.apply_async(([1, 'é', None],), serializer={serializer!r})"
    assert cell.ask(f"{call}.get(timeout=20)") == [1, "é", None]


@pytest.mark.parametrize("compression", ["zlib", "bzip2", "lzma"])
def test_a_compression_is_read(cell, compression):
    call = f"tasks.echo.apply_async(('a' * 3000,), compression={compression!r})"
    assert cell.ask(f"{call}.get(timeout=20)") == "a" * 3000


def test_calls_go_through_a_producer_of_a_pooled_connection(cell):
    assert cell.ask("through_a_producer(1, 2, 3)") == [2, 4, 6]


def test_a_queue_is_chosen(cell):
    info = context(cell, f"queue={cell.queue!r}")["delivery_info"]
    assert info["routing_key"] == cell.queue


def test_an_exchange_and_a_routing_key_are_chosen(cell):
    info = context(cell, f"exchange={cell.queue!r}, routing_key={cell.queue!r}")["delivery_info"]
    assert (info["exchange"], info["routing_key"]) == (cell.queue, cell.queue)


def test_a_priority_travels(cell):
    assert context(cell, "priority=3")["delivery_info"]["priority"] == 3


def test_an_ignored_result_is_not_stored(cell):
    task_id = cell.ask("tasks.add.apply_async((1, 2), ignore_result=True).id")
    assert cell.ask("tasks.add.delay(1, 2).get(timeout=20)") == 3
    assert cell.ask(f"app.AsyncResult({task_id!r}).state") == "PENDING"


def test_shadow_travels(cell):
    assert context(cell, "shadow='pretty'")["shadow"] == "pretty"


def test_a_task_id_is_chosen(cell):
    chosen = f"chosen-{cell.queue}"
    assert context(cell, f"task_id={chosen!r}")["id"] == chosen
    assert cell.ask(f"app.AsyncResult({chosen!r}).state") == "SUCCESS"


def test_headers_travel(cell):
    seen = context(cell, "headers={'tenant': 'blue', 'n': [1]}")
    assert seen["headers"] == {"tenant": "blue", "n": [1]}


def test_time_limits_travel(cell):
    assert context(cell, "time_limit=30, soft_time_limit=20")["timelimit"] == [30, 20]


def test_representations_of_arguments_travel(cell):
    seen = context(cell, "args=('secret',), argsrepr='(***)', kwargsrepr='{***}'")
    assert (seen["argsrepr"], seen["kwargsrepr"]) == ("(***)", "{***}")


def test_places_in_a_workflow_travel(cell):
    seen = context(cell, "root_id='r', parent_id='p', group_id='g', group_index=2, retries=1")
    names = ("root_id", "parent_id", "group", "group_index", "retries")
    assert [seen[name] for name in names] == ["r", "p", "g", 2, 1]


@pytest.mark.parametrize("name", ["reply_to", "correlation_id"])
def test_a_property_of_the_message_travels(cell, name):
    call = f"tasks.field.apply_async(({name!r},), {name}='mine')"
    assert cell.ask(f"{call}.get(timeout=20)") == "mine"


def test_stamps_travel(cell):
    seen = cell.ask("stamped(tasks.context.s(), rank='gold').apply_async().get(timeout=20)")
    assert seen["stamped_headers"] == ["rank"]
    assert seen["stamps"] == {"rank": "gold"}


@pytest.mark.parametrize(
    "option", ["delivery_mode=1", "expiration=60", "unheard_of='property'", "confirm_timeout=5"]
)
def test_what_is_the_brokers_own_disturbs_nobody(cell, option):
    assert cell.ask(f"tasks.add.apply_async((1, 2), {option}).get(timeout=20)") == 3
