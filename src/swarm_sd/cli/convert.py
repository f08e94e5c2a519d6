"""``swarm-sd convert``."""

from __future__ import annotations

from pathlib import Path

import click

from swarm_sd.cli.flags import FILE, fail


@click.command()
@click.argument("file", type=FILE)
@click.option("--sd.url", "sd_url", help="Base URL of swarm-sd: our entries become http_sd_configs.")
@click.option(
    "--sd.directory",
    "sd_directory",
    help="Folder of --file-sd.directory: our entries become file_sd_configs.",
)
@click.option("-o", "out", type=FILE, help="Write here instead of to standard output.")
def convert(file: Path, sd_url: str | None, sd_directory: str | None, out: Path | None) -> None:
    """Write a stock prometheus.yml in which each of our entries became an http_sd or file_sd entry."""
    from swarm_sd.config import ConfigError
    from swarm_sd.config import convert as converter

    if (sd_url is None) == (sd_directory is None):
        raise click.UsageError("give one of --sd.url and --sd.directory")
    try:
        made = converter.convert(file, sd_url=sd_url, sd_directory=sd_directory)
        if out is None:
            click.echo(converter.text(made), nl=False)
        else:
            converter.write(made, out)
    except ConfigError as err:
        fail(2, str(err))
    except OSError as err:
        fail(1, f"{out}: {err.strerror or err}")
