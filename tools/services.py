"""Run a command with the servers its tests need.

``python tools/services.py -- COMMAND...`` uses the Redis that answers on 127.0.0.1:6379 and the
RabbitMQ on 127.0.0.1:5672; where one does not, it starts one of its own on a free port (installing
Debian's package if need be) and stops it afterwards. The command finds them in
``CELERIAC_TEST_REDIS``, a URL without a database, ``CELERIAC_TEST_AMQP``, a URL with a virtual
host, and ``CELERIAC_TEST_POSTGRES``, a URL whose user may create databases. The PostgreSQL is
always one of its own: nobody knows another's passwords. A server that cannot be had is a failure,
never a skip.

``--own`` before the ``--`` starts all of them anew, for tests that run beside others.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Server:
    """What is to be known of a kind of server.

    Attributes:
        package: Debian's package, and the name of its program.
        port: Where it listens by default.
        hello: What to say to it.
        answer: How its answer begins.
        folders: Where its program may be, beside ``PATH``.
    """

    package: str
    port: int
    hello: bytes
    answer: bytes
    folders: str

    def answers(self, port: int) -> bool:
        """Whether this kind of server answers on a port of this machine.

        Args:
            port: TCP port on 127.0.0.1.

        Returns:
            False when nothing, or something else, is there.
        """
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
                connection.sendall(self.hello)
                return connection.recv(16).startswith(self.answer)
        except OSError:
            return False

    def program(self) -> str:
        """Path of the program, installed from Debian's packages if it is missing.

        Returns:
            The path.
        """
        # The folders first: what Debian puts into `PATH` may be a wrapper for root.
        places = f"{self.folders}:{os.environ['PATH']}"
        found = shutil.which(self.package, path=places)
        if found:
            return found
        install(self.package)
        return shutil.which(self.package, path=places) or sys.exit(
            f"services: {self.package} is still missing"
        )

    def wait_for(
        self, process: subprocess.Popen[bytes], port: int, patience_s: float = START_TIMEOUT_S
    ) -> None:
        """Wait until a server that was just started answers.

        Args:
            process: Its process.
            port: Its port.
            patience_s: How long it may take.
        """
        deadline = time.monotonic() + patience_s
        while not self.answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(
                    f"services: {self.package} did not answer on port {port} in {patience_s} s"
                )
            time.sleep(0.05)


REDIS = Server("redis-server", 6379, b"PING\r\n", b"+PONG", "/usr/sbin:/usr/local/bin")
# Its answer is the method connection.start, in a frame of channel 0.
RABBITMQ = Server(
    "rabbitmq-server", 5672, b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00", "/usr/lib/rabbitmq/bin"
)


#: Debian has its programs here, by version.
POSTGRESQL = Path("/usr/lib/postgresql")


def install(package: str) -> None:
    """Install a package of Debian.

    Args:
        package: Its name.
    """
    if not shutil.which("apt-get"):
        sys.exit(f"services: no {package} here, and no apt-get to install it; install it yourself")
    print(f"services: installing Debian's {package}", file=sys.stderr, flush=True)
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    # No service is started by the package: ours has a folder and a port of its own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run([*as_root, "apt-get", "update", "-qq"], check=True, env=environment)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
    subprocess.run([*as_root, *command], check=True, env=environment, stdout=subprocess.DEVNULL)


def free_port() -> int:
    """A TCP port nobody listens on.

    Returns:
        The port, free at the moment of asking.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    server: Server, command: list[str], environment: dict[str, str], port: int
) -> Iterator[None]:
    """A server while it is needed.

    Args:
        server: Its kind.
        command: Starts it.
        environment: Added to ours.
        port: Where it will answer.

    Yields:
        Nothing: it answers.
    """
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        server.wait_for(process, port)
        yield
    finally:
        # Its whole session: a server may be a script around others.
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=START_TIMEOUT_S)


def redis_options(folder: str, port: int) -> list[str]:
    """Options of a Redis, or a Valkey, for tests.

    Args:
        folder: Where it may write.
        port: Where it is to listen.

    Returns:
        Its arguments.
    """
    return ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]


def rabbitmq_environment(folder: str, port: int, names_port: int) -> dict[str, str]:
    """Variables that keep a RabbitMQ away from all others.

    Args:
        folder: Where it may write.
        port: Where it is to listen.
        names_port: Where its Erlang's name server is to.

    Returns:
        What is to be set.
    """
    return {
        # Erlang keeps its cookie there.
        "HOME": folder,
        "ERL_EPMD_PORT": str(names_port),
        # By its address: a fresh Debian knows no localhost.
        "RABBITMQ_NODENAME": f"celeriac-{port}@127.0.0.1",
        "RABBITMQ_USE_LONGNAME": "true",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": folder,
        "RABBITMQ_LOG_BASE": folder,
        "RABBITMQ_LOGS": str(Path(folder, "server.log")),
        "RABBITMQ_PID_FILE": str(Path(folder, "pid")),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(Path(folder, "plugins")),
        "RABBITMQ_CONFIG_FILE": str(Path(folder, "rabbitmq")),
    }


@contextmanager
def own_redis(*settings: str) -> Iterator[str]:
    """A Redis of our own, stopped and removed on leaving.

    Args:
        settings: More of its command line.

    Yields:
        Its URL.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="celeriac-redis-") as folder:
        command = [REDIS.program(), *redis_options(folder, port), *settings]
        with running(REDIS, command, {}, port):
            yield f"redis://127.0.0.1:{port}"


@contextmanager
def own_rabbitmq(settings: str = "") -> Iterator[str]:
    """A RabbitMQ of our own, stopped and removed on leaving.

    Args:
        settings: The text of its configuration file.

    Yields:
        Its URL.
    """
    port, names_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="celeriac-rabbitmq-") as folder:
        environment = rabbitmq_environment(folder, port, names_port)
        Path(folder, "rabbitmq.conf").write_text(settings, encoding="utf-8")
        try:
            with running(RABBITMQ, [RABBITMQ.program()], environment, port):
                yield f"amqp://guest:guest@127.0.0.1:{port}//"
        finally:
            # Erlang's name server has a session of its own, and outlives the node.
            stop = ["epmd", "-port", str(names_port), "-kill"]
            subprocess.run(stop, check=False, stdout=subprocess.DEVNULL)


@contextmanager
def redis() -> Iterator[str]:
    """A Redis to test against.

    Yields:
        Its URL, without a database.
    """
    given = os.environ.get("CELERIAC_TEST_REDIS")
    if given:
        yield given
    elif REDIS.answers(REDIS.port):
        yield f"redis://127.0.0.1:{REDIS.port}"
    else:
        with own_redis() as url:
            yield url


@contextmanager
def rabbitmq() -> Iterator[str]:
    """A RabbitMQ to test against.

    Yields:
        Its URL, with the virtual host ``/``.
    """
    given = os.environ.get("CELERIAC_TEST_AMQP")
    if given:
        yield given
    elif RABBITMQ.answers(RABBITMQ.port):
        yield f"amqp://guest:guest@127.0.0.1:{RABBITMQ.port}//"
    else:
        with own_rabbitmq() as url:
            yield url


@contextmanager
def own_postgresql() -> Iterator[str]:
    """A PostgreSQL of our own, stopped and removed on leaving.

    Yields:
        Its URL.
    """
    if not list(POSTGRESQL.glob("*/bin/initdb")):
        install("postgresql")
    programs = max(POSTGRESQL.glob("*/bin"), key=lambda folder: int(folder.parent.name))
    # It refuses to be root's.
    drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    as_user = drop if os.geteuid() == 0 else []
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="celeriac-postgresql-") as folder:
        if as_user:
            shutil.chown(folder, "postgres")
        made = ["--auth=trust", "--username=celeriac", "--no-sync", "--pgdata", f"{folder}/data"]
        quietly([*as_user, str(programs / "initdb"), *made])
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
        control = [*as_user, str(programs / "pg_ctl"), "--pgdata", f"{folder}/data", "-s", "-w"]
        log = ["--log", f"{folder}/log", "--timeout", str(int(START_TIMEOUT_S))]
        quietly([*control, *log, "-o", options, "start"])
        try:
            yield f"postgresql://celeriac@127.0.0.1:{port}/postgres"
        finally:
            quietly([*control, "-m", "immediate", "stop"])


def quietly(command: list[str]) -> None:
    """Run a command of PostgreSQL's, which must succeed.

    Args:
        command: Its command line.
    """
    # From a folder that any user may enter.
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL to test against.

    Yields:
        Its URL; the user may create databases.
    """
    given = os.environ.get("CELERIAC_TEST_POSTGRES")
    if given:
        yield given
    else:
        with own_postgresql() as url:
            yield url


def main(arguments: list[str]) -> int:
    """Run the command given after ``--``.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The command's exit code.
    """
    are_own = arguments[:1] == ["--own"]
    command = arguments[are_own:]
    if command[:1] != ["--"] or len(command) == 1:
        sys.exit("usage: services.py [--own] -- COMMAND...")
    redis_here, rabbitmq_here = (own_redis, own_rabbitmq) if are_own else (redis, rabbitmq)
    with redis_here() as redis_url, rabbitmq_here() as amqp_url, postgresql() as postgres_url:
        urls = {
            "CELERIAC_TEST_REDIS": redis_url,
            "CELERIAC_TEST_AMQP": amqp_url,
            "CELERIAC_TEST_POSTGRES": postgres_url,
        }
        environment = {**os.environ, **urls}
        return subprocess.run(command[1:], check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
