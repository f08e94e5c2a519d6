"""Who is registered elsewhere in a store: other prefixes, and the other one of etcd's two stores."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import posixpath
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.http_session import Answer, HTTPSession, Request
from swarm_sd.discovery.kv.locator import Discovery, DiscoveryOpts, nodes_key
from swarm_sd.doctor.findings import Finding, listed, problem
from swarm_sd.provider import DiscoveryError

WITHIN = 5.0
"""Seconds for one request."""

MAX_BYTES = 16 * 1024 * 1024
ANY = Request(also=frozenset(range(300, 600)))
"""A GET of which every answer is of interest."""

_PLACE: Final = "docker/swarm/nodes"


async def nobody(discovery: Discovery, opts: DiscoveryOpts, http: HTTPClientConfig, backend: Any) -> Finding:
    """The prefix is wrong, or the path below it, or nobody has joined: what is there tells."""
    where = f"/{nodes_key(discovery, opts)}"
    found: Sequence[str] = ()
    with contextlib.suppress(DiscoveryError, TimeoutError):
        async with asyncio.timeout(WITHIN):
            found = await _LOOKED[discovery.scheme](discovery, http, backend)
    if swarms := [key for key in found if key.endswith(_PLACE)]:
        prefixes = [key.removesuffix(_PLACE).strip("/") for key in swarms]
        base = f"{discovery.scheme}://{','.join(discovery.endpoints)}"
        return problem(
            "wrong-prefix",
            f"nobody registers at {where}",
            f"nodes are registered at {listed(f'/{key}' for key in swarms)}",
            f"discovery: {base}{f'/{prefixes[0]}' if prefixes[0] else ''}",
        )
    if other := await _other_version(discovery, http):
        return other
    there = f"the store has {listed(f'/{key}' for key in found)}" if found else "the store is empty"
    return problem(
        "nobody-registered",
        f"nobody registers at {where}",
        f"{there}; no Swarm has ever registered in it",
        f"swarm join --advertise=NODE:2375 {discovery} (on each node); or mend the address or prefix",
    )


async def _etcd_keys(discovery: Discovery, http: HTTPClientConfig, _: Any) -> Sequence[str]:
    top = [_key(one) for one in await _etcd_below(discovery, http, "")]
    return await _with_swarms(top, lambda key: _etcd_below(discovery, http, key))


async def _with_swarms(top: Iterable[str], below: Callable[[str], Any]) -> Sequence[str]:
    """The keys at the top, and those of them (or the root) below which nodes register."""
    every = list(top)
    found = []
    for prefix in ["", *every][:50]:
        key = posixpath.join(prefix, _PLACE)
        if await below(key):
            found.append(key)
    return [*found, *every]


def _key(node: dict[str, Any]) -> str:
    return str(node.get("key", "")).strip("/")


async def _etcd_below(discovery: Discovery, http: HTTPClientConfig, key: str) -> list[dict[str, Any]]:
    told = _json(await _ask(discovery, http, f"/v2/keys/{key}"))
    nodes = (told.get("node") or {}).get("nodes") or [] if isinstance(told, dict) else []
    return [one for one in nodes if isinstance(one, dict)]


async def _etcd3_keys(discovery: Discovery, http: HTTPClientConfig, backend: Any) -> Sequence[str]:
    """Of the first 1000 keys those of nodes, and the first parts of the others."""
    del backend
    every = {"key": base64.b64encode(b"\0").decode(), "range_end": base64.b64encode(b"\0").decode()}
    body = msgspec.json.encode({**every, "keys_only": True, "limit": "1000"})
    told = _json(await _ask(discovery, http, "/v3/kv/range", Request("POST", data=body, also=ANY.also)))
    pairs = (told.get("kvs") or []) if isinstance(told, dict) else []
    return _tops(base64.b64decode(one["key"]).decode("utf-8", "replace") for one in pairs if "key" in one)


async def _consul_keys(discovery: Discovery, http: HTTPClientConfig, _: Any) -> Sequence[str]:
    told = _json(await _ask(discovery, http, "/v1/kv/?keys=true"))
    return _tops(one for one in told if isinstance(one, str)) if isinstance(told, list) else ()


def _tops(keys: Iterable[str]) -> Sequence[str]:
    swarms: dict[str, None] = {}
    tops: dict[str, None] = {}
    for key in keys:
        prefix, place, _ = key.strip("/").partition(_PLACE)
        if place and (not prefix or prefix.endswith("/")):
            swarms[prefix + place] = None
        tops[key.strip("/").partition("/")[0]] = None
    return [*swarms, *tops]


async def _zookeeper_keys(discovery: Discovery, http: HTTPClientConfig, backend: Any) -> Sequence[str]:
    del discovery, http
    top = [one for one in await backend.children("/") or [] if one != "zookeeper"]
    return await _with_swarms(top, lambda key: backend.children(f"/{key}"))


_LOOKED: Final[dict[str, Callable[[Discovery, HTTPClientConfig, Any], Any]]] = {
    "etcd": _etcd_keys, "etcd3": _etcd3_keys, "consul": _consul_keys, "zk": _zookeeper_keys,
}  # fmt: skip


async def _other_version(discovery: Discovery, http: HTTPClientConfig) -> Finding | None:
    """Whether the nodes are in the other one of etcd's two stores."""
    other = {"etcd": "etcd3", "etcd3": "etcd"}.get(discovery.scheme)
    if other is None:
        return None
    with contextlib.suppress(DiscoveryError, TimeoutError):
        async with asyncio.timeout(WITHIN):
            mine, theirs = ("v2", "v3") if other == "etcd3" else ("v3", "v2")
            found = await _LOOKED[other](discovery, http, None)
            if swarms := [key for key in found if key.endswith(_PLACE)]:
                prefix = swarms[0].removesuffix(_PLACE).strip("/")
                base = f"{other}://{','.join(discovery.endpoints)}"
                return problem(
                    "other-etcd",
                    f"nobody registers in etcd's {mine} store",
                    f"nodes are registered in its {theirs} store, at /{swarms[0]}",
                    f"discovery: {base}{f'/{prefix}' if prefix else ''}",
                )
    return None


async def another_store(err: DiscoveryError, discovery: Discovery, http: HTTPClientConfig) -> Finding:
    """Something answers that is not the store it is taken for."""
    if discovery.scheme == "etcd":
        told = None
        with contextlib.suppress(DiscoveryError):
            told = _json(await _ask(discovery, http, "/version"))
        if isinstance(told, dict) and "etcdserver" in told:
            return problem(
                "etcd-v2",
                f"etcd {told['etcdserver']} without its v2 API, to which Swarm writes",
                "from etcd 3.4 on the v2 API has to be switched on, and 3.6 has none",
                "etcd --enable-v2=true; or etcd3://, where what registers the nodes writes to the v3 API",
            )
    return problem(
        "not-the-store", str(err), f"something else than {discovery.scheme} answers there", "mend the address"
    )


async def _ask(discovery: Discovery, http: HTTPClientConfig, path: str, request: Request = ANY) -> Answer:
    url = f"{'https' if http.tls_config is not None else 'http'}://{discovery.endpoints[0]}{path}"
    session = HTTPSession(http)
    try:
        return await session.exchange(url, request, timeout=WITHIN, max_bytes=MAX_BYTES)
    finally:
        await session.close()


def _json(answer: Answer) -> Any:
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
