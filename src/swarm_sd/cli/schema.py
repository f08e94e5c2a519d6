"""``swarm-sd schema``."""

from __future__ import annotations

import click


@click.command()
def schema() -> None:
    """Print the JSON schema of the configuration, for editors; kinds of installed packages are in it."""
    import json

    from swarm_sd.config.schema import schema as made

    click.echo(json.dumps(made(), indent=2))
