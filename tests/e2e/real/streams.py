"""A way to an engine on which its event stream is out of order; whatever else is asked goes through whole."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from swarm_sd.sim.wire import Request

from .cluster import Engine
from .proxy import Proxy

Disorder: TypeAlias = Literal["cut every second", "silent", "told twice"]

_LASTS = 1.0
"""Seconds, of a stream that is cut."""


class Streams(Proxy):
    """Hands events on as they come, a chunk an event. ``disorder``: what is wrong with new streams."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        super().__init__(engine, folder)
        self.disorder: Disorder | None = None

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if not request.path.endswith("/events"):
            await super()._answer(request, reader, writer)
            return
        events, asking = await asyncio.open_unix_connection(self.engine.socket)
        asking.write(request.raw)
        handing_on = asyncio.create_task(self._hand_on(events, writer))
        leaving = asyncio.create_task(reader.read())
        try:
            seconds = _LASTS if self.disorder == "cut every second" else None
            both = [handing_on, leaving]
            done, _ = await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            self.struck += not done
        finally:
            for task in (handing_on, leaving):
                task.cancel()
            await asyncio.gather(handing_on, leaving, return_exceptions=True)
            asking.close()

    async def _hand_on(self, events: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await events.readuntil(b"\r\n\r\n"))
        with contextlib.suppress(asyncio.IncompleteReadError):
            while size := int(head := await events.readuntil(b"\r\n"), 16):
                chunk = head + await events.readexactly(size + 2)
                times = {"silent": 0, "told twice": 2}.get(self.disorder or "", 1)
                self.struck += times != 1
                writer.write(chunk * times)
                await writer.drain()


@contextlib.asynccontextmanager
async def streams(engines: Sequence[Engine], folder: Path) -> AsyncIterator[list[Streams]]:
    """One before each engine."""
    async with contextlib.AsyncExitStack() as stack:
        ways = [Streams(engine, folder) for engine in engines]
        for way in ways:
            await stack.enter_async_context(way)
        yield ways
