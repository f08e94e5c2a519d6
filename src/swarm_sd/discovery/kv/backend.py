"""What every way to discover gives: who is registered now, and a word when that may have changed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, Protocol, TypeAlias

import structlog

from swarm_sd.discovery.kv import entries
from swarm_sd.provider import DiscoveryError, HostStatus

log = structlog.stdlib.get_logger("discovery")

Changed: TypeAlias = Callable[[], None]
"""Called when the nodes may have changed: a hint, never more."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between two beginnings of a watch that breaks."""


@dataclass(frozen=True, slots=True)
class Registered:
    """Who is registered: ``nodes`` as ``host:port``, sorted; ``leader``, the primary manager, likewise.

    ``leader`` is None where none is elected or Swarm runs without ``--replication``. ``skipped``: by
    reason, how many entries are no ``host:port``.
    """

    nodes: tuple[str, ...]
    leader: str | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)


class Backend(Protocol):
    """One discovery URL, asked again and again."""

    async def nodes(self) -> Registered:
        """Who is registered now; the very object of the last time where nothing changed.

        DiscoveryError while that cannot be told: it is never an empty list then.
        """
        ...

    async def watch(self, changed: Changed) -> None:
        """Calls ``changed`` whenever the nodes may have changed, until cancelled.

        So it does at its beginning and after every interruption, for nobody knows what was missed. A
        heartbeat is no change. Whatever breaks is tried again.
        """
        ...

    def hosts(self) -> tuple[HostStatus, ...]:
        """What is known of each address of a store. No I/O."""
        ...

    async def close(self) -> None:
        """Gives back what is open, when neither ``nodes`` nor ``watch`` runs any more."""
        ...


def registered(values: Iterable[str], leader: str | None) -> Registered:
    """Who is registered, of the values that the store holds. Empty ones are directories or are to come."""
    nodes, skipped = entries.usable(value for value in values if value)
    return Registered(nodes, leader if leader and entries.is_entry(leader) else None, skipped)


class Last:
    """Gives the object of the last time again where the new one equals it."""

    def __init__(self) -> None:
        self._last: Registered | None = None

    def same(self, now: Registered) -> Registered:
        """``now``, or what equalled it."""
        if self._last != now:
            self._last = now
        return self._last or now


async def keep_on(name: str, once: Callable[[], Awaitable[None]], changed: Changed) -> NoReturn:
    """Runs ``once`` again and again; a DiscoveryError is told once and waited after, ever longer.

    ``once`` returns when it is merely time to begin anew. A watch that breaks may mean anything, so it is a
    hint; where watching is not allowed at all, that makes a slow poll of it.
    """
    failed = 0
    while True:
        began = time.monotonic()
        pause = SHORTEST_PAUSE
        try:
            await once()
            failed = 0
        except DiscoveryError as err:
            lasted = time.monotonic() - began
            failed = 1 if lasted > LONGEST_PAUSE else failed + 1
            if failed == 1:
                # no warning: what keeps the nodes from being listed is told by whoever lists them
                log.info("a watch broke, it begins anew", discovery=name, reason=err.reason, err=str(err))
            changed()
            pause = min(SHORTEST_PAUSE * 2 ** min(failed, 16), LONGEST_PAUSE) * random.uniform(0.5, 1)
        await asyncio.sleep(max(0.0, began + pause - time.monotonic()))
