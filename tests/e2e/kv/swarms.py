"""What ``swarm join`` and ``swarm manage --replication`` do to a real store, done by hand."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import aiohttp
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError
from tests.e2e.kv import stores
from tests.e2e.programs import NotYetError, Program, until

NODES, LEADER = "demo/docker/swarm/nodes", "demo/docker/swarm/leader"


class OnStore:
    """A Swarm on a store with members that can be killed and started again."""

    scheme: str

    def __init__(self, members: Sequence[Any]) -> None:
        self.members = members
        self.avoid: Any = None  # a member that hangs

    @property
    def url(self) -> str:
        """What ``swarm join`` is given."""
        return f"{self.scheme}://{','.join(f'127.0.0.1:{one.client_port}' for one in self.members)}/demo"

    def alive(self) -> Program:
        """A member that runs."""
        return next(one for one in self.members if one is not self.avoid and one.process.poll() is None)

    async def join(self, node: str) -> None:
        """Registers ``node``; the next time it is a heartbeat."""
        raise NotImplementedError

    async def join_in_time(self, node: str) -> None:
        """Registers ``node`` as soon as the store can: it may have to elect a leader first."""

        async def joins() -> bool:
            try:
                await asyncio.wait_for(self.join(node), 10)
            except (AssertionError, TimeoutError, KazooException) as err:
                raise NotYetError(str(err)) from err
            return True

        await until(joins, f"{node} joins")

    async def close(self) -> None:
        """Ends what it started."""


class OnEtcd(OnStore):
    """As Swarm v0.3.0 and later."""

    scheme = "etcd"
    start = staticmethod(stores.start_etcd)

    async def _ask(self, method: str, key: str, **form: str) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.alive().url}/v2/keys/{key}", data=form) as answer,
        ):
            assert answer.status in (200, 201), await answer.text()

    async def join(self, node: str, ttl: int = 600) -> None:
        """Registers ``node`` for ``ttl`` seconds; the next time it is a heartbeat."""
        await self._ask("PUT", f"{NODES}/{node}", value=node, ttl=str(ttl))

    heartbeat = join

    async def leave(self, node: str) -> None:
        """Takes it away."""
        await self._ask("DELETE", f"{NODES}/{node}")

    async def join_and_die(self, node: str) -> None:
        """Registers ``node``, which then says no more."""
        await self.join(node, ttl=2)

    async def elect(self, manager: str) -> None:
        """Makes ``manager`` the primary."""
        await self._ask("PUT", LEADER, value=manager, ttl="60")

    async def disturb(self) -> None:
        """Makes the store forget the events that there were."""
        for number in range(1100):
            await self._ask("PUT", "other/key", value=str(number))


class OnEtcd3(OnStore):
    """The same keys in etcd's newer store."""

    scheme = "etcd3"
    start = staticmethod(stores.start_etcd)

    async def _ask(self, path: str, **message: Any) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.alive().url}/v3/{path}", json=message) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def _put(self, key: str, value: str, **more: str) -> None:
        await self._ask("kv/put", key=_base64(f"/{key}"), value=_base64(value), **more)

    async def join(self, node: str) -> None:
        await self._put(f"{NODES}/{node}", node)

    heartbeat = join

    async def leave(self, node: str) -> None:
        await self._ask("kv/deleterange", key=_base64(f"/{NODES}/{node}"))

    async def join_and_die(self, node: str) -> None:
        lease = (await self._ask("lease/grant", TTL="1"))["ID"]
        await self._put(f"{NODES}/{node}", node, lease=lease)

    async def elect(self, manager: str) -> None:
        await self._put(LEADER, manager)

    async def disturb(self) -> None:
        revision = (await self._ask("kv/range", key=_base64("x")))["header"]["revision"]
        await self._ask("kv/compaction", revision=revision)


class OnZooKeeper(OnStore):
    """As Swarm v1.0.0 and later; ephemeral nodes belong to a client of their own."""

    scheme = "zk"
    start = staticmethod(stores.start_zookeeper)

    def __init__(self, members: Sequence[Any]) -> None:
        super().__init__(members)
        self._client: KazooClient | None = None
        self._lock = ""

    async def _do(self, what: Any) -> None:
        await asyncio.to_thread(lambda: what(self._connected()))

    def _connected(self) -> KazooClient:
        if self._client is None:
            self._client = KazooClient(
                self.url.partition("://")[2].partition("/")[0],
                timeout=30,
                connection_retry={"max_tries": -1, "max_delay": 0.5},
            )
            self._client.start(timeout=30)
        return self._client

    async def join(self, node: str) -> None:
        def put(client: KazooClient) -> None:
            path = f"/{NODES}/{node}"
            client.ensure_path(f"/{NODES}")
            try:
                client.retry(client.create, path, node.encode(), ephemeral=True)
            except NodeExistsError:
                client.retry(client.set, path, node.encode())

        await self._do(put)

    heartbeat = join

    async def leave(self, node: str) -> None:
        await self._do(lambda client: client.delete(f"/{NODES}/{node}"))

    async def join_and_die(self, node: str) -> None:
        hosts = self.url.partition("://")[2].partition("/")[0]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _JOIN, hosts, f"/{NODES}/{node}", node,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        assert await process.stdout.readline() == b"joined\n"
        process.kill()
        await process.wait()

    async def elect(self, manager: str) -> None:
        def lead(client: KazooClient) -> None:
            client.ensure_path(f"/{LEADER}")
            lock = client.create(f"/{LEADER}/_c_0-lock-", b"", ephemeral=True, sequence=True)
            client.set(f"/{LEADER}", manager.encode())
            if self._lock:
                client.delete(self._lock)
            self._lock = lock

        await self._do(lead)

    async def disturb(self) -> None:
        """ZooKeeper has no events to forget."""

    async def close(self) -> None:
        if (client := self._client) is not None:
            await asyncio.to_thread(client.stop)
            await asyncio.to_thread(client.close)


_JOIN = """
import sys, time
from kazoo.client import KazooClient
hosts, path, value = sys.argv[1:]
client = KazooClient(hosts, timeout=1.5)
client.start()
client.create(path, value.encode(), ephemeral=True, makepath=True)
print("joined", flush=True)
time.sleep(60)
"""


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
