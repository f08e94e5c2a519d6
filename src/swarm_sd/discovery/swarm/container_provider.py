"""``swarm_sd_configs`` with ``role: containers``: every container of a Swarm, through any of its masters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from swarm_sd.discovery.docker_api.client import DockerAPI, Get
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.listed import Listed, ListReader
from swarm_sd.discovery.docker_api.passed_over import passed_over
from swarm_sd.discovery.docker_api.targets import Mapped, Memo
from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.swarm import state, targets
from swarm_sd.discovery.swarm.containers import Container, ContainersMemo, Place, containers, node_and_name
from swarm_sd.discovery.swarm.hints import Hints, changes_containers
from swarm_sd.discovery.swarm.info import Info, Node, Reader, trusted
from swarm_sd.discovery.swarm.inspection import Inspector, by_name
from swarm_sd.model import TargetGroup
from swarm_sd.provider import ClusterState, EventsStatus, HostStatus, PassedOver, Poller, Up

MAX_BYTES = 512 * 1024 * 1024
"""The largest answer taken; 100,000 containers are about 100 MB."""

ON_THE_LOOP = 2000
"""With this many containers or more they are mapped in a thread: mapping takes some 10 ms a thousand."""


class SwarmContainersProvider(Poller):
    """Asks one of the masters for its nodes and containers every ``interval`` seconds, and after events.

    Both come from one master, so that containers find their nodes. ``port`` is for containers that expose
    none. ``timeout``: seconds a request may take.
    """

    def __init__(
        self,
        masters: Sequence[Host],
        config: HTTPClientConfig,
        *,
        interval: float,
        port: str,
        scheme: str | None = None,
        timeout: float = 10,
    ) -> None:
        super().__init__("swarm containers " + ",".join(masters), interval)
        self._masters = masters
        self._port = port
        self._scheme = scheme
        self._api = DockerAPI(masters, config, timeout=timeout, max_bytes=MAX_BYTES)
        self._hints = Hints(self._api, hint=self.hint, matters=changes_containers)
        self._reader = Reader()
        self._list_reader = ListReader(Container)
        self._inspector = Inspector()
        self._body: bytes | bytearray = b""  # the last good /info
        self._known: dict[str, Node] = {}  # by address: nodes as they were when last reached
        self._memo: ContainersMemo = Memo()
        self._mapped = Mapped((), {}, {})
        self._odd: Mapping[str, int] = {}
        self._groups: dict[str, TargetGroup] = {}  # by source: what stands
        self._seen: tuple[object, ...] = ()  # what that was made of
        self._listed: Sequence[Container] = ()

    def recall(self, groups: Sequence[TargetGroup], /) -> None:
        """The groups of an earlier life: containers on nodes that the master has not reached stay."""
        self._groups = {group.source: group for group in groups}

    async def run(self, up: Up, /) -> None:
        """Sends the groups after each list."""
        self._hints.start()
        await super().run(up)

    async def list(self) -> Sequence[TargetGroup]:
        """The groups of the containers that run, and those that stood on nodes nobody can tell of."""
        async with self._hints.listing():
            _, (info, body, listed) = await self._api.ask(self._question)
            seen = (info, listed, self._inspector.learned)
            if not self._seen or any(one is not other for one, other in zip(seen, self._seen, strict=True)):
                large = len(listed) >= ON_THE_LOOP
                await asyncio.to_thread(self._map, info, listed) if large else self._map(info, listed)
                self._seen, self._listed = seen, listed
            self._body = body
        return tuple(self._groups.values())

    def _map(self, info: Info, listed: Listed[Container]) -> None:
        info = targets.with_memory(info, self._known)
        self._known = targets.remember(info, self._known)
        self._mapped = containers(
            listed,
            _Places(info, self._inspector),
            port=self._port,
            scheme=self._scheme,
            stood=self._groups.keys(),
            memo=self._memo,
        )
        self._odd = {**info.skipped, **listed.skipped}
        groups = {group.source: group for group in self._mapped.groups}
        self._groups = {**self._unheard(info), **groups}

    async def _question(self, _host: Host, get: Get) -> tuple[Info, bytes | bytearray, Listed[Container]]:
        info, body = await get("/info", self._read)
        # all=1: without it managers from v1.1.0 on leave out what is on a node that they have lost
        listed = await get("/containers/json?all=1", self._list_reader)
        await self._inspector.learn(get, targets.with_memory(info, self._known), listed)
        return info, body, listed

    def _read(self, body: bytes | bytearray) -> tuple[Info, bytes | bytearray]:
        return trusted(self._reader(body)), body

    def _unheard(self, info: Info) -> dict[str, TargetGroup]:
        """What stood on nodes that the master has not reached itself: it lists no container of them."""
        pending = {targets.node_address(node) for node in info.nodes if node.status == "Pending"}
        if not pending:
            return {}
        return {
            source: group
            for source, group in self._groups.items()
            if group.labels.get(targets.NODE_ADDRESS) in pending
        }

    async def close(self) -> None:
        """Closes the connections to the masters."""
        await self._hints.stop()
        await self._api.close()

    def untargeted(self) -> Mapping[str, int]:
        """Containers of the last answer without an address."""
        return self._mapped.untargeted

    def cluster_state(self) -> ClusterState | None:
        """What the last good /info tells, called by the master that is first in the configuration."""
        if self._last_success is None:
            return None
        body, known = self._body, self._known
        return ClusterState(
            str(self._masters[0]), self, self._last_success, lambda: state.told(body, known, {})
        )

    def passed_over(self) -> Sequence[PassedOver]:
        """The containers of the last answer that run and have no target."""
        named = ((one.id, node_and_name(one)) for one in self._listed)
        nodes = {id_: found[0] for id_, found in named if found}
        return [replace(one, node=nodes.get(one.id, "")) for one in passed_over(self._mapped.odd)]

    def skipped(self) -> Mapping[str, int]:
        """Rows and containers of the last answers that could not be used."""
        return {**self._odd, **self._mapped.skipped}

    def hosts(self) -> tuple[HostStatus, ...]:
        """The masters."""
        return self._api.status()

    def events(self) -> tuple[EventsStatus, ...]:
        """The event stream of the active master."""
        return (self._hints.status(),)


class _Places:
    """The node of a container: by its name, or where nodes share one, by what an inspection told."""

    def __init__(self, info: Info, inspector: Inspector) -> None:
        self._inspector = inspector
        self._by_address = {node.address: node for node in info.nodes}
        self._by_name = by_name(info)
        self._made: dict[str, Place] = {}

    def __call__(self, container: Container) -> Place | None:
        found = node_and_name(container)
        nodes = self._by_name.get(found[0], ()) if found else ()
        if len(nodes) == 1:
            node: Node | None = nodes[0]
        else:
            node = self._by_address.get(self._inspector.address_of(container) or "")
        return None if node is None else self._place(node)

    def _place(self, node: Node) -> Place:
        place = self._made.get(node.address)
        if place is None:
            labels = targets.node_meta(node, self._inspector.labels_of(node))
            place = self._made[node.address] = Place(node.host, labels)
        return place
