"""The events of a classic Swarm as hints: what is worth a list, and how often lists may be made for them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from swarm_sd.discovery.docker_api.client import DockerAPI
from swarm_sd.discovery.docker_api.event_stream import Event
from swarm_sd.discovery.docker_api.events import Events
from swarm_sd.provider import DiscoveryError, EventsStatus

DEBOUNCE = 0.02
"""Seconds for which events are gathered: one change makes several."""

SHARE, RESERVE = 0.2, 2
"""The share of the time for lists that are made because of events, and how many may be made ahead of it: a
container that starts tells of its creation, its network and its start, one after the other.
"""

STREAM_FIRST = 0.5
"""Seconds for which the first list waits for the stream to begin, so that it need not be made twice."""

LONGEST_BACKOFF = 10.0
"""Seconds at most until a list that an event asked for and that failed is tried again."""

_OF_CONTAINERS = frozenset(
    {"create", "start", "die", "stop", "destroy", "rename", "pause", "unpause", "connect", "disconnect"}
)
"""Not what nobody sees in a list: exec_*, attach, top, resize, health_status, ..."""


def changes_nodes(event: Event) -> bool:
    """Whether a node may have changed. An event without a type may be anything."""
    return event.type in ("", "swarm")


def changes_containers(event: Event) -> bool:
    """Whether a container may have, or the node it is on."""
    return changes_nodes(event) or (event.type in ("container", "network") and event.action in _OF_CONTAINERS)


class Hints:
    """Calls ``hint`` after events that matter; ``listing`` has to be around each list.

    What is told before a list begins is answered by it, what is told meanwhile makes another one. After each
    connection there is a list too, for what happened before it is not told any more.
    """

    def __init__(self, api: DockerAPI, *, hint: Callable[[], None], matters: Callable[[Event], bool]) -> None:
        self._hint = hint
        self._matters = matters
        self._events = Events(api, heard=self._heard, connected=self._tell, lost=self._tell)
        self._following: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._told = False
        self._asked = False  # the list that is made next is made because of events
        self._first = True
        self._listing = False
        self._failures = 0  # in a row
        # monotonic: no hint before these two; lists are paid for until the third
        self._due = self._backoff = self._paid = float("-inf")

    def start(self) -> None:
        """Follows the events from now on."""
        self._told = self._asked = self._listing = False
        self._first = True
        self._following = asyncio.create_task(self._events.run())

    async def stop(self) -> None:
        """Follows them no longer."""
        self._disarm()
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    @asynccontextmanager
    async def listing(self) -> AsyncIterator[None]:
        """Around a list. If it fails, what was told is told again after a while."""
        self._listing = True
        self._disarm()
        if self._first:
            await self._events.tried(STREAM_FIRST)
            self._first = False
        told, self._told = self._told, False
        asked, self._asked = self._asked, False
        began = time.monotonic()
        try:
            yield
        except DiscoveryError:
            self._failures += 1
            self._told = self._told or told
            backoff = min(2.0 ** min(self._failures, 32), LONGEST_BACKOFF) * random.uniform(0.5, 1)
            self._backoff = time.monotonic() + backoff
            self._ended()
            raise
        self._failures, self._backoff = 0, float("-inf")
        if asked:
            self._pay(began, time.monotonic() - began)
        self._ended()
        self._events.follow()

    def _pay(self, began: float, took: float) -> None:
        """Seconds of listing are paid for with the time until the next; some may be owed."""
        price = took / SHARE
        self._paid = max(self._paid, began) + price
        self._due = self._paid - RESERVE * price

    def _ended(self) -> None:
        self._listing = False
        if self._told:
            self._arm()

    def _heard(self, event: Event) -> None:
        if self._matters(event):
            self._tell()

    def _tell(self) -> None:
        self._told = True
        self._arm()

    def _arm(self) -> None:
        if self._timer is None and not self._listing:
            wait = max(DEBOUNCE, max(self._due, self._backoff) - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait, self._pass_on)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pass_on(self) -> None:
        self._timer = None
        self._asked = True
        self._hint()

    def status(self) -> EventsStatus:
        """How the stream fares."""
        return self._events.status()
