"""Settings about brokers' servers: TLS options, lists of URLs, and what a log may show of them."""

from __future__ import annotations

import logging
import ssl
from itertools import cycle
from pathlib import Path

import pytest

from celeriac import Celery, broker
from celeriac._native import check_url, redacted
from celeriac.exceptions import ImproperlyConfigured
from celeriac.settings.servers import in_order, url_list
from celeriac.settings.tls import tls_options
from celeriac.worker.unsupported import report_unsupported


def app_with(**settings):
    app = Celery("x", set_as_current=False)
    app.conf.update(settings)
    return app


@pytest.mark.parametrize("value", [None, False, {}])
def test_without_a_wish_there_are_no_options(value):
    assert tls_options("broker_use_ssl", value) == {}


def test_true_is_tls_with_the_systems_authorities():
    assert tls_options("broker_use_ssl", True) == {"ssl": True}


def test_names_of_both_libraries_mean_the_same():
    plain = {"keyfile": "k", "certfile": Path("c"), "ca_certs": "a", "cert_reqs": ssl.CERT_REQUIRED}
    prefixed = {f"ssl_{name}": value for name, value in plain.items()}
    expected = {
        "ssl": True,
        "ssl_keyfile": "k",
        "ssl_certfile": "c",
        "ssl_ca_certs": "a",
        "ssl_cert_reqs": 2,
    }
    assert tls_options("a", plain) == tls_options("b", prefixed) == expected
    assert type(tls_options("a", plain)["ssl_cert_reqs"]) is int


def test_an_option_nobody_knows_is_refused_with_those_that_exist():
    with pytest.raises(ImproperlyConfigured, match=r"'ciphers'; known: ca_certs, "):
        tls_options("broker_use_ssl", {"ciphers": "HIGH"})
    with pytest.raises(ImproperlyConfigured, match=r"'broker_use_ssl' is True, False or a mapping"):
        tls_options("broker_use_ssl", "yes")


def test_versions_are_asked_for_with_pythons_enumeration():
    options = tls_options("x", {"ssl_min_version": ssl.TLSVersion.TLSv1_3, "ssl_version": 5})
    assert options == {"ssl": True, "ssl_min_version": 772}
    assert check_url("rediss://h?ssl_cert_reqs=none", options) == "rediss://h?ssl_cert_reqs=none"


def test_the_brokers_url_comes_with_the_setting():
    app = app_with(broker_url="redis://h", broker_use_ssl={"ssl_cert_reqs": ssl.CERT_NONE})
    assert broker.write_url(app)[1] == {"ssl": True, "ssl_cert_reqs": 0}


@pytest.mark.parametrize(
    "value", ["amqp://a;amqp://b", ["amqp://a", "amqp://b"], ("amqp://a;", "amqp://b")]
)
def test_several_urls_are_text_or_a_list(value):
    assert url_list(value) == ["amqp://a", "amqp://b"]
    assert broker.read_url(app_with(broker_url=value))[0] == "amqp://a;amqp://b"


def test_strategies_leave_the_first_server_first():
    urls = ["amqp://a", "amqp://b", "amqp://c"]
    assert in_order(urls, None) == in_order(urls, "round-robin") == urls
    shuffled = in_order(urls, "shuffle")
    assert shuffled[0] == urls[0]
    assert sorted(shuffled) == urls
    last_first = in_order(urls, lambda servers: cycle(reversed(servers)))
    assert last_first[:3] == ["amqp://a", "amqp://b", "amqp://a"]


def test_a_strategy_that_is_none_is_refused():
    with pytest.raises(ImproperlyConfigured, match="round-robin"):
        in_order(["a", "b"], "sideways")
    for wrong in (lambda _: [], lambda _: ["c"]):
        with pytest.raises(ImproperlyConfigured, match="servers from its list"):
            in_order(["a", "b"], wrong)


def test_a_shuffled_list_is_the_same_for_everybody_in_a_process():
    settings = {
        "broker_url": [f"memory:///{number}" for number in range(9)],
        "broker_failover_strategy": "shuffle",
    }
    one, two = app_with(**settings), app_with(**settings)
    assert broker.read_url(one) == broker.write_url(two)


def test_a_transport_that_is_not_there_is_answered_with_those_that_are():
    for name in ("sqs", "kafka", "gcpubsub", "mongodb", "zookeeper", "consul"):
        with pytest.raises(ImproperlyConfigured, match=r"known: amqp://.*sentinel://"):
            check_url(f"{name}://user:hush@h")


def test_no_secret_stands_in_the_list_of_what_has_no_effect(caplog):
    app = app_with(
        broker_url="memory://",
        redis_password="hush",
        broker_transport_options={"sentinel_kwargs": {"password": "hush"}},
    )
    with caplog.at_level(logging.WARNING):
        report_unsupported(app, {}, allow_unsupported=False)
    assert "redis_password=**" in caplog.text
    assert "sentinel_kwargs" in caplog.text
    assert "hush" not in caplog.text


def test_a_list_of_urls_is_shown_without_any_password():
    shown = redacted("redis://u:hush@a/0;redis://:hush@b;redis://c?sentinel_kwargs=hush")
    assert shown == "redis://u:**@a/0;redis://:**@b;redis://c?sentinel_kwargs=**"
