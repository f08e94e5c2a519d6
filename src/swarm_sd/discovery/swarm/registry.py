"""Who is registered in Swarm's own discovery, kept up to date."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

from swarm_sd.discovery.kv.backend import Backend, Registered
from swarm_sd.discovery.kv.locator import Discovery
from swarm_sd.model import TargetGroup
from swarm_sd.provider import HostStatus, Poller, Up

LIST_EVERY = 60.0
"""Seconds after which who is registered is listed although no watch said so."""

REST, LONGEST_REST = 4, 0.5
"""After a list, so many times as long as it took, and seconds at most, there is none: a thousand nodes that
register one after the other make no thousand lists.
"""


class Registry(Poller):
    """Lists whenever the backend's watch says so; ``registered`` is the last list, None before the first.

    It has no groups of its own: ``run`` sends an empty update after each list.
    """

    def __init__(self, discovery: Discovery, backend: Backend) -> None:
        super().__init__(f"swarm {discovery}", LIST_EVERY)
        self.discovery = discovery
        self._backend = backend
        self.registered: Registered | None = None

    async def run(self, up: Up, /) -> None:
        """Lists and watches."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._backend.watch(self.hint))
                await super().run(up)
        finally:
            await self._backend.close()

    async def list(self) -> Sequence[TargetGroup]:
        """Nothing; what was listed is ``registered``."""
        self.registered = await self._backend.nodes()
        return ()

    async def _hinted(self, until: float) -> bool:
        await asyncio.sleep(min(REST * (self._last_duration or 0.0), LONGEST_REST))
        return await super()._hinted(until)

    def _wait(self) -> float:
        if not self._failed_in_a_row:
            return self._interval
        # the interval says nothing of how soon a store that failed is worth another question
        return min(2.0 ** min(self._failed_in_a_row, 32), self.MAX_BACKOFF) * random.uniform(0.5, 1)

    def skipped(self) -> Mapping[str, int]:
        """Entries of the last list that are no address."""
        return self.registered.skipped if self.registered else {}

    def hosts(self) -> tuple[HostStatus, ...]:
        """The addresses of the store."""
        return self._backend.hosts()
