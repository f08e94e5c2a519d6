"""``zk://``: ZooKeeper, by kazoo (``pip install 'prometheus-swarm-sd[zookeeper]'``).

Source: ZooKeeper's programmer's guide on watches and sessions; trees recorded with Swarm v0.2.0 to v1.2.9.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.kv.account import Account
from swarm_sd.discovery.kv.backend import Changed, Last, Registered, keep_on, registered
from swarm_sd.discovery.kv.entries import is_entry
from swarm_sd.discovery.kv.kazoo_session import MISSING, Log, Session, is_installed
from swarm_sd.discovery.kv.locator import Discovery, DiscoveryOpts, leader_key, nodes_key
from swarm_sd.provider import DiscoveryError, HostStatus

WITHIN = 10.0
"""Seconds for a whole list."""

QUIET = 30.0
"""Seconds after which a list is made without a watch having fired: one that got lost does not matter long."""


class ZooKeeper:
    """One session, kept alive by kazoo across its servers; every loss of it is a reason to list again."""

    def __init__(self, discovery: Discovery, opts: DiscoveryOpts, http: HTTPClientConfig) -> None:
        self._discovery = discovery
        self._nodes_path = f"/{nodes_key(discovery, opts)}"
        self._leader_path = f"/{leader_key(discovery)}"
        self._tls = http.tls_config
        self._account = Account(http)
        self._said = Log()
        self._session: Session | None = None
        self._opening = asyncio.Lock()
        self._last = Last()
        self._fired = asyncio.Event()

    async def nodes(self) -> Registered:
        """Who is registered."""
        session = await self._connected()
        return self._last.same(await self._within(self._both(session)))

    async def _both(self, session: Session) -> Registered:
        names = await session.ask("get_children", self._nodes_path)
        if names is None:
            raise DiscoveryError("no_directory", "no Swarm registers there (yet); is the prefix right?")
        values = await asyncio.gather(*(self._value(session, name) for name in names))
        leader = await session.ask("get", self._leader_path)
        return registered((value for value in values if value is not None), _leader(leader))

    async def _value(self, session: Session, name: str) -> str | None:
        """The address that is registered as ``name``; None where it went away meanwhile.

        Swarm writes an address under its own name: a question a node, of thousands, can be saved.
        """
        path = f"{self._nodes_path.rstrip('/')}/{name}"
        if path == self._leader_path:
            return None
        if is_entry(name):
            return name
        found = await session.ask("get", path)
        return None if found is None else _text(found[0])

    async def children(self, path: str) -> list[str] | None:
        """What is right below any path; None where nothing is at it. DiscoveryError."""
        session = await self._connected()
        names: list[str] | None = await self._within(session.ask("get_children", path))
        return names

    async def watch(self, changed: Changed) -> None:
        """Watches the names of the nodes and the value of the leader. Heartbeats change neither."""
        await keep_on(str(self._discovery), lambda: self._watch(changed), changed)

    async def _watch(self, changed: Changed) -> None:
        session = await self._connected()
        before: object = None  # nobody knows what was missed: the first look always tells
        fired = True
        while not session.is_over:
            self._fired.clear()
            now = await self._within(self._looked(session))
            if fired or now != before:
                changed()
            before = now
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(QUIET):
                    await self._fired.wait()
            fired = self._fired.is_set()
        raise DiscoveryError("reset", f"{self._discovery}: the session is over")

    async def _looked(self, session: Session) -> object:
        """What is compared, with watches left behind; a watch on what is not there fires when it comes."""
        fire = session.wake
        names = await session.ask("get_children", self._nodes_path, watch=fire)
        if names is None and await session.ask("exists", self._nodes_path, watch=fire) is not None:
            self._fired.set()  # came between the two questions
        leader = await session.ask("get", self._leader_path, watch=fire)
        if leader is None and await session.ask("exists", self._leader_path, watch=fire) is not None:
            self._fired.set()
        return names if names is None else sorted(names), _leader(leader)

    async def _within(self, answer: Any) -> Any:
        try:
            async with asyncio.timeout(WITHIN):
                return await answer
        except TimeoutError:
            said = f" ({self._said.last})" if self._said.last else ""
            raise DiscoveryError("timeout", f"{self._discovery}: no answer in {WITHIN:g} s{said}") from None
        except DiscoveryError as err:
            raise DiscoveryError(err.reason, f"{self._discovery}: {err}") from err

    async def _connected(self) -> Session:
        """The session that is or is to be; kazoo gives up one that was refused."""
        async with self._opening:
            if self._session is None or self._session.is_over:
                if self._session is not None:
                    await self._session.close()
                self._session = None
                self._session = await self._opened()
            return self._session

    async def _opened(self) -> Session:
        if not is_installed():
            raise DiscoveryError("not_installed", MISSING)
        user, password = await self._account.read()
        auth = [("digest", f"{user}:{password.reveal()}")] if self._account.is_given else []
        session = Session(self._discovery.endpoints, self._tls, auth, self._said, self._fired.set)
        try:
            await self._within(session.start())
        except BaseException:
            await asyncio.shield(session.close())
            raise
        return session

    def hosts(self) -> tuple[HostStatus, ...]:
        """The servers; kazoo does not tell which of them it is connected to."""
        return tuple(HostStatus(name=host, state="unknown") for host in self._discovery.endpoints)

    async def close(self) -> None:
        """Ends the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _leader(found: Any) -> str | None:
    """The primary: the value stays behind when nobody is left who holds or wants the lock below it.

    Source: "FIXME: The value is left behind" in libkv's store/zookeeper, seen with Swarm v1.0.0.
    """
    return _text(found[0]) if found is not None and found[1].numChildren else None


def _text(data: bytes) -> str:
    # parents that v0.2 to v0.4 made hold \x01
    return data.decode("utf-8", "replace").strip("\x01")
