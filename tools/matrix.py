"""Run the suites of the brokers on every server there is, and print what passed.

``make matrix`` or ``make matrix ARGS="--only quorum"``: RabbitMQ, with classic and with quorum
queues, Redis and Valkey, of this machine's Debian and of newer ones (tools/debian_tree.py).
Exits with 1 when something failed; its output is in ``.matrix/logs``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import amqp
import redis
import services
from debian_tree import TREES, inside, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

PACKAGES = ("rabbitmq-server", "redis-server", "valkey-server")
LOGS = TREES / "logs"
# A suite that takes longer hangs.
SUITE_TIMEOUT_S = 900
RUST = ["cargo", "test", "--locked", "--quiet", "-p", "celeriac-core", "--no-fail-fast"]
PYTHON = ["pytest", "-q"]
SUITES = {
    "amqp": [
        [*RUST, "--test", "amqp_*"],
        [*RUST, "--test", "broker_conformance", "amqp"],
        [*PYTHON, "tests/interop/test_rabbitmq.py"],
        [*PYTHON, "tests/worker/test_lost_connections.py", "-k", "rabbitmq"],
    ],
    "redis": [
        [*RUST, "--test", "redis_*"],
        [*RUST, "--test", "*_conformance", "redis"],
        [*PYTHON, "tests/interop/test_calls.py"],
        [*PYTHON, "tests/worker/test_lost_connections.py", "-k", "redis"],
    ],
}


@dataclass(frozen=True)
class Cell:
    """One row of the table.

    Attributes:
        kind: Which suites: ``amqp`` or ``redis``.
        server: The server's package and release, as `--only` sees it.
        queues: Their type on RabbitMQ.
        start: Has the server while it is needed, and says its URL.
    """

    kind: str
    server: str
    queues: str
    start: Callable[[], AbstractContextManager[str]]

    def __str__(self) -> str:
        """Its name.

        Returns:
            What `--only` looks at.
        """
        return f"{self.server} {self.queues}".strip()


@contextmanager
def redis_in(suite: str, package: str) -> Iterator[str]:
    """A Redis or Valkey of another Debian.

    Args:
        suite: The release of Debian.
        package: Which of the two.

    Yields:
        Its URL, without a database.
    """
    port = services.free_port()
    server = services.Server(package, port, b"PING\r\n", b"+PONG", "")
    with tempfile.TemporaryDirectory(prefix="celeriac-matrix-") as folder:
        command = [package, *services.redis_options(folder, port)]
        command = inside(tree(suite, PACKAGES), command, shared=[Path(folder)])
        with services.running(server, command, {}, port):
            yield f"redis://127.0.0.1:{port}"


@contextmanager
def rabbitmq_in(suite: str) -> Iterator[str]:
    """A RabbitMQ of another Debian.

    Args:
        suite: The release of Debian.

    Yields:
        Its URL, with the virtual host ``/``.
    """
    port, names_port = services.free_port(), services.free_port()
    debian = tree(suite, PACKAGES)
    with tempfile.TemporaryDirectory(prefix="celeriac-matrix-") as folder:
        settings = services.rabbitmq_environment(folder, port, names_port)
        environment = [f"{name}={value}" for name, value in settings.items()]
        command = ["/usr/lib/rabbitmq/bin/rabbitmq-server"]
        command = inside(debian, command, shared=[Path(folder)], environment=environment)
        try:
            with services.running(services.RABBITMQ, command, {}, port):
                yield f"amqp://guest:guest@127.0.0.1:{port}//"
        finally:
            # Erlang's name server has a session of its own, and outlives the node.
            stop = inside(debian, ["epmd", "-port", str(names_port), "-kill"])
            subprocess.run(stop, check=False, stdout=subprocess.DEVNULL)


def cells() -> list[Cell]:
    """Every row there is.

    Returns:
        RabbitMQ first, the oldest first.
    """
    found = []
    for suite in ("host", "trixie", "sid"):
        for queues in ("classic", "quorum"):
            start = services.rabbitmq if suite == "host" else lambda suite=suite: rabbitmq_in(suite)
            found.append(Cell("amqp", f"rabbitmq {suite}", queues, start))
    found.append(Cell("redis", "redis host", "", services.redis))
    for package in ("redis-server", "valkey-server"):
        for suite in ("trixie", "sid"):
            name = f"{package.removesuffix('-server')} {suite}"
            start = lambda suite=suite, package=package: redis_in(suite, package)  # noqa: E731
            found.append(Cell("redis", name, "", start))
    return found


def version(url: str) -> str:
    """What a server says that it is.

    Args:
        url: Its URL.

    Returns:
        Its product's name and version.
    """
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as client:
            about = client.info("server")
        name = about.get("server_name", "redis")
        return f"{name.capitalize()} {about.get(f'{name}_version', about['redis_version'])}"
    userinfo, _, place = url.removeprefix("amqp://").rpartition("@")
    user, _, password = userinfo.partition(":")
    host, _, vhost = place.partition("/")
    with amqp.Connection(host, user, password, virtual_host=vhost, connect_timeout=5) as connection:
        about = connection.server_properties
        return f"{about['product']} {about['version']}"


def passes(cell: Cell, url: str, other: dict[str, str]) -> list[str]:
    """Run the suites of a row.

    Args:
        cell: The row.
        url: Its server's URL.
        other: Variables of the server of the other kind.

    Returns:
        The logs of those that failed.
    """
    own = {"CELERIAC_TEST_AMQP" if cell.kind == "amqp" else "CELERIAC_TEST_REDIS": url}
    if cell.queues:
        own["CELERIAC_TEST_QUEUE_TYPE"] = cell.queues
    failed = []
    for number, command in enumerate(SUITES[cell.kind]):
        log = LOGS / f"{cell}-{number}-{command[0]}.log".replace(" ", "-")
        with log.open("wb") as output:
            try:
                done = subprocess.run(
                    command,
                    check=False,
                    env={**os.environ, **other, **own},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=SUITE_TIMEOUT_S,
                ).returncode
            except subprocess.TimeoutExpired:
                done = None
        if done != 0:
            failed.append(str(log))
    return failed


def main() -> int:
    """Run what was chosen and print the table.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    given = parser.parse_args()
    chosen = [cell for cell in cells() if given.only in str(cell)]
    if given.list or not chosen:
        print("\n".join(map(str, cells())))
        return 0 if given.list else 2
    LOGS.mkdir(parents=True, exist_ok=True)
    rows, failures = [], []
    with services.redis() as redis_url, services.rabbitmq() as amqp_url:
        other = {"CELERIAC_TEST_REDIS": redis_url, "CELERIAC_TEST_AMQP": amqp_url}
        for cell in chosen:
            begun_s = time.monotonic()
            with cell.start() as url:
                name = version(url)
                print(f"matrix: {name} {cell.queues}", file=sys.stderr, flush=True)
                failed = passes(cell, url, other)
            failures += failed
            result = "passed" if not failed else f"FAILED: {', '.join(failed)}"
            taken_s = time.monotonic() - begun_s
            rows.append(f"{name:18} {cell.queues or '-':8} {taken_s:5.0f} s  {result}")
    print(f"{'server':18} {'queues':8} {'time':>7}  result")
    print("\n".join(rows))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
