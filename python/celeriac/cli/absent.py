"""Commands that Celery has and this version has not: they say so and fail."""

import click

__all__ = ("ABSENT", "EX_USAGE", "absent_command")

EX_USAGE = 64

ABSENT = (
    "amqp",
    "beat",
    "events",
    "graph",
    "logtool",
    "migrate",
    "multi",
    "shell",
    "upgrade",
)


def absent_command(name: str) -> click.Command:
    """Make a command that says it is not there.

    Args:
        name: Its name.

    Returns:
        The command; its exit code is 64.
    """

    @click.command(
        name,
        help="Not in this version.",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        add_help_option=False,
    )
    @click.pass_context
    def absent(ctx: click.Context) -> None:
        click.echo(f"celeriac {name} is not in this version; `celeriac worker` is.", err=True)
        ctx.exit(EX_USAGE)

    return absent
