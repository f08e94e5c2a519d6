"""``swarm-sd``: the flags and commands. The only place that wires everything together."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from swarm_sd import __version__, log
from swarm_sd.scalars import Duration

if TYPE_CHECKING:
    from swarm_sd.config import Config
    from swarm_sd.once import Discovered
    from swarm_sd.target import Populated

T = TypeVar("T")


class _Parsed(click.ParamType[Any]):
    """A flag's value as one of our own types; its ValueError is the complaint."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as err:
            self.fail(str(err), param, ctx)


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


_DURATION = _Parsed("duration", Duration.from_yaml)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None})
@click.version_option(__version__, prog_name="swarm-sd", message="%(prog)s, version %(version)s")
def cli() -> None:
    """Service discovery that tells Prometheus what to scrape on Docker Swarm."""


@cli.command()
@click.option(
    "--config.file",
    "config_file",
    type=_FILE,
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
    type=_Parsed("host:port", _listen_address),
    multiple=True,
    default=["127.0.0.1:9963"],
    show_default=True,
    help="Address to listen on; can be given more than once.",
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
    type=_FOLDER,
    help="Also write a file_sd file per entry into this folder.",
)
@click.option(
    "--storage.path",
    "storage_path",
    type=_FOLDER,
    help="Keep the last good targets in this folder over a restart.",
)
@click.option(
    "--storage.max-age",
    "storage_max_age",
    type=_DURATION,
    default="24h",
    show_default=True,
    help="Kept targets older than this are not served after a restart.",
)
@click.option(
    "--mass-loss.share",
    "share",
    type=_Parsed("share", _share),
    default="0.5",
    show_default=True,
    help="Hold back an answer that drops more than this share of the targets; 1 never does.",
)
@click.option(
    "--mass-loss.hold",
    "hold",
    type=_DURATION,
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

    if (config_file is None) != own_docker:
        raise click.UsageError("give one of --config.file and --docker")
    log.set_up(level, form)
    read = _reader(config_file)
    config = _read(read)
    if not config.jobs:
        click.echo(f"{config_file}: warning: no entry of ours in it: there is nothing to discover", err=True)
    for folder in filter(None, (file_sd_directory, storage_path)):
        _writable(folder)
    options = Options(
        read=read,
        listen=listen,
        lifecycle=lifecycle,
        file_sd_directory=file_sd_directory,
        storage_path=storage_path,
        storage_max_age=float(storage_max_age),
        mass_loss=MassLoss(share=share, hold=float(hold)),
    )

    async def main() -> None:
        await Daemon(config, options).run()

    try:
        asyncio.run(main())
    except OSError as err:
        _fail(1, f"swarm-sd: {err.strerror or err}")


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".swarm-sd-probe.tmp"
        probe.touch()
        probe.unlink()
    except OSError as err:
        _fail(1, f"swarm-sd: cannot write into {folder}: {err.strerror}")


def _reader(path: Path | None) -> Callable[[], Config]:
    from swarm_sd import own_docker
    from swarm_sd.config import load

    return own_docker.read if path is None else lambda: load(path)


def _read(read: Callable[[], Config]) -> Config:
    """The configuration; ends the program with its complaints and exit code 2."""
    from swarm_sd.config import ConfigError

    try:
        return read()
    except ConfigError as err:
        _fail(2, str(err))


def _load(path: Path) -> Config:
    return _read(_reader(path))


def _fail(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)


@cli.group()
def check() -> None:
    """Check a configuration, or what it discovers."""


@check.command("config")
@click.argument("file", type=_FILE)
def check_config(file: Path) -> None:
    """Read FILE as serve would; exit code 2 and every complaint where it is refused."""
    config = _load(file)
    entries = sum(len(job.sd_configs) for job in config.jobs)
    jobs, of_ours = _count(len(config.jobs), "job"), _count(entries, "entry", "entries")
    click.echo(f"Checking {file}\n  SUCCESS: {jobs} with {of_ours} of ours")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


_TIMEOUT = click.option(
    "--timeout", type=_DURATION, default="30s", show_default=True, help="How long to wait for answers."
)


@check.command("service-discovery")
@click.argument("file", type=_FILE)
@click.argument("job", required=False)
@_TIMEOUT
def check_service_discovery(file: Path, job: str | None, timeout: Duration) -> None:
    """Discover once and print the targets as promtool does; without JOB an object, job name to list."""
    import msgspec

    found = _discover(file, job, timeout)
    lists = {name: [_promtool(target) for target in targets] for name, targets in found.targets.items()}
    document: object = lists if job is None else lists[job]
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    _end(found)


def _promtool(target: Populated) -> dict[str, object]:
    made: dict[str, object] = {
        "discoveredLabels": dict(sorted(target.discovered.items())),
        "labels": dict(sorted((target.labels or {}).items())),
    }
    if target.error:
        made["error"] = target.error
    return made


def _discover(file: Path, job: str | None, timeout: Duration) -> Discovered:
    from swarm_sd.once import discover

    log.set_up("error")
    config = _load(file)
    jobs = [known for known in config.jobs if job in (None, known.name)]
    if job is not None and not jobs:
        names = ", ".join(known.name for known in config.jobs) or "none"
        _fail(1, f"{file}: no job {job!r} with an entry of ours; there are: {names}")
    return asyncio.run(discover(jobs, timeout=float(timeout)))


def _end(found: Discovered) -> None:
    for job, index, why in found.failures:
        click.echo(f"{job}/{index}: could not be discovered: {why}", err=True)
    if found.failures:
        sys.exit(1)


@cli.command()
@click.argument("file", type=_FILE)
@click.argument("job", required=False)
@_TIMEOUT
def targets(file: Path, job: str | None, timeout: Duration) -> None:
    """Discover once and show the targets as a table."""
    from swarm_sd.table import show

    found = _discover(file, job, timeout)
    show(found.targets, found.skipped)
    _end(found)


@cli.command()
@click.argument("file", type=_FILE)
@click.option("--sd.url", "sd_url", help="Base URL of swarm-sd: our entries become http_sd_configs.")
@click.option(
    "--sd.directory",
    "sd_directory",
    help="Folder of --file-sd.directory: our entries become file_sd_configs.",
)
@click.option("-o", "out", type=_FILE, help="Write here instead of to standard output.")
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
        _fail(2, str(err))
    except OSError as err:
        _fail(1, f"{out}: {err.strerror or err}")


def main() -> None:
    """The ``swarm-sd`` command."""
    cli(prog_name="swarm-sd")
