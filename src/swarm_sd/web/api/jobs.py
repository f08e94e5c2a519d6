"""The jobs in numbers."""

from __future__ import annotations

from swarm_sd.deliver.names import job_path, sd_path
from swarm_sd.manager import EntryStatus
from swarm_sd.web.api.answers import Answer, Reason, Time, at_or_never, reasons
from swarm_sd.web.api.endpoint import Running
from swarm_sd.web.api.parameters import Asked


class Entry(Answer, frozen=True, kw_only=True):
    """One `*_sd_configs` entry. `state`: `unknown`, `restored`, `known`; `held`: a mass loss is held back."""

    index: int
    kind: str
    state: str
    targets: int
    stale_since: Time | None
    held: bool
    path: str


class States(Answer, frozen=True, kw_only=True):
    """What Prometheus makes of the targets: scraped, dropped by a rule, or refused after relabelling."""

    scraped: int
    dropped: int
    refused: int


class Job(Answer, frozen=True, kw_only=True):
    """A job in numbers.

    `known`: whether all entries were heard or restored. `path` is where HTTP SD has its list. `reasons` are
    of targets that are not scraped, `passedOver` of objects of the cluster that have no target.
    """

    job: str
    path: str
    known: bool
    entries: tuple[Entry, ...]
    targets: States
    reasons: tuple[Reason, ...]
    passed_over: tuple[Reason, ...]


async def jobs(running: Running, asked: Asked) -> tuple[Job, ...]:
    """Every job: how many targets are scraped, how many are not, and why."""
    counts = await running.insight.counts()
    entries = running.status().entries
    return tuple(
        Job(
            job=one.job,
            path=job_path(one.job),
            known=one.known,
            entries=tuple(_entry(entry) for entry in entries if entry.entry.job == one.job),
            targets=States(**one.states),
            reasons=reasons(one.reasons),
            passed_over=reasons(one.passed_over),
        )
        for one in counts
    )


def _entry(status: EntryStatus) -> Entry:
    return Entry(
        index=status.entry.index,
        kind=status.kind,
        state=status.state,
        targets=status.targets,
        stale_since=at_or_never(status.stale_since),
        held=status.held,
        path=sd_path(status.entry),
    )
