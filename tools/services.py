"""Run a command with the servers its tests need.

``python tools/services.py -- COMMAND...`` uses the Redis that answers on 127.0.0.1:6379; where none
does, it starts one of its own on a free port (installing Debian's package if need be) and stops it
afterwards. The command finds the server in ``CELERIAC_TEST_REDIS``, a URL without a database. A
server that cannot be had is a failure, never a skip.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_PORT = 6379
START_TIMEOUT_S = 15.0


def answers(port: int) -> bool:
    """Whether a Redis answers PING on a port of this machine.

    Args:
        port: TCP port on 127.0.0.1.

    Returns:
        True after ``+PONG``; False when nothing, or something else, is there.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def free_port() -> int:
    """A TCP port nobody listens on.

    Returns:
        The port, free at the moment of asking.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def redis_server() -> str:
    """Path of the redis-server program, installed from Debian's packages if it is missing.

    Returns:
        The path.
    """
    found = shutil.which("redis-server", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/bin")
    if found:
        return found
    if not shutil.which("apt-get"):
        sys.exit(
            "services: no redis-server here, and no apt-get to install it; install Redis >= 6.2"
        )
    print("services: installing Debian's redis-server", flush=True)
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    # No service is started by the package: ours has a folder and a port of its own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run([*as_root, "apt-get", "update", "-qq"], check=True, env=environment)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "redis-server"]
    subprocess.run([*as_root, *install], check=True, env=environment, stdout=subprocess.DEVNULL)
    return shutil.which("redis-server") or sys.exit("services: redis-server is still missing")


@contextmanager
def own_redis() -> Iterator[int]:
    """A Redis of our own, stopped and removed on leaving.

    Yields:
        Its port.
    """
    program, port = redis_server(), free_port()
    with tempfile.TemporaryDirectory(prefix="celeriac-redis-") as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        try:
            wait_until_it_answers(server, port)
            yield port
        finally:
            server.terminate()
            server.wait(timeout=START_TIMEOUT_S)


def wait_until_it_answers(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a server that was just started answers.

    Args:
        server: Its process.
        port: Its port.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(port):
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"services: redis-server did not answer on port {port} in {START_TIMEOUT_S} s")
        time.sleep(0.05)


@contextmanager
def redis() -> Iterator[str]:
    """A Redis to test against.

    Yields:
        Its URL, without a database.
    """
    given = os.environ.get("CELERIAC_TEST_REDIS")
    if given:
        yield given
    elif answers(DEFAULT_PORT):
        yield f"redis://127.0.0.1:{DEFAULT_PORT}"
    else:
        with own_redis() as port:
            yield f"redis://127.0.0.1:{port}"


def main(arguments: list[str]) -> int:
    """Run the command given after ``--``.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The command's exit code.
    """
    if arguments[:1] != ["--"] or len(arguments) == 1:
        sys.exit("usage: services.py -- COMMAND...")
    with redis() as url:
        environment = {**os.environ, "CELERIAC_TEST_REDIS": url}
        return subprocess.run(arguments[1:], check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
