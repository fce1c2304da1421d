"""How a worker is asked to stop: by signals, or by a call from another thread.

Source:
    Celery 5.7's behaviour: SIGTERM and SIGINT finish what runs (exit codes 0 and 1), the next one
    and SIGQUIT do not (exit code 0); ``REMAP_SIGTERM=SIGQUIT`` makes SIGTERM cold. A soft shutdown
    is a warm one of limited time that comes before a cold one.
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

#: Windows has none.
_SIGQUIT: int | None = getattr(signal, "SIGQUIT", None)
_STOPPING_SIGNALS = [
    signum for signum in (signal.SIGTERM, signal.SIGINT, _SIGQUIT) if signum is not None
]


class Stop:
    """Whether, how, and with which exit code the worker is to stop.

    Args:
        hostname: The worker's node name.
        soft_s: How long what runs may go on before a cold stop; 0 for not at all.
        waits_idle: Whether that time passes although nothing runs.

    Attributes:
        is_asked: Whether anybody asked.
        is_cold: Whether what runs is to be ended too.
        exitcode: The exit code of the process.
        lingers: Whether the worker waits for the end of a soft stop although nothing runs.
        interrupts: Whether a task runs in the main thread, which a cold stop has to break off.
    """

    def __init__(self, hostname: str, soft_s: float = 0.0, *, waits_idle: bool = False) -> None:
        self._hostname = hostname
        self._soft_s = soft_s
        self._waits_idle = waits_idle
        self._is_soft = False
        self._before: dict[int, Any] = {}
        self.is_asked = False
        self.is_cold = False
        self.exitcode = EX_OK
        self.lingers = False
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
        if self._is_soft:
            signal.setitimer(signal.ITIMER_REAL, 0)
        while self._before:
            signum, handler = self._before.popitem()
            signal.signal(signum, handler)

    def _heard(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # The flags first: the next signal may interrupt what is said about this one.
        if self.is_asked or signum == _SIGQUIT or _is_remapped(signum):
            if not self._soften():
                self._break_off(signum)
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

    def _soften(self) -> bool:
        # No thread is started here: the interrupted code may hold the locks which that takes.
        if self._soft_s <= 0 or self._is_soft or not hasattr(signal, "setitimer"):
            return False
        self.is_asked = self._is_soft = True
        self.lingers = self._waits_idle
        self.exitcode = EX_OK
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._over)
        signal.setitimer(signal.ITIMER_REAL, self._soft_s)
        _say(f"worker: Initiating Soft Shutdown, terminating in {self._soft_s:g} seconds")
        return True

    def _over(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._break_off(signum)

    def _break_off(self, signum: int) -> None:
        self.cold()
        self._announce(signum, "Cold", EX_FAILURE)
        if self.interrupts:
            raise WorkerTerminate(EX_FAILURE)

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
