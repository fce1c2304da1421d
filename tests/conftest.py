"""What all tests share: the servers they talk to, and a clean database on them."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import redis as redis_client
import services
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

TEST_DATABASES = range(10, 13)  # 13 belongs to the Rust tests, 14 and 15 to the benches
LOCK_KEY = "celeriac-tests-use-this-database"
LOCK_S = 1800

# The same examples in each run, so that what fails fails again for everybody. Others are drawn with
# CELERIAC_TEST_RANDOM=1: what they find becomes an @example.
settings.register_profile("same", derandomize=True)
settings.register_profile("others", print_blob=True)
settings.load_profile("others" if os.environ.get("CELERIAC_TEST_RANDOM") else "same")


def pytest_configure() -> None:
    """Hear Ctrl-C: a run that a shell put into the background inherits that it is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def redis_server() -> str:
    """URL of a Redis without a database; a server that does not answer is a failure, not a skip."""
    url = os.environ.get("CELERIAC_TEST_REDIS", "redis://127.0.0.1:6379")
    try:
        with redis_client.Redis.from_url(url, socket_connect_timeout=2) as client:
            client.ping()
    except redis_client.ConnectionError as error:
        pytest.fail(
            f"no Redis at {url} ({error}); run the tests with `make test`, or start one and name"
            " it in CELERIAC_TEST_REDIS",
            pytrace=False,
        )
    return url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL where databases can be created, started where `make test` names none."""
    with services.postgresql() as url:
        yield url


@contextmanager
def free_database(server: str) -> Iterator[str]:
    """URL of an empty database that no other test run uses at the same time; emptied afterwards."""
    for number in TEST_DATABASES:
        url = f"{server}/{number}"
        with redis_client.Redis.from_url(url) as client:
            if not client.set(LOCK_KEY, os.getpid(), nx=True, ex=LOCK_S):
                continue
            leftovers = [key for key in client.scan_iter(count=1000) if key != LOCK_KEY.encode()]
            if leftovers:
                client.delete(*leftovers)
            try:
                yield url
            finally:
                client.flushdb()
            return
    pytest.fail(f"databases {TEST_DATABASES} of {server} are all in use", pytrace=False)


@pytest.fixture(scope="module")
def redis_url(redis_server: str) -> Iterator[str]:
    """URL of an empty database, a module's own."""
    with free_database(redis_server) as url:
        yield url


@pytest.fixture(scope="session")
def session_redis_url(redis_server: str) -> Iterator[str]:
    """URL of a database for processes that serve several modules."""
    with free_database(redis_server) as url:
        yield url


@pytest.fixture
def redis(redis_url: str) -> Iterator[redis_client.Redis]:
    """A plain client of the database of `redis_url`, to look at what is on the wire."""
    with redis_client.Redis.from_url(redis_url) as client:
        yield client
