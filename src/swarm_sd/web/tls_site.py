"""Listens with TLS whose certificates may be replaced: each connection gets what the files say then."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

import structlog
from aiohttp import web

from swarm_sd.web.config_file import WebConfigFile
from swarm_sd.web.tls import is_allowed

log = structlog.stdlib.get_logger("web")

HANDSHAKE = 10.0  # seconds that a client has for it


class TLSSite(web.BaseSite):
    """One address with TLS. aiohttp's own site would keep the context that it was started with."""

    __slots__ = ("_file", "_greeting", "_host", "_port")

    def __init__(self, runner: web.AppRunner, host: str | None, port: int, file: WebConfigFile) -> None:
        super().__init__(runner)
        self._host = host
        self._port = port
        self._file = file
        self._greeting: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The URL of it."""
        return f"https://{self._host or ''}:{self._port}"

    async def start(self) -> None:
        """Listens. OSError where the address cannot be had."""
        await super().start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Arrival(self._welcome), self._host, self._port)

    async def stop(self) -> None:
        """Listens no more, and ends handshakes that are under way."""
        await super().stop()
        for task in self._greeting:
            task.cancel()

    def _welcome(self, transport: asyncio.Transport) -> None:
        self._greeting.add(task := asyncio.ensure_future(self._greet(transport)))
        task.add_done_callback(self._greeting.discard)

    async def _greet(self, transport: asyncio.Transport) -> None:
        """The handshake; then aiohttp has the connection, as if it had been there from the start."""
        early = _Early()
        try:
            secured = await self._shake_hands(transport, early)
        except BaseException as err:
            transport.abort()
            if not isinstance(err, OSError):  # ssl.SSLError is one
                raise
            peer = transport.get_extra_info("peername")
            log.debug("a client was refused", client=peer, err=str(err) or type(err).__name__)
            return
        handler = cast(Callable[[], asyncio.Protocol], self._runner.server)()
        secured.set_protocol(handler)
        handler.connection_made(secured)
        early.hand_over(handler)

    async def _shake_hands(self, transport: asyncio.Transport, early: asyncio.Protocol) -> asyncio.Transport:
        context = await self._file.context()
        secured = await asyncio.get_running_loop().start_tls(
            transport, early, context, server_side=True, ssl_handshake_timeout=HANDSHAKE
        )
        if secured is None:
            raise ConnectionResetError("the client left")
        allowed = self._file.standing.tls_server_config.client_allowed_sans
        if not is_allowed(secured.get_extra_info("peercert"), allowed):
            raise ssl.SSLCertVerificationError("its certificate is for none of client_allowed_sans")
        return secured


class _Arrival(asyncio.Protocol):
    """A connection before its handshake: nothing of it is read."""

    def __init__(self, welcome: Callable[[asyncio.Transport], None]) -> None:
        self._welcome = welcome

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        transport.pause_reading()
        self._welcome(transport)


class _Early(asyncio.Protocol):
    """Keeps what comes right behind the handshake, until somebody is there to take it."""

    def __init__(self) -> None:
        self._calls: list[Callable[[asyncio.Protocol], object]] = []

    def data_received(self, data: bytes) -> None:
        self._calls.append(lambda to: to.data_received(data))

    def eof_received(self) -> None:
        self._calls.append(lambda to: to.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        self._calls.append(lambda to: to.connection_lost(exc))

    def hand_over(self, to: asyncio.Protocol) -> None:
        """Tells ``to`` all of it."""
        for call in self._calls:
            call(to)
