"""``swarm-sd explain``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm_sd import log
from swarm_sd.cli.flags import FILE, TIMEOUT
from swarm_sd.cli.looking import jobs_of
from swarm_sd.scalars import Duration

if TYPE_CHECKING:
    from swarm_sd.explanation import RuleStep
    from swarm_sd.provider import PassedOver
    from swarm_sd.why import TargetWhy, Why


@click.command()
@click.argument("file", type=FILE)
@click.option("--job", help="Look in this job alone.")
@click.option(
    "--target",
    required=True,
    help="What to look for: an address, an instance, or words that its labels or its name have.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@TIMEOUT
def explain(file: Path, job: str | None, target: str, form: str, timeout: Duration) -> None:
    """Discover once and say, rule by rule, why a target is scraped or not; exit code 1 if there is none."""
    from swarm_sd.why import why

    log.set_up("error")
    found = asyncio.run(why(jobs_of(file, job), target, timeout=float(timeout)))
    if form == "json":
        _json(found)
    else:
        _text(found, target)
    for name, index, reason in found.failures:
        click.echo(f"{name}/{index}: could not be discovered: {reason}", err=True)
    if not (found.targets or found.objects):
        sys.exit(1)


def _json(found: Why) -> None:
    import msgspec

    from swarm_sd.reasons import in_words

    told = {
        "targets": [_target_as_data(one) for one in found.targets],
        "more": found.more,
        "passed_over": [
            {"job": job, **msgspec.to_builtins(one), "meaning": in_words(one.reason)}
            for job, one in found.objects
        ],
        "near": found.near,
        "jobs": found.jobs,
        "failures": [dict(zip(("job", "entry", "error"), one, strict=True)) for one in found.failures],
    }
    click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2))


def _target_as_data(one: TargetWhy) -> dict[str, object]:
    row, told = one.row, one.explanation
    return {
        "job": one.job,
        "entry": row.entry,
        "kind": row.kind,
        "source": row.place.source,
        "address": row.place.address,
        "state": told.state,
        "reason": told.reason,
        "verdict": told.verdict,
        "discovered": told.discovered,
        "rules": told.steps,
        "labels": told.labels,
    }


def _text(found: Why, target: str) -> None:
    for one in found.targets:
        _target(one)
    for job, thing in found.objects:
        _object(job, thing)
    if found.more:
        click.echo(f"{found.more} more match {target!r}: be more exact, or name the --job.")
    if not (found.targets or found.objects):
        _nothing(found, target)


def _object(job: str, thing: PassedOver) -> None:
    from swarm_sd.reasons import in_words

    of = (("service", thing.service), ("node", thing.node))
    places = [f"{what} {name}" for what, name in of if name and what != thing.kind]
    where = f" ({', '.join(places)})" if places else ""
    _title(f"{thing.kind} {thing.name or thing.id}", f"no target in job {job}{where}", "yellow")
    click.echo(f"  {thing.reason}: {thing.detail or in_words(thing.reason)}")
    if thing.detail and in_words(thing.reason):
        click.echo(f"  {in_words(thing.reason)}")
    click.echo()


def _nothing(found: Why, target: str) -> None:
    click.echo(f"Nothing that was discovered has {target!r} in it.")
    for job in found.jobs:
        numbers = {**job.states, "without a target": sum(job.passed_over.values())}
        told = ", ".join(f"{number} {what}" for what, number in numbers.items() if number)
        click.echo(f"  job {job.job}: {told or 'nothing at all'}")
    if found.near:
        click.echo("Is it one of these? " + ", ".join(found.near))


def _target(one: TargetWhy) -> None:
    told = one.explanation
    colour = {"scraped": "green", "dropped": "yellow"}.get(told.state, "red")
    _title(one.row.place.address, f"{told.state} in job {one.job}", colour)
    click.echo(f"  {told.verdict}")
    if told.state == "refused":
        from swarm_sd.reasons import in_words

        click.echo(f"  {in_words(told.reason)}")
    row = one.row
    click.echo(f"  It comes from {row.kind}_sd_configs, entry {row.entry}, group {row.place.source}.")
    click.echo("\n  Labels as discovered:")
    _labels(told.discovered.items())
    if told.steps:
        click.echo("\n  Rules:")
    for step in told.steps:
        _step(step)
    if told.labels is not None:
        click.echo("\n  Labels after relabelling:")
        _labels(told.labels.items())
    click.echo()


def _title(what: str, verdict: str, colour: str) -> None:
    click.echo(click.style(what, bold=True) + ": " + click.style(verdict, fg=colour, bold=True))


def _labels(labels: object) -> None:
    for name, value in sorted(labels):  # type: ignore[call-overload]
        click.echo(f"    {name}={value!r}")


def _step(step: RuleStep) -> None:
    place = f" ({step.where})" if step.where else ""
    fields = ", ".join(f"{name}: {_value(value)}" for name, value in step.rule.items())
    click.echo(f"    {step.number}.{place} {fields}")
    click.echo(click.style(f"       {step.text}", fg=None if step.kept else "yellow"))


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value) or "''"
