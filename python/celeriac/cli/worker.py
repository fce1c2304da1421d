"""``celeriac worker``."""

import logging
import os
import sys
from typing import Any, NoReturn

import click

from celeriac.cli.absent import EX_USAGE
from celeriac.exceptions import ImproperlyConfigured, SecurityError
from celeriac.worker.options import POOLS, NoSuchPool

__all__ = ("worker",)

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")

#: Flags that are accepted and have no effect yet, and whether one guards production.
_WITHOUT_EFFECT = {
    "autoscale": True,
    "beat": True,
    "statedb": False,
    "disable_prefetch": False,
    "schedule_filename": False,
    "scheduler": False,
    "uid": False,
    "gid": False,
    "umask": False,
    "executable": False,
}


@click.command("worker", context_settings={"allow_extra_args": True})
@click.option("-n", "--hostname", help="Node name, such as w1@%h.")
@click.option("-l", "--loglevel", default="WARNING", help=f"One of {', '.join(_LEVELS)}.")
@click.option("-f", "--logfile", help="Log to this file; %n, %h and %i are expanded.")
@click.option("--pidfile", help="Write the process id here.")
@click.option("-c", "--concurrency", help="How many tasks at once; default: the CPUs.")
@click.option("-P", "--pool", help=f"One of {', '.join(POOLS)}.")
@click.option("-Q", "--queues", help="Only these queues, with commas between.")
@click.option("-X", "--exclude-queues", help="Not these queues.")
@click.option("-I", "--include", help="Import these modules, too.")
@click.option("--purge", "--discard", is_flag=True, help="Delete what waits in the queues first.")
@click.option(
    "-E", "--task-events", "--events", is_flag=True, default=None, help="Tell monitors of tasks."
)
@click.option("-O", "--optimization", type=click.Choice(["default", "fair"]), default="default")
@click.option("--prefetch-multiplier", type=int, help="Messages held for each process.")
@click.option("--pool-start-method", type=click.Choice(["fork", "spawn"]))
@click.option("--without-gossip", is_flag=True, help="Accepted: there is no gossip.")
@click.option("--without-mingle", is_flag=True, help="Do not ask other workers what is revoked.")
@click.option("--without-heartbeat", is_flag=True, help="Do not tell monitors that it lives.")
@click.option("--time-limit", type=float, help="Kill tasks after so many seconds.")
@click.option("--soft-time-limit", type=float, help="Interrupt tasks after so many seconds.")
@click.option("--autoscale", metavar="MAX,MIN")
@click.option("-B", "--beat", is_flag=True, default=None)
@click.option("--max-tasks-per-child", type=int, help="Replace a child after so many tasks.")
@click.option("--max-memory-per-child", type=int, help="Replace a child beyond so many KiB.")
@click.option("-S", "--statedb")
@click.option("--heartbeat-interval", type=int, help="Seconds between two heartbeats; 2.")
@click.option("--disable-prefetch", is_flag=True, default=None)
@click.option("-s", "--schedule-filename", "--schedule")
@click.option("--scheduler")
@click.option("-D", "--detach", is_flag=True)
@click.option("--uid")
@click.option("--gid")
@click.option("--umask")
@click.option("--executable")
@click.option(
    "--allow-unsupported",
    is_flag=True,
    help="Start although something that guards production (--autoscale, -B) has no effect.",
)
@click.pass_context
def worker(ctx: click.Context, /, **options: Any) -> None:
    """Execute tasks."""
    state = ctx.obj
    if options.pop("detach"):
        ctx.fail("--detach is not in this version: let systemd or a container start the worker.")
    flags = {
        f"--{name.replace('_', '-')}": (options[name], guards)
        for name, guards in _WITHOUT_EFFECT.items()
        if options.get(name) is not None
    }
    try:
        _configure(ctx, state.app, options.pop("pool_start_method"))
        running = state.app.Worker(
            quiet=state.quiet,
            no_color=state.no_color or None,
            unsupported_flags=flags,
            **{name: value for name, value in options.items() if value is not None},
        )
        running.start()
    except NoSuchPool as exc:
        click.echo(f"Error: {exc}", err=True)
        ctx.exit(EX_USAGE)
    except (ImproperlyConfigured, SecurityError) as exc:
        click.echo(f"Error: {exc}", err=True)
        ctx.exit(1)
    if running.leaves_threads:
        _leave(running.exitcode or 0)
    ctx.exit(running.exitcode or 0)


def _leave(code: int) -> NoReturn:
    """End the process although threads run: the interpreter's own end would break them off."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _configure(ctx: click.Context, app: Any, pool_start_method: str | None) -> None:
    """Take settings from the command line: ``--`` then ``worker.key=value`` or ``.key=value``."""
    if pool_start_method is not None:
        app.conf.worker_pool_start_method = pool_start_method
    if not ctx.args:
        return
    try:
        app.config_from_cmdline(ctx.args, namespace="worker")
    except (KeyError, ValueError) as exc:
        ctx.fail(f"Unable to parse extra configuration from command line.\nReason: {exc}")
