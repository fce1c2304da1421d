"""The worker's handle of its fork server."""

import logging
import os
import select
import signal
import socket
import threading
import time
from pathlib import Path

from celeriac.worker.pools.prefork.control import (
    Exited,
    Said,
    order_fork,
    order_kill,
    receive_reports,
)
from celeriac.worker.pools.prefork.server import RunChild, serve

__all__ = ("ForkServer", "foreign_threads", "human_status")


logger = logging.getLogger("celery.pool")


class ForkServer:
    """Starts the server; asks it for children; hears of their ends.

    Args:
        run_child: What a child does.
    """

    kind = "Fork"

    def __init__(self, run_child: RunChild) -> None:
        threads = foreign_threads()
        if threads:
            logger.warning(
                "Threads that exist before the pool forks are not there in its children, and what "
                "they hold locked stays locked: %s. Start them in worker_process_init instead.",
                ", ".join(threads),
            )
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        worker_pid = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                ours.close()
                serve(theirs, worker_pid, run_child)
                code = 0
            finally:
                os._exit(code)
        theirs.close()
        self._control = ours
        self._early: list[Said] = []

    def fork(self, slot: int, fd: int) -> None:
        """Ask for a child; ``fd`` stays open here.

        Args:
            slot: The child's number.
            fd: The child's end of its socket pair.

        Raises:
            ConnectionError: The server is gone.
        """
        try:
            order_fork(self._control, slot, fd)
        except ConnectionError as exc:
            message = (
                f"the process {self.pid} that forks this worker's children is gone: was it killed, "
                "for want of memory? Start the worker again; what it had not begun is in its queue"
            )
            raise ConnectionError(message) from exc

    def kill(self, slot: int, signum: int = signal.SIGKILL) -> None:
        """Ask for a signal to a child; one that has ended gets none.

        Args:
            slot: The child's number.
            signum: The signal.
        """
        order_kill(self._control, slot, signum)

    def reports(self) -> list[Said]:
        """Take what the server has said, without waiting.

        Returns:
            Its reports, in order; a ConnectionError says that it is gone.
        """
        early, self._early = self._early, []
        return early + receive_reports(self._control)

    def wait_exit(self, slot: int, wait_s: float) -> int | None:
        """Wait for a child's end.

        Args:
            slot: The child's number.
            wait_s: How long, in seconds.

        Returns:
            Its status as ``waitpid`` gives it; None if it has not ended. A ConnectionError says
            that the server is gone.
        """
        deadline_s = time.monotonic() + wait_s
        while True:
            self._early += receive_reports(self._control)
            for said in self._early:
                if isinstance(said, Exited) and said.slot == slot:
                    self._early.remove(said)
                    return said.status
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([self._control], [], [], left_s)[0]:
                return None

    def close(self, wait_s: float) -> None:
        """End the server; children that are left are killed.

        Args:
            wait_s: How long to wait for it, in seconds.
        """
        self._control.shutdown(socket.SHUT_WR)
        if not self._wait_gone(wait_s):
            os.kill(self.pid, signal.SIGKILL)
        self._control.close()
        os.waitpid(self.pid, 0)

    def _wait_gone(self, wait_s: float) -> bool:
        deadline_s = time.monotonic() + wait_s
        try:
            while (left_s := deadline_s - time.monotonic()) > 0:
                if select.select([self._control], [], [], left_s)[0]:
                    receive_reports(self._control)
        except ConnectionError:
            return True
        return False


def human_status(status: int) -> str:
    """Say how a process ended.

    Args:
        status: What ``waitpid`` said.

    Returns:
        ``signal 9 (SIGKILL)`` or ``exitcode 3``.
    """
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exitcode {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    return f"signal {-code} ({name})"


def foreign_threads() -> list[str]:
    """Name the threads of this process besides the calling one.

    Returns:
        Python's names of those Python knows, and the system's names of the others.
    """
    current = threading.current_thread()
    named = {t.native_id: t.name for t in threading.enumerate() if t is not current}
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return sorted(named.values())
    own = current.native_id
    others = [int(task.name) for task in tasks.iterdir() if int(task.name) != own]
    return sorted(named.get(thread) or _system_name(tasks, thread) for thread in others)


def _system_name(tasks: Path, thread: int) -> str:
    try:
        return (tasks / str(thread) / "comm").read_text().strip()
    except OSError:
        return f"thread {thread}"
