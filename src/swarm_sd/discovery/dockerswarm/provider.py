"""``dockerswarm_sd_configs``: the nodes, services, tasks or endpoints of a swarm-mode cluster."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import msgspec
import structlog

from swarm_sd.discovery.docker_api.filters import Role
from swarm_sd.discovery.docker_api.lists import NETWORKS, NODES, SERVICES, Lists, Wanted
from swarm_sd.discovery.docker_api.passed_over import passed_over
from swarm_sd.discovery.docker_api.poller import ClusterPoller
from swarm_sd.discovery.docker_api.sd_config import DockerAPIConfig
from swarm_sd.discovery.docker_api.targets import Mapped, Memo
from swarm_sd.discovery.dockerswarm.addresses import AddressFamily
from swarm_sd.discovery.dockerswarm.endpoint_targets import Options, Scrape
from swarm_sd.discovery.dockerswarm.endpoints import EndpointsMemo, endpoints
from swarm_sd.discovery.dockerswarm.instances import Preset
from swarm_sd.discovery.dockerswarm.nodes import nodes
from swarm_sd.discovery.dockerswarm.own_networks import AUTO, OwnNetworks, own_container
from swarm_sd.discovery.dockerswarm.services import services
from swarm_sd.discovery.dockerswarm.state import state_of
from swarm_sd.discovery.dockerswarm.tasks import TasksMemo, tasks
from swarm_sd.model import TargetGroup
from swarm_sd.provider import ClusterState, PassedOver, TargetProvider, Up
from swarm_sd.scalars import OneOrMore

log = structlog.stdlib.get_logger("discovery")

ON_THE_LOOP = 2000
"""Lists with this many objects or more are mapped in a thread: mapping takes some 10 ms a thousand."""

_LISTED: Final[Mapping[str, Role]] = {
    "nodes": "nodes",
    "services": "services",
    "tasks": "tasks",
    "endpoints": "tasks",
}
_OTHERS: Final[Mapping[str, tuple[str, ...]]] = {
    "nodes": (),
    "services": (NETWORKS,),
    "tasks": (SERVICES, NODES, NETWORKS),
    "endpoints": (SERVICES, NODES, NETWORKS),
}
"""Which objects a role is made of, and the lists that tell more of them."""


class DockerSwarmSDConfig(DockerAPIConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``dockerswarm_sd_configs``: Prometheus' fields, and several managers."""

    kind: ClassVar[str] = "dockerswarm"

    role: Literal["services", "tasks", "nodes", "endpoints"]
    learn_managers: bool = False
    scrape: Scrape = "labelled"
    networks: OneOrMore[str] = ()
    address_family: AddressFamily = "ipv4"
    instance: Preset = "task"

    def provider(self) -> TargetProvider:
        """The provider of this entry."""
        return DockerSwarmProvider(self)

    def listed(self) -> Wanted:
        """The objects that the role is made of."""
        of: Role = _LISTED[self.role]
        return Wanted(f"/{of}", self.filters_of(of))

    def problems(self) -> list[tuple[str, str]]:
        """What is missing, what another role would do nothing with, and names that no network has."""
        found = DockerAPIConfig.problems(self)
        if self.role != "endpoints":
            given = [name for name, default in _OF_ENDPOINTS.items() if getattr(self, name) != default]
            found += [(name, f"only role: endpoints has it; this is role: {self.role}") for name in given]
        else:
            found += [("networks", why) for name in dict.fromkeys(self.networks) if (why := _wrong(name))]
        return found

    def identity(self) -> Any:
        """Which objects of which cluster are targets."""
        hosts = sorted(set(self.all_hosts()))
        how = tuple(getattr(self, name) for name in _OF_ENDPOINTS) if self.role == "endpoints" else ()
        return ("dockerswarm", hosts, self.role, self.port, self.listed().parameter, *how)


def _wrong(network: str) -> str:
    """Why ``network`` finds nothing; "" where it may be a network's name."""
    if not network.strip():
        return "an empty name; write a network's name or auto"
    if network != AUTO and network.strip().lower() == AUTO:
        return f"{network!r}: did you mean {AUTO}?"
    return ""


_OF_ENDPOINTS: Final = {
    field.name: field.default
    for field in msgspec.structs.fields(DockerSwarmSDConfig)
    if field.name in ("scrape", "networks", "address_family", "instance")
}
"""The fields of role endpoints alone, with their defaults."""


class DockerSwarmProvider(ClusterPoller):
    """Maps the cluster's lists, which it shares with everybody who asks the same managers."""

    def __init__(self, config: DockerSwarmSDConfig, *, timeout: float | None = None) -> None:
        self._first = config.listed()
        super().__init__(
            f"dockerswarm {config.role} " + ",".join(config.all_hosts()),
            config,
            config.all_hosts(),
            (self._first, *map(Wanted, _OTHERS[config.role])),
            timeout=timeout,
            learn_managers=config.learn_managers,
        )
        self._config = config
        self._map = self._mapping()
        self._own: OwnNetworks | None = None
        self._networks: tuple[str, ...] | None = config.networks or None
        self._lists: Lists | None = None
        self._mapped = Mapped((), {}, {})

    def _mapping(self) -> Callable[[Lists], Mapped]:
        port = self._config.port
        if self._config.role == "nodes":
            node_memo: Memo[Any] = Memo()
            return lambda lists: nodes(lists.get(self._first) or (), port=port, memo=node_memo)
        if self._config.role == "services":
            memo: Memo[Any] = Memo()
            return lambda lists: services(
                lists.get(self._first) or (), lists.get(Wanted(NETWORKS)), port=port, memo=memo
            )
        if self._config.role == "endpoints":
            endpoints_memo = EndpointsMemo()
            return lambda lists: endpoints(
                lists.get(self._first) or (),
                lists.get(Wanted(SERVICES)) or (),
                lists.get(Wanted(NODES)) or (),
                lists.get(Wanted(NETWORKS)),
                options=self._options(),
                memo=endpoints_memo,
            )
        tasks_memo = TasksMemo()
        return lambda lists: tasks(
            lists.get(self._first) or (),
            lists.get(Wanted(SERVICES)) or (),
            lists.get(Wanted(NODES)) or (),
            lists.get(Wanted(NETWORKS)),
            port=port,
            memo=tasks_memo,
        )

    def _options(self) -> Options:
        config = self._config
        return Options(
            int(config.port), config.scrape, self._networks, config.address_family, config.instance
        )

    async def run(self, up: Up, /) -> None:
        """Sends the groups after every refresh of the cluster."""
        config = self._config
        if AUTO in config.networks:
            self._own = OwnNetworks(config, await asyncio.to_thread(own_container), timeout=self._timeout)
        await super().run(up)

    async def list(self) -> Sequence[TargetGroup]:
        """The groups; the same objects where nothing changed."""
        lists = await self.lists()
        moved = await self._moved(lists)
        if moved or (lists is not self._lists and not lists.same_as(self._lists, self._wanted)):
            large = lists.length() >= ON_THE_LOOP
            mapped = await asyncio.to_thread(self._map, lists) if large else self._map(lists)
            self._tell(mapped.complaints, self._mapped.complaints)
            self._mapped = mapped
        self._lists = lists
        return self._mapped.groups

    async def _moved(self, lists: Lists) -> bool:
        """Finds the networks that swarm-sd is on; whether they are others than before."""
        if self._own is None:
            return False
        found = await self._own.find(lists.get(self._first) or ())
        networks = tuple(
            one for name in self._config.networks for one in (found if name == AUTO else (name,))
        )
        before, self._networks = self._networks, networks
        return networks != before

    def _tell(self, now: Sequence[str], before: Sequence[str]) -> None:
        for complaint in sorted({*now} - {*before}):
            log.warning("a label cannot be used", provider=self._name, err=complaint)
        for complaint in sorted({*before} - {*now}):
            log.info("a label that could not be used is mended or gone", provider=self._name, err=complaint)

    async def close(self) -> None:
        """Leaves the cluster to the others."""
        await super().close()
        if self._own is not None:
            await self._own.close()

    def skipped(self) -> Mapping[str, int]:
        """Objects of the last answer that could not be used; with role endpoints tasks without one, too."""
        odd = self._lists.skipped(self._first) if self._lists is not None else {}
        untargeted = self._mapped.untargeted if self._config.role == "endpoints" else {}
        return Counter(self._mapped.skipped) + Counter(untargeted) + Counter(odd)

    def untargeted(self) -> Mapping[str, int]:
        """Objects of the last answer without a target; those of role endpoints are counted as skipped."""
        return {} if self._config.role == "endpoints" else self._mapped.untargeted

    def cluster_state(self) -> ClusterState | None:
        """What stands of the swarm, called by the host that is first in the configuration."""
        cluster = self._cluster
        lists = cluster.standing() if cluster is not None else None
        if cluster is None or lists is None:
            return None
        told = state_of(cluster)
        return ClusterState(str(self._hosts[0]), cluster, cluster.confirmed, lambda: told.families(lists))

    def passed_over(self) -> Sequence[PassedOver]:
        """The objects of the last answer that have no target, or not all that they might have."""
        lists = self._lists
        return [] if lists is None else passed_over(self._mapped.odd, lists.any(SERVICES), lists.any(NODES))
