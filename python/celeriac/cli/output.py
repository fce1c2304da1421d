"""What commands print, in the words and shapes that operators of Celery know."""

import json
import textwrap
from pprint import pformat
from typing import Any, NoReturn

import click

from celeriac.cli.context import CLIContext

__all__ = ("EX_UNAVAILABLE", "counted", "fail", "pretty", "say_reply", "style")

EX_UNAVAILABLE = 69


def fail(ctx: click.Context, message: str, code: int = EX_UNAVAILABLE) -> NoReturn:
    """End with a sentence on standard error.

    Args:
        ctx: The command's context.
        message: What went wrong, and what to do.
        code: The exit code.
    """
    click.echo(f"Error: {message}", err=True)
    ctx.exit(code)


def counted(number: int, noun: str) -> str:
    """Count things.

    Args:
        number: How many.
        noun: One of them.

    Returns:
        ``1 node`` or ``2 nodes``.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def style(state: CLIContext, text: str, **how: Any) -> str:
    """Colour text, where that is wanted.

    Args:
        state: The global options.
        text: The text.
        **how: See `click.style`.

    Returns:
        The text.
    """
    return text if state.no_color else click.style(text, **how)


def say_reply(state: CLIContext, reply: dict[str, Any], *, is_shown: bool) -> None:
    """Print what a node answered.

    Args:
        state: The global options.
        reply: ``{node: value}``.
        is_shown: Whether the value is printed, too.
    """
    node, value = next(iter(reply.items()))
    status, body = pretty(state, value)
    arrow = "" if state.quiet else style(state, "->", fg="white", bold=True) + " "
    click.echo(f"{arrow} {style(state, f'{node}: ', fg='cyan', bold=True)}{status}")
    if is_shown and body:
        click.echo(textwrap.indent(body, "    "))


def pretty(state: CLIContext, value: Any) -> tuple[str, str]:
    """Word an answer.

    Args:
        state: The global options.
        value: The answer.

    Returns:
        ``OK`` or ``ERROR``, and the text.
    """
    fine = style(state, "OK", fg="green", bold=True)
    if isinstance(value, list):
        star = style(state, "*", fg="white")
        return fine, "\n".join(f"{star} {item}" for item in value) or "- empty -"
    if isinstance(value, dict):
        for key, status in (("ok", fine), ("error", style(state, "ERROR", fg="red", bold=True))):
            if key in value:
                return status, textwrap.indent(pretty(state, value[key])[1], "    ")
        return fine, json.dumps(value, sort_keys=True, indent=4, default=repr)
    return fine, value if isinstance(value, str) else pformat(value)
