"""A store whose list comes from, or goes past, whoever is set to answer."""

from __future__ import annotations

import asyncio

from swarm_sd.discovery.answers import Answers
from swarm_sd.discovery.kv.backend import Backend, Changed, Registered
from swarm_sd.provider import HostStatus


class Answered:
    """A ``Backend`` that is listed once: nothing is watched."""

    def __init__(self, discovery: str, backend: Backend, answers: Answers) -> None:
        self._discovery = discovery
        self._backend = backend
        self._answers = answers

    async def nodes(self) -> Registered:
        """Who is registered."""
        return await self._answers.registered(self._discovery, self._backend.nodes)

    async def watch(self, changed: Changed) -> None:
        """Until cancelled, never calls ``changed``."""
        await asyncio.Event().wait()

    def hosts(self) -> tuple[HostStatus, ...]:
        """The addresses of the store."""
        return self._backend.hosts()

    async def close(self) -> None:
        """Closes every connection."""
        await self._backend.close()
