"""Listens on addresses, with what the web configuration file says of who is answered and how."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from swarm_sd.web.access import guard, headers
from swarm_sd.web.config_file import WebConfigFile
from swarm_sd.web.tls_site import TLSSite

log = structlog.stdlib.get_logger("web")


@asynccontextmanager
async def listening(
    routes: Sequence[web.RouteDef], addresses: Sequence[tuple[str, int]], config: WebConfigFile | None
) -> AsyncIterator[list[str]]:
    """Answers ``routes`` while inside; gives the base URLs. OSError where an address cannot be had."""
    app = web.Application(middlewares=[guard(config)] if config else [])
    app.on_response_prepare.append(headers(config))
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        for host, port in addresses:
            await _listen(_site(runner, host or None, port, config), host, port)
        _warn_if_open(runner.addresses, config)
        scheme = "https" if config and config.speaks_tls else "http"
        yield [_url(scheme, address) for address in runner.addresses]
    finally:
        await runner.cleanup()


def _site(runner: web.AppRunner, host: str | None, port: int, config: WebConfigFile | None) -> web.BaseSite:
    if config is not None and config.speaks_tls:
        return TLSSite(runner, host, port, config)
    return web.TCPSite(runner, host, port)


async def _listen(site: web.BaseSite, host: str, port: int) -> None:
    try:
        await site.start()
    except OSError as err:  # of a name that is not found, the system's text does not tell which
        cause = os.strerror(err.errno) if err.errno and err.errno > 0 else err.strerror
        name = f"[{host}]" if ":" in host else host
        raise OSError(err.errno, f"cannot listen on {name}:{port}: {cause}") from err


def _warn_if_open(addresses: Sequence[object], config: WebConfigFile | None) -> None:
    """Says once what others than this machine can do."""
    others = [one[0] for one in addresses if isinstance(one, tuple) and not _is_own(str(one[0]))]
    missing = [] if config and config.speaks_tls else ["TLS"]
    if config is None or config.standing.open_to_all:
        missing.append("users")
    if others and missing:
        log.warning(
            "other machines can reach this", addresses=" ".join(others), without=" and ".join(missing)
        )


def _is_own(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _url(scheme: str, address: object) -> str:
    host, port = (address[0], address[1]) if isinstance(address, tuple) else (str(address), 0)
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}"
