"""What changed when, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec

from swarm_sd.history import ChangedTarget, What, Why
from swarm_sd.history import Generation as Change
from swarm_sd.web.api.answers import Answer, Time, at
from swarm_sd.web.api.endpoint import Running
from swarm_sd.web.api.parameters import Asked, Limit


class HistoryAsked(Asked, frozen=True, kw_only=True):
    """Which changes."""

    job: Annotated[str, msgspec.Meta(description="Only changes of this job; empty: of all.")] = ""
    since: Annotated[
        int, msgspec.Meta(ge=0, le=10**15, description="Only changes with a number above this one.")
    ] = 0
    limit: Limit = 100


class Changed(Answer, frozen=True, kw_only=True):
    """One target of a change; `labels` are the names of those that are others now."""

    what: What
    source: str
    address: str
    labels: tuple[str, ...]


class Generation(Answer, frozen=True, kw_only=True):
    """One change of what is discovered. `why`: what led to it. All targets are counted, 100 at most named."""

    number: int
    time: Time
    kind: str
    jobs: tuple[str, ...]
    why: Why
    added: int
    removed: int
    changed: int
    targets: tuple[Changed, ...]


class History(Answer, frozen=True, kw_only=True):
    """The changes that were asked for, the newest first. `newest` is the number of the last change of all."""

    newest: int
    generations: tuple[Generation, ...]


async def history(running: Running, asked: HistoryAsked) -> History:
    """The last changes of what is discovered; 500 are kept, from the start of the process on."""
    if asked.job and asked.job not in running.insight.jobs():
        raise KeyError(asked.job)
    everything = await running.insight.generations()
    return await asyncio.to_thread(_history, everything, asked)


def _history(everything: Sequence[Change], asked: HistoryAsked) -> History:
    found = [one for one in everything if one.number > asked.since and asked.job in ("", *one.jobs)]
    return History(
        newest=everything[0].number if everything else 0,
        generations=tuple(_generation(one) for one in found[: asked.limit]),
    )


def _generation(one: Change) -> Generation:
    return Generation(
        number=one.number,
        time=at(one.at),
        kind=one.kind,
        jobs=one.jobs,
        why=one.why,
        added=one.added,
        removed=one.removed,
        changed=one.changed,
        targets=tuple(_changed(target) for target in one.targets),
    )


def _changed(target: ChangedTarget) -> Changed:
    return Changed(what=target.what, source=target.source, address=target.address, labels=target.labels)
