"""Why a host cannot be reached: one failure, and what a second look at it tells."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from swarm_sd.discovery.http_client import HTTPClientConfig, TLSConfig
from swarm_sd.doctor import certificates, sockets
from swarm_sd.doctor.certificates import Peer
from swarm_sd.doctor.findings import Finding, problem
from swarm_sd.provider import DiscoveryError

_PLAIN, _TLS, _OF_MANAGERS = 2375, 2376, 2377
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LOOK = 2.0
"""Seconds to find out whether anybody listens at another port."""


class Place(NamedTuple):
    """Where something is asked: ``socket`` is "" for TCP. ``through``: a proxy stands between."""

    socket: str
    hostname: str
    port: int
    secure: bool
    tls: TLSConfig
    through: bool = False

    @classmethod
    def of(cls, url: str, config: HTTPClientConfig, socket: str = "") -> Place:
        """The place of a URL under these options."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        through = bool(config.proxy_url or config.proxy_from_environment) and not socket
        return cls(
            socket,
            parts.hostname or "",
            parts.port or (443 if secure else 80),
            secure,
            config.tls_config or TLSConfig(),
            through,
        )


async def unreachable(place: Place, err: DiscoveryError) -> Finding:
    """Why ``place`` could not be asked, as far as it can be found out from here."""
    said = str(err)
    if err.reason == "credentials":
        return problem(
            "credentials", said, "a file with a secret cannot be read", "mend its path or its rights"
        )
    if place.socket:
        return sockets.judged(await asyncio.to_thread(sockets.look, place.socket), err.reason, said)
    if err.reason == "proxy" or (place.through and err.reason != "tls"):
        return problem(
            "proxy",
            f"not through the proxy: {said}",
            "proxy_url (or proxy_from_environment) stands between",
            "mend it, or name the host in no_proxy",
        )
    if err.reason == "dns":
        return _dns(place, said)
    if err.reason in ("refused", "unreachable") or said.startswith("connect timed out"):
        return await _no_connection(place, err.reason, said)
    if err.reason == "tls":
        return await certificates.explained(Peer(place.hostname, place.port, place.tls), said)
    return await _no_answer(place, err.reason, said)


def _dns(place: Place, said: str) -> Finding:
    return problem(
        "dns",
        f"{place.hostname}: {said}",
        "nobody knows this name here; the name of a service is known only on its own overlay network",
        f"getent hosts {place.hostname} (where swarm-sd runs); mend the name, or share a network with it",
    )


async def _no_connection(place: Place, reason: str, said: str) -> Finding:
    where = f"{place.hostname}:{place.port}"
    if reason == "refused":
        other = {_PLAIN: _TLS, _TLS: _PLAIN}.get(place.port)
        if other is not None and await _listens(place.hostname, other):
            return _other_port(place, other)
        cause = "nothing listens at this port; Docker by itself listens on its unix socket alone, not on TCP"
        if place.hostname in _LOOPBACK and await asyncio.to_thread(Path("/.dockerenv").exists):
            cause = (
                f"in a container, as here, {place.hostname} is the container itself, not the machine"
                " (unless it has network_mode: host)"
            )
        return problem("refused", f"{where}: connection refused", cause, _LISTEN)
    if reason == "timeout":
        cause = "packets get lost: a firewall, a machine that is off, or another address than the machine has"
        way_out = f"nc -vz {place.hostname} {place.port} (where swarm-sd runs); open the port to swarm-sd"
        return problem("connect-timeout", f"{where}: {said}", cause, way_out)
    cause = "there is no route to this address from where swarm-sd runs"
    return problem("unreachable", f"{where}: {said}", cause, f"ip route get {place.hostname}")


_LISTEN = (
    "ask a read-only proxy on the machine (docs/security.md), or let dockerd listen with TLS "
    "(dockerd -H tcp://0.0.0.0:2376 --tlsverify ...), or mend host and port"
)


def _other_port(place: Place, other: int) -> Finding:
    if other == _TLS:
        way_out = (
            f"host: tcp://{place.hostname}:{_TLS}\n"
            "  tls_config: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}"
        )
    else:
        way_out = f"host: tcp://{place.hostname}:{_PLAIN}, without tls_config"
    return problem(
        "refused",
        f"{place.hostname}:{place.port}: connection refused",
        f"nothing listens at {place.port}, but at {other}, Docker's port "
        f"{'with' if other == _TLS else 'without'} TLS, something does",
        way_out,
    )


async def _listens(hostname: str, port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_LOOK):
            _, writer = await asyncio.open_connection(hostname, port)
            writer.transport.abort()
            return True
    return False


async def _no_answer(place: Place, reason: str, said: str) -> Finding:
    if not place.secure and await certificates.speaks_tls(place.hostname, place.port):
        return tls_wanted(place)
    if reason == "not_http":
        return problem(
            "not-docker",
            f"{place.hostname}:{place.port}: {said}",
            "another program listens there",
            "mend the port",
        )
    cause = "something takes the connection and does not answer: it hangs, or a proxy whose own host is away"
    way_out = f"curl -m 5 {'-k https' if place.secure else 'http'}://{place.hostname}:{place.port}/_ping"
    return problem("no-answer", f"{place.hostname}:{place.port}: {said}", cause, way_out)


def tls_wanted(place: Place) -> Finding:
    """It speaks TLS, and is asked without."""
    if place.port == _OF_MANAGERS:
        return problem(
            "swarm-port",
            f"{place.hostname}:{place.port}: this is the port at which managers speak with each other",
            "2377 is not the port of Docker's API",
            f"host: tcp://{place.hostname}:2376 with tls_config, or a proxy before its socket",
        )
    return problem(
        "tls-wanted",
        f"{place.hostname}:{place.port}: it speaks TLS, and is asked without",
        "there is no tls_config, or the host is written http://",
        f"host: tcp://{place.hostname}:{place.port}\n"
        "  tls_config: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}",
    )
