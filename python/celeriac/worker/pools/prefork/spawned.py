"""The program of a spawned child: load the application, then do what a forked child does."""

import json
import os
import signal
import sys
from typing import Any

from celeriac import _as_celery
from celeriac.app.loading import import_from_cwd, symbol_by_name
from celeriac.worker.limits import TimeLimits
from celeriac.worker.pools.prefork.child import ChildMain
from celeriac.worker.pools.prefork.server import UNHEARD, hear_nothing
from celeriac.worker.pools.prefork.spawns import ORDER_VARIABLE

__all__ = ()


def main() -> int:
    """Be a child.

    Returns:
        The exit code.
    """
    order: dict[str, Any] = json.loads(os.environ.pop(ORDER_VARIABLE))
    hear_nothing()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, UNHEARD)
    if order["as_celery"]:
        _as_celery.as_celery()
    app = symbol_by_name(order["app"], imp=import_from_cwd)
    app.conf.update(order["changes"])
    app.loader.init_worker()
    _set_up_logging(app, order)
    for module in order["include"]:
        app.loader.import_task_module(module)
    app.finalize()
    accept = order["accept"]
    run = ChildMain(
        app,
        order["hostname"],
        None if accept is None else frozenset(accept),
        TimeLimits(**order["limits"]),
        order["max_memory_kib"],
        kind="Spawn",
    )
    return run(order["slot"], order["fd"])


def _set_up_logging(app: Any, order: dict[str, Any]) -> None:
    conf = app.conf
    has_custom = app.log.setup(
        order["loglevel"],
        order["logfile"],
        redirect_stdouts=False,
        colorize=None if order["no_color"] is None else not order["no_color"],
        hostname=order["hostname"],
    )
    if conf.worker_redirect_stdouts and not has_custom:
        app.log.redirect_stdouts(conf.worker_redirect_stdouts_level)


if __name__ == "__main__":
    sys.exit(main())
