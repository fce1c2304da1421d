"""``celeriac status``, ``inspect`` and ``control``: talk to workers."""

import json as jsons
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from celeriac.app.control import flatten_reply
from celeriac.cli.output import counted, fail, say_reply
from celeriac.exceptions import OperationalError
from celeriac.worker.commands import Panel
from celeriac.worker.control import Command

__all__ = ("control", "inspect", "status")


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:  # noqa: ARG001 - click's signature
    return [name.strip() for name in value.split(",") if name.strip()] if value else None


def _remote_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "-t", "--timeout", type=float, help="Seconds to wait for the next reply; default 1."
        ),
        click.option(
            "-d", "--destination", callback=_names, help="Only these nodes, with commas between."
        ),
        click.option("-j", "--json", is_flag=True, help="Print JSON."),
    ):
        command = option(command)
    return command


def _commands_of(kind: str) -> dict[str, Command]:
    found = {name: meta for name, meta in Panel.meta.items() if meta.type == kind and meta.visible}
    return dict(sorted(found.items()))


def _list_option(kind: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def show(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 - click's
        if not value:
            return
        formatter = click.HelpFormatter()
        with formatter.section(f"{kind.capitalize()} Commands"):
            formatter.write_dl(
                [
                    (f"{name} {meta.signature or ''}".strip(), meta.help)
                    for name, meta in _commands_of(kind).items()
                ]
            )
        click.echo(formatter.getvalue(), nl=False)
        ctx.exit()

    return click.option(
        "--list",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help=f"List the {kind} commands.",
    )


def _arguments(name: str, given: Sequence[str]) -> dict[str, Any]:
    meta = Panel.meta[name]
    named = list(meta.args or ())
    if len(given) > len(named) and not meta.variadic:
        message = f"Command {name!r} takes arguments: {meta.signature or 'none'}"
        raise click.UsageError(message)
    arguments: dict[str, Any] = {}
    for (argument, convert), text in zip(named, given, strict=False):
        try:
            arguments[argument] = convert(text)
        except ValueError as exc:  # noqa: PERF203 - few, and the name is needed
            message = f"Command {name!r} takes arguments: {meta.signature} ({exc})"
            raise click.UsageError(message) from None
    if meta.variadic:
        arguments[meta.variadic] = list(given[len(named) :])
    return arguments


def _ask(
    ctx: click.Context,
    name: str,
    arguments: dict[str, Any],
    options: dict[str, Any],
    *,
    is_shown: bool,
) -> list[dict[str, Any]]:
    state = ctx.obj
    say = None if options["json"] else partial(say_reply, state, is_shown=is_shown)
    timeout = options["timeout"]
    try:
        replies = state.app.control.broadcast(
            name,
            arguments,
            options["destination"],
            reply=True,
            timeout=1.0 if timeout is None else timeout,
            callback=say,
        )
    except OperationalError as exc:
        fail(
            ctx,
            f"Could not connect to the message broker: {exc}. "
            "Is it running, and is its URL right (-b, -A)?",
        )
    if not replies:
        fail(ctx, "No nodes replied within time constraint")
    found: list[dict[str, Any]] = replies
    return found


def _count_nodes(ctx: click.Context, replies: list[dict[str, Any]]) -> None:
    if not ctx.obj.quiet:
        nodes = len(flatten_reply(replies))
        click.echo(f"\n{counted(nodes, 'node')} online.")


@click.command("status")
@_remote_options
@click.pass_context
def status(ctx: click.Context, /, **options: Any) -> None:
    """Show which workers are online."""
    replies = _ask(ctx, "ping", {}, options, is_shown=False)
    if options["json"]:
        click.echo(jsons.dumps(flatten_reply(replies)))
    _count_nodes(ctx, replies)


def _verified(kind: str, name: str) -> None:
    known = _commands_of(kind)
    if name not in known:
        message = f"Command {name} not recognized. Available {kind} commands: {', '.join(known)}"
        raise click.UsageError(message)


@click.command("inspect", context_settings={"allow_extra_args": True})
@click.argument("command")
@_list_option("inspect")
@_remote_options
@click.pass_context
def inspect(ctx: click.Context, /, command: str, **options: Any) -> None:
    """Ask workers how they are: `celeriac inspect --list` shows what."""
    _verified("inspect", command)
    replies = _ask(ctx, command, _arguments(command, ctx.args), options, is_shown=True)
    if options["json"]:
        click.echo(jsons.dumps(flatten_reply(replies), default=repr))
        return
    _count_nodes(ctx, replies)


@click.command("control", context_settings={"allow_extra_args": True})
@click.argument("command")
@_list_option("control")
@_remote_options
@click.pass_context
def control(ctx: click.Context, /, command: str, **options: Any) -> None:
    """Tell workers what to do: `celeriac control --list` shows what."""
    _verified("control", command)
    replies = _ask(ctx, command, _arguments(command, ctx.args), options, is_shown=True)
    if options["json"]:
        click.echo(jsons.dumps(replies, default=repr))
