"""A TCP line of this machine that can go wrong in the ways that networks do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

CHUNK_BYTES = 16_384
CALL_S = 10.0
#: `SO_LINGER` with no time: closing sends a reset instead of a farewell.
RESET = struct.pack("ii", 1, 0)


class _Pair:
    """A connection, and the one to the server that it goes on in."""

    def __init__(self, line: Line, ends: tuple[asyncio.StreamWriter, ...]) -> None:
        self._line, self._ends = line, ends
        #: How many pieces pass before it ends; None: any number.
        self.pieces = line.pieces
        self.flows = asyncio.Event()
        self.flows.set()

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Forward what comes until one side ends."""
        reset = False
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                await self.flows.wait()
                await asyncio.sleep(self._line.holds_s(len(data)))
                if self._is_over():
                    reset = True
                    break
                if self._line.halves:
                    sink.write(data[: len(data) // 2])
                    await sink.drain()
                    reset = True
                    break
                sink.write(data)
                await sink.drain()
        self.end(reset=reset)

    def _is_over(self) -> bool:
        if self.pieces is None:
            return False
        self.pieces -= 1
        return self.pieces < 0

    def end(self, *, reset: bool) -> None:
        """End both, with a farewell or with a reset."""
        self._line.pairs.discard(self)
        for end in self._ends:
            if reset:
                with contextlib.suppress(OSError):
                    end.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, RESET
                    )
                end.transport.abort()
            else:
                end.close()


class Line:
    """Forwards connections to a port of this machine, on a thread of its own.

    Args:
        target: The port of the server.

    Attributes:
        port: Where to connect instead.
        pairs: The connections that are open, of the line's own thread.
        halves: Whether what comes next is the last, and only half of it passes.
        pieces: How many pieces pass on a connection that is opened now; None: any number.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._delay_s = self._s_per_byte = 0.0
        self._silent = False
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.pairs: set[_Pair] = set()
        self._forgotten: list[_Pair] = []
        self.halves = False
        self.pieces: int | None = None
        self.port = 0
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._call(self._listen())

    def holds_s(self, size_bytes: int) -> float:
        """How long a piece is held before it goes on."""
        return self._delay_s + self._s_per_byte * size_bytes

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S)

    def _each(self, act: Callable[[_Pair], object]) -> None:
        async def now() -> None:
            for pair in list(self.pairs):
                act(pair)

        self._call(now())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the server is down
            _Pair(self, (writer,)).end(reset=True)
            return
        pair = _Pair(self, (writer, far_writer))
        if self._silent:
            pair.flows.clear()
        self.pairs.add(pair)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pump = self._loop.create_task(pair.pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    def cut(self, *, reset: bool = False) -> None:
        """End what is open: with a farewell, as a proxy that restarts, or with a reset."""
        self._each(lambda pair: pair.end(reset=reset))

    def halve(self, *, on: bool) -> None:
        """Let only the first half of what comes next through, and reset then."""
        self.halves = on

    def last(self, pieces: int | None) -> None:
        """Let so many pieces pass on each connection that is opened from now on; None: all."""
        self.pieces = pieces

        def lifted(pair: _Pair) -> None:
            pair.pieces = None

        if pieces is None:
            self._each(lifted)

    def silence(self, *, on: bool) -> None:
        """Forward nothing and end nothing; what was under way arrives when it is over."""
        self._silent = on
        self._each(lambda pair: (pair.flows.clear if on else pair.flows.set)())

    def forget(self) -> None:
        """Forward nothing more on what is open, ever, and do not end it; new connections pass."""

        def forgotten(pair: _Pair) -> None:
            pair.flows.clear()
            self.pairs.discard(pair)
            self._forgotten.append(pair)

        self._each(forgotten)

    def refuse(self, *, on: bool) -> None:
        """Accept no connections, and end those that are open."""

        async def now() -> None:
            if on and self._server:
                self._server.close()
                self._server = None
            elif not on and self._server is None:
                await self._listen()

        self._call(now())
        if on:
            self.cut(reset=True)

    def delay(self, seconds: float) -> None:
        """Hold each piece for so long, in both directions; 0 ends it."""
        self._delay_s = seconds

    def throttle(self, bytes_per_s: float) -> None:
        """Forward no more than so much; 0 ends it."""
        self._s_per_byte = 1 / bytes_per_s if bytes_per_s else 0.0

    def close(self) -> None:
        """End everything, the thread too."""
        self.refuse(on=True)

        async def now() -> None:
            for pair in self._forgotten:
                pair.end(reset=True)
            for pump in list(self._pumps):
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)
            # Transports close in the loop's next turns, and so do connections half accepted.
            await asyncio.sleep(0.05)

        self._call(now())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        self._loop.close()
