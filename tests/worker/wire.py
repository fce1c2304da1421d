"""A wire between a worker and its server that can be cut."""

import contextlib
import selectors
import socket
import threading


class Wire:
    """Forwards bytes both ways to a port of this machine; new connections pass after a cut."""

    def __init__(self, port):
        self._server = port
        self._open = []
        self._threads = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._listen)

    def _start(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self):
        with self._listener, contextlib.suppress(OSError):  # ended
            while True:
                client, _ = self._listener.accept()
                pair = (client, socket.create_connection(("127.0.0.1", self._server)))
                self._open.append(pair)
                self._start(self._forward, *pair)

    @staticmethod
    def _forward(client, server):
        with client, server, selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            for one, other in ((client, server), (server, client)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(one, selectors.EVENT_READ, other)
            while True:
                for key, _ in ready.select():
                    if not (read := key.fileobj.recv(65_536)):
                        return
                    key.data.sendall(read)

    def cut(self):
        """Break what is open; says whether something was."""
        broken, self._open = self._open, []
        for one in [end for pair in broken for end in pair]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        return bool(broken)

    def close(self):
        """Break everything, and wait for its threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
