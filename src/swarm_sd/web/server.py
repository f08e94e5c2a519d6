"""The HTTP server: health, reload, metrics; other rooms bring their routes.

Source: web/web.go of Prometheus for the paths and their words.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from swarm_sd.manager import Status
from swarm_sd.web.config_file import WebConfigFile
from swarm_sd.web.listen import listening


class Server:
    """What every ``serve`` answers.

    ``reload`` gives the reason where the new configuration is refused; ``count`` is waited for before metrics
    are read.
    """

    def __init__(
        self,
        *,
        status: Callable[[], Status],
        metrics: CollectorRegistry,
        reload: Callable[[], Awaitable[str | None]],
        count: Callable[[], Awaitable[object]],
        routes: Sequence[web.RouteDef] = (),
        lifecycle: bool = True,
        config: WebConfigFile | None = None,
    ) -> None:
        self._status = status
        self._metrics = metrics
        self._reload = reload
        self._count = count
        self._lifecycle = lifecycle
        self._config = config
        self._routes = [
            web.get("/-/healthy", self._healthy),
            web.get("/-/ready", self._ready),
            web.route("*", "/-/reload", self._on_reload),
            web.get("/metrics", self._on_metrics),
            *routes,
        ]

    @asynccontextmanager
    async def listening(self, addresses: Sequence[tuple[str, int]]) -> AsyncIterator[list[str]]:
        """Listens while inside; gives the base URLs. OSError where an address cannot be had."""
        async with listening(self._routes, addresses, self._config) as urls:
            yield urls

    async def _healthy(self, request: web.Request) -> web.Response:
        return web.Response(text="swarm-sd is Healthy.\n")

    async def _ready(self, request: web.Request) -> web.Response:
        status = self._status()
        if status.ready:
            return web.Response(text="swarm-sd is Ready.\n")
        waiting = sorted({entry.entry.job for entry in status.entries if entry.state == "unknown"})
        text = "swarm-sd is not ready: not heard from yet: " + ", ".join(waiting) + "\n"
        return web.Response(status=503, text=text)

    async def _on_reload(self, request: web.Request) -> web.Response:
        if not self._lifecycle:
            return web.Response(status=403, text="Lifecycle API is not enabled.\n")
        if request.method not in ("POST", "PUT"):
            return web.Response(
                status=405, text="Only POST or PUT requests allowed\n", headers={"Allow": "POST, PUT"}
            )
        why = await self._reload()
        if why is not None:
            return web.Response(status=500, text=f"failed to reload config:\n{why}\n")
        return web.Response(text="")

    async def _on_metrics(self, request: web.Request) -> web.Response:
        await self._count()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        response = web.Response(body=encode(self._metrics), headers={"Content-Type": content_type})
        response.enable_compression()
        return response


def listen_address(text: str) -> tuple[str, int]:
    """(host, port) of ``host:port``, ``:port`` (every address) or ``[::1]:port``. ValueError otherwise."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"not a listen address: {text!r}; write it like 127.0.0.1:9963, :9963 or [::1]:9963")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"not a listen address: {text!r}; an IPv6 address needs brackets: [{host}]:{port}")
    return host.strip("[]"), int(port)
