"""Asks a store (or file) of Swarm's own discovery, and looks further where nobody is registered."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import msgspec

from swarm_sd.discovery.http_client import HTTPClientConfig, TLSConfig
from swarm_sd.discovery.http_session import HTTPSession
from swarm_sd.discovery.kv import stores
from swarm_sd.discovery.kv.backend import Registered
from swarm_sd.discovery.kv.locator import STORES, Discovery, DiscoveryOpts, nodes_key
from swarm_sd.doctor.findings import Finding, counted, listed, ok, problem, warning
from swarm_sd.doctor.reach import Place, unreachable
from swarm_sd.doctor.registrations import ANY, MAX_BYTES, WITHIN, another_store, nobody
from swarm_sd.provider import DiscoveryError

_REACHED = frozenset(
    {"refused", "timeout", "unreachable", "dns", "reset", "tls", "not_http", "proxy", "other"}
)


async def seen(discovery: Discovery, opts: DiscoveryOpts, http: HTTPClientConfig) -> list[Finding]:
    """What the store answers to what ``swarm_sd_configs`` asks of it."""
    if discovery.scheme in ("etcd", "etcd3", "consul"):
        http = _with_tls(opts, http)
    backend = stores.backend(discovery, opts, http)
    try:
        async with asyncio.timeout(3 * WITHIN):
            return _registered(await backend.nodes(), discovery, opts)
    except TimeoutError:
        return [await _away(discovery, http, DiscoveryError("timeout", f"no answer in {3 * WITHIN:g} s"))]
    except DiscoveryError as err:
        return [await _explained(err, discovery, opts, http, backend)]
    finally:
        await backend.close()


def _with_tls(opts: DiscoveryOpts, http: HTTPClientConfig) -> HTTPClientConfig:
    if not opts.tls:
        return http
    tls = TLSConfig(ca_file=opts.ca_file, cert_file=opts.cert_file, key_file=opts.key_file)
    return msgspec.structs.replace(http, tls_config=tls)


def _registered(found: Registered, discovery: Discovery, opts: DiscoveryOpts) -> list[Finding]:
    where = f"/{nodes_key(discovery, opts)}" if discovery.scheme in STORES else discovery
    if not found.nodes:
        return [
            warning(
                "nobody-registered",
                f"{where} is there, and nobody is registered in it",
                "every node has left, or none renews its entry: swarm join runs nowhere",
                f"swarm join --advertise=NODE:2375 {discovery} (on each node)",
            )
        ]
    leader = f"; the leader is {found.leader}" if found.leader else ""
    told = [ok("registered", f"{counted(len(found.nodes), 'node')} registered at {where}{leader}")]
    if found.skipped:
        odd = sum(found.skipped.values())
        cause = "they are no host:port"
        told.append(warning("odd-entries", f"{counted(odd, 'entry', 'entries')} cannot be used", cause))
    return told


async def _explained(
    err: DiscoveryError, discovery: Discovery, opts: DiscoveryOpts, http: HTTPClientConfig, backend: Any
) -> Finding:
    if discovery.scheme == "file":
        return await asyncio.to_thread(_file, discovery.path, str(err))
    if err.reason == "no_directory":
        return await nobody(discovery, opts, http, backend)
    told = str(err)
    if err.reason in ("credentials", "acl") or any(word in told for word in _NOT_ALLOWED):
        return _not_allowed(discovery, told)
    if discovery.scheme == "consul" and ("No cluster leader" in told or "leader" in told):
        return problem("store-no-leader", "Consul has no leader", told,
                       "consul operator raft list-peers; start the servers that are away")  # fmt: skip
    if discovery.scheme.startswith("etcd") and any(word in told for word in _NO_LEADER):
        return problem("store-no-leader", "etcd has no leader", told,
                       "etcdctl endpoint status --cluster; start the members that are away")  # fmt: skip
    if err.reason in ("not_etcd_v2", "not_etcd_v3", "not_consul"):
        return await another_store(err, discovery, http)
    if err.reason in _REACHED:
        return await _away(discovery, http, err)
    return problem("store", told, "", f"look at the log of the store behind {discovery}")


_NOT_ALLOWED = (
    "HTTP status 401",
    "HTTP status 403",
    "Permission denied",
    "permission denied",
    "user name is empty",
)
_NO_LEADER = (
    "no leader",
    "Raft Internal Error",
    "etcdserver: request timed out",
    "error 300",
    "error 301",
    "leader is none",
)


def _not_allowed(discovery: Discovery, told: str) -> Finding:
    ways = {
        "consul": 'authorization: {credentials: TOKEN} with a policy key_prefix "" { policy = "read" }',
        "zk": "basic_auth: {username: ..., password_file: ...} (digest), or setAcl on the nodes' path",
    }
    way_out = ways.get(discovery.scheme, "basic_auth: {username: ..., password_file: ...}")
    return problem("store-refuses", f"{discovery}: it does not let us read", told, way_out)


def _file(path: str, told: str) -> Finding:
    folder = Path(path).parent
    if not Path(path).exists():
        if not folder.is_dir():
            cause = f"the folder {folder} is not there; in a container a path is the container's"
        else:
            names = sorted(one.name for one in folder.iterdir())
            cause = f"there is no such file; {folder} has {listed(names) or 'nothing in it'}"
        return problem("file-missing", told, cause, "mend the path, or mount the file into the container")
    return problem("file-unreadable", told, "", f"ls -l {path}")


async def _away(discovery: Discovery, http: HTTPClientConfig, err: DiscoveryError) -> Finding:
    """Why none of the addresses answers: the first that fails is looked at."""
    secure = http.tls_config is not None
    url = f"{'https' if secure else 'http'}://{discovery.endpoints[0]}"
    place = Place.of(url, http)
    if discovery.scheme == "zk":
        return await _zookeeper(place, err)
    session = HTTPSession(http)
    try:
        await session.exchange(f"{url}/", ANY, timeout=WITHIN, max_bytes=MAX_BYTES)
    except DiscoveryError as why:
        return await unreachable(place, why)
    finally:
        await session.close()
    return problem("store", str(err), "it answers, but not this in time", f"look at the log of {discovery}")


async def _zookeeper(place: Place, err: DiscoveryError) -> Finding:
    """ZooKeeper has no HTTP: whether it listens, and what it says to ``srvr``."""
    try:
        said = await _four_letters(place)
    except OSError as why:
        refused = isinstance(why, ConnectionRefusedError)
        return await unreachable(place, DiscoveryError("refused" if refused else "unreachable", str(why)))
    except TimeoutError:
        return await unreachable(place, DiscoveryError("timeout", "connect timed out"))
    if "not currently serving" in said:
        return problem(
            "store-no-leader", "ZooKeeper serves nobody", f"{place.hostname}:{place.port} says: {said}",
            "too few servers of the ensemble run: start the others",
        )  # fmt: skip
    if "certificate" in str(err).lower():
        cause = "the CA that is given did not issue its certificate"
        return problem("certificate-untrusted", str(err), cause, "tls_config: {ca_file: ca.pem}")
    if not place.secure and not said:
        return problem("tls-wanted", f"{place.hostname}:{place.port}: it closes the connection",
                       "it speaks TLS (secureClientPort), or is no ZooKeeper",
                       "tls_config: {ca_file: ca.pem}, or write the port without TLS (2181)")  # fmt: skip
    return problem("store", str(err), f"srvr says: {said or 'nothing'}", "look at the log of ZooKeeper")


async def _four_letters(place: Place) -> str:
    """What it says to ``srvr``, the one word that every ZooKeeper takes; "" where it says nothing."""
    if place.secure:
        return ""
    async with asyncio.timeout(WITHIN):
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            writer.write(b"srvr")
            with contextlib.suppress(OSError):
                return (await reader.read(4096)).decode("utf-8", "replace").strip()
            return ""
        finally:
            writer.transport.abort()
