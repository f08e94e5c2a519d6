"""What a running manager can tell beyond its status: targets, why they are there or not, what changed.

Every method is for the event loop; what takes long is done in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from swarm_sd.explanation import Explanation, explained
from swarm_sd.feed import Feed
from swarm_sd.history import Generation, Times
from swarm_sd.inventory import Counts, Found, JobInventory, Place, Query, Row, Standing
from swarm_sd.job import Job
from swarm_sd.manager import Manager
from swarm_sd.provider import PassedOver


class Targets(NamedTuple):
    """A page of targets, and how many match in all."""

    total: int
    rows: Sequence[Row]


class Others(NamedTuple):
    """A page of what has no target, how many match in all, and by reason how many there are whatever matches.

    ``unnamed``: by reason, those of which only the number is known.
    """

    total: int
    rows: Sequence[PassedOver]
    reasons: Mapping[str, int]
    unnamed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class JobCounts:
    """A job in numbers. ``known``: whether all its entries were heard or restored."""

    job: str
    known: bool
    states: Mapping[str, int]  # scraped, dropped, refused
    reasons: Mapping[str, int]  # of targets that are not scraped
    passed_over: Mapping[str, int]  # by reason, objects without a target


class Spot(NamedTuple):
    """A node and a service, with how many targets are scraped there, are not, and how many objects have none.

    ``reasons``: of those objects.
    """

    node: str
    service: str
    scraped: int
    dropped: int
    passed_over: int
    reasons: Mapping[str, int]


class Insight:
    """Reads the manager; keeps what was made of each job's targets for the next question."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._inventories: dict[str, JobInventory] = {}
        self._counting: asyncio.Task[Sequence[JobCounts]] | None = None
        self._counted: Sequence[JobCounts] = ()

    def jobs(self) -> Sequence[str]:
        """The jobs, in the order of the configuration."""
        return tuple(self._manager.catalog().jobs)

    async def counts(self) -> Sequence[JobCounts]:
        """Every job in numbers. Those who ask while it is counted get the same answer."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count())
        return await asyncio.shield(self._counting)

    async def counts_within(self, seconds: float) -> Sequence[JobCounts]:
        """As ``counts``; those of the last time where it takes longer, as in a large cluster it may."""
        try:
            async with asyncio.timeout(seconds):
                return await self.counts()
        except TimeoutError:
            return self._counted

    @property
    def counted(self) -> Sequence[JobCounts]:
        """As ``counts`` gave it last."""
        return self._counted

    async def _count(self) -> Sequence[JobCounts]:
        made = []
        jobs = self.jobs()
        self._inventories = {job: one for job, one in self._inventories.items() if job in jobs}
        for job in jobs:
            with contextlib.suppress(KeyError):  # a reload has taken it out meanwhile
                made.append(await self._counts(job))
        self._counted = made
        return made

    async def _counts(self, name: str) -> JobCounts:
        inventory, standing = self._of(name)
        counts: Counts = await asyncio.to_thread(inventory.counts, standing)
        known = all(feed.state() != "unknown" for _, feed, _ in standing)
        return JobCounts(name, known, counts.states, counts.reasons, self._passed_over_counts(name))

    def _passed_over_counts(self, name: str) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        for feed in self._manager.feeds(name):
            status = feed.provider_status()
            found.update(status.skipped)
            found.update(status.untargeted)
        return found

    async def targets(self, job: str, query: Query, *, offset: int, limit: int) -> Targets:
        """A page of the job's targets. KeyError: no such job."""
        inventory, standing = self._of(job)

        def find() -> Targets:
            total, found = inventory.find(standing, query, offset=offset, limit=limit)
            return Targets(total, [inventory.row(one, place, self._times(one)) for one, place in found])

        return await asyncio.to_thread(find)

    def _times(self, found: Found) -> Times:
        return self._manager.history.times(found.feed, found.group, found.index)

    async def explanation(self, job: str, place: Place) -> tuple[Row, Explanation] | None:
        """A target and why it is there or not; None where there is none (any more). KeyError: no such job."""
        inventory, standing = self._of(job)
        of = self._manager.job(job) or inventory.job  # its rules may have other places than when it was made

        def find() -> tuple[Row, Explanation] | None:
            found = inventory.at(standing, place)
            if found is None:
                return None
            row = inventory.row(found, place, self._times(found))
            return row, explained(found.group.targets[found.index], found.group.labels, of)

        return await asyncio.to_thread(find)

    async def passed_over(self, job: str, query: Query, *, offset: int, limit: int) -> Others:
        """A page of what of the job's clusters has no target. KeyError: no such job."""
        self._of(job)

        def find() -> Others:
            everyone = [one for feed in self._manager.feeds(job) for one in feed.passed_over()]
            reasons = self._passed_over_counts(job)
            unnamed = Counter(reasons) - Counter(one.reason for one in everyone)
            matching = [one for one in everyone if _matches(one, query)]
            return Others(len(matching), matching[offset : offset + limit], reasons, unnamed)

        return await asyncio.to_thread(find)

    async def spots(self, job: str) -> Sequence[Spot]:
        """Where the job's targets are, node by node and service by service. KeyError: no such job."""
        inventory, standing = self._of(job)

        def count() -> Sequence[Spot]:
            cells = inventory.cells(standing)
            others: dict[tuple[str, str], Counter[str]] = {}
            for feed in self._manager.feeds(job):
                for one in feed.passed_over():
                    others.setdefault((one.node, one.service), Counter())[one.reason] += 1
            found = []
            for node, service in sorted(cells.keys() | others.keys()):
                cell, reasons = cells.get((node, service)), others.get((node, service), Counter())
                scraped, dropped = cell or (0, 0)
                found.append(Spot(node, service, scraped, dropped, reasons.total(), reasons))
            return found

        return await asyncio.to_thread(count)

    async def generations(self) -> Sequence[Generation]:
        """The last changes, the newest first."""
        return await asyncio.to_thread(self._manager.history.generations)

    def _of(self, name: str) -> tuple[JobInventory, Standing]:
        job = self._manager.job(name)
        if job is None:
            self._inventories.pop(name, None)
            raise KeyError(name)
        inventory = self._inventories.get(name)
        if inventory is None or not _alike(inventory.job, job):
            inventory = self._inventories[name] = JobInventory(job)
        # entries with equal configurations have the same targets: each is there once, as for Prometheus
        first: dict[Feed, int] = {}
        for entry, feed in self._manager.entries(name):
            first.setdefault(feed, entry.index)
        return inventory, [(index, feed, feed.standing()) for feed, index in first.items()]


def _alike(one: Job, other: Job) -> bool:
    return one is other or (one.rules == other.rules and one.defaults == other.defaults)


def _matches(one: PassedOver, query: Query) -> bool:
    if query.reason not in ("", one.reason):
        return False
    told = {name: getattr(one, name) for name in PassedOver.__dataclass_fields__}
    text = "".join([f"{name}={value}\n" for name, value in told.items()]).lower()
    return all(word in text for word in query.words)
