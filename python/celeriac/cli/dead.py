"""``celeriac dead``: messages that are kept beside their queue because nobody may run them."""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import click

from celeriac import broker
from celeriac._native import Aside, Publisher
from celeriac.cli.output import counted, fail
from celeriac.exceptions import DecodeError, OperationalError
from celeriac.worker.options import names

__all__ = ("dead",)

_WAIT_S = 60.0
#: So many of a queue are looked at, replayed or deleted at once.
_MOST = 100_000
#: So many are put back or deleted in one operation, which must end within `_WAIT_S`.
_CHUNK = 500
_SHOWN_BYTES = 2_000
_SHOWN_CHARACTERS = 200

_queues = click.option("-Q", "--queues", help="Only of these queues, with commas between.")
_all = click.option("--all", "is_all", is_flag=True, help="All of them.")


@click.group("dead")
def dead() -> None:
    """Look at dead letters, run them again, or delete them.

    A message is kept beside its queue when who held it died too often (worker_redelivery_limit),
    and when no worker could read it, accept its content, or knew its task.
    """


@dead.command("list")
@_queues
@click.option("--limit", type=click.IntRange(1), default=1_000, help="So many of each queue.")
@click.option("-j", "--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_(ctx: click.Context, /, *, queues: str | None, limit: int, as_json: bool) -> None:
    """List what is kept, the oldest first."""
    found = _found(ctx, queues, limit)
    if as_json:
        for one in found:
            click.echo(json.dumps(_summary(one)))
        return
    if not found:
        click.echo("Nothing is kept.")
    for one in found:
        task = f"{one.task or '(unreadable)'}[{one.id or '-'}]"
        lost = f", lost {counted(one.losses, 'time')}" if one.losses else ""
        click.echo(f"{one.tag}  {_when(one)}  {one.queue}  {task}{lost}: {_narrow(one.reason)}")


@dead.command("show")
@click.argument("ids", nargs=-1, required=True)
@_queues
@click.pass_context
def show(ctx: click.Context, /, *, ids: tuple[str, ...], queues: str | None) -> None:
    """Print messages: their history, headers, and how their body begins.

    IDS are those of `list`, or ids of tasks.
    """
    for one in _chosen(ctx, ids, queues, is_all=False):
        click.echo(_described(one))


@dead.command("replay")
@click.argument("ids", nargs=-1)
@_queues
@_all
@click.pass_context
def replay(
    ctx: click.Context, /, *, ids: tuple[str, ...], queues: str | None, is_all: bool
) -> None:
    """Put messages back into their queues, as they were; what died of them is forgotten.

    IDS are those of `list`, or ids of tasks. Broken off, it may double a message, and loses none.
    """
    chosen = _chosen(ctx, ids, queues, is_all=is_all)
    count = _carry_out(ctx, chosen, lambda to: to.restore_aside)
    click.echo(f"Replayed {counted(count, 'message')}.")


@dead.command("purge")
@click.argument("ids", nargs=-1)
@_queues
@_all
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_context
def purge(
    ctx: click.Context,
    /,
    *,
    ids: tuple[str, ...],
    queues: str | None,
    is_all: bool,
    force: bool,
) -> None:
    """Delete messages that are kept. They are lost.

    IDS are those of `list`, or ids of tasks.
    """
    chosen = _chosen(ctx, ids, queues, is_all=is_all)
    if chosen and not force:
        number = counted(len(chosen), "message")
        click.confirm(f"This deletes {number} for good. Are you sure?", abort=True)
    count = _carry_out(ctx, chosen, lambda to: to.drop_aside)
    click.echo(f"Deleted {counted(count, 'message')}.")


def _found(ctx: click.Context, queues: str | None, most: int) -> list[Aside]:
    app = ctx.obj.app
    publisher = broker.publisher(app)
    chosen = names(queues) or list(app.amqp.queues)
    try:
        kept = [
            one
            for queue in dict.fromkeys(chosen)
            for one in publisher.list_aside(queue, most, _WAIT_S)
        ]
    except OperationalError as exc:
        fail(ctx, f"What is kept cannot be listed: {exc}")
    return sorted(kept, key=lambda one: one.at_unix_ms)


def _chosen(
    ctx: click.Context, ids: tuple[str, ...], queues: str | None, *, is_all: bool
) -> list[Aside]:
    if bool(ids) == is_all:
        message = "Name messages by their ids, or all of them with --all."
        raise click.UsageError(message, ctx)
    found = _found(ctx, queues, _MOST)
    if is_all:
        return found
    wanted = set(ids)
    chosen = [one for one in found if one.tag in wanted or one.id in wanted]
    _check(ctx, wanted, chosen)
    return chosen


def _check(ctx: click.Context, wanted: set[str], chosen: list[Aside]) -> None:
    missing = wanted - {one.tag for one in chosen} - {one.id for one in chosen}
    if missing:
        fail(
            ctx,
            f"Nothing is kept with the id {', '.join(sorted(missing))}: see `celeriac dead list`, "
            "and name the queue with -Q where it is none of the application's.",
        )
    tags = [one.tag for one in chosen]
    double = {tag for tag in tags if tags.count(tag) > 1 and tag in wanted}
    if double:
        fail(ctx, f"{', '.join(sorted(double))} is in several queues: name one with -Q.")


def _carry_out(
    ctx: click.Context,
    chosen: Iterable[Aside],
    operation: Callable[[Publisher], Callable[[str, list[str], float], int]],
) -> int:
    by_queue: dict[str, list[str]] = {}
    for one in chosen:
        by_queue.setdefault(one.queue, []).append(one.tag)
    do = operation(broker.publisher(ctx.obj.app))
    count = 0
    try:
        for queue, tags in by_queue.items():
            for start in range(0, len(tags), _CHUNK):
                count += do(queue, tags[start : start + _CHUNK], _WAIT_S)
    except OperationalError as exc:
        fail(ctx, f"It ended after {counted(count, 'message')}, the others are kept: {exc}")
    return count


def _summary(one: Aside) -> dict[str, Any]:
    return {
        "id": one.tag,
        "queue": one.queue,
        "task": one.task,
        "task_id": one.id,
        "reason": one.reason,
        "at": _when(one),
        "worker": one.worker,
        "losses": one.losses,
        "exchange": one.exchange,
        "routing_key": one.routing_key,
    }


def _when(one: Aside) -> str:
    if not one.at_unix_ms:
        return "-"
    moment = datetime.fromtimestamp(one.at_unix_ms / 1000).astimezone()
    return moment.isoformat(timespec="seconds")


def _narrow(text: str) -> str:
    line = " ".join(text.split())
    if len(line) <= _SHOWN_CHARACTERS:
        return line
    return f"{line[:_SHOWN_CHARACTERS]}..."


def _described(one: Aside) -> str:
    lines = [f"{name}: {value}" for name, value in _summary(one).items()]
    if one.error is not None:
        lines.append(f"error: {one.error}")
        return "\n".join([*lines, ""])
    body = one.raw_body()
    try:
        headers = json.dumps(one.headers(), indent=2, default=repr)
        properties = json.dumps(one.properties(), indent=2, default=repr)
        lines += [f"headers: {headers}", f"properties: {properties}"]
    except DecodeError as exc:
        lines.append(f"headers: unreadable ({exc})")
    rest = "..." if len(body) > _SHOWN_BYTES else ""
    lines.append(f"body ({len(body)} bytes): {body[:_SHOWN_BYTES]!r}{rest}")
    return "\n".join([*lines, ""])
