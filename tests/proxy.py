"""A proxy between a program and its server, whose connections can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

JOIN_S = 30.0
PORTS = {"redis": 6379, "amqp": 5672}


class Proxy:
    """Forwards bytes both ways to a server; after a cut, new connections pass again.

    `watch` is called for each connection, and what it returns with all that the client sends,
    before the server has it.
    """

    def __init__(
        self,
        url: str,
        own_port: int = 0,
        watch: Callable[[], Callable[[bytes], None]] | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._server = parts.hostname, parts.port or PORTS[parts.scheme]
        self._watch = watch or (lambda: lambda _: None)
        self._listener = socket.create_server(("127.0.0.1", own_port))
        self.port = self._listener.getsockname()[1]
        userinfo, at, _ = parts.netloc.rpartition("@")
        #: The server's URL through the proxy.
        self.url = parts._replace(netloc=f"{userinfo}{at}127.0.0.1:{self.port}").geturl()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._listen)

    def _begin(self, work, *arguments) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        with self._listener, contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open += [client, server]
                self._begin(self._connect, client, server)

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=_forward, args=(server, client, lambda _: None))
        with client, server:
            back.start()
            _forward(client, server, self._watch())
            back.join()

    def cut(self) -> bool:
        """Break what was opened since the last cut; says whether something was."""
        broken, self._open = self._open, []
        for end in broken:
            _shut(end)
        return bool(broken)

    def close(self) -> None:
        """Break everything, let nothing in any more, and wait for the threads."""
        _shut(self._listener)
        self._threads[0].join(JOIN_S)
        self.cut()
        for thread in self._threads:
            thread.join(JOIN_S)
            assert not thread.is_alive()


def _forward(one: socket.socket, other: socket.socket, see: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65_536):
            see(data)
            other.sendall(data)
    _shut(one)
    _shut(other)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
