"""``celeriac purge`` and ``list bindings``: what is in queues, and how they are reached."""

from typing import Any

import click

from celeriac import broker
from celeriac.cli.output import counted, fail, style
from celeriac.exceptions import OperationalError
from celeriac.worker.options import names

__all__ = ("list_", "purge")

_WAIT_S = 30.0


@click.command("purge")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("-Q", "--queues", help="Only these queues, with commas between.")
@click.option("-X", "--exclude-queues", help="Not these queues.")
@click.pass_context
def purge(
    ctx: click.Context, /, *, force: bool, queues: str | None, exclude_queues: str | None
) -> None:
    """Delete all messages of the application's queues. They are lost."""
    state = ctx.obj
    chosen = set(names(queues) or state.app.amqp.queues) - set(names(exclude_queues) or ())
    if not chosen:
        return
    noun = "queue" if len(chosen) == 1 else "queues"
    if not force:
        warning = style(state, "WARNING", fg="red")
        click.confirm(
            f"{warning}: This deletes all tasks in {noun}: {', '.join(sorted(chosen))}.\n"
            "         They cannot be brought back!\n\n"
            "(-f does not ask)\n"
            "Are you sure you want to delete all tasks?",
            abort=True,
        )
    publisher = broker.publisher(state.app)
    try:
        count = sum(publisher.purge(queue, _WAIT_S) for queue in sorted(chosen))
    except OperationalError as exc:
        fail(ctx, f"Not everything was purged: {exc}")
    if count:
        click.echo(f"Purged {counted(count, 'message')} from {len(chosen)} known task {noun}.")
    else:
        click.echo(f"No messages purged from {len(chosen)} {noun}.")


@click.group("list")
def list_() -> None:
    """List what the broker knows."""


@list_.command("bindings")
@click.pass_context
def bindings(ctx: click.Context, /) -> None:
    """Declare the application's queues, and list their bindings."""
    app = ctx.obj.app
    publisher = broker.publisher(app)
    queues: list[Any] = list(app.amqp.queues.consume_from.values())
    try:
        for queue in queues:
            publisher.declare(queue.as_spec(), _WAIT_S)
    except OperationalError as exc:
        fail(ctx, f"The queues cannot be declared: {exc}")
    rows = [(queue.name, queue.exchange.name, queue.routing_key) for queue in queues]
    for row in [("Queue", "Exchange", "Routing Key"), ("-" * 16,) * 3, *rows]:
        click.echo("{:<28} {:<28} {}".format(*row))
