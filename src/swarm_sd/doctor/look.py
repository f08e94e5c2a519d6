"""Discovery of one entry, once: its targets before and after the rules, and what has none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from swarm_sd.job import Job
from swarm_sd.model import TargetGroup
from swarm_sd.provider import Choosy, Partial, PassedOver, Reporting, SDConfig, TargetProvider
from swarm_sd.target import Populated, populate

_PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Looked:
    """What discovery of an entry gave. ``failure``: why it gave nothing, "" where it did."""

    targets: tuple[Populated, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    failure: str = ""

    @property
    def kept(self) -> tuple[Populated, ...]:
        """Those that are to be scraped."""
        return tuple(one for one in self.targets if one.labels is not None)


async def look(job: Job, config: SDConfig, *, timeout: float) -> Looked:
    """What the entry's discovery finds, in ``timeout`` seconds at most."""
    provider = config.provider()
    groups: dict[str, TargetGroup] = {}

    def up(update: Sequence[TargetGroup], /) -> None:
        groups.update({one.source: one for one in update})

    running = asyncio.create_task(provider.run(up))
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not running.done() and not _settled(provider, groups):  # noqa: ASYNC110
                    await asyncio.sleep(_PAUSE)
        failure = "" if _known(provider, groups) else _failure(provider, running, timeout)
        passed = tuple(await asyncio.to_thread(provider.passed_over)) if isinstance(provider, Choosy) else ()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    targets = await asyncio.to_thread(_populated, job, groups)
    return Looked(targets, passed, failure)


def _known(provider: TargetProvider, groups: dict[str, TargetGroup]) -> bool:
    heard = bool(groups) or (isinstance(provider, Reporting) and provider.status().last_success is not None)
    return heard and provider.sources() <= groups.keys()


def _settled(provider: TargetProvider, groups: dict[str, TargetGroup]) -> bool:
    failed = isinstance(provider, Reporting) and bool(provider.status().last_error)
    return failed or _known(provider, groups)


def _failure(provider: TargetProvider, running: asyncio.Task[None], timeout: float) -> str:
    if running.done() and not running.cancelled() and (error := running.exception()) is not None:
        return f"it crashed: {type(error).__name__}: {error}"
    said = provider.status().last_error if isinstance(provider, Reporting) else ""
    if not said and isinstance(provider, Partial) and provider.usable():
        return ""
    return said or f"nothing within {timeout:g} s"


def _populated(job: Job, groups: dict[str, TargetGroup]) -> tuple[Populated, ...]:
    return tuple(
        populate(target, group.labels, job.defaults, job.rules)
        for _, group in sorted(groups.items())
        for target in group.targets
    )
