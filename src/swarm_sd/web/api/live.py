"""``/api/v1/live``: server-sent events that tell when there is something new to look at.

An event names the newest change and a fingerprint of how everything stands; who wants more asks for it. So a
slow reader misses nothing: it learns where things are, not how they came there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
from aiohttp import web

from swarm_sd.manager import EntryStatus, Status
from swarm_sd.web.api import parameters
from swarm_sd.web.api.answers import Answer, APIError, encoded
from swarm_sd.web.api.endpoint import Running, only_get, refusal

log = structlog.stdlib.get_logger("web")

PATH: Final = "/api/v1/live"

MOST: Final = 100
"""How many may listen at a time."""

TICK: Final = 0.5
"""Seconds between two looks, and so between two events."""

HEARTBEAT: Final = 15.0
"""Seconds of silence after which a comment is sent: proxies end what is silent, and who left is noticed."""

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect events
}


class News(Answer, frozen=True, kw_only=True):
    """The data of an event `change`.

    `generation` is the number of the newest change of targets, 0 for none yet; `status` is another whenever
    an entry, a manager or the configuration fares otherwise.
    """

    generation: int
    status: str


class Live:
    """Everybody who listens. One task looks for all of them, and only while there is somebody."""

    def __init__(
        self, running: Running, *, most: int = MOST, tick: float = TICK, heartbeat: float = HEARTBEAT
    ) -> None:
        self._running = running
        self._most, self._tick, self._heartbeat = most, tick, heartbeat
        self._listeners = 0
        self._news: News | None = None
        self._told = asyncio.Event()  # set when there are news; another one from then on
        self._looking: asyncio.Task[None] | None = None
        self._ended = False

    def route(self) -> web.RouteDef:
        """Where it is."""
        return web.route("*", PATH, self.answer)

    def end(self) -> None:
        """Ends all streams, as the daemon does before it goes."""
        self._ended = True
        self._tell(None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Events until the client or the daemon goes."""
        try:
            only_get(request)
            parameters.read(request.query, parameters.Asked)
            if self._ended or self._listeners >= self._most:
                why = "swarm-sd is about to end" if self._ended else f"{self._most} clients listen already"
                raise APIError(503, "unavailable", why)
        except APIError as err:
            return await refusal(err)
        response = web.StreamResponse(headers=_HEADERS)
        self._listeners += 1
        try:
            await response.prepare(request)
            if request.method == "GET":
                await self._stream(response.write)
                await response.write_eof()
        except ConnectionError:
            pass  # the client is gone
        finally:
            self._listeners -= 1
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = self._news = None
        return response

    async def _stream(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        looking, sent = self._looking, None
        await write(b"retry: 2000\n\n")
        while not self._ended and not looking.done():
            told = self._told
            if self._news is not None and self._news != sent:
                sent = self._news
                await write(b"event: change\ndata: " + encoded(sent) + b"\n\n")
            try:
                async with asyncio.timeout(self._heartbeat):
                    await told.wait()
            except TimeoutError:
                await write(b": \n\n")

    async def _look(self) -> None:
        try:
            while True:
                news = await self._newest()
                if news != self._news:
                    self._tell(news)
                await asyncio.sleep(self._tick)
        except Exception:
            log.exception("the API could not answer", path=PATH)
        finally:
            self._tell(self._news)

    def _tell(self, news: News | None) -> None:
        self._news = news
        self._told.set()
        self._told = asyncio.Event()

    async def _newest(self) -> News:
        generations = await self._running.insight.generations()
        about = self._running.about()
        number = generations[0].number if generations else 0
        return News(generation=number, status=fingerprint(self._running.status(), about.reload.at))


def fingerprint(status: Status, loaded_at: float) -> str:
    """A short text that is another when something fares otherwise. What always grows is left out."""
    stands = [loaded_at, status.ready, [_stands(entry) for entry in status.entries]]
    return hashlib.blake2b(msgspec.json.encode(repr(stands)), digest_size=8).hexdigest()


def _stands(entry: EntryStatus) -> tuple[object, ...]:
    provider = entry.provider
    hosts = [(host.name, host.state, host.active, host.last_error) for host in provider.hosts]
    streams = [(stream.connected, stream.last_error) for stream in provider.events]
    faring = (entry.state, entry.targets, entry.held, entry.stale_since is None, provider.last_error)
    return (entry.entry, entry.kind, *faring, provider.skipped, provider.untargeted, hosts, streams)
