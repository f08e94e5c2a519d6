"""``swarm_sd_configs``: the masters, nodes or containers of a classic (standalone) Swarm."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from swarm_sd.discovery.docker_api.client import DockerAPI
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.kv import stores
from swarm_sd.discovery.kv.locator import STORES, Discovery, DiscoveryOpts
from swarm_sd.discovery.swarm import state, targets
from swarm_sd.discovery.swarm.container_provider import SwarmContainersProvider
from swarm_sd.discovery.swarm.discovered import DiscoveredContainers, DiscoveredNodes
from swarm_sd.discovery.swarm.hints import Hints, changes_nodes
from swarm_sd.discovery.swarm.info import Info, Node, Reader, parse_info, trusted
from swarm_sd.discovery.swarm.registry import Registry
from swarm_sd.model import TargetGroup
from swarm_sd.provider import ClusterState, EventsStatus, HostStatus, Poller, TargetProvider, Up
from swarm_sd.scalars import Interval, Port

PROBE_AFTER, PROBE_WAIT = 30.0, 1.0
"""Seconds after which a master that is not the active one is asked how it fares, and for which the first
list waits for the others' roles.
"""

MAX_BYTES = 128 * 1024 * 1024
"""The largest /info taken; one of 5,000 nodes is about 4 MB."""

ON_THE_LOOP = 1000
"""With this many nodes or more they are mapped in a thread: mapping takes some 13 ms a thousand."""


class SwarmSDConfig(HTTPClientConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``swarm_sd_configs``, as the plugin of 2016 took it and with what it lacked."""

    kind: ClassVar[str] = "swarm"

    masters: tuple[Host, ...] = ()
    discovery: Discovery | None = None
    discovery_opts: DiscoveryOpts = DiscoveryOpts()
    refresh_interval: Interval = Interval(1)
    metrics_port: Port = Port("8070")
    metrics_scheme: Literal["http", "https"] | None = None
    role: Literal["masters", "nodes", "containers"] | None = None

    def provider(self) -> TargetProvider:
        """The provider of this entry."""
        if self.discovery is None:
            return self._asking(self.masters)
        registry = Registry(self.discovery, stores.backend(self.discovery, self.discovery_opts, self))
        known = self if self.masters else self._without_credentials()
        if self.role == "containers":
            return DiscoveredContainers(registry, known._asking)
        # who alone is wanted is told by the leader's key
        asks = self.masters or self.role != "masters"
        return DiscoveredNodes(
            registry,
            self.masters,
            known._asking if asks else None,
            sources=self.sources(),
            port=self.metrics_port,
            scheme=self.metrics_scheme,
        )

    def _asking(self, masters: tuple[Host, ...]) -> SwarmProvider | SwarmContainersProvider:
        """The provider that asks ``masters``."""
        if self.role == "containers":
            return SwarmContainersProvider(
                masters,
                self,
                interval=self.refresh_interval,
                port=self.metrics_port,
                scheme=self.metrics_scheme,
            )
        return SwarmProvider(msgspec.structs.replace(self, masters=masters))

    def _without_credentials(self) -> SwarmSDConfig:
        """For a master that a store names: whoever can write there must not be sent them."""
        return msgspec.structs.replace(
            self,
            basic_auth=None,
            authorization=None,
            bearer_token=None,
            bearer_token_file=None,
            http_headers={},
        )

    def sources(self) -> frozenset[str]:
        """Both groups, or the one that ``role`` asks for: the list is not complete without them."""
        both = {"masters": targets.MASTERS, "nodes": targets.NODES}
        return frozenset(source for role, source in both.items() if self.role in (None, role))

    def problems(self) -> list[tuple[str, str]]:
        """What the plugin refused too, and what does not go together."""
        found = HTTPClientConfig.problems(self)
        if self.discovery is not None:
            return found + self._discovery_problems(self.discovery)
        if not self.masters:
            found.append(("masters", "Swarm SD configuration requires at least one Swarm master"))
        if self.discovery_opts != DiscoveryOpts():
            found.append(("discovery_opts", "there is no discovery that they are for"))
        return found

    def _discovery_problems(self, discovery: Discovery) -> list[tuple[str, str]]:
        found = stores.problems(discovery, self.discovery_opts, self)
        if self.masters and self.role == "containers":
            found.append(
                ("discovery", "containers are told by masters or by its leader; give one of the two")
            )
        elif not self.masters and self.role not in (None, "nodes") and discovery.scheme not in STORES:
            found.append(("role", f"{discovery.scheme}:// tells of no manager; give masters, too"))
        return found

    def identity(self) -> Any:
        """Which Swarm is asked for which targets."""
        masters = sorted(set(self.masters))
        wanted = ("swarm", masters, self.metrics_port, self.metrics_scheme, self.role)
        if self.discovery is None:
            return wanted
        # any member of a store tells the same
        here = self.discovery.entries or (self.discovery.path, str(self.discovery_opts.path))
        return (*wanted, self.discovery.scheme, here)


class SwarmProvider(Poller):
    """Asks one of the masters' ``/info`` every ``refresh_interval``, and after events of the engines; rotates
    when it cannot tell.
    """

    def __init__(self, config: SwarmSDConfig, *, timeout: float = 10) -> None:
        super().__init__("swarm " + ",".join(config.masters), config.refresh_interval)
        self._config = config
        self._api = DockerAPI(config.masters, config, timeout=timeout, max_bytes=MAX_BYTES)
        self._hints = Hints(self._api, hint=self.hint, matters=changes_nodes)
        self._roles: dict[str, str] = {}  # by master
        self._known: dict[str, Node] = {}  # by address: nodes as they were when last reached
        self._memo: targets.Memo = {}
        self._probes: set[asyncio.Task[None]] = set()
        self._reader = Reader()
        self._body: bytes | bytearray = b""  # the last good answer
        self._info: Info | None = None  # of that, and the group made of it
        self._group = TargetGroup(targets.NODES)

    def sources(self) -> frozenset[str]:
        """Both groups, or the one that ``role`` asks for: the list is not complete without them."""
        return self._config.sources()

    def recall(self, groups: Sequence[TargetGroup], /) -> None:
        """The masters' roles of an earlier life: what a restart of ours knows nothing of has not changed."""
        self._roles = targets.recalled_roles(groups, self._config.masters)

    def first(self) -> Sequence[TargetGroup]:
        """The masters: they are targets whether they answer or not."""
        return self._wanted(self._masters())

    async def run(self, up: Up, /) -> None:
        """Sends both groups after each list."""
        self._hints.start()
        await super().run(up)

    async def list(self) -> Sequence[TargetGroup]:
        """The masters with their roles, and the nodes."""
        async with self._hints.listing():
            answered, (info, self._body) = await self._api.get("/info", self._read)
            self._roles = targets.master_roles(info, answered, self._config.masters, self._roles)
            await self._look_after_the_others()
            if info is not self._info:
                large = len(info.nodes) >= ON_THE_LOOP
                self._group = await asyncio.to_thread(self._nodes, info) if large else self._nodes(info)
                self._info = info
        return self._wanted(self._masters(), self._group)

    async def _look_after_the_others(self) -> None:
        """Now and then asks masters that are not the active one how they fare: for their states and roles.

        The first time all of them, and waits a moment: so the first list has their roles already.
        """
        if self._info is None:
            for host in self._config.masters:
                if self._api.rotation.never_heard(host):
                    self._probes.add(asyncio.create_task(self._ask_only_for_its_state(host)))
            if self._probes:
                await asyncio.wait(self._probes, timeout=PROBE_WAIT)
        self._probes = {probe for probe in self._probes if not probe.done()}
        if not self._probes and (idle := self._api.rotation.idle(PROBE_AFTER)) is not None:
            self._probes.add(asyncio.create_task(self._ask_only_for_its_state(idle)))

    async def _ask_only_for_its_state(self, host: Host) -> None:
        info = await self._api.probe(host, "/info", self._checked)
        if info is not None and info.role == "replica" and self._roles.get(host) != info.role:
            self._roles = {**self._roles, host: info.role}
            if self._info is not None:
                self.hint()

    def _read(self, body: bytes | bytearray) -> tuple[Info, bytes | bytearray]:
        return trusted(self._reader(body)), body

    def _checked(self, body: bytes | bytearray) -> Info:
        return trusted(parse_info(body))

    def _nodes(self, info: Info) -> TargetGroup:
        info = targets.with_memory(info, self._known)
        self._known = targets.remember(info, self._known)
        config = self._config
        return targets.nodes(info, port=config.metrics_port, scheme=config.metrics_scheme, memo=self._memo)

    def _masters(self) -> TargetGroup:
        config = self._config
        return targets.masters(
            config.masters, port=config.metrics_port, scheme=config.metrics_scheme, roles=self._roles
        )

    def _wanted(self, *groups: TargetGroup) -> Sequence[TargetGroup]:
        wanted = self.sources()
        return [group for group in groups if group.source in wanted]

    async def close(self) -> None:
        """Closes the connections to the masters."""
        await self._hints.stop()
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        await self._api.close()

    def cluster_state(self) -> ClusterState | None:
        """What the last good answer tells, called by the master that is first in the configuration."""
        if self._last_success is None:
            return None
        body, known, roles = self._body, self._known, self._roles
        return ClusterState(
            str(self._config.masters[0]), self, self._last_success, lambda: state.told(body, known, roles)
        )

    def skipped(self) -> Mapping[str, int]:
        """Rows of the last answer that could not be understood."""
        return self._info.skipped if self._info is not None else {}

    def hosts(self) -> tuple[HostStatus, ...]:
        """The masters."""
        return self._api.status()

    def events(self) -> tuple[EventsStatus, ...]:
        """The event stream of the active master."""
        return (self._hints.status(),)
