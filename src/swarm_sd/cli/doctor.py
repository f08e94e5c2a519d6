"""``swarm-sd doctor``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm_sd import log
from swarm_sd.cli.flags import FILE, TIMEOUT, load
from swarm_sd.scalars import Duration

if TYPE_CHECKING:
    from swarm_sd.config import Config


@click.command()
@click.argument("file", type=FILE, required=False)
@click.option(
    "--docker",
    "own_docker",
    is_flag=True,
    help="Examine this machine's own Docker (DOCKER_HOST, or its default socket) and no file.",
)
@TIMEOUT
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="text for people, json for programs.",
)  # fmt: skip
def doctor(file: Path | None, own_docker: bool, timeout: Duration, form: str) -> None:
    """Ask everything that FILE names, and say what is wrong, why, and what to do; exit code 1 then."""
    from swarm_sd.doctor import show
    from swarm_sd.doctor.examine import examine

    if (file is None) != own_docker:
        raise click.UsageError("give one of FILE and --docker")
    log.set_up("error")
    config = load(file) if file is not None else _own_docker()
    report = asyncio.run(examine(config, timeout=float(timeout), converts=file is not None))
    click.echo(show.as_json(report) if form == "json" else show.as_text(report))
    sys.exit(1 if report.problems else 0)


def _own_docker() -> Config:
    """The jobs of ``serve --docker``; of a Docker that does not answer one that asks it: why is told then."""
    from swarm_sd import own_docker
    from swarm_sd.cli.flags import fail
    from swarm_sd.config import ConfigError
    from swarm_sd.provider import DiscoveryError

    try:
        return own_docker.read()
    except ConfigError as err:
        if isinstance(err.__cause__, DiscoveryError):
            return own_docker.containers()
        fail(2, str(err))
