"""``swarm-sd check config`` and ``swarm-sd check service-discovery``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm_sd.cli.flags import FILE, TIMEOUT, load
from swarm_sd.cli.looking import discovered, end
from swarm_sd.scalars import Duration

if TYPE_CHECKING:
    from swarm_sd.target import Populated


@click.group()
def check() -> None:
    """Check a configuration, or what it discovers."""


@check.command("config")
@click.argument("file", type=FILE)
def check_config(file: Path) -> None:
    """Read FILE as serve would; exit code 2 and every complaint where it is refused."""
    config = load(file)
    entries = sum(len(job.sd_configs) for job in config.jobs)
    jobs, of_ours = _count(len(config.jobs), "job"), _count(entries, "entry", "entries")
    click.echo(f"Checking {file}\n  SUCCESS: {jobs} with {of_ours} of ours")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


@check.command("service-discovery")
@click.argument("file", type=FILE)
@click.argument("job", required=False)
@TIMEOUT
def check_service_discovery(file: Path, job: str | None, timeout: Duration) -> None:
    """Discover once and print the targets as promtool does; without JOB an object, job name to list."""
    import msgspec

    found = discovered(file, job, timeout)
    lists = {name: [_promtool(target) for target in targets] for name, targets in found.targets.items()}
    document: object = lists if job is None else lists[job]
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    end(found)


def _promtool(target: Populated) -> dict[str, object]:
    made: dict[str, object] = {
        "discoveredLabels": dict(sorted(target.discovered.items())),
        "labels": dict(sorted((target.labels or {}).items())),
    }
    if target.error:
        made["error"] = target.error
    return made
