"""Make a prefork pool as the worker's options ask for it."""

import sys
from functools import partial
from typing import Any

from celeriac.worker.options import Options
from celeriac.worker.pools.base import Host
from celeriac.worker.pools.prefork.child import ChildMain
from celeriac.worker.pools.prefork.forks import ForkServer
from celeriac.worker.pools.prefork.pool import PreforkPool
from celeriac.worker.pools.prefork.spawns import SpawnServer, order_for

__all__ = ("prefork_pool",)

#: An interpreter that starts and imports an application takes longer than a fork.
_SPAWN_WAIT_S = 60.0


def prefork_pool(
    app: Any, options: Options, accept: frozenset[str] | None, host: Host
) -> PreforkPool:
    """Make the pool; no process is started yet.

    Args:
        app: The application.
        options: The worker's options.
        accept: The content types that may be decoded.
        host: Hears of the tasks.

    Returns:
        The pool.
    """
    conf = app.conf
    name = "worker_pool_start_method"
    method = conf[name] if conf.is_set(name) else _usual_method()
    start_wait_s: float = conf.worker_proc_alive_timeout
    if method == "spawn":
        server: partial[SpawnServer] | partial[ForkServer] = partial(
            SpawnServer, order_for(app, options, accept)
        )
        start_wait_s = max(start_wait_s, _SPAWN_WAIT_S)
    else:
        child = ChildMain(
            app, options.hostname, accept, options.limits, options.max_memory_per_child
        )
        server = partial(ForkServer, child)
    return PreforkPool(
        server,
        host,
        options.concurrency,
        options.prefetch // options.concurrency or 1,
        start_wait_s,
        options.max_tasks_per_child,
        options.limits,
    )


def _usual_method() -> str:
    # macOS's own libraries do not survive a fork.
    return "spawn" if sys.platform == "darwin" else "fork"
