"""``etcd://``: etcd's v2 API, the one that Swarm writes to.

Source: api/v2 of etcd's documentation; answers recorded from etcd 3.4 with Swarm v0.2.0 to v1.2.9 on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from swarm_sd.discovery.http_session import Request
from swarm_sd.discovery.kv.http_store import FOLLOW, Found, HTTPStore, Pairs, decoded, is_at_or_below, quoted
from swarm_sd.provider import DiscoveryError

_KEY_NOT_FOUND, _EVENT_CLEARED = 100, 401

_GET = Request(also=frozenset({400, 404}))


class _Node(msgspec.Struct, rename="camel"):
    key: str = ""
    value: str = ""
    dir: bool = False
    nodes: tuple[_Node, ...] = ()
    modified_index: int = 0


class _Answer(msgspec.Struct, rename="camel"):
    """An answer or an error: errors have an ``errorCode``."""

    action: str = ""
    node: _Node | None = None
    error_code: int = 0
    message: str = ""
    cause: str = ""


_DECODER = msgspec.json.Decoder(_Answer)

_TAKES_AWAY = frozenset({"delete", "expire", "compareAndDelete"})


class Etcd(HTTPStore):
    """Long polls: every answer is one event, and the next question names the index after it."""

    async def _list(self, host: str, key: str) -> Found:
        # with quorum: a member that is cut off from the others must not tell what was true before
        answer = await self._exchange(host, f"/v2/keys/{quoted(key)}?quorum=true", _GET, key=key)
        cursor = answer.headers.get("X-Etcd-Index", "")
        told = self._read(answer.body, host, key)
        if not cursor.isdigit() or (told.node is None and told.error_code != _KEY_NOT_FOUND):
            raise self._refused(told, host, key)
        return Found(None if told.node is None else _pairs(told.node), int(cursor))

    async def _follow(self, host: str, key: str, found: Found, tell: Callable[[Pairs | None], None]) -> None:
        pairs, cursor = found
        while (event := await self._wait(host, key, cursor + 1)) is not None and event.node is not None:
            cursor = event.node.modified_index
            name = event.node.key.strip("/")
            if event.node.dir or not is_at_or_below(name, key):
                return  # a directory came or went, and who knows what with it
            value = None if event.action in _TAKES_AWAY else event.node.value
            if (pairs or {}).get(name) == value:
                continue  # a heartbeat
            pairs = {**(pairs or {}), name: value} if value is not None else _without(pairs or {}, name)
            tell(pairs)

    async def _wait(self, host: str, key: str, index: int) -> _Answer | None:
        """The first event from ``index`` on, None where it is better to list again."""
        path = f"/v2/keys/{quoted(key)}?wait=true&recursive=true&waitIndex={index}"
        try:
            async with asyncio.timeout(FOLLOW):
                answer = await self._exchange(host, path, _GET, key=key, timeout=2 * FOLLOW)
        except TimeoutError:
            return None
        if not answer.body.strip():  # that is how etcd ends a wait that lasted too long for it
            return None
        told = self._read(answer.body, host, key)
        if told.error_code == _EVENT_CLEARED:
            return None
        if told.node is None:
            raise self._refused(told, host, key)
        return told

    def _read(self, body: bytes | bytearray, host: str, key: str) -> _Answer:
        told = decoded(body, _DECODER)
        if told is None:
            raise DiscoveryError(
                "not_etcd_v2",
                f"{self._shown(host, key)}: no answer of etcd's v2 API; etcd 3.4 and 3.5 have it with "
                "--enable-v2, later ones not at all (etcd3:// asks the v3 API)",
            )
        return told

    def _refused(self, told: _Answer, host: str, key: str) -> DiscoveryError:
        said = (
            f"error {told.error_code}: {told.message} ({told.cause})" if told.error_code else "no node in it"
        )
        return DiscoveryError("status", f"{self._shown(host, key)}: {said}")


def _pairs(node: _Node) -> Pairs:
    """Values by key of a key itself or of a directory's own keys, not of directories below it."""
    if not node.dir:
        return {node.key.strip("/"): node.value}
    return {one.key.strip("/"): one.value for one in node.nodes if not one.dir}


def _without(pairs: Pairs, name: str) -> Pairs:
    return {key: value for key, value in pairs.items() if key != name}
