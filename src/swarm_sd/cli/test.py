"""``swarm-sd test``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm_sd import log
from swarm_sd.cli.flags import FILE, fail

if TYPE_CHECKING:
    from swarm_sd.rule_tests.run import Result

_COLOURS = {"-": "red", "+": "green", " ": None}


@click.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
def test(files: tuple[Path, ...]) -> None:
    """Run the tests in FILES: what is recorded in, expected targets out. Asks nobody."""
    from swarm_sd.config import ConfigError
    from swarm_sd.rule_tests.document import load
    from swarm_sd.rule_tests.run import run

    log.set_up("error")
    results: list[Result] = []
    try:
        loaded = [(file, load(file)) for file in files]
    except ConfigError as err:
        fail(2, str(err))
    for file, tests in loaded:
        click.echo(f"Testing {file}")
        done = asyncio.run(run(tests))
        _show(done)
        results += done
    failed = sum(bool(one.differences) for one in results)
    count = f"{len(results)} test{'s' if len(results) != 1 else ''}"
    click.echo(f"{count}, {failed} failed" if failed else f"{count}, all passed")
    if failed:
        sys.exit(1)


def _show(results: Sequence[Result]) -> None:
    for one in results:
        if not one.differences:
            click.echo(f"  {click.style('ok', fg='green')}      {one.test.name}")
            continue
        click.echo(f"  {click.style('FAILED', fg='red')}  {one.test.name} ({one.test.place})")
        for line in one.differences:
            click.secho(f"    {line.mark} {line.text}", fg=_COLOURS[line.mark])
