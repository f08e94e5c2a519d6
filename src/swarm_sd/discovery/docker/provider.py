"""``docker_sd_configs``: the containers of single engines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from swarm_sd.discovery.docker.containers import ContainersMemo, containers
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.lists import CONTAINERS, NETWORKS, Lists, Wanted
from swarm_sd.discovery.docker_api.passed_over import passed_over
from swarm_sd.discovery.docker_api.poller import ClusterPoller
from swarm_sd.discovery.docker_api.sd_config import DockerAPIConfig
from swarm_sd.discovery.docker_api.targets import Mapped, Memo
from swarm_sd.model import TargetGroup
from swarm_sd.provider import PassedOver, Prompt, ProviderStatus, TargetProvider, Up, together

GRACE = 30.0
"""Seconds to wait for an engine that does not answer at start, before the others are served without it."""


class DockerSDConfig(DockerAPIConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``docker_sd_configs``: Prometheus' fields, and several engines."""

    kind: ClassVar[str] = "docker"

    host_networking_host: str = "localhost"
    match_first_network: bool = True

    def provider(self) -> TargetProvider:
        """The provider of this entry."""
        return DockerProvider(self)

    def identity(self) -> Any:
        """Which containers of which engines are targets, and at which address."""
        how = (self.port, self.host_networking_host, self.match_first_network)
        return ("docker", sorted(set(self.all_hosts())), *how, self.filters_of("containers").parameter)


class DockerProvider:
    """Several engines, each on its own: one that is down keeps its last targets and holds up nobody."""

    def __init__(self, config: DockerSDConfig, *, grace: float = GRACE, timeout: float | None = None) -> None:
        self._engines = [_Engine(config, host, timeout) for host in config.all_hosts()]
        self._grace = grace
        self._started: float | None = None
        self._sent = self._engines[0]  # the one whose groups came last

    def sources(self) -> frozenset[str]:
        """Every engine's groups, and a name for each engine that has to be heard."""
        return frozenset().union(*(engine.sources() for engine in self._engines))

    def usable(self) -> bool:
        """Whether the others are to be served without the engines that never answered."""
        waited = self._started is not None and time.monotonic() - self._started >= self._grace
        return waited and any(engine.heard for engine in self._engines)

    async def run(self, up: Up, /) -> None:
        """Runs every engine until cancelled."""
        self._started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for engine in self._engines:
                tasks.create_task(engine.run(self._noting(engine, up)))
            # the state may change though no engine sends anything: let it be looked at
            await asyncio.sleep(self._grace)
            up(())

    def _noting(self, engine: _Engine, up: Up) -> Up:
        def sent(groups: Sequence[TargetGroup], /) -> None:
            self._sent = engine
            up(groups)

        return sent

    def announced(self, source: str, /) -> bool:
        """Whether events have told of the group's container just now."""
        return any(engine.announced(source) for engine in self._engines)

    def prompt(self) -> Prompt:
        """What made that engine be asked which sent last."""
        return self._sent.prompt()

    def passed_over(self) -> Sequence[PassedOver]:
        """Of every engine the containers without a target."""
        return [one for engine in self._engines for one in engine.passed_over()]

    def status(self) -> ProviderStatus:
        """All engines together."""
        return together([engine.status() for engine in self._engines])


class _Engine(ClusterPoller):
    """One engine. Its sources carry its name, since two engines may list a container of the same ID."""

    def __init__(self, config: DockerSDConfig, host: Host, timeout: float | None) -> None:
        wanted = (Wanted(CONTAINERS, config.filters_of("containers")), Wanted(NETWORKS))
        super().__init__(f"docker {host}", config, (host,), wanted, timeout=timeout)
        self._config = config
        self._host = host
        self._memo: ContainersMemo = Memo()
        self._lists: Lists | None = None
        self._mapped = Mapped((), {}, {})
        self._groups: tuple[TargetGroup, ...] = ()

    @property
    def heard(self) -> bool:
        """Whether it ever answered."""
        return self._lists is not None

    def sources(self) -> frozenset[str]:
        """Those of its groups, and its own name: without an answer of the engine the list is not complete."""
        return super().sources() | {str(self._host)}

    async def list(self) -> Sequence[TargetGroup]:
        """The groups, and one without targets in the engine's name: it answered."""
        lists = await self.lists()
        if lists is not self._lists and not lists.same_as(self._lists, self._wanted):
            self._mapped = self._map(lists)
            named = (
                TargetGroup(f"{self._host}/{g.source}", g.targets, g.labels) for g in self._mapped.groups
            )
            self._groups = (TargetGroup(str(self._host)), *named)
        self._lists = lists
        return self._groups

    def _map(self, lists: Lists) -> Mapped:
        config = self._config
        return containers(
            lists.get(self._wanted[0]) or (),
            lists.get(self._wanted[1]),
            port=config.port,
            host_networking_host=config.host_networking_host,
            match_first_network=config.match_first_network,
            memo=self._memo,
        )

    def skipped(self) -> Mapping[str, int]:
        """Objects of the last answer that could not be used."""
        odd = self._lists.skipped(self._wanted[0]) if self._lists is not None else {}
        return {**self._mapped.skipped, **odd}

    def untargeted(self) -> Mapping[str, int]:
        """Containers of the last answer without a network."""
        return self._mapped.untargeted

    def passed_over(self) -> Sequence[PassedOver]:
        """The containers of the last answer that have no target, or not all that they might have."""
        return [replace(one, node=str(self._host)) for one in passed_over(self._mapped.odd)]
