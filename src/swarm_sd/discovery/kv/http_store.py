"""A store that is asked over HTTP: what etcd, etcd v3 and Consul have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.http_session import Answer, HTTPSession, Request
from swarm_sd.discovery.kv.backend import Changed, Last, Registered, keep_on, registered
from swarm_sd.discovery.kv.locator import Discovery, DiscoveryOpts, leader_key, nodes_key
from swarm_sd.discovery.rotation import Rotation
from swarm_sd.provider import DiscoveryError, HostStatus

Pairs: TypeAlias = Mapping[str, str]
"""Values by key; keys as Swarm writes them, without a leading slash."""

FOLLOW = 15.0
"""Seconds for which a store is followed without a word from it. Then it is listed again: it may be cut off
from the others without knowing.
"""

MAX_BYTES = 64 * 1024 * 1024
"""The largest list taken; one of 5,000 nodes is about 1 MB."""


class Found(NamedTuple):
    """What there is at a key and right below it; ``pairs`` None: not even the key.

    ``cursor``: whatever the store does after that is followed from here.
    """

    pairs: Pairs | None
    cursor: int


class HTTPStore(ABC):
    """Lists and watches the nodes' directory and the leader's key. ``timeout``: seconds for a request."""

    may_be_empty: ClassVar[bool] = False
    """Whether no key at all is believed once there were nodes: it says that the last of them went.

    Elsewhere the directory stays when they go, and without it something else is the matter.
    """

    def __init__(
        self, discovery: Discovery, opts: DiscoveryOpts, http: HTTPClientConfig, *, timeout: float = 10
    ) -> None:
        self.discovery = discovery
        self._nodes_key = nodes_key(discovery, opts)
        self._leader_key = leader_key(discovery)
        self._timeout = timeout
        self._secure = http.tls_config is not None
        self._session = HTTPSession(http)
        self._rotation = Rotation(discovery.endpoints)
        self._last = Last()
        self._had_nodes = False
        self._watched: dict[str, Pairs | None] = {}

    @abstractmethod
    async def _list(self, host: str, key: str) -> Found:
        """What ``host`` has at ``key`` now, as the whole cluster agrees on."""

    @abstractmethod
    async def _follow(self, host: str, key: str, found: Found, tell: Callable[[Pairs | None], None]) -> None:
        """Tells what is at ``key`` after every event since ``found``.

        Returns when it is time to list again; DiscoveryError when it is broken.
        """

    async def nodes(self) -> Registered:
        """Who is registered, as one of the addresses tells."""
        _, now = await self._rotation.ask(self._both)
        return self._last.same(now)

    async def _both(self, host: str) -> Registered:
        nodes = (await self._list(host, self._nodes_key)).pairs
        leader = (await self._list(host, self._leader_key)).pairs or {}
        if nodes is None and not (self.may_be_empty and self._had_nodes):
            raise DiscoveryError(
                "no_directory",
                f"{self._shown(host, self._nodes_key)}: no Swarm registers there (yet); is the prefix right?",
            )
        self._had_nodes = True
        not_nodes = (self._nodes_key, self._leader_key)
        below = (value for key, value in (nodes or {}).items() if key not in not_nodes)
        return registered(below, leader.get(self._leader_key))

    async def watch(self, changed: Changed) -> None:
        """Follows the nodes and the leader, each on its own."""
        async with asyncio.TaskGroup() as group:
            for key in (self._nodes_key, self._leader_key):
                group.create_task(self._keep_watching(key, changed))

    async def _keep_watching(self, key: str, changed: Changed) -> None:
        await keep_on(f"{self.discovery} {key}", lambda: self._watch(key, changed), changed)

    async def _watch(self, key: str, changed: Changed) -> None:
        def tell(pairs: Pairs | None) -> None:
            if key not in self._watched or self._watched[key] != pairs:
                self._watched[key] = pairs
                changed()

        try:
            host, found = await self._rotation.ask(lambda host: self._list(host, key))
            tell(found.pairs)
            await self._follow(host, key, found, tell)
        except BaseException:
            self._watched.pop(key, None)  # what happens from now on is not seen: the next list is told
            raise

    async def _exchange(
        self, host: str, path: str, request: Request, *, key: str, timeout: float | None = None
    ) -> Answer:
        try:
            return await self._session.exchange(
                self._url(host, path), request, timeout=timeout or self._timeout, max_bytes=MAX_BYTES
            )
        except DiscoveryError as err:
            raise self._named(err, host, key) from err

    def _url(self, host: str, path: str) -> str:
        return f"{'https' if self._secure else 'http'}://{host}{path}"

    def _shown(self, host: str, key: str) -> str:
        return f"{self.discovery.scheme}://{host}/{key}"

    def _named(self, err: DiscoveryError, host: str, key: str) -> DiscoveryError:
        return DiscoveryError(err.reason, f"{self._shown(host, key)}: {err}")

    def hosts(self) -> tuple[HostStatus, ...]:
        """The store's addresses."""
        return self._rotation.status()

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()


def quoted(key: str) -> str:
    """``key`` as a part of a URL's path."""
    return quote(key, safe="/:")


def is_at_or_below(key: str, directory: str) -> bool:
    """Whether ``key`` is ``directory`` or right below it."""
    if key == directory:
        return True
    start = f"{directory}/" if directory else ""
    return key.startswith(start) and "/" not in key[len(start) :]


T = TypeVar("T")


def decoded(body: bytes | bytearray, decoder: msgspec.json.Decoder[T]) -> T | None:
    """What ``body`` holds, None where it is not that."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
