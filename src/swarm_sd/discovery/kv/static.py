"""``nodes://``: the nodes that the configuration names."""

from __future__ import annotations

import asyncio

from swarm_sd.discovery.kv.backend import Changed, Registered, registered
from swarm_sd.discovery.kv.locator import Discovery
from swarm_sd.provider import HostStatus


class Static:
    """Never changes, and needs nobody to ask."""

    def __init__(self, discovery: Discovery) -> None:
        self._registered = registered(discovery.entries, None)

    async def nodes(self) -> Registered:
        """The nodes as they are written."""
        return self._registered

    async def watch(self, changed: Changed) -> None:
        """Waits for ever."""
        await asyncio.Event().wait()

    def hosts(self) -> tuple[HostStatus, ...]:
        """None."""
        return ()

    async def close(self) -> None:
        """Nothing is open."""
