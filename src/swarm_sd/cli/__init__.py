"""``swarm-sd``: one file a command."""

from __future__ import annotations

import click

from swarm_sd import __version__
from swarm_sd.cli.check import check
from swarm_sd.cli.completion import completion
from swarm_sd.cli.convert import convert
from swarm_sd.cli.doctor import doctor
from swarm_sd.cli.explain import explain
from swarm_sd.cli.healthy import healthy
from swarm_sd.cli.record import record
from swarm_sd.cli.schema import schema
from swarm_sd.cli.serve import serve
from swarm_sd.cli.status import status
from swarm_sd.cli.targets import targets
from swarm_sd.cli.test import test


@click.group(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None})
@click.version_option(__version__, prog_name="swarm-sd", message="%(prog)s, version %(version)s")
def cli() -> None:
    """Service discovery that tells Prometheus what to scrape on Docker Swarm."""


for _command in (
    serve,
    check,
    doctor,
    status,
    explain,
    targets,
    record,
    test,
    convert,
    healthy,
    schema,
    completion,
):
    cli.add_command(_command)


def main() -> None:
    """The ``swarm-sd`` command."""
    cli(prog_name="swarm-sd")
