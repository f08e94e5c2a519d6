"""Somebody who keeps the list of nodes by a backend's hints, as a provider does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Self

from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.kv.backend import Registered
from swarm_sd.discovery.kv.locator import Discovery, DiscoveryOpts
from swarm_sd.discovery.kv.stores import backend
from swarm_sd.provider import DiscoveryError


class Follower:
    """Lists when told to, and again every second while it cannot; never without a hint otherwise."""

    def __init__(
        self, url: str, opts: DiscoveryOpts | None = None, http: HTTPClientConfig | None = None
    ) -> None:
        self.backend = backend(Discovery.from_yaml(url), opts or DiscoveryOpts(), http or HTTPClientConfig())
        self.registered: Registered | None = None
        self.lists: list[frozenset[str]] = []  # every change that was seen
        self.errors: list[DiscoveryError] = []
        self.hints = 0
        self.hinted_at = 0.0  # monotonic: the last hint
        self._hint = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def nodes(self) -> frozenset[str] | None:
        return None if self.registered is None else frozenset(self.registered.nodes)

    @property
    def leader(self) -> str | None:
        return self.registered.leader if self.registered else None

    def _changed(self) -> None:
        self.hints += 1
        self.hinted_at = time.monotonic()
        self._hint.set()

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self.backend.watch(self._changed)),
            asyncio.create_task(self._keep_listing()),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.backend.close()
        assert all(isinstance(one, asyncio.CancelledError) for one in results), results

    async def _keep_listing(self) -> None:
        while True:
            try:
                now = await self.backend.nodes()
            except DiscoveryError as err:
                self.errors.append(err)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await self._hint.wait()
            else:
                if now is not self.registered:
                    self.registered = now
                    self.lists.append(frozenset(now.nodes))
                await self._hint.wait()
            self._hint.clear()
