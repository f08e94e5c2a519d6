"""The event stream of the host that answers: hints that something changed, never the truth.

A stream may be cut after minutes by a proxy, stay silent for ever on a manager that is none any more, or
replay old events: so after each connection everything is listed anew, and silence proves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import msgspec
import structlog

from swarm_sd.discovery.docker_api.client import DockerAPI
from swarm_sd.discovery.docker_api.event_stream import Event, EventDecoder
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.provider import DiscoveryError, EventsStatus

log = structlog.stdlib.get_logger("discovery")

BEGIN_WITHIN, SILENCE = 10.0, 300.0
"""Seconds until a stream has to begin, and for which it may be silent before it is opened anew."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
"""Seconds between two streams: shortest after one that lasted, longer after those that did not."""

_LASTED = 5.0

_AWAY = frozenset({"refused", "reset", "unreachable", "dns"})
"""Reasons that say that the host is away, which is told by whoever wants its lists."""


def parameter(types: tuple[str, ...], actions: tuple[str, ...]) -> str:
    """The filters of ``/events`` that let through these: what an engine does not know it passes over."""
    wanted = {"type": dict.fromkeys(types, True), "event": dict.fromkeys(actions, True)}
    return msgspec.json.encode(wanted).decode()


@dataclass(slots=True)
class _Counts:
    connected: bool = False
    connections: int = 0
    events: int = 0
    broken: int = 0
    last_error: str = ""
    last_event: float | None = None


class Events:
    """Follows ``/events`` of whichever host is active, until cancelled.

    ``heard`` gets each event. ``connected`` is called when a stream has begun: what happened before it is
    not told any more. ``lost`` is called when one has ended that lasted, or the first could not begin after
    it: its host may be gone.
    """

    def __init__(
        self,
        api: DockerAPI,
        *,
        filters: str = "",
        heard: Callable[[Event], None],
        connected: Callable[[], None],
        lost: Callable[[], None] = lambda: None,
        silence: float = SILENCE,
    ) -> None:
        self._api = api
        self._path = f"/events?filters={quote(filters)}" if filters else "/events"
        self._heard = heard
        self._connected = connected
        self._lost = lost
        self._silence = silence
        self._counts = _Counts()
        self._following: Host | None = None
        self._stream: asyncio.Task[None] | None = None
        self._complained = False
        self._tried = asyncio.Event()
        self._at_once = asyncio.Event()

    async def tried(self, seconds: float) -> None:
        """Waits until a stream has begun or could not, not longer than ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._tried.wait()

    async def run(self) -> None:
        """Follows the stream; opens it anew whenever it ends."""
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            self._at_once.clear()
            self._following = self._api.rotation.active
            self._stream = asyncio.create_task(self._one(self._following))
            try:
                await asyncio.wait([self._stream])
            finally:
                self._stream.cancel()
                await asyncio.gather(self._stream, return_exceptions=True)
            connected, self._counts.connected = self._counts.connected, False
            self._tried.set()
            lasted = time.monotonic() - started > _LASTED
            if connected and lasted:
                self._lost()
            pause = _FIRST_PAUSE if lasted else min(pause * 2, _LONGEST_PAUSE)
            await self._sleep(pause * random.uniform(0.5, 1))

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._at_once.wait()

    def follow(self) -> None:
        """Goes over to the host that is active now, if that is another one."""
        if self._following != self._api.rotation.active:
            self.reconnect()

    def reconnect(self) -> None:
        """Opens the stream anew, at once."""
        self._at_once.set()
        if self._stream is not None:
            self._stream.cancel()

    async def _one(self, host: Host) -> None:
        decoder = EventDecoder()

        def take(chunk: bytes) -> None:
            broken = decoder.broken
            for event in decoder.feed(chunk):
                self._counts.events += 1
                self._counts.last_event = time.time()
                self._heard(event)
            self._counts.broken += decoder.broken - broken

        try:
            await self._api.stream(
                host, self._path, take, began=self._began, timeout=BEGIN_WITHIN, silence=self._silence
            )
        except DiscoveryError as err:
            self._failed(err)
        except Exception as err:
            log.exception("the event stream could not be dealt with", host=str(host))
            self._counts.last_error = f"{type(err).__name__}: {err}"

    def _began(self) -> None:
        self._counts.connected = True
        self._tried.set()
        self._counts.connections += 1
        self._counts.last_error = ""
        self._complained = False
        self._connected()

    def _failed(self, err: DiscoveryError) -> None:
        if not self._counts.connected and not self._complained:
            # that a stream ends is normal; that none can be had is worth a word, once
            self._complained = True
            self._lost()
            if err.reason not in _AWAY:
                log.info("no events: changes are found by asking", reason=err.reason, err=str(err))
        self._counts.last_error = str(err)

    @property
    def connected(self) -> bool:
        """Whether a stream is open; which does not prove that anything would come."""
        return self._counts.connected

    def status(self, missed: int = 0) -> EventsStatus:
        """How it fares; ``missed``: changes that were found and no event told of."""
        counts = self._counts
        return EventsStatus(
            connected=counts.connected,
            connections=counts.connections,
            received=counts.events,
            broken=counts.broken,
            missed=missed,
            last_event=counts.last_event,
            last_error=counts.last_error,
        )
