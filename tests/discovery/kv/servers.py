"""HTTP servers that answer as a test tells them, and somebody who counts hints."""

import asyncio
from contextlib import asynccontextmanager, suppress

from aiohttp import web


@asynccontextmanager
async def serving(handler, *, ssl_context=None):
    """A server; gives its ``host:port``."""

    async def answer(request):
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Hints:
    """Counts what a watch tells."""

    def __init__(self):
        self.count = 0
        self._told = asyncio.Event()

    def __call__(self):
        self.count += 1
        self._told.set()

    async def next(self):
        """Waits for a hint that was not waited for yet."""
        async with asyncio.timeout(10):
            await self._told.wait()
        self._told.clear()


@asynccontextmanager
async def watching(backend):
    """Its hints while it watches."""
    hints = Hints()
    task = asyncio.create_task(backend.watch(hints))
    try:
        yield hints
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def eventually(look):
    """Waits until ``look`` gives something true."""
    async with asyncio.timeout(10):
        while not look():
            await asyncio.sleep(0.005)
