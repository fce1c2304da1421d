"""Several servers behind one setting: dead ones, ones that die, and sentinels who know better."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_client
import services

from celeriac._native import Publisher
from celeriac.exceptions import OperationalError
from processes import Producer, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)
WAIT_S = 10.0
MASTER = "the-master"


def wait_until(true: Callable[[], Any], within_s: float = 30.0) -> None:
    """Poll another process's state."""
    deadline_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline_s, "it did not come about"
        time.sleep(0.05)


class RedisProcess:
    """A Redis or a sentinel that a test may kill."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = services.free_port()
        folder = folder / str(self.port)
        folder.mkdir()
        common = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._process = subprocess.Popen(
            [services.REDIS.program(), *(options or ("--save", "")), *common],
            stdout=subprocess.DEVNULL,
        )
        services.REDIS.wait_for(self._process, self.port)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"redis://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """Let it die at once, without a word."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def ask(self, *command: str) -> Any:
        """The answer to a command."""
        with redis_client.Redis(port=self.port, decode_responses=True) as client:
            return client.execute_command(*command)


@contextmanager
def replicated(folder: Path) -> Iterator[tuple[RedisProcess, RedisProcess, str]]:
    """A master, its replica, and the URL of the sentinel who watches them."""
    with ExitStack() as stack:

        def started(*options: str) -> RedisProcess:
            server = RedisProcess(folder, *options)
            stack.callback(server.kill)
            return server

        master = started()
        replica = started("--save", "", "--replicaof", f"127.0.0.1 {master.port}")
        wait_until(lambda: replica.ask("ROLE")[3] == "connected")
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"sentinel monitor {MASTER} 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds {MASTER} 500\n"
            f"sentinel failover-timeout {MASTER} 3000\n",
            encoding="utf-8",
        )
        sentinel = started(str(settings), "--sentinel")
        wait_until(lambda: len(sentinel.ask("SENTINEL", "REPLICAS", MASTER)) == 1)
        # The first of the two sentinels is dead.
        dead = services.free_port()
        yield master, replica, f"sentinel://127.0.0.1:{dead}/1;sentinel://127.0.0.1:{sentinel.port}"


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisProcess, str]]:
    """A master that no test kills, and its sentinel's URL."""
    with replicated(tmp_path_factory.mktemp("sentinels")) as (master, _, url):
        yield master, url


def conf(**settings: Any) -> str:
    """Settings for the processes of a test."""
    return json.dumps(settings)


@pytest.mark.parametrize(
    ("producing", "consuming"),
    [("celery", "celeriac"), ("celeriac", "celery"), ("celeriac", "celeriac")],
)
def test_a_first_server_that_is_dead_costs_nobody_a_task(
    monkeypatch, redis_url, producing, consuming
):
    dead = f"redis://127.0.0.1:{services.free_port()}/0"
    monkeypatch.setenv("INTEROP_CONF", conf(broker_url=[dead, redis_url]))
    queue = f"failover-{uuid.uuid4().hex[:8]}"
    worker = Worker(consuming, f"unused {redis_url}", queue)
    producer = Producer(producing, f"unused {redis_url}", queue)
    assert producer.ask("tasks.add.delay(2, 3).get(timeout=20)") == 5
    producer.stop()
    assert worker.stop() == 0, worker.lines.text()


def test_a_first_rabbitmq_that_is_dead_costs_nobody_a_task(monkeypatch, redis_url):
    alive = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
    dead = f"amqp://guest:guest@127.0.0.1:{services.free_port()}//"
    monkeypatch.setenv("INTEROP_CONF", conf(broker_failover_strategy="shuffle"))
    queue = f"failover-{uuid.uuid4().hex[:8]}"
    url = f"{dead};{alive} {redis_url}"
    worker = Worker("celeriac", url, queue)
    producer = Producer("celeriac", url, queue)
    assert producer.ask("tasks.add.delay(2, 3).get(timeout=20)") == 5
    producer.stop()
    assert worker.stop() == 0, worker.lines.text()
    # Its queues, so that nothing is left on a server that others use.
    other = Producer("celery", f"{alive} {redis_url}", queue)
    for name in (queue, f"{queue}-other"):
        other.text(f"app.connection_for_write().channel().queue_delete({name!r})")
    other.stop()


def test_producer_and_worker_move_on_together_when_their_server_dies(monkeypatch, tmp_path):
    first, second = RedisProcess(tmp_path), RedisProcess(tmp_path)
    try:
        monkeypatch.setenv("INTEROP_CONF", conf())
        queue = f"failover-{uuid.uuid4().hex[:8]}"
        url = f"{first.url}/0;{second.url}/0"
        # Results lie on the server that stays.
        worker = Worker("celeriac", f"{url} {second.url}/1", queue)
        producer = Producer("celeriac", f"{url} {second.url}/1", queue)
        assert producer.ask("tasks.add.delay(1, 1).get(timeout=20)") == 2
        assert first.ask("SMEMBERS", f"_kombu.binding.{queue}")
        first.kill()
        for number in range(5):
            expression = f"tasks.add.delay({number}, 1).get(timeout=30)"
            assert producer.ask(expression, 60.0) == number + 1
        assert second.ask("SMEMBERS", f"_kombu.binding.{queue}")
        producer.stop()
        assert worker.stop() == 0, worker.lines.text()
    finally:
        first.kill()
        second.kill()


def test_all_servers_are_named_when_none_answers():
    ports = [services.free_port(), services.free_port()]
    url = ";".join(f"redis://u:hush@127.0.0.1:{port}/0" for port in ports)
    publisher = Publisher(url)
    with pytest.raises(OperationalError) as caught:
        publisher.depth("any", WAIT_S)
    message = str(caught.value)
    assert all(str(port) in message for port in ports)
    assert "hush" not in message


# Sentinels ---------------------------------------------------------------------------------------

SENTINEL_OPTIONS = {"master_name": MASTER}


@pytest.mark.parametrize(
    ("producing", "consuming"), [("celery", "celeriac"), ("celeriac", "celery")]
)
def test_tasks_go_through_sentinels_between_both_kinds(monkeypatch, unharmed, producing, consuming):
    _, url = unharmed
    options = {
        "broker_transport_options": SENTINEL_OPTIONS,
        "result_backend_transport_options": SENTINEL_OPTIONS,
    }
    monkeypatch.setenv("INTEROP_CONF", conf(**options))
    queue = f"sentinel-{uuid.uuid4().hex[:8]}"
    worker = Worker(consuming, url, queue)
    producer = Producer(producing, url, queue)
    assert producer.ask("tasks.add.delay(2, 3).get(timeout=20)") == 5
    producer.stop()
    assert worker.stop() == 0, worker.lines.text()


def test_remote_control_goes_through_sentinels(monkeypatch, unharmed):
    options = {
        "broker_transport_options": SENTINEL_OPTIONS,
        "result_backend_transport_options": SENTINEL_OPTIONS,
    }
    monkeypatch.setenv("INTEROP_CONF", conf(**options))
    queue, url = f"sentinel-{uuid.uuid4().hex[:8]}", unharmed[1]
    name, task_id = f"{queue}@here", str(uuid.uuid4())
    worker = Worker("celeriac", url, queue, "solo", "-n", name)
    producer = Producer("celeriac", url, queue)
    assert producer.ask(f"app.control.ping([{name!r}], timeout=10.0)") == [{name: {"ok": "pong"}}]
    producer.text(
        f"app.control.revoke({task_id!r}, destination=[{name!r}], reply=True, timeout=10.0)"
    )
    revoked = (
        f"type(tasks.add.apply_async((1, 2), task_id={task_id!r})"
        ".get(timeout=20, propagate=False)).__name__"
    )
    assert producer.ask(revoked) == "TaskRevokedError"
    producer.stop()
    assert worker.stop() == 0, worker.lines.text()


def test_publishing_and_consuming_survive_the_masters_death(monkeypatch, tmp_path):
    with replicated(tmp_path) as (master, replica, url):
        options = {
            "broker_transport_options": SENTINEL_OPTIONS,
            "result_backend_transport_options": SENTINEL_OPTIONS,
            # A failover takes longer than a call waits by default.
            "task_publish_retry_policy": {"max_retries": 300, "interval_max": 0.2},
        }
        monkeypatch.setenv("INTEROP_CONF", conf(**options))
        queue = f"sentinel-{uuid.uuid4().hex[:8]}"
        worker = Worker("celeriac", url, queue)
        producer = Producer("celeriac", url, queue)
        assert producer.ask("tasks.add.delay(1, 1).get(timeout=20)") == 2
        # Waiting in the queue while the master dies: the replica has them, then has to be served.
        waiting = "[tasks.add.apply_async((n, 1), queue='later').id for n in range(20)]"
        producer.ask(waiting)
        with redis_client.Redis(port=replica.port, db=1) as client:
            wait_until(lambda: client.llen("later") == 20)
        master.kill()
        # In the middle of the failover: each waits until there is a master again.
        during = "[tasks.add.delay(n, 2).get(timeout=30) for n in range(20)]"
        assert producer.ask(during, 90.0) == [n + 2 for n in range(20)]
        assert replica.ask("ROLE")[0] == "master"
        with redis_client.Redis(port=replica.port, db=1) as client:
            assert client.llen("later") == 20
        producer.stop()
        assert worker.stop() == 0, worker.lines.text()


def test_a_master_that_becomes_a_replica_gets_nothing_more(tmp_path):
    with replicated(tmp_path) as (master, replica, url):
        publisher = Publisher(url, SENTINEL_OPTIONS)
        assert publisher.depth("q", WAIT_S) == 0
        # Its connections stay, so that only its refusal to write tells.
        master.ask("REPLICAOF", "127.0.0.1", str(replica.port))
        replica.ask("REPLICAOF", "NO", "ONE")
        with redis_client.Redis(port=int(url.rpartition(":")[2])) as sentinel:
            sentinel.execute_command("SENTINEL", "REMOVE", MASTER)
            sentinel.execute_command("SENTINEL", "MONITOR", MASTER, "127.0.0.1", replica.port, 1)
        parts = ({"task": "t", "id": "1"}, {"delivery_tag": "1"}, b"[[], {}, {}]")
        publisher.publish_parts(*parts, "", "q", [], None, 30.0)
        publisher.close(WAIT_S)
        with redis_client.Redis(port=replica.port, db=1) as client:
            wait_until(lambda: client.llen("q") == 1)


def test_sentinels_that_know_no_such_master_are_quoted(unharmed):
    publisher = Publisher(unharmed[1], {"master_name": "another"})
    with pytest.raises(OperationalError, match=r"No such master.*another"):
        publisher.depth("any", WAIT_S)


def test_password_and_user_of_sentinel_and_server_are_their_own(unharmed):
    master, url = unharmed
    sentinel_port = int(url.rpartition(":")[2])
    master.ask("ACL", "SETUSER", "worker", "on", ">s/e@c", "~*", "&*", "+@all")
    given = f"sentinel://worker:s%2Fe%40c@127.0.0.1:{sentinel_port}/1"
    kwargs = {"username": "asker", "password": "hush"}
    with redis_client.Redis(port=sentinel_port, single_connection_client=True) as client:
        client.execute_command("ACL", "SETUSER", "asker", "on", ">hush", "+@all")
        client.execute_command("AUTH", "asker", "hush")
        client.execute_command("ACL", "SETUSER", "default", "-@all")
        try:
            with_both = {"master_name": MASTER, "sentinel_kwargs": kwargs}
            assert Publisher(given, with_both).depth("q", WAIT_S) == 0
            with pytest.raises(OperationalError, match="sentinel_kwargs"):
                Publisher(given, SENTINEL_OPTIONS).depth("q", WAIT_S)
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+@all")


# Other addresses ---------------------------------------------------------------------------------


def test_sockets_ipv6_and_acl_users_are_served(tmp_path):
    socket = tmp_path / "redis.sock"
    with services.own_redis("--unixsocket", str(socket), "--bind", "127.0.0.1", "::1") as url:
        port = url.rpartition(":")[2]
        with redis_client.Redis(port=int(port)) as client:
            client.execute_command(*"ACL SETUSER worker on ~* &* +@all".split(), ">p w%")
            client.execute_command(*"ACL SETUSER default off".split())
            for form in (
                f"redis+socket://worker:p%20w%25@{socket}?virtual_host=3",
                f"redis://worker:p%20w%25@[::1]:{port}/3",
                f"redis://worker:p%20w%25@localhost:{port}/3",
            ):
                publisher = Publisher(form)
                assert publisher.depth("q", WAIT_S) == 0
                publisher.close(1.0)
            with pytest.raises(
                OperationalError, match=r"invalid username-password|NOAUTH|WRONGPASS"
            ):
                Publisher(f"redis://worker:wrong@localhost:{port}/3").depth("q", WAIT_S)
