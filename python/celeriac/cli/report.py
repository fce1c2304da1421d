"""``celeriac report``: what a bug report should say."""

import click

__all__ = ("report",)


@click.command("report")
@click.pass_context
def report(ctx: click.Context, /) -> None:
    """Print versions, system and settings for a bug report."""
    click.echo(ctx.obj.app.bugreport())
