"""A Swarm without any manager: its nodes register in etcd, or where that is not installed in a file."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp

from swarm_demo import DemoError
from swarm_demo.cluster import METRICS_PORT, Cluster, Deed, Told, Truth
from swarm_demo.programs import Program, port_for
from swarm_sd.sim.nodes import Nodes, loopback

FIRST_NODES = 3
_FIRST_ADDRESS = 4 * 254  # a block of their own: 127.77.4.1 and so on
_KEY = "v2/keys/demo/docker/swarm/nodes"
_BEGINNING = 15.0  # seconds until etcd must answer
_TTL = 1  # seconds for which a node that dies is still registered; Swarm's default is 180


class Store(ABC):
    """Where nodes register. ``discovery`` is what ``swarm join`` is given, ``shown`` where one can look."""

    name: str
    discovery: str
    shown: str

    @abstractmethod
    async def start(self) -> None:
        """Waits until it can be used."""

    @abstractmethod
    async def register(self, nodes: Collection[str], *, dying: str = "") -> None:
        """``nodes`` are registered, and nobody else; ``dying`` still is, for as long as its TTL."""

    @abstractmethod
    async def close(self) -> None:
        """The end."""


class InEtcd(Store):
    """As ``swarm join etcd://...`` does it."""

    name = "etcd"

    def __init__(self, client_port: int) -> None:
        self.discovery = f"etcd://127.0.0.1:{client_port}/demo"
        self.shown = f"http://127.0.0.1:{client_port}/{_KEY}"
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        self._registered: set[str] = set()

    async def start(self) -> None:
        """Waits until it answers."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_BEGINNING):
                while True:
                    with suppress(aiohttp.ClientError):
                        async with self._session.get(self.shown) as answer:
                            if answer.status in (200, 404):
                                return
                    await asyncio.sleep(0.1)
        raise DemoError(f"etcd does not answer after {_BEGINNING:g} s")

    async def register(self, nodes: Collection[str], *, dying: str = "") -> None:
        """Sets and deletes the keys."""
        for node in sorted({*nodes} - self._registered):
            await self._ask("PUT", node, {"value": node})
        for node in sorted(self._registered - {*nodes}):
            if node == dying:
                await self._ask("PUT", node, {"value": node, "ttl": str(_TTL)})
            else:
                await self._ask("DELETE", node, {})
        self._registered = set(nodes)

    async def _ask(self, method: str, node: str, form: Mapping[str, str]) -> None:
        async with self._session.request(method, f"{self.shown}/{node}", data=form) as answer:
            if answer.status not in (200, 201):
                raise DemoError(f"etcd: {method} {node}: {answer.status}")

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()


class InAFile(Store):
    """As one writes it for ``swarm manage file://...``."""

    name = "a file"

    def __init__(self, file: Path) -> None:
        self._file = file
        self.discovery, self.shown = f"file://{file}", str(file)

    async def start(self) -> None:
        """It is there."""

    async def register(self, nodes: Collection[str], *, dying: str = "") -> None:
        """Replaces the file: it knows no TTL."""
        del dying
        new = self._file.with_suffix(".new")
        new.write_text("".join(f"{node}\n" for node in sorted(nodes)))
        new.replace(self._file)

    async def close(self) -> None:
        """It stays, to be looked at."""


class Registering(Cluster):
    """Its targets: whoever is registered. ``folder``: for etcd's data and log, or the file."""

    name, job, path = "discovery", "discovery", ""

    def __init__(self, folder: Path, *, alone: bool, seed: int = 0) -> None:
        super().__init__(alone=alone, seed=seed)
        self._folder = folder
        self.managers = {}
        self._members = list(range(FIRST_NODES))  # their numbers, the oldest first
        self._next = FIRST_NODES

    async def _start(self) -> None:
        self.store = await self._etcd() if _etcd_can() else InAFile(self._folder / "nodes")
        self._stack.push_async_callback(self.store.close)
        await self.store.start()
        hosts = {loopback(_FIRST_ADDRESS + number) for number in self._members}
        self._nodes = await self._entered(lambda port: Nodes(hosts, port=port), METRICS_PORT)
        await self._follow()

    async def _etcd(self) -> Store:
        client, peer = port_for(0), port_for(0)
        urls = [f"http://127.0.0.1:{port}" for port in (client, peer)]
        argv = [
            "etcd", "--enable-v2", "--data-dir", str(self._folder / "etcd"), "--name", "demo",
            "--listen-client-urls", urls[0], "--advertise-client-urls", urls[0],
            "--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1],
            "--initial-cluster", f"demo={urls[1]}",
        ]  # fmt: skip
        await self._stack.enter_async_context(Program("etcd", argv, self._folder / "etcd.log"))
        return InEtcd(client)

    def urls(self) -> str:
        """Where one can look at the registrations."""
        return self.store.shown

    # -- the truth ----------------------------------------------------------------------------------

    def truth(self) -> list[Truth]:
        """Every node that is registered."""
        return [
            Truth(_name(number), f"{loopback(_FIRST_ADDRESS + number)}:{self.metrics_port}", "registered")
            for number in self._members
        ]

    def told(self, labels: Mapping[str, str]) -> Told | None:
        """That it is registered: there is no manager to tell more."""
        state = {"true": "registered"}.get(labels.get("__meta_swarm_node_registered", ""), "unknown")
        return Told("nodes", state)

    def answering(self) -> set[str]:
        """Nobody: no manager is asked."""
        return {""}

    # -- what happens -------------------------------------------------------------------------------

    def script(self) -> Sequence[Deed]:
        """What one has to see, in order."""
        return (self._joins, self._dies)

    def chance(self) -> Iterator[Deed]:
        """Nodes come and go."""
        while True:
            yield self._joins
            yield self._chance.choice((self._leaves, self._dies))

    async def _joins(self) -> str:
        number, self._next = self._next, self._next + 1
        self._members.append(number)
        await self._follow()
        return f"{_name(number)} joins through {self.store.name}"

    async def _leaves(self) -> str:
        number = self._goes()
        await self._follow()
        return f"{_name(number)} is taken out of {self.store.name}"

    async def _dies(self) -> str:
        number = self._goes()
        await self._follow(dying=f"{loopback(_FIRST_ADDRESS + number)}:2375")
        return f"{_name(number)} says no more in {self.store.name}: its registration ends"

    def _goes(self) -> int:
        return self._members.pop(0)

    async def _follow(self, dying: str = "") -> None:
        """/metrics answers where a node is, and its address is registered."""
        hosts = {loopback(_FIRST_ADDRESS + number) for number in self._members}
        await self._nodes.run_at(hosts)
        await self.store.register({f"{host}:2375" for host in hosts}, dying=dying)


def _etcd_can() -> bool:
    """Whether etcd is installed, and still speaks what classic Swarm speaks."""
    etcd = shutil.which("etcd")
    if etcd is None:
        return False
    told = subprocess.run([etcd, "--help"], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    return "--enable-v2" in told.stdout + told.stderr


def _name(number: int) -> str:
    return f"engine-{number}"
