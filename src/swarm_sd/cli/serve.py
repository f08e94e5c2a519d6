"""``swarm-sd serve``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from swarm_sd import log
from swarm_sd.cli.flags import DURATION, FILE, FOLDER, Parsed, fail, read_or_end, reader
from swarm_sd.scalars import Duration


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is not a share; write a number from 0 to 1")
    return share


def _listen_address(text: str) -> tuple[str, int]:
    from swarm_sd.web.server import listen_address

    return listen_address(text)


@click.command()
@click.option(
    "--config.file",
    "config_file",
    type=FILE,
    help="Configuration file, shaped like a prometheus.yml.",
)
@click.option(
    "--docker",
    "own_docker",
    is_flag=True,
    help="Use this machine's own Docker (DOCKER_HOST, or its default socket) and no file.",
)
@click.option(
    "--web.listen-address",
    "listen",
    type=Parsed("host:port", _listen_address),
    multiple=True,
    default=["127.0.0.1:9963"],
    show_default=True,
    help="Address to listen on; can be given more than once.",
)
@click.option(
    "--web.config.file",
    "web_config_file",
    type=FILE,
    help="TLS, users and limits of what is served, as exporter-toolkit's web configuration file.",
)
@click.option(
    "--web.enable-lifecycle/--no-web.enable-lifecycle",
    "lifecycle",
    default=True,
    show_default=True,
    help="Reload by POST to /-/reload.",
)
@click.option(
    "--file-sd.directory",
    "file_sd_directory",
    type=FOLDER,
    help="Also write a file_sd file per entry into this folder.",
)
@click.option(
    "--storage.path",
    "storage_path",
    type=FOLDER,
    help="Keep the last good targets in this folder over a restart.",
)
@click.option(
    "--storage.max-age",
    "storage_max_age",
    type=DURATION,
    default="24h",
    show_default=True,
    help="Kept targets older than this are not served after a restart.",
)
@click.option(
    "--mass-loss.share",
    "share",
    type=Parsed("share", _share),
    default="0.5",
    show_default=True,
    help="Hold back an answer that drops more than this share of the targets; 1 never does.",
)
@click.option(
    "--mass-loss.hold",
    "hold",
    type=DURATION,
    default="2m",
    show_default=True,
    help="Believe a mass loss after this long.",
)
@click.option(
    "--log.level",
    "level",
    type=click.Choice(["debug", "info", "warn", "error"]),
    default="info",
    show_default=True,
)
@click.option(
    "--log.format", "form", type=click.Choice(["logfmt", "json"]), default="logfmt", show_default=True
)
def serve(
    config_file: Path | None,
    own_docker: bool,
    listen: Sequence[tuple[str, int]],
    web_config_file: Path | None,
    lifecycle: bool,
    file_sd_directory: Path | None,
    storage_path: Path | None,
    storage_max_age: Duration,
    share: float,
    hold: Duration,
    level: log.Level,
    form: log.Format,
) -> None:
    """Discover, and serve the targets by HTTP SD (and file SD)."""
    from swarm_sd.brake import MassLoss
    from swarm_sd.serve import Daemon, Options
    from swarm_sd.web.config_file import WebConfigFile

    if (config_file is None) != own_docker:
        raise click.UsageError("give one of --config.file and --docker")
    log.set_up(level, form)
    read = reader(config_file)
    config = read_or_end(read)
    web_config = read_or_end(lambda: WebConfigFile(web_config_file)) if web_config_file else None
    if not config.jobs:
        click.echo(f"{config_file}: warning: no entry of ours in it: there is nothing to discover", err=True)
    for folder in filter(None, (file_sd_directory, storage_path)):
        _writable(folder)
    options = Options(
        read=read,
        listen=listen,
        web_config=web_config,
        lifecycle=lifecycle,
        file_sd_directory=file_sd_directory,
        storage_path=storage_path,
        storage_max_age=float(storage_max_age),
        mass_loss=MassLoss(share=share, hold=float(hold)),
        shown=_flags(click.get_current_context()),
    )

    async def main() -> None:
        await Daemon(config, options).run()

    try:
        asyncio.run(main())
    except OSError as err:
        fail(1, f"swarm-sd: {err.strerror or err}")


def _flags(context: click.Context) -> dict[str, str]:
    """Every flag without its dashes, with the value in force, as Prometheus shows its own."""
    shown = {}
    for flag in context.command.params:
        value = context.params[flag.name or ""]
        many = isinstance(value, tuple)
        texts = [_flag(one) for one in (value if many else [value])]
        shown[flag.opts[0].removeprefix("--")] = ",".join(texts)
    return shown


def _flag(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):  # where to listen
        host, port = value
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return "" if value is None else str(value)


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".swarm-sd-probe.tmp"
        probe.touch()
        probe.unlink()
    except OSError as err:
        fail(1, f"swarm-sd: cannot write into {folder}: {err.strerror}")
