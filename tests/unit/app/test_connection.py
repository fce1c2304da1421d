"""Connections, channels and producers, as kombu's users hold them; on Redis and RabbitMQ."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import kombu
import pytest

from celeriac import Celery, Exchange, Queue
from celeriac.app.connection import Connection, url_of_parts
from celeriac.exceptions import OperationalError

if TYPE_CHECKING:
    from collections.abc import Iterator

AMQP = os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")


@pytest.fixture(params=["redis", "amqp"])
def url(request, redis_url) -> str:
    return redis_url if request.param == "redis" else AMQP


@pytest.fixture
def app(url) -> Iterator[Celery]:
    with Celery("c", broker=url, set_as_current=False) as made:
        yield made


@pytest.fixture
def queue(url) -> Iterator[str]:
    name = f"conn-{uuid.uuid4().hex[:8]}"
    yield name
    with kombu.Connection(url) as real:
        kombu.Queue(name, channel=real.default_channel).delete()


def declared(url, queue) -> None:
    with kombu.Connection(url) as real:
        exchange = kombu.Exchange(queue)
        kombu.Queue(queue, exchange, queue, channel=real.default_channel).declare()


def test_a_queue_is_counted_and_emptied(app, url, queue) -> None:
    declared(url, queue)
    for number in range(3):
        app.send_task("t", (number,), queue=queue, ignore_result=True)

    with app.connection_for_read() as connection:
        channel = connection.default_channel
        assert channel.queue_declare(queue=queue, passive=True).message_count == 3
        assert channel.queue_purge(queue) == 3
        assert channel.queue_declare(queue=queue, passive=True).message_count == 0


def test_a_producers_message_is_read_by_kombu(app, url, queue) -> None:
    declared(url, queue)
    with app.producer_or_acquire() as producer:
        producer.publish(
            {"a": [1, None]},
            exchange=Exchange(queue),
            routing_key=queue,
            declare=[Queue(queue, Exchange(queue), queue)],
            headers={"h": "1"},
            priority=3,
            correlation_id="c",
        )

    with kombu.Connection(url) as real, real.SimpleQueue(queue) as simple:
        message = simple.get(timeout=5)
        assert message.payload == {"a": [1, None]}
        assert message.headers == {"h": "1"}
        assert message.content_type == "application/json"
        assert message.properties["correlation_id"] == "c"
        assert message.properties["priority"] == 3
        message.ack()


@pytest.mark.parametrize(
    ("body", "kind", "seen"),
    [("text", "text/plain", "text"), (b"\x00\xff", "application/data", b"\x00\xff")],
)
def test_text_and_bytes_go_as_they_are(app, url, queue, body, kind, seen) -> None:
    declared(url, queue)
    with app.connection() as connection:
        connection.Producer().publish(body, exchange=queue, routing_key=queue)

    with kombu.Connection(url) as real, real.SimpleQueue(queue) as simple:
        message = simple.get(timeout=5)
        assert message.content_type == kind
        assert message.payload == seen
        message.ack()


def test_a_queue_that_is_bound_here_gets_kombus_messages(app, url, queue) -> None:
    with app.connection() as connection, connection.channel() as channel:
        channel.exchange_declare(exchange=f"{queue}-x", type="topic", durable=False)
        channel.queue_declare(queue)
        channel.queue_bind(queue, exchange=f"{queue}-x", routing_key="a.#")

        with kombu.Connection(url) as real:
            # Declared otherwise, RabbitMQ refuses it.
            exchange = kombu.Exchange(f"{queue}-x", "topic", durable=False)
            real.Producer(exchange=exchange).publish({}, routing_key="a.b", declare=[exchange])
            assert channel.queue_declare(queue, passive=True).message_count == 1
            exchange(real.default_channel).delete()


def test_a_call_may_be_given_a_producer_of_the_pool_or_kombus(app, url, queue) -> None:
    declared(url, queue)
    with app.producer_pool.acquire(block=True) as producer:
        app.send_task("t", producer=producer, queue=queue, ignore_result=True)
    with kombu.Connection(url) as real:
        app.send_task("t", producer=real.Producer(), queue=queue, ignore_result=True)

    assert app.connection().default_channel.queue_declare(queue, passive=True).message_count == 2


def test_a_connection_says_whether_it_was_reached(app) -> None:
    connection = app.connection()
    assert not connection.connected
    assert connection.ensure_connection(max_retries=1) is connection
    assert connection.connected
    connection.release()
    assert not connection.connected


def test_who_cannot_connect_is_told_after_the_tries_are_used_up() -> None:
    told: list[float] = []
    connection = Connection("redis://127.0.0.1:1/0", connect_timeout=1)
    with pytest.raises(OperationalError):
        connection.ensure_connection(
            lambda _exc, wait_s: told.append(wait_s),
            max_retries=3,
            interval_start=0,
            interval_step=0.01,
            interval_max=0.01,
        )
    assert told == [0, 0.01, 0.01]
    assert not connection.connected


def test_who_cannot_connect_in_time_is_told() -> None:
    connection = Connection("redis://127.0.0.1:1/0", connect_timeout=1)
    with pytest.raises(OperationalError):
        connection.ensure_connection(lambda *_: None, interval_start=60, timeout=1)


def test_kombus_error_is_raised_where_kombu_is_loaded() -> None:
    with pytest.raises(kombu.exceptions.OperationalError):
        Connection("redis://127.0.0.1:1/0", connect_timeout=1).connect()


def test_a_password_is_shown_only_when_it_is_asked_for() -> None:
    url = "amqp://user:s%40cret@host:5673/v"
    connection = Connection(url)
    assert connection.as_uri() == kombu.Connection(url).as_uri().replace("@host", "@host")
    assert "cret" not in repr(connection) + connection.as_uri()
    assert connection.as_uri(include_password=True) == url


def test_an_address_in_parts_is_a_url() -> None:
    assert url_of_parts("h", "u", "p@", "v/1", 1) == "amqp://u:p%40@h:1/v%2F1"
    assert url_of_parts("redis://h/1", "ignored") == "redis://h/1"
    assert url_of_parts("h", transport="redis") == "redis://h/"
    assert url_of_parts(None) is None


@pytest.mark.parametrize("name", ["SimpleQueue", "Consumer", "drain_events", "heartbeat_check"])
def test_what_is_not_there_names_its_replacement(name) -> None:
    with pytest.raises(NotImplementedError, match=f"Connection.{name} is not in celeriac. Use"):
        getattr(Connection("redis://"), name)
    assert not hasattr(Connection("redis://"), "no_such_name")
