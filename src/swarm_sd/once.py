"""Discovery once and for all to see: what each job's targets are now, and why a job has none."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from swarm_sd.job import Job
from swarm_sd.manager import EntryStatus, Manager
from swarm_sd.provider import PassedOver
from swarm_sd.target import Populated, populate


@dataclass(frozen=True, slots=True)
class Discovered:
    """What one look found, by job. ``failures``: (job, entry, why) of what could not be asked.

    ``skipped``: by job and reason, how much of the answers is no target; of most kinds odd objects alone.
    ``passed_over``: by job, what of it can be named.
    """

    targets: Mapping[str, tuple[Populated, ...]]
    failures: tuple[tuple[str, int, str], ...] = ()
    skipped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    passed_over: Mapping[str, tuple[PassedOver, ...]] = field(default_factory=dict)


@asynccontextmanager
async def settled(jobs: Iterable[Job], *, timeout: float) -> AsyncIterator[Manager]:
    """A manager in which each entry is known or has failed, or ``timeout`` seconds have passed."""
    jobs = tuple(jobs)
    expected = sum(len(job.sd_configs) for job in jobs)
    manager = Manager()
    running = asyncio.create_task(manager.run(jobs))
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not running.done() and not _settled(manager, expected):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        yield manager
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def discover(jobs: Iterable[Job], *, timeout: float) -> Discovered:
    """Runs every job's discovery until each entry is known or has failed, for ``timeout`` seconds at most."""
    jobs = tuple(jobs)
    async with settled(jobs, timeout=timeout) as manager:
        entries = manager.status().entries
        targets = {job.name: _targets(manager, job) for job in jobs}
        skipped = {job.name: _skipped(entries, job) for job in jobs}
        passed_over = {job.name: await asyncio.to_thread(_passed_over, manager, job) for job in jobs}
        return Discovered(targets, failures(manager, timeout), skipped, passed_over)


def failures(manager: Manager, timeout: float) -> tuple[tuple[str, int, str], ...]:
    """(job, entry, why) of what could not be asked."""
    return tuple(
        (
            status.entry.job,
            status.entry.index,
            status.provider.last_error or f"no answer within {timeout:g} s",
        )
        for status in manager.status().entries
        if status.state != "known"
    )


def _settled(manager: Manager, expected: int) -> bool:
    entries = manager.status().entries  # none before the manager has begun
    return len(entries) == expected and all(
        status.state == "known" or status.provider.last_error for status in entries
    )


def _skipped(entries: tuple[EntryStatus, ...], job: Job) -> Mapping[str, int]:
    """What its entries could not use; that of a provider which several of them share, once."""
    own = {status.shared_with: status.provider.skipped for status in entries if status.entry.job == job.name}
    return sum(map(Counter, own.values()), Counter[str]())


def _passed_over(manager: Manager, job: Job) -> tuple[PassedOver, ...]:
    return tuple(one for feed in manager.feeds(job.name) for one in feed.passed_over())


def _targets(manager: Manager, job: Job) -> tuple[Populated, ...]:
    """Every target once, in the order it was found, as promtool lists them."""
    found: list[Populated] = []
    seen = set()
    for group in manager.groups(job.name):
        for target in group.targets:
            done = populate(target, group.labels, job.defaults, job.rules)
            key = tuple(sorted(done.discovered.items()))
            if key not in seen:
                seen.add(key)
                found.append(done)
    return tuple(found)
