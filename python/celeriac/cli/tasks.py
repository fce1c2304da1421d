"""``celeriac call`` and ``result``: send a task, and see what came of one."""

import json
from typing import Any

import click

from celeriac.cli.output import fail
from celeriac.exceptions import OperationalError
from celeriac.timestamps import maybe_iso8601

__all__ = ("call", "result")


def _json_of(kind: type) -> Any:
    def read(ctx: click.Context, param: click.Parameter, value: str) -> Any:  # noqa: ARG001 - click's
        try:
            found = json.loads(value)
        except ValueError as exc:
            raise click.BadParameter(str(exc)) from None
        if not isinstance(found, kind):
            name = {"list": "array", "dict": "object"}[kind.__name__]
            message = f"{value!r} is not a JSON {name}."
            raise click.BadParameter(message)
        return found

    return read


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:  # noqa: ARG001 - click's
    if value is None:
        return None
    try:
        return maybe_iso8601(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None


def _moment_or_seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    try:
        return float(value) if value is not None else None
    except ValueError:
        return _moment(ctx, param, value)


@click.command("call")
@click.argument("name")
@click.option("-a", "--args", callback=_json_of(list), default="[]", help="A JSON array.")
@click.option("-k", "--kwargs", callback=_json_of(dict), default="{}", help="A JSON object.")
@click.option("--eta", callback=_moment, help="When it starts (ISO 8601).")
@click.option("--countdown", type=float, help="In how many seconds it starts.")
@click.option("--expires", callback=_moment_or_seconds, help="When it is too late to start.")
@click.option("--serializer", default="json", help="How arguments are encoded.")
@click.option("--queue", help="Which queue it goes to.")
@click.option("--exchange", help="Which exchange it goes to.")
@click.option("--routing-key", help="With which routing key.")
@click.pass_context
def call(ctx: click.Context, /, name: str, **options: Any) -> None:
    """Send a task by its name, and print its id."""
    given = {key: value for key, value in options.items() if value is not None}
    try:
        sent = ctx.obj.app.send_task(name, **given)
    except OperationalError as exc:
        fail(ctx, f"The task was not sent: {exc}")
    click.echo(sent.id)


@click.command("result")
@click.argument("task_id")
@click.option("-t", "--task", help="The task's name, where it has a backend of its own.")
@click.option("--traceback", is_flag=True, help="Print the traceback instead.")
@click.pass_context
def result(ctx: click.Context, /, task_id: str, task: str | None, *, traceback: bool) -> None:
    """Wait for a task, and print what it returned."""
    app = ctx.obj.app
    handle = (app.tasks[task].AsyncResult if task else app.AsyncResult)(task_id)
    click.echo(handle.traceback if traceback else handle.get())
