"""Why something is scraped or not, asked by whatever one knows of it: an address, a name, a label."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
"""So many targets are explained, and so many other objects of a job and a reason; the rest is counted."""

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
    """What was found. ``more``: how many targets and objects match beside those that are told of.

    ``near``: where nothing matches, what there is that is called alike. ``failures`` as of ``Discovered``.
    """

    targets: Sequence[TargetWhy]
    objects: Sequence[ObjectWhy]
    more: int
    jobs: Sequence[JobCounts]
    near: Sequence[str]
    failures: Sequence[tuple[str, int, str]]


async def why(jobs: Iterable[Job], text: str, *, timeout: float) -> Why:
    """Asks once, for ``timeout`` seconds at most, and looks for ``text`` in targets and other objects.

    What is called so (by its address, instance, service or name) comes alone; else all that has its words.
    """
    async with settled(jobs, timeout=timeout) as manager:
        insight = Insight(manager)
        matching, rows = await _rows(insight, text)
        objects = await _objects(insight, text)
        exact = [one for one in rows if text in _names(one[1])]
        called = [one for one in objects if text in _called(one.passed_over)]
        if exact or called:
            matching, rows, objects = len(exact), exact, called
        targets = await _explained(insight, rows[:AT_MOST])
        told = list(_few(objects))
        more = matching - len(targets) + len(objects) - len(told)
        near = [] if targets or told else await _near(insight, text)
        return Why(targets, told, more, await insight.counts(), near, failures(manager, timeout))


async def _rows(insight: Insight, text: str) -> tuple[int, list[tuple[str, Row]]]:
    """(how many targets match, the first of them with their jobs)."""
    query, total, rows = Query.of(text), 0, []
    for job in insight.jobs():
        found = await insight.targets(job, query, offset=0, limit=_LOOKED_AT)
        total += found.total
        rows += [(job, row) for row in found.rows]
    return total, rows


async def _objects(insight: Insight, text: str) -> list[ObjectWhy]:
    query = Query.of(text)
    return [
        ObjectWhy(job, one)
        for job in insight.jobs()
        for one in (await insight.passed_over(job, query, offset=0, limit=_LOOKED_AT)).rows
    ]


async def _explained(insight: Insight, rows: Sequence[tuple[str, Row]]) -> list[TargetWhy]:
    told = [(job, await insight.explanation(job, row.place)) for job, row in rows]
    return [TargetWhy(job, *found) for job, found in told if found is not None]


def _few(objects: Iterable[ObjectWhy]) -> Iterator[ObjectWhy]:
    """Of those of one job and reason the first few."""
    seen: Counter[tuple[str, str]] = Counter()
    for one in objects:
        of = one.job, one.passed_over.reason
        seen[of] += 1
        if seen[of] <= AT_MOST:
            yield one


def _names(row: Row) -> set[str]:
    labels = row.labels or {}
    own = [row.discovered.get(name, "").removeprefix("/") for name in SERVICE_LABELS]
    return {row.place.address, labels.get(ADDRESS, ""), labels.get("instance", ""), *own} - {""}


def _called(one: PassedOver) -> set[str]:
    return {one.name, one.service, one.id} - {""}


async def _near(insight: Insight, text: str) -> Sequence[str]:
    """Names of what there is that resemble ``text``."""
    names: dict[str, None] = {}
    _, rows = await _rows(insight, "")
    for _, row in rows:
        names.update(dict.fromkeys(sorted(_names(row))))
    for one in await _objects(insight, ""):
        names.update(dict.fromkeys(sorted(_called(one.passed_over))))
    return difflib.get_close_matches(text, names, n=5, cutoff=0.5)
