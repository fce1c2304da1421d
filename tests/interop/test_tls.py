"""TLS: tasks between both kinds over the same URLs, and certificates that are not accepted."""

from __future__ import annotations

import json
import ssl
import uuid
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import services
import trustme

from celeriac import Celery, broker
from celeriac._native import Publisher
from celeriac.exceptions import ImproperlyConfigured, OperationalError
from processes import Producer, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(180)
DIRECTIONS = [("celery", "celeriac"), ("celeriac", "celery"), ("celeriac", "celeriac")]
WAIT_S = 10.0


class Files(NamedTuple):
    """Certificates in PEM files."""

    authority: str
    stranger: str
    server: str
    client: str
    expired: str


class Servers(NamedTuple):
    """Ports of servers on this machine; all want a client certificate, but `lax` and `expired`."""

    redis: int
    lax: int
    expired: int
    plain: int
    amqp: int
    amqp_plain: int
    files: Files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """An authority, what it has signed, and one that nobody knows."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, stranger = trustme.CA(), trustme.CA()
    past = datetime.now(timezone.utc) - timedelta(days=1)
    blobs = {
        "server": authority.issue_cert("localhost"),
        "client": authority.issue_cert("client@example.org"),
        "expired": authority.issue_cert("localhost", not_after=past),
    }
    for name, certificate in blobs.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    stranger.cert_pem.write_to_path(folder / "stranger.pem")
    return Files(*(str(folder / f"{name}.pem") for name in Files._fields))


@pytest.fixture(scope="module")
def servers(files: Files) -> Iterator[Servers]:
    """Each started once; `localhost` is their name, and the certificate's."""
    with ExitStack() as stack:

        def redis(certificate: str, clients: str) -> tuple[int, int]:
            port = services.free_port()
            options = [
                *("--tls-port", str(port), "--tls-auth-clients", clients),
                *("--tls-cert-file", certificate, "--tls-key-file", certificate),
                *("--tls-ca-cert-file", files.authority),
            ]
            plain = stack.enter_context(services.own_redis(*options))
            return port, int(plain.rpartition(":")[2])

        strict, plain = redis(files.server, "yes")
        lax, _ = redis(files.server, "no")
        expired, _ = redis(files.expired, "no")
        amqp = services.free_port()
        settings = f"""
            listeners.ssl.default = 127.0.0.1:{amqp}
            ssl_options.cacertfile = {files.authority}
            ssl_options.certfile = {files.server}
            ssl_options.keyfile = {files.server}
            ssl_options.verify = verify_peer
            ssl_options.fail_if_no_peer_cert = true
        """
        own = stack.enter_context(
            services.own_rabbitmq("\n".join(line.strip() for line in settings.splitlines()))
        )
        amqp_plain = int(own.rstrip("/").rpartition(":")[2])
        yield Servers(strict, lax, expired, plain, amqp, amqp_plain, files)


def redis_url(port: int, **options: Any) -> str:
    """A URL with TLS options as kombu and Celery take them."""
    query = "&".join(f"ssl_{name}={value}" for name, value in options.items())
    return f"rediss://localhost:{port}/0?{query}"


def identified(files: Files) -> dict[str, str]:
    """TLS options with a client certificate."""
    return {
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": files.authority,
        "certfile": files.client,
        "keyfile": files.client,
    }


def refusal(url: str, options: dict[str, Any] | None = None) -> str:
    """What is said when the server is reached for."""
    publisher = Publisher(url, options or {})
    with pytest.raises(OperationalError) as caught:
        publisher.depth("any", WAIT_S)
    publisher.close(1.0)
    return str(caught.value)


def works(url: str, options: dict[str, Any] | None = None) -> bool:
    """Whether the server answers."""
    publisher = Publisher(url, options or {})
    depth = publisher.depth("celery-none", WAIT_S)
    publisher.close(1.0)
    return depth == 0


# Between both kinds ------------------------------------------------------------------------------


@pytest.mark.parametrize(("producing", "consuming"), DIRECTIONS)
@pytest.mark.parametrize("kind", ["redis", "amqp"])
def test_a_task_and_its_result_go_over_tls(servers, monkeypatch, kind, producing, consuming):
    results = redis_url(servers.redis, **identified(servers.files))
    conf = {}
    url = results
    if kind == "amqp":
        # With numbers for `ssl.CERT_REQUIRED`: JSON knows no enumerations.
        own = {**identified(servers.files), "cert_reqs": 2, "server_hostname": "localhost"}
        conf = {"broker_use_ssl": own}
        url = f"amqp://guest:guest@localhost:{servers.amqp}//"
    monkeypatch.setenv("INTEROP_CONF", json.dumps(conf))
    queue = f"tls-{uuid.uuid4().hex[:8]}"
    worker = Worker(consuming, f"{url} {results}", queue)
    producer = Producer(producing, f"{url} {results}", queue)
    assert producer.ask("tasks.add.delay(2, 3).get(timeout=20)") == 5
    producer.stop()
    assert worker.stop() == 0, worker.lines.text()


def test_settings_of_celery_reach_broker_and_results(servers):
    app = Celery("x", broker=f"redis://localhost:{servers.redis}", set_as_current=False)
    own = {f"ssl_{name}": value for name, value in identified(servers.files).items()}
    own["ssl_cert_reqs"] = ssl.CERT_REQUIRED
    own["ssl_ca_certs"] = Path(servers.files.authority)
    app.conf.update(
        broker_use_ssl=own,
        result_backend=f"redis://localhost:{servers.redis}",
        redis_backend_use_ssl=own,
    )
    assert broker.publisher(app).depth("celery-none", WAIT_S) == 0
    assert app.AsyncResult("nobody").state == "PENDING"


# What is accepted, and what is not ---------------------------------------------------------------


def test_a_certificate_of_an_unknown_authority_is_refused(servers):
    for url in (
        redis_url(servers.lax, ca_certs=servers.files.stranger),
        redis_url(servers.lax),
        f"amqps://localhost:{servers.amqp}?ssl_ca_certs={servers.files.stranger}",
    ):
        message = refusal(url)
        assert "signed by no authority that is trusted here" in message
        assert "ssl_ca_certs" in message


def test_a_certificate_of_another_host_is_refused_unless_that_is_wished(servers):
    url = redis_url(servers.lax, ca_certs=servers.files.authority).replace("localhost", "127.0.0.1")
    message = refusal(url)
    assert "does not belong to" in message
    assert "ssl_check_hostname" in message
    assert works(f"{url}&ssl_check_hostname=false")
    assert works(f"{url}&ssl_server_hostname=localhost")
    assert works(url, {"ssl_check_hostname": False})


def test_an_expired_certificate_is_refused(servers):
    assert "has expired" in refusal(redis_url(servers.expired, ca_certs=servers.files.authority))


@pytest.mark.parametrize("value", ["CERT_NONE", "none", ssl.CERT_NONE])
def test_nothing_is_checked_where_that_is_wished(servers, value):
    for port in (servers.lax, servers.expired):
        assert works(f"rediss://127.0.0.1:{port}", {"ssl_cert_reqs": value})


def test_a_server_that_wants_a_client_certificate_says_so(servers):
    for url in (
        redis_url(servers.redis, ca_certs=servers.files.authority),
        f"amqps://localhost:{servers.amqp}?ssl_ca_certs={servers.files.authority}",
    ):
        message = refusal(url)
        assert "client certificate" in message
        assert "ssl_certfile" in message


def test_a_self_signed_certificate_can_be_its_own_authority(servers):
    url = redis_url(servers.lax, ca_certs=servers.files.server)
    assert works(url)
    assert "does not belong to" in refusal(url.replace("localhost", "127.0.0.1"))


def test_plain_and_secret_ports_are_told_apart(servers):
    mute = redis_url(servers.plain, cert_reqs="none") + "&socket_connect_timeout=1"
    assert "no TLS is spoken on this port" in refusal(mute)
    assert "rediss://" in refusal(f"redis://localhost:{servers.lax}")
    amqps = f"amqps://localhost:{servers.amqp_plain}?ssl_cert_reqs=none"
    assert "no TLS is spoken on this port" in refusal(amqps)
    assert "amqps://" in refusal(f"amqp://localhost:{servers.amqp}")


def test_files_that_cannot_be_used_are_named_before_anything_is_connected(files, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.touch()
    for options, named in (
        ({"ssl_ca_certs": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
        ({"ssl_ca_certs": str(empty)}, "no certificate in it"),
        ({"ssl_certfile": files.client, "ssl_keyfile": files.authority}, "ssl_keyfile"),
        ({"ssl_keyfile": files.client}, "ssl_certfile"),
        ({"ssl_cert_reqs": "perhaps"}, "CERT_REQUIRED"),
        ({"ssl_min_version": "1.1"}, "ssl_min_version"),
    ):
        for url in ("rediss://localhost:1", "amqps://localhost:1"):
            with pytest.raises(ImproperlyConfigured, match=named):
                Publisher(url, options)


def test_the_newest_version_can_be_asked_for(servers):
    assert works(redis_url(servers.lax, ca_certs=servers.files.authority, min_version="1.3"))
