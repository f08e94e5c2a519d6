"""``swarm-sd record``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from swarm_sd import log
from swarm_sd.cli.flags import FILE, TIMEOUT, fail
from swarm_sd.cli.looking import jobs_of
from swarm_sd.scalars import Duration


@click.command()
@click.argument("file", type=FILE)
@click.argument("job", required=False)
@click.option("-o", "out", type=FILE, help="Write here instead of to standard output.")
@TIMEOUT
def record(file: Path, job: str | None, out: Path | None, timeout: Duration) -> None:
    """Ask once what FILE needs, and write it as a snapshot for swarm-sd test."""
    from swarm_sd.recording import recorder
    from swarm_sd.recording.document import written

    log.set_up("error")
    jobs = jobs_of(file, job)
    if not jobs:
        fail(1, f"{file}: no entry of ours in it: there is nothing to record")
    recorded = asyncio.run(recorder.record(jobs, timeout=float(timeout)))
    for entry, why in recorded.failures:
        click.echo(f"{entry.job}/{entry.index}: could not be discovered: {why}", err=True)
    if recorded.failures:
        sys.exit(1)  # half a snapshot would be taken for all there is
    text = written(recorded.recording)
    try:
        click.echo(text, nl=False) if out is None else out.write_text(text, encoding="utf-8")
    except OSError as err:
        fail(1, f"{out}: {err.strerror or err}")
    _tell(recorded.masked)


def _tell(masked: Mapping[str, int]) -> None:
    if masked:
        click.echo("Masked as <secret>, since they look like secrets:", err=True)
    for key, count in sorted(masked.items()):
        click.echo(f"  {key}" + (f" ({count} times)" if count > 1 else ""), err=True)
