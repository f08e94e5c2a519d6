"""``etcd3://``: etcd's v3 API through its JSON gateway. Swarm itself never spoke it; what took over may.

Source: api/v3 and the gateway's page of etcd's documentation; tried on etcd 3.4.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import TypeVar

import msgspec

from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.http_session import Request
from swarm_sd.discovery.kv.account import Account
from swarm_sd.discovery.kv.http_store import FOLLOW, Found, HTTPStore, Pairs, decoded, is_at_or_below
from swarm_sd.discovery.kv.locator import Discovery, DiscoveryOpts
from swarm_sd.provider import DiscoveryError

T = TypeVar("T")

_MAX_LINE = 16 * 1024 * 1024

_OLD_TOKEN = ("invalid auth token", "revision of auth store is old")
"""What is said of a token that was good once."""


class _KeyValue(msgspec.Struct):
    key: bytes = b""  # msgspec reads base64
    value: bytes = b""


class _Header(msgspec.Struct):
    revision: str = ""  # a number, as the gateway writes int64


class _Range(msgspec.Struct):
    header: _Header
    kvs: tuple[_KeyValue, ...] = ()


class _Token(msgspec.Struct):
    token: str


class _Event(msgspec.Struct):
    kv: _KeyValue
    type: str = "PUT"


class _Watch(msgspec.Struct):
    created: bool = False
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: str = ""
    events: tuple[_Event, ...] = ()


class _Refusal(msgspec.Struct):
    message: str = ""


class _Line(msgspec.Struct):
    result: _Watch | None = None
    error: _Refusal | None = None


_RANGE = msgspec.json.Decoder(_Range)
_TOKEN = msgspec.json.Decoder(_Token)
_LINE = msgspec.json.Decoder(_Line)


class Etcd3(HTTPStore):
    """One stream a key, begun anew every ``FOLLOW`` seconds and when the member loses its leader."""

    may_be_empty = True  # there are no directories

    def __init__(
        self, discovery: Discovery, opts: DiscoveryOpts, http: HTTPClientConfig, *, timeout: float = 10
    ) -> None:
        # user and password become a token, which goes where they would have gone
        super().__init__(discovery, opts, msgspec.structs.replace(http, basic_auth=None), timeout=timeout)
        self._account = Account(http)
        self._token: str | None = None

    async def _list(self, host: str, key: str) -> Found:
        told = await self._ask(host, "/v3/kv/range", _interval(key), _RANGE, key=key)
        pairs: dict[str, str] = {}
        for pair in told.kvs:
            _put(pairs, pair, key)
        return Found(pairs or None, _number(told.header.revision))

    async def _ask(
        self, host: str, path: str, message: object, decoder: msgspec.json.Decoder[T], *, key: str
    ) -> T:
        """What ``host`` answers to ``message``; with a new token where the one of before is too old."""
        had = self._token
        try:
            answer = await self._exchange(host, path, await self._request(host, message), key=key)
        except DiscoveryError as err:
            if had is None or not _is_old_token(err):
                raise
            self._token = None
            answer = await self._exchange(host, path, await self._request(host, message), key=key)
        told = decoded(answer.body, decoder)
        if told is None:
            raise DiscoveryError("not_etcd_v3", f"{self._shown(host, key)}: no answer of etcd's v3 API")
        return told

    async def _request(self, host: str, message: object) -> Request:
        token = await self._current_token(host)
        # a member without a leader ends the stream then, instead of keeping silent
        headers = [("Content-Type", "application/json"), ("Grpc-Metadata-hasleader", "true")]
        if token is not None:
            headers.append(("Authorization", token))
        return Request("POST", tuple(headers), msgspec.json.encode(message))

    async def _current_token(self, host: str) -> str | None:
        if self._token is None and self._account.is_given:
            name, password = await self._account.read()
            request = Request("POST", data=msgspec.json.encode({"name": name, "password": password.reveal()}))
            answer = await self._exchange(host, "/v3/auth/authenticate", request, key=self._nodes_key)
            told = decoded(answer.body, _TOKEN)
            if told is None:
                raise DiscoveryError("not_etcd_v3", f"{self._shown(host, '')}: no token in the answer")
            self._token = told.token
        return self._token

    async def _follow(self, host: str, key: str, found: Found, tell: Callable[[Pairs | None], None]) -> None:
        told = _Told(key, found.pairs, tell)
        create = {"create_request": {**_interval(key), "start_revision": str(found.cursor + 1)}}
        request = await self._request(host, create)
        try:
            async with asyncio.timeout(FOLLOW):
                await self._session.stream(
                    self._url(host, "/v3/watch"),
                    told.take,
                    began=lambda: None,
                    timeout=self._timeout,
                    silence=2 * FOLLOW,
                    request=request,
                )
        except (TimeoutError, _ListAgainError):
            return
        except DiscoveryError as err:
            if _is_old_token(err):
                self._token = None
            raise self._named(err, host, key) from err
        raise DiscoveryError("reset", f"{self._shown(host, key)}: the watch ended")


class _ListAgainError(Exception):
    """The events from the cursor on are not kept any more."""


class _Told:
    """The state at one key, as the lines of a watch change it."""

    def __init__(self, key: str, pairs: Pairs | None, tell: Callable[[Pairs | None], None]) -> None:
        self._key, self._pairs, self._tell = key, dict(pairs or {}), tell
        self._rest = b""

    def take(self, part: bytes) -> None:
        """Takes a part of the stream. DiscoveryError where the watch is refused."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            raise DiscoveryError("too_large", f"an event is larger than {_MAX_LINE} bytes")
        for line in filter(None, lines):
            self._line(line)

    def _line(self, line: bytes) -> None:
        told = decoded(line, _LINE)
        if told is None:
            raise DiscoveryError("not_etcd_v3", "something else than events in the stream")
        if told.error is not None:
            raise DiscoveryError("status", f"the watch was refused: {told.error.message}")
        if told.result is None:
            return
        if told.result.compact_revision:
            raise _ListAgainError
        if told.result.canceled:
            raise DiscoveryError("status", f"the watch was ended: {told.result.cancel_reason or 'no reason'}")
        before = dict(self._pairs)
        for event in told.result.events:
            _put(self._pairs, event.kv, self._key, gone=event.type == "DELETE")
        if self._pairs != before:
            self._tell(dict(self._pairs) or None)


def _put(pairs: dict[str, str], pair: _KeyValue, key: str, *, gone: bool = False) -> None:
    """Puts a pair among those at or right below ``key``, or takes it away."""
    name = pair.key.decode("utf-8", "replace").lstrip("/")
    if not is_at_or_below(name, key):
        return
    if gone:
        pairs.pop(name, None)
    else:
        pairs[name] = pair.value.decode("utf-8", "replace")


def _interval(key: str) -> dict[str, str]:
    """The keys from ``/key`` to those that begin with ``/key/``: "0" is the character after "/"."""
    first = f"/{key}".encode()
    after = first + b"0" if key else b"0"
    return {"key": base64.b64encode(first).decode(), "range_end": base64.b64encode(after).decode()}


def _number(revision: str) -> int:
    return int(revision) if revision.isdigit() else 0


def _is_old_token(err: DiscoveryError) -> bool:
    return any(text in str(err) for text in _OLD_TOKEN)
