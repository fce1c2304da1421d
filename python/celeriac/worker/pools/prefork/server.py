"""The fork server: a single-threaded copy of the worker that makes children on request.

It is forked from the worker after the app was imported and ``worker_init`` ran, before any thread
exists, so that children inherit what those left in memory, and never a lock that is held.
Signals that ask the worker to stop reach the whole process group; here they are not heard: the
worker alone decides, and the server ends with it.
"""

import gc
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

from celeriac import signals
from celeriac._native import die_with_parent
from celeriac.worker.pools.prefork.control import (
    Exited,
    Forked,
    NotForked,
    Order,
    receive_order,
    report,
)

__all__ = ("UNHEARD", "RunChild", "hear_nothing", "serve")

#: Runs a child: its number and its end of the socket pair; returns the exit code.
RunChild = Callable[[int, int], int]

#: What stops a worker, which alone decides about its children.
UNHEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


def serve(control: socket.socket, worker_pid: int, run_child: RunChild) -> None:
    """Fork children on request and report their ends, until the worker closes its end.

    Args:
        control: The server's end of the control socket.
        worker_pid: The process that must be alive.
        run_child: What a child does.
    """
    die_with_parent()
    if os.getppid() != worker_pid:
        return
    hear_nothing()
    # What was allocated so far is shared with every child for as long as nobody writes to it.
    gc.collect()
    gc.freeze()
    _Server(control, run_child).run()


def hear_nothing() -> None:
    """Ignore the signals that stop a worker, in this process only.

    A handler, not ``SIG_IGN``: programs that a task starts inherit the latter, and could not be
    terminated.
    """
    pid = os.getpid()

    def unless_mine(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if os.getpid() != pid:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    for signum in UNHEARD:
        signal.signal(signum, unless_mine)


class _Server:
    def __init__(self, control: socket.socket, run_child: RunChild) -> None:
        self._control = control
        self._run_child = run_child
        self._slots: dict[int, int] = {}
        self._ended, self._wakeup = socket.socketpair()
        self._ended.settimeout(0)
        self._wakeup.settimeout(0)

    def run(self) -> None:
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector = selectors.DefaultSelector()
        selector.register(self._control, selectors.EVENT_READ)
        selector.register(self._ended, selectors.EVENT_READ)
        while True:
            # No deadline: an order, a child's end or the worker's end wakes it, and PDEATHSIG
            # ends it.
            ready = {key.fileobj for key, _ in selector.select()}
            if self._ended in ready:
                self._reap()
            if self._control in ready:
                order = receive_order(self._control)
                if order is None:
                    break
                self._obey(order)
        self._kill_all()

    def _obey(self, order: Order) -> None:
        if order.fd is not None:
            self._fork(order.slot, order.fd)
            return
        for pid, slot in self._slots.items():
            if slot == order.slot:
                os.kill(pid, order.signum)

    def _fork(self, slot: int, fd: int) -> None:
        signals.worker_before_create_process.send(sender=self)
        try:
            pid = os.fork()
        except OSError as exc:
            os.close(fd)
            report(self._control, NotForked(slot, exc.errno or 0))
            return
        if pid == 0:
            self._be_child(slot, fd)
        os.close(fd)
        self._slots[pid] = slot
        report(self._control, Forked(slot, pid))

    def _be_child(self, slot: int, fd: int) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self._control, self._ended, self._wakeup):
                end.close()
            code = self._run_child(slot, fd)
        finally:
            _leave(code)

    def _reap(self) -> None:
        try:
            while self._ended.recv(4096):
                pass
        except BlockingIOError:
            pass
        while self._slots:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            slot = self._slots.pop(pid, None)
            if slot is not None:
                report(self._control, Exited(slot, status))

    def _kill_all(self) -> None:
        for pid in self._slots:
            os.kill(pid, signal.SIGKILL)


def _leave(code: int) -> None:
    """End this process without the worker's exit handlers, which are not the child's."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
    os._exit(code)
