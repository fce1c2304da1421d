"""Children that are interpreters of their own, for systems and programs that cannot be forked.

They inherit nothing: each loads the application by its name, and the settings that this worker was
given beside those. Signals that stop a worker are blocked for them until they ignore them.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from types import ModuleType
from typing import Any

from celeriac import _as_celery
from celeriac.exceptions import ImproperlyConfigured
from celeriac.worker.options import Options
from celeriac.worker.pools.prefork.control import Exited, Forked, NotForked, Said
from celeriac.worker.pools.prefork.server import UNHEARD

__all__ = ("ORDER_VARIABLE", "SpawnServer", "order_for")

#: Where a child finds what it is to be, as JSON.
ORDER_VARIABLE = "CELERIAC_CHILD"


class SpawnServer:
    """Starts children and hears of their ends, as the fork server does for those it forks.

    Args:
        order: What a child is to be, of `order_for`.
    """

    kind = "Spawn"

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._order = order
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._said: deque[Said] = deque()

    def fork(self, slot: int, fd: int) -> None:
        """Start a child; ``fd`` stays open here.

        Args:
            slot: The child's number.
            fd: The child's end of its socket pair.
        """
        order = json.dumps({**self._order, "slot": slot, "fd": fd})
        before = signal.pthread_sigmask(signal.SIG_BLOCK, UNHEARD)
        try:
            child = subprocess.Popen(
                [sys.executable, "-m", "celeriac.worker.pools.prefork.spawned"],
                env={**os.environ, ORDER_VARIABLE: order, "PYTHONPATH": _search_path()},
                pass_fds=[fd],
                stdin=subprocess.DEVNULL,
            )
        except OSError as exc:
            self._said.append(NotForked(slot, exc.errno or 0))
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._children[slot] = child
        self._said.append(Forked(slot, child.pid))

    def kill(self, slot: int, signum: int = signal.SIGKILL) -> None:
        """Send a signal to a child; one that has ended gets none.

        Args:
            slot: The child's number.
            signum: The signal.
        """
        child = self._children.get(slot)
        if child is not None:
            child.send_signal(signum)

    def reports(self) -> list[Said]:
        """Take what there is to say, without waiting.

        Returns:
            The reports, in order.
        """
        for slot, child in list(self._children.items()):
            if child.poll() is not None:
                del self._children[slot]
                self._said.append(Exited(slot, _status(child)))
        said, self._said = list(self._said), deque()
        return said

    def wait_exit(self, slot: int, wait_s: float) -> int | None:
        """Wait for a child's end.

        Args:
            slot: The child's number.
            wait_s: How long, in seconds.

        Returns:
            Its status as ``waitpid`` gives it; None if it has not ended.
        """
        for said in self._said:
            if isinstance(said, Exited) and said.slot == slot:
                self._said.remove(said)
                return said.status
        child = self._children.get(slot)
        if child is None:
            return None
        try:
            child.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None
        del self._children[slot]
        return _status(child)

    def close(self, wait_s: float) -> None:
        """End the children that are left.

        Args:
            wait_s: How long to wait for them, in seconds.
        """
        deadline_s = time.monotonic() + wait_s
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait(max(0.1, deadline_s - time.monotonic()))
        self._children.clear()


def order_for(app: Any, options: Options, accept: frozenset[str] | None) -> dict[str, Any]:
    """Say what children are to be.

    Args:
        app: The application.
        options: The worker's options.
        accept: The content types that may be decoded.

    Returns:
        What can be written as JSON. An ImproperlyConfigured says that the application cannot be
        imported by a name.
    """
    return {
        "app": _name_of(app),
        "as_celery": _as_celery.is_serving(),
        "changes": {name: value for name, value in app.conf.changes.items() if _is_plain(value)},
        "include": options.include,
        "hostname": options.hostname,
        "accept": None if accept is None else sorted(accept),
        "limits": asdict(options.limits),
        "max_memory_kib": options.max_memory_per_child,
        "loglevel": options.loglevel,
        "logfile": options.logfile,
        "no_color": options.no_color,
    }


def _name_of(app: Any) -> str:
    modules = dict(sys.modules)
    defined_in = getattr(app, "defined_in", None)
    for module in sorted(modules, key=lambda name: name != defined_in):
        if module == "__main__" or module.startswith("celeriac"):
            continue
        name = _attribute_of(modules[module], app)
        if name is not None:
            return f"{module}:{name}"
    message = (
        "worker_pool_start_method='spawn' starts children that import the application, and no "
        "module that can be imported holds it: start the worker with `celeriac -A module:name "
        "worker`, or use 'fork'."
    )
    raise ImproperlyConfigured(message)


def _attribute_of(module: ModuleType, app: Any) -> str | None:
    return next((name for name, value in vars(module).items() if value is app), None)


def _is_plain(value: Any) -> bool:
    # Whether a setting survives JSON; others are set by the application itself.
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _search_path() -> str:
    return os.pathsep.join(dict.fromkeys(path or os.getcwd() for path in sys.path))  # noqa: PTH109


def _status(child: subprocess.Popen[bytes]) -> int:
    code = child.returncode
    return -code if code < 0 else code << 8
