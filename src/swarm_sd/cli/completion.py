"""``swarm-sd completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, flags and files of swarm-sd."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - for the type checker: click has all three
    made = kind(context.find_root().command, {}, "swarm-sd", "_SWARM_SD_COMPLETE")
    # source() would run a bash to learn its version first
    click.echo(made.source_template % made.source_vars())
