"""``celeriac``: global options and the list of commands."""

import os
from importlib import import_module
from typing import Any

import click

from celeriac._as_celery import as_celery
from celeriac._native import __version__
from celeriac.cli.absent import ABSENT, absent_command
from celeriac.cli.context import CLIContext

__all__ = ("CLIContext", "celeriac", "main")

#: Where each command lives, and what the list of commands says of it: none of them is imported
#: before it is run.
_COMMANDS = {
    "bench": ("bench:bench", "Measure publishing, a worker and the round trip on your broker."),
    "call": ("tasks:call", "Send a task by its name, and print its id."),
    "control": ("remote:control", "Tell workers what to do."),
    "dead": ("dead:dead", "Look at dead letters, run them again, or delete them."),
    "inspect": ("remote:inspect", "Ask workers how they are."),
    "list": ("queues:list_", "List what the broker knows."),
    "purge": ("queues:purge", "Delete all messages of the application's queues."),
    "report": ("report:report", "Print versions, system and settings for a bug report."),
    "result": ("tasks:result", "Wait for a task, and print what it returned."),
    "status": ("remote:status", "Show which workers are online."),
    "worker": ("worker:worker", "Execute tasks."),
}


class _Commands(click.Group):
    """Finds commands when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return sorted({*_COMMANDS, *ABSENT, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name in _COMMANDS:
            module, _, name = _COMMANDS[cmd_name][0].partition(":")
            command: click.Command = getattr(import_module(f"celeriac.cli.{module}"), name)
            return command
        return absent_command(cmd_name) if cmd_name in ABSENT else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, _COMMANDS[name][1] if name in _COMMANDS else "Not in this version.")
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _change_directory(
    ctx: click.Context,  # noqa: ARG001 - click's signature
    param: click.Parameter,  # noqa: ARG001 - click's signature
    value: str | None,
) -> str | None:
    if value:
        os.chdir(value)
    return value


def _stand_in(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001 - click's signature
    value: bool,  # noqa: FBT001
) -> bool:
    if value:
        try:
            as_celery()
        except ImportError as exc:
            ctx.fail(str(exc))
    return value


@click.group(cls=_Commands, invoke_without_command=True)
@click.option(
    "--as-celery",
    is_flag=True,
    callback=_stand_in,
    is_eager=True,
    expose_value=False,
    help="Serve the names celery, kombu and billiard, for code that imports them.",
)
@click.option("-A", "--app", envvar="CELERY_APP", help="The application: module or module:name.")
@click.option("-b", "--broker", envvar="CELERY_BROKER_URL", help="URL of the broker.")
@click.option("--result-backend", envvar="CELERY_RESULT_BACKEND", help="URL of the results.")
@click.option("--loader", envvar="CELERY_LOADER", help="Class of the loader.")
@click.option("--config", envvar="CELERY_CONFIG_MODULE", help="Module of the settings.")
@click.option(
    "--workdir",
    type=click.Path(exists=True, file_okay=False),
    callback=_change_directory,
    is_eager=True,
    help="Change to this directory first.",
)
@click.option("-C", "--no-color", is_flag=True, envvar="NO_COLOR", help="No colours in the log.")
@click.option("-q", "--quiet", is_flag=True, help="No banner.")
@click.option("--version", is_flag=True, help="Show the version.")
@click.option("--skip-checks", is_flag=True, help="Skip Django's checks.")
@click.pass_context
def celeriac(
    ctx: click.Context,
    /,
    *,
    app: str | None,
    workdir: str | None,
    no_color: bool,
    quiet: bool,
    version: bool,
    skip_checks: bool,
    **overrides: str | None,
) -> None:
    """Send, execute and watch tasks."""
    if version:
        click.echo(f"{__version__} (celeriac)")
        ctx.exit()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit()
    _override_settings(overrides, skip_checks=skip_checks)
    if ctx.invoked_subcommand in ABSENT or {"--help", "-h"} & set(ctx.args):
        return
    ctx.obj = CLIContext(_load(ctx, app), no_color, quiet, workdir)


def _override_settings(overrides: dict[str, str | None], *, skip_checks: bool) -> None:
    """Hand options over in the environment, where the settings of every app look (as Celery's)."""
    for name, variable in (
        ("broker", "CELERY_BROKER_URL"),
        ("result_backend", "CELERY_RESULT_BACKEND"),
        ("loader", "CELERY_LOADER"),
        ("config", "CELERY_CONFIG_MODULE"),
    ):
        value = overrides.get(name)
        if value:
            os.environ[variable] = value
    if skip_checks:
        os.environ["CELERY_SKIP_CHECKS"] = "true"


def _load(ctx: click.Context, app: str | None) -> Any:
    if app is None and ctx.obj is not None:
        return ctx.obj
    if app is None:
        from celeriac import current_app  # noqa: PLC0415 - makes the default app when looked at

        return current_app._get_current_object()  # noqa: SLF001 - the proxy's own way
    from celeriac.cli.find import NoApp, find_app  # noqa: PLC0415 - `--help` stays quick

    try:
        return find_app(app)
    except NoApp as exc:
        ctx.fail(f"\n{exc}")


def main(argv: list[str] | None = None, app: Any = None) -> Any:
    """Run the command line.

    Args:
        argv: The arguments; those of the process by default.
        app: The application, where ``-A`` does not name one.

    Returns:
        The exit code, where an application runs its own command line; otherwise the process ends.
    """
    return celeriac.main(argv, prog_name="celeriac", obj=app, standalone_mode=app is None)
