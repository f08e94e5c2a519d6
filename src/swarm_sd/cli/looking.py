"""Discovery once, for the commands that show what it finds."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm_sd import log
from swarm_sd.cli.flags import fail, load
from swarm_sd.scalars import Duration

if TYPE_CHECKING:
    from swarm_sd.job import Job
    from swarm_sd.once import Discovered


def discovered(file: Path, job: str | None, timeout: Duration) -> Discovered:
    """What each job's discovery finds now; ends the program where the job or the file is wrong."""
    from swarm_sd.once import discover

    log.set_up("error")
    return asyncio.run(discover(jobs_of(file, job), timeout=float(timeout)))


def jobs_of(file: Path, job: str | None) -> list[Job]:
    """The jobs of a file, or the one of that name; ends the program where the job or the file is wrong."""
    config = load(file)
    jobs = [known for known in config.jobs if job in (None, known.name)]
    if job is not None and not jobs:
        names = ", ".join(known.name for known in config.jobs) or "none"
        fail(1, f"{file}: no job {job!r} with an entry of ours; there are: {names}")
    return jobs


def end(found: Discovered) -> None:
    """Tells what could not be discovered: exit code 1 then."""
    for job, index, why in found.failures:
        click.echo(f"{job}/{index}: could not be discovered: {why}", err=True)
    if found.failures:
        sys.exit(1)
