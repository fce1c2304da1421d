"""A broker that is dead: the error, its cause, and how long it takes."""

from __future__ import annotations

import socket
import time

import pytest

from celeriac import Celery
from celeriac.exceptions import OperationalError
from celeriac.retry import delays_s

CONNECT_S = 1.0
#: What a loaded machine may add; less than one connect timeout for each of the tries.
SLACK_S = 1.5
POLICY = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.2}
TRIES = 1 + len(list(delays_s(POLICY)))


@pytest.fixture(params=["redis", "amqp"])
def scheme(request):
    return request.param


@pytest.fixture
def refusing(scheme):
    """An application whose broker's port is closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    made = application(scheme, port)
    yield made
    made.close()


@pytest.fixture
def silent(scheme):
    """An application whose broker takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = application(scheme, server.getsockname()[1])
        yield made
        made.close()


def application(scheme, port):
    made = Celery("dead", broker=f"{scheme}://127.0.0.1:{port}//", set_as_current=False)
    made.conf.broker_connection_timeout = CONNECT_S
    return made


def fails_within(app, limit_s, **options):
    """Send, which is to fail in time; the error."""
    began_s = time.monotonic()
    with pytest.raises(OperationalError) as raised:
        app.send_task("t", ignore_result=True, **options)
    assert time.monotonic() - began_s < limit_s
    return raised.value


def test_a_refusing_broker_costs_the_waits_of_the_policy_and_no_more(refusing):
    error = fails_within(refusing, sum(delays_s(POLICY)) + SLACK_S, retry_policy=POLICY)
    assert isinstance(error.__cause__, ConnectionRefusedError)


def test_a_silent_broker_costs_one_connect_timeout_a_try_besides(silent):
    told = []
    policy = {**POLICY, "errback": lambda exc, wait_s: told.append((type(exc.__cause__), wait_s))}
    limit_s = sum(delays_s(POLICY)) + TRIES * CONNECT_S + SLACK_S
    error = fails_within(silent, limit_s, retry_policy=policy)
    assert f"no answer within {CONNECT_S:g} s" in str(error)
    assert told == [(ConnectionError, 0.1)]
    assert isinstance(error.__cause__, ConnectionError)


def test_without_retries_a_refusing_broker_is_an_error_at_once(refusing):
    fails_within(refusing, SLACK_S, retry=False)


def test_whether_and_how_it_is_tried_again_is_said_by_the_settings(refusing):
    told = []
    policy = {**POLICY, "errback": lambda *given: told.append(given)}
    refusing.conf.task_publish_retry_policy = policy
    fails_within(refusing, sum(delays_s(POLICY)) + SLACK_S)
    assert len(told) == 1
    refusing.conf.task_publish_retry = False
    fails_within(refusing, SLACK_S)
    assert len(told) == 1


def test_the_defaults_wait_no_longer_than_four_tenths_of_a_second():
    assert list(delays_s()) == [0, 0.2, 0.2]
    assert sum(delays_s()) == pytest.approx(0.4)
