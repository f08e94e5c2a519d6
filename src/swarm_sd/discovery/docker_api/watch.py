"""When a cluster is asked again: after events, while tasks settle, and now and then for what no event told.

An event comes before the tasks follow, and most of what tasks do after it no event tells. So after an event
the services it is about are asked for, again and again until they have settled; everything is asked for as
often as a budget allows. Source: what real managers do, in docs/freshness.md.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Protocol

import structlog

from swarm_sd.discovery.docker_api.changes import Changes, takes_away
from swarm_sd.discovery.docker_api.event_stream import Event
from swarm_sd.discovery.docker_api.events import Events
from swarm_sd.provider import DiscoveryError, Prompt

log = structlog.stdlib.get_logger("discovery")

DEBOUNCE = 0.02
"""Seconds for which events are gathered: one change makes several."""

CADENCE = ((2.0, 0.1), (10.0, 0.25), (60.0, 1.0))
"""(age, pause) in seconds: how often a service that has changed is asked for by how long ago that was."""

SURE_AFTER = 2.0
"""Seconds after which a service whose tasks all rest is believed to have settled: they follow its event."""

SOONEST = 1.0
"""Seconds at least between two refreshes of everything that no event asked for."""

IDLE_SHARE, BUSY_SHARE = 0.02, 0.2
"""Shares of the time for which the cluster is asked: while nothing is known to change, and while it is."""

LONGEST_BACKOFF = 5.0
"""Seconds at most until a cluster that cannot tell is asked again."""

MANY = 500
"""Services and nodes; asking for so many is asking for everything."""

GIVE_UP = 3
"""Parts that fail in a row: then everything is asked for instead, until a stream begins anew."""

ANNOUNCED_FOR = 60.0
"""Seconds for which the loss of what an event told of surprises nobody."""

TOLD_WITHIN = 5.0
"""Seconds for which an event may come later than what it tells of was seen."""


class Askable(Protocol):
    """What a watch needs of a cluster. Whoever changes what stands tells the watch by ``refreshed``."""

    async def refresh(self) -> None:
        """Fetches every list. DiscoveryError while nobody can tell."""
        ...

    async def ask_for(self, changes: Changes) -> Collection[str]:
        """Fetches what may have changed; the services that did. DiscoveryError as ``refresh``."""
        ...

    def moving(self, services: Collection[str]) -> set[str]:
        """Those of the services that have a task on its way to another state."""
        ...

    def last_refresh(self) -> tuple[float, float]:
        """(when the last fetch of every list began, monotonic; how many seconds it took)."""
        ...


class Watch:
    """Keeps the lists of one cluster fresh.

    ``interval``: seconds after which everything is asked for anyway. ``complete``: whether events tell of
    every change that matters, so that as long as they come nothing else is asked for.
    """

    def __init__(
        self, cluster: Askable, *, complete: Callable[[], bool], interval: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._complete = complete
        self._interval = interval
        self._changes = Changes()
        self._taken = Changes()  # what the fetch that goes on answers
        self._failures = 0  # in a row
        self._not_before = float("-inf")  # monotonic: no refresh of everything before
        self._refreshing: asyncio.Task[None] | None = None
        self._since: dict[str, float] = {}  # service that may not have settled -> when it last changed
        self._wake = asyncio.Event()
        self._asked_at = float("-inf")  # monotonic: when a part was last asked for
        self._took = 0.0  # seconds
        self._told: dict[str, float] = {}  # object -> when an event told of it
        self._gone: dict[str, float] = {}  # object -> when an event told that it is gone or less
        self._untold: dict[str, float] = {}  # object -> when a change was found that no event told of
        self._doubted = False  # the stream missed something, and has told nothing since
        self._refused = 0  # parts that failed in a row
        self._new_stream = True  # what a stream could not tell of is no fault of it
        self.prompt: Prompt = "start"  # what made it begin to ask last
        self.missed = 0
        self.events: Events | None = None

    # --- what happens

    def heard(self, event: Event) -> None:
        """Takes an event of a swarm."""
        self._changes.heard(event)
        self._note(event, event.id)

    def heard_of_anything(self, event: Event) -> None:
        """Takes an event where only the whole list helps, as with the containers of one engine."""
        self._changes.everything = self._changes.told = True
        # an event of a network is about the container that came or went, too
        self._note(event, event.id, event.attributes.get("container", ""))

    def _note(self, event: Event, *names: str) -> None:
        now = time.monotonic()
        for name in names:
            self._told[name] = now
            self._untold.pop(name, None)
            if takes_away(event):
                self._gone[name] = now
        self._doubted = False
        self._wake.set()

    def connected(self) -> None:
        """Takes it that an event stream has begun: what happened before it no event will tell."""
        self._changes.everything = self._new_stream = True
        self._refused = 0
        self._wake.set()

    def lost(self) -> None:
        """Takes it that a stream has ended, perhaps with its host: time to know who answers."""
        self._changes.everything = True
        self._wake.set()

    def begins(self) -> None:
        """Takes it that a fetch of every list begins: it answers all that is known to have changed so far."""
        self._taken, self._changes = self._changes, Changes()
        self.prompt = self._why(self._taken)

    def failed(self) -> None:
        """Takes it that it failed."""
        self._changes.everything = True
        self._changes.told |= self._taken.told

    def _why(self, changes: Changes) -> Prompt:
        if changes.told:
            return "event"
        return "follow-up" if self._since else "poll"

    def refreshed(self, services: Collection[str], objects: Iterable[str]) -> None:
        """Takes what it found changed: services with such tasks, and the IDs of other objects."""
        now = time.monotonic()
        if not self._new_stream and self.events is not None and self.events.connected:
            for name in objects:
                if now - self._told.get(name, float("-inf")) > TOLD_WITHIN:
                    self._untold.setdefault(name, now)
        self._new_stream = False
        self._settle({*services, *self._taken.services})
        self._wake.set()

    def announced(self, name: str) -> bool:
        """Whether an event has told just now that the object of that ID is gone or becomes less."""
        return time.monotonic() - self._gone.get(name, float("-inf")) < ANNOUNCED_FOR

    # --- what is done

    async def run(self) -> None:
        """Asks whenever it is due, until cancelled."""
        try:
            while True:
                await self._wait()
                if self._next()[1]:
                    # a large one takes seconds: what changes meanwhile is asked for beside it
                    self._refreshing = asyncio.create_task(self._guarded(self._cluster.refresh()))
                    self._refreshing.add_done_callback(lambda _: self._wake.set())
                else:
                    await self._guarded(self._ask())
                self._judge_the_stream()
        finally:
            if self._refreshing is not None:
                self._refreshing.cancel()
                await asyncio.gather(self._refreshing, return_exceptions=True)

    async def _guarded(self, question: Awaitable[None]) -> None:
        try:
            await question
        except DiscoveryError:  # whoever wants the lists hears of it too, and complains
            self._failed()
        except Exception:  # ours; without the watch changes would only be seen every interval
            log.exception("a change could not be looked at")
            self._failed()
        else:
            self._failures = 0

    def _failed(self) -> None:
        self._changes.everything = True
        self._failures += 1
        backoff = min(SOONEST * 2 ** min(self._failures, 16), LONGEST_BACKOFF)
        self._not_before = time.monotonic() + backoff * random.uniform(0.5, 1)

    async def _wait(self) -> None:
        while (left := self._next()[0] - time.monotonic()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                return
            await asyncio.sleep(DEBOUNCE)

    def _next(self) -> tuple[float, bool]:
        """(when to ask next, monotonic; whether for everything)."""
        everything = self._everything_due()
        part = float("inf")
        if self._changes:
            part = self._asked_at + self._took / BUSY_SHARE
        elif self._since and self._refused < GIVE_UP:
            part = self._asked_at + max(self._took / BUSY_SHARE, self._pause())
        if self._all() or everything <= max(part, time.monotonic()):
            return everything, True
        return part, False

    def _everything_due(self) -> float:
        if self._refreshing is not None and not self._refreshing.done():
            return float("inf")
        began, took = self._cluster.last_refresh()
        pause = self._interval()
        if self._all():
            pause = min(pause, took + took / BUSY_SHARE)
        elif not (self._complete() and self._trusted()):
            pause = min(pause, max(SOONEST, took / IDLE_SHARE))
        return max(began + pause, self._not_before)

    def _all(self) -> bool:
        """Whether what changed can only be known by asking for everything."""
        changes = self._changes
        many = len(changes.services) + len(changes.nodes) + len(self._since) > MANY
        return changes.everything or many or (self._refused >= GIVE_UP and bool(changes))

    def _pause(self) -> float:
        youngest = time.monotonic() - max(self._since.values())
        return next((pause for age, pause in CADENCE if youngest < age), CADENCE[-1][1])

    def _trusted(self) -> bool:
        return self.events is not None and self.events.connected and not (self._untold or self._doubted)

    async def _ask(self) -> None:
        changes, self._changes = self._changes, Changes()  # the cursor, before the list
        wanted = Changes({*changes.services, *self._since}, changes.nodes, changes.networks)
        self.prompt = self._why(changes)
        started = time.monotonic()
        self._refused += 1  # until it is answered
        try:
            changed = await self._cluster.ask_for(wanted)
        except Exception:
            self._changes.told |= changes.told
            raise
        self._refused = 0
        self._asked_at = time.monotonic()
        self._took = self._asked_at - started
        self._settle({*changes.services, *changed})

    def _settle(self, changed: Collection[str]) -> None:
        """From now on these services are asked for until they have settled."""
        now = time.monotonic()
        self._since.update(dict.fromkeys(changed, now))
        moving = self._cluster.moving(self._since.keys())
        longest = CADENCE[-1][0]
        self._since = {
            service: since
            for service, since in self._since.items()
            if now - since < (longest if service in moving else SURE_AFTER)
        }

    def _judge_the_stream(self) -> None:
        now = time.monotonic()
        self._told = {name: at for name, at in self._told.items() if now - at < TOLD_WITHIN}
        self._gone = {name: at for name, at in self._gone.items() if now - at < ANNOUNCED_FOR}
        missed = [name for name, at in self._untold.items() if now - at > TOLD_WITHIN]
        for name in missed:
            del self._untold[name]
        if missed and self.events is not None:
            self.missed += len(missed)
            self._doubted = True
            log.info("events missed changes, the stream is opened anew", changes=len(missed))
            self.events.reconnect()
