"""How a worker is asked to stop: by signals, or by a call from another thread.

Source:
    Celery 5.7's behaviour: SIGTERM and SIGINT finish what runs (exit codes 0 and 1), the next one
    and SIGQUIT do not (exit code 0); ``REMAP_SIGTERM=SIGQUIT`` makes SIGTERM cold.
"""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from celeriac import signals
from celeriac.exceptions import WorkerTerminate

__all__ = ("EX_FAILURE", "EX_OK", "Stop")

EX_OK = 0
EX_FAILURE = 1

_STOPPING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Stop:
    """Whether, how, and with which exit code the worker is to stop.

    Attributes:
        is_asked: Whether anybody asked.
        is_cold: Whether what runs is to be ended too.
        exitcode: The exit code of the process.
        interrupts: Whether a task runs in the main thread, which a cold stop has to break off.
    """

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._before: dict[int, Any] = {}
        self.is_asked = False
        self.is_cold = False
        self.exitcode = EX_OK
        self.interrupts = False

    def warm(self, exitcode: int = EX_OK) -> None:
        """Ask to finish what runs.

        Args:
            exitcode: The exit code.
        """
        if not self.is_asked:
            self.exitcode = exitcode
        self.is_asked = True

    def cold(self) -> None:
        """Ask to end what runs."""
        self.is_asked = self.is_cold = True
        self.exitcode = EX_OK

    def listen(self, wakeup_fd: int) -> None:
        """Hear signals from now on; only in the main thread, elsewhere nothing happens.

        Args:
            wakeup_fd: Where a byte ends the worker's wait for events.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in _STOPPING_SIGNALS:
            self._before[signum] = signal.signal(signum, self._heard)
        signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False)

    def listen_no_more(self) -> None:
        """Give the signals back to who had them."""
        if not self._before:
            return
        signal.set_wakeup_fd(-1)
        while self._before:
            signum, handler = self._before.popitem()
            signal.signal(signum, handler)

    def _heard(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # The flags first: the next signal may interrupt what is said about this one.
        if self.is_asked or signum == signal.SIGQUIT or _is_remapped(signum):
            self.cold()
            self._announce(signum, "Cold", EX_FAILURE)
            if self.interrupts:
                raise WorkerTerminate(EX_FAILURE)
        elif signum == signal.SIGINT:
            self.warm(EX_FAILURE)
            _say(
                "worker: Hitting Ctrl+C again will initiate cold shutdown, "
                "terminating all running tasks!"
            )
            self._announce(signum, "Warm", EX_FAILURE)
        else:
            self.warm()
            self._announce(signum, "Warm", EX_OK)

    def _announce(self, signum: int, how: str, exitcode: int) -> None:
        _say(f"worker: {how} shutdown (MainProcess)")
        signals.worker_shutting_down.send(
            sender=self._hostname, sig=signal.Signals(signum).name, how=how, exitcode=exitcode
        )


def _is_remapped(signum: int) -> bool:
    return signum == signal.SIGTERM and os.environ.get("REMAP_SIGTERM") == "SIGQUIT"


def _say(text: str) -> None:
    """Write past Python's buffers, which the interrupted code may be using."""
    if sys.__stdout__ is None:
        return
    try:
        os.write(sys.__stdout__.fileno(), f"\n{text}\n".encode())
    except (OSError, ValueError):
        # Nobody reads it; the worker stops all the same.
        return
