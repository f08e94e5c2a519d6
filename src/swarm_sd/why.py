"""Why something is scraped or not, asked by whatever one knows of it: an address, a name, a label."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from swarm_sd.explanation import Explanation
from swarm_sd.insight import Insight, JobCounts
from swarm_sd.inventory import SERVICE_LABELS, Query, Row
from swarm_sd.job import Job
from swarm_sd.model import ADDRESS
from swarm_sd.once import failures, settled
from swarm_sd.provider import PassedOver

AT_MOST: Final = 5
"""So many targets are explained; of more it is told how many there are."""

_LOOKED_AT: Final = 1000


class TargetWhy(NamedTuple):
    """A target of a job, and why it is there or not."""

    job: str
    row: Row
    explanation: Explanation


class ObjectWhy(NamedTuple):
    """An object that has no target in a job."""

    job: str
    passed_over: PassedOver


@dataclass(frozen=True, slots=True)
class Why:
    """What was found. ``more``: how many targets match beside those explained.

    ``near``: where nothing matches, what there is that is called alike. ``failures`` as of ``Discovered``.
    """

    targets: Sequence[TargetWhy]
    more: int
    objects: Sequence[ObjectWhy]
    jobs: Sequence[JobCounts]
    near: Sequence[str]
    failures: Sequence[tuple[str, int, str]]


async def why(jobs: Iterable[Job], text: str, *, timeout: float) -> Why:
    """Asks once, for ``timeout`` seconds at most, and looks for ``text`` in targets and other objects.

    What has ``text`` for its address or instance comes alone; else everything that has all its words.
    """
    async with settled(jobs, timeout=timeout) as manager:
        insight = Insight(manager)
        found = [(job, row) for job in insight.jobs() for row in await _rows(insight, job, text)]
        exact = [(job, row) for job, row in found if text in _names(row)]
        chosen = exact or found
        explained = []
        for job, row in chosen[:AT_MOST]:
            told = await insight.explanation(job, row.place)
            if told is not None:
                explained.append(TargetWhy(job, *told))
        objects = (
            [] if exact else [one for job in insight.jobs() for one in await _objects(insight, job, text)]
        )
        near = [] if chosen or objects else await _near(insight, text)
        counts = await insight.counts()
        return Why(explained, len(chosen) - len(explained), objects, counts, near, failures(manager, timeout))


async def _rows(insight: Insight, job: str, text: str) -> Sequence[Row]:
    return (await insight.targets(job, Query.of(text), offset=0, limit=_LOOKED_AT)).rows


async def _objects(insight: Insight, job: str, text: str) -> list[ObjectWhy]:
    others = await insight.passed_over(job, Query.of(text), offset=0, limit=_LOOKED_AT)
    return [ObjectWhy(job, one) for one in others.rows]


def _names(row: Row) -> set[str]:
    labels = row.labels or {}
    return {row.place.address, labels.get(ADDRESS, ""), labels.get("instance", "")}


async def _near(insight: Insight, text: str) -> Sequence[str]:
    """Names of what there is that resemble ``text``."""
    names: dict[str, None] = {}
    for job in insight.jobs():
        for row in await _rows(insight, job, ""):
            services = [value for name in SERVICE_LABELS if (value := row.discovered.get(name))]
            names.update(dict.fromkeys([*_names(row), *services]))
        for one in await _objects(insight, job, ""):
            names.update(dict.fromkeys([one.passed_over.name, one.passed_over.service]))
    return difflib.get_close_matches(text, filter(None, names), n=5, cutoff=0.5)
