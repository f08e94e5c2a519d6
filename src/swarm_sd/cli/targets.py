"""``swarm-sd targets``."""

from __future__ import annotations

from pathlib import Path

import click

from swarm_sd.cli.flags import FILE, TIMEOUT
from swarm_sd.cli.looking import discovered, end
from swarm_sd.scalars import Duration


@click.command()
@click.argument("file", type=FILE)
@click.argument("job", required=False)
@TIMEOUT
def targets(file: Path, job: str | None, timeout: Duration) -> None:
    """Discover once and show the targets as a table."""
    from swarm_sd.table import show

    found = discovered(file, job, timeout)
    show(found.targets, found.skipped)
    end(found)
