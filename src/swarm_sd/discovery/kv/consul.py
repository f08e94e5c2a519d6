"""``consul://``: Consul's key/value store, followed by blocking queries.

Source: Consul's documentation of /v1/kv and of blocking queries; the keys as libkv's Consul writes them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable

import msgspec

from swarm_sd.discovery.http_session import Answer, Request
from swarm_sd.discovery.kv.http_store import FOLLOW, Found, HTTPStore, Pairs, decoded, is_at_or_below, quoted
from swarm_sd.provider import DiscoveryError

JITTER = FOLLOW / 16
"""Seconds that Consul may add to the time a query is to be held."""

BREATH = 0.5
"""Seconds between two blocking queries. An answer is no proof of a change, and none is missed meanwhile."""

_GET = Request(also=frozenset({404}))


class _Pair(msgspec.Struct, rename="pascal"):
    key: str
    value: str | None = None  # base64
    session: str = ""


_DECODER = msgspec.json.Decoder(list[_Pair])


class Consul(HTTPStore):
    """Every answer is the whole list, with the index after which the next question is to wait."""

    async def _list(self, host: str, key: str) -> Found:
        answer = await self._exchange(host, f"/v1/kv/{quoted(key)}?recurse=true", _GET, key=key)
        return self._found(answer, host, key)

    async def _follow(self, host: str, key: str, found: Found, tell: Callable[[Pairs | None], None]) -> None:
        cursor = found.cursor
        while True:
            query = f"recurse=true&index={cursor}&wait={FOLLOW:.0f}s"
            answer = await self._exchange(
                host,
                f"/v1/kv/{quoted(key)}?{query}",
                _GET,
                key=key,
                timeout=FOLLOW + JITTER + self._timeout,
            )
            now = self._found(answer, host, key)
            cursor = now.cursor  # which may have gone back: the answer that says so is a whole list as well
            tell(now.pairs)
            await asyncio.sleep(BREATH)

    def _found(self, answer: Answer, host: str, key: str) -> Found:
        index = answer.headers.get("X-Consul-Index", "")
        if not index.isdigit():
            raise DiscoveryError("not_consul", f"{self._shown(host, key)}: no answer of Consul's /v1/kv")
        if answer.headers.get("X-Consul-Results-Filtered-By-ACLs") == "true":
            # without it, keys that one may not read are the same as keys that are not there
            raise DiscoveryError("acl", f"{self._shown(host, key)}: the token may not read all of it")
        # an index of 0 would not wait but answer at once, again and again
        cursor = max(1, int(index))
        if answer.status == 404:
            return Found(None, cursor)
        told = decoded(answer.body, _DECODER)
        if told is None:
            raise DiscoveryError("not_consul", f"{self._shown(host, key)}: no list of Consul's /v1/kv")
        # the recursion is by the beginning of the text: "nodes" finds "nodes-of-others" too
        pairs = {
            pair.key.rstrip("/"): _text(pair.value)
            for pair in told
            if is_at_or_below(pair.key.rstrip("/"), key) and self._is_held(pair)
        }
        return Found(pairs or None, cursor)

    def _is_held(self, pair: _Pair) -> bool:
        # the leader's key stays when its lock is lost, without the session that held it
        return pair.key != self._leader_key or bool(pair.session)


def _text(value: str | None) -> str:
    try:
        return base64.b64decode(value or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "?"  # counted as no host:port
