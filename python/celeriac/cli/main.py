"""``celeriac``: global options and the list of commands."""

import os
from dataclasses import dataclass
from typing import Any

import click

from celeriac._native import __version__
from celeriac.cli.absent import ABSENT, absent_command
from celeriac.cli.find import NoApp, find_app
from celeriac.cli.worker import worker

__all__ = ("CLIContext", "celeriac", "main")


@dataclass(frozen=True, slots=True)
class CLIContext:
    """What a command needs to know of the global options."""

    app: Any
    no_color: bool
    quiet: bool
    workdir: str | None


def _change_directory(
    ctx: click.Context,  # noqa: ARG001 - click's signature
    param: click.Parameter,  # noqa: ARG001 - click's signature
    value: str | None,
) -> str | None:
    if value:
        os.chdir(value)
    return value


@click.group(invoke_without_command=True)
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
    try:
        return find_app(app)
    except NoApp as exc:
        ctx.fail(f"\n{exc}")


celeriac.add_command(worker)
for _name in ABSENT:
    celeriac.add_command(absent_command(_name))


def main(argv: list[str] | None = None, app: Any = None) -> Any:
    """Run the command line.

    Args:
        argv: The arguments; those of the process by default.
        app: The application, where ``-A`` does not name one.

    Returns:
        The exit code, where an application runs its own command line; otherwise the process ends.
    """
    return celeriac.main(argv, prog_name="celeriac", obj=app, standalone_mode=app is None)
