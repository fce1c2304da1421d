"""Where two kinds meet: a version of Celery, a broker, and how to look at what is left there."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import amqp
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The flavours of `processes`: 5.7 is the one beside celeriac in `.venv`.
VERSIONS = {"5.4": "celery-5.4", "5.5": "celery-5.5", "5.6": "celery-5.6", "5.7": "celery"}
BROKERS = ("redis", "rabbitmq")
EVERYWHERE = [(version, broker) for version in VERSIONS for broker in BROKERS]
REFERENCE = [("5.7", "redis")]
#: Where the tests of behaviour run: with `make interop` with every version on every broker.
REACH = EVERYWHERE if os.environ.get("CELERIAC_TEST_INTEROP") == "all" else REFERENCE


class Place(NamedTuple):
    """A version of Celery, a broker, and their URL: the broker's, a blank, the result store's."""

    version: str
    broker: str
    url: str

    @property
    def celery(self) -> str:
        """The flavour of this version's processes."""
        return VERSIONS[self.version]


def url_of(broker: str, redis_url: str) -> str:
    """The URLs of a broker, with results on Redis."""
    return redis_url if broker == "redis" else f"{rabbitmq_url()} {redis_url}"


def rabbitmq_url() -> str:
    """The server's URL."""
    return os.environ.get("CELERIAC_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672//")


@contextmanager
def channel() -> Iterator[amqp.Channel]:
    """A channel of a client of RabbitMQ that is neither of the two kinds."""
    userinfo, _, place = rabbitmq_url().removeprefix("amqp://").rpartition("@")
    user, _, password = userinfo.partition(":")
    host, _, vhost = place.partition("/")
    connection = amqp.Connection(host, user, password, virtual_host=vhost, connect_timeout=5)
    try:
        connection.connect()
    except OSError as error:
        pytest.fail(f"no RabbitMQ at {host} ({error}); run `make test`", pytrace=False)
    with connection:
        yield connection.channel()


def delete(broker: str, *queues: str) -> int:
    """Delete queues with their exchanges where they would stay.

    Returns:
        How many messages were left in them.
    """
    if broker == "redis":
        return 0  # the database is emptied as a whole
    left = 0
    with channel() as opened:
        for queue in queues:
            left += opened.queue_declare(queue, passive=True).message_count
            opened.queue_delete(queue)
            opened.exchange_delete(queue)
    return left
