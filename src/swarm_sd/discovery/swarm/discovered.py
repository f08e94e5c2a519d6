"""Swarm's own discovery as a provider: who is registered, and what the masters that it tells of know."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeAlias

from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.swarm import targets
from swarm_sd.discovery.swarm.registered import (
    Joined,
    counted,
    joined,
    leader_host,
    recalled,
    recalled_leader,
    with_leader,
)
from swarm_sd.discovery.swarm.registry import Registry
from swarm_sd.model import TargetGroup
from swarm_sd.provider import (
    Choosy,
    ClusterState,
    Gauge,
    PassedOver,
    Prompt,
    Prompted,
    ProviderStatus,
    Stateful,
    Up,
    together,
)

FIRST_WAIT = 2.0
"""Seconds for which the first list of nodes waits for a master, so that it has their labels already."""


class Asking(Protocol):
    """The provider that asks masters."""

    async def run(self, up: Up, /) -> None:
        """As of every provider."""
        ...

    def recall(self, groups: Sequence[TargetGroup], /) -> None:
        """As of ``Recalling``."""
        ...

    def status(self) -> ProviderStatus:
        """As of ``Reporting``."""
        ...


Ask: TypeAlias = Callable[[tuple[Host, ...]], Asking]


class Discovered(ABC):
    """Runs the registry, and beside it whoever asks ``masters`` or, where none are given, the leader.

    Another leader means another ``Asking``; what the one before told stands until the new one tells.
    """

    def __init__(self, registry: Registry, masters: tuple[Host, ...], ask: Ask | None) -> None:
        self._registry = registry
        self._masters = masters
        self._ask = ask
        self._leader: str | None = None  # the last one there was
        self._asking: Asking | None = None
        self._task: asyncio.Task[None] | None = None
        self._before = ProviderStatus()  # what was counted of those who asked before
        self._recalled: Sequence[TargetGroup] = ()
        self._teller: object = registry  # who told last

    def recall(self, groups: Sequence[TargetGroup], /) -> None:
        """The groups of an earlier life."""
        self._recalled = groups

    async def run(self, up: Up, /) -> None:
        """Sends groups whenever the registry or a master tells something."""
        self._up = up
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            if self._masters:
                self._go_over(self._masters)
            tasks.create_task(self._registry.run(self._listed))

    def _listed(self, _: Sequence[TargetGroup], /) -> None:
        self._teller = self._registry
        registered = self._registry.registered
        # between two leaders there is none: a primary that died is to be seen as one that is down
        leader = (registered.leader if registered is not None else None) or self._leader
        changed, self._leader = leader != self._leader, leader
        if leader is not None and not self._masters and (changed or self._asking is None):
            self._go_over((leader_host(leader),))
        self._changed()

    def _go_over(self, masters: tuple[Host, ...]) -> None:
        if self._ask is None:
            return
        if self._task is not None and self._asking is not None:
            self._before = _totals(self._before, self._asking.status())
            self._task.cancel()
        self._asking = self._ask(masters)
        self._asking.recall(self._standing())
        self._task = self._tasks.create_task(self._asking.run(partial(self._told_by, self._asking)))

    def _told_by(self, asking: Asking, groups: Sequence[TargetGroup], /) -> None:
        self._teller = asking
        self._told(groups)

    def _standing(self) -> Sequence[TargetGroup]:
        return self._recalled

    @abstractmethod
    def _changed(self) -> None:
        """The registry was listed."""

    @abstractmethod
    def _told(self, groups: Sequence[TargetGroup], /) -> None:
        """Masters told something."""

    def _answered(self) -> bool:
        """Whether the masters' last word is of now."""
        status = self._asking.status() if self._asking is not None else ProviderStatus()
        return status.last_success is not None and not status.last_error

    def prompt(self) -> Prompt:
        """What made the one look that told last."""
        return self._teller.prompt() if isinstance(self._teller, Prompted) else "poll"

    def passed_over(self) -> Sequence[PassedOver]:
        """What those who asked the masters made no target of."""
        return self._asking.passed_over() if isinstance(self._asking, Choosy) else ()

    def cluster_state(self) -> ClusterState | None:
        """What masters tell. Where they change, as the leader does, it is called by the discovery's URL."""
        told = self._asking.cluster_state() if isinstance(self._asking, Stateful) else None
        return told if told is None or self._masters else replace(told, cluster=str(self._registry.discovery))

    def status(self) -> ProviderStatus:
        """How the registry and the masters fare."""
        asked = [self._asking.status()] if self._asking is not None else []
        return together([self._registry.status(), self._before, *asked])


def _totals(*parts: ProviderStatus) -> ProviderStatus:
    whole = together(parts)
    return ProviderStatus(refreshes=whole.refreshes, failures=whole.failures)


class DiscoveredNodes(Discovered):
    """The masters and nodes: as they are registered, with what the masters tell of them."""

    def __init__(
        self,
        registry: Registry,
        masters: tuple[Host, ...],
        ask: Ask | None,
        *,
        sources: frozenset[str],
        port: str,
        scheme: str | None,
    ) -> None:
        super().__init__(registry, masters, ask)
        self._sources, self._port, self._scheme = sources, port, scheme
        self._configured = targets.masters(masters, port=port, scheme=scheme)
        self._nodes: TargetGroup | None = None  # as masters told them last
        self._has_told = False  # in this life
        self._registered: frozenset[str] = frozenset()  # when it was last looked
        self._left: set[str] = set()  # registered no more since the masters' last word
        self._memo: Joined = {}
        self._seen: tuple[object, ...] = ()  # what the group was made of
        self._group = TargetGroup(targets.NODES)
        self._gauges: tuple[Gauge, ...] = ()
        self._waits_until: float | None = None

    def sources(self) -> frozenset[str]:
        """As of an entry without ``discovery``."""
        return self._sources

    def fixed(self) -> frozenset[str]:
        """The masters, where the configuration names them."""
        return self._sources & {targets.MASTERS} if self._masters else frozenset()

    def recall(self, groups: Sequence[TargetGroup], /) -> None:
        """Labels of nodes that no master may tell this time; who was registered; the last leader."""
        super().recall(groups)
        self._nodes, self._registered = recalled(groups)
        if not self._masters:
            self._leader = recalled_leader(groups)

    def _changed(self) -> None:
        now = self._registry.registered
        if now is not None:
            nodes = frozenset(now.nodes)
            self._left = (self._left | (self._registered - nodes)) - nodes
            self._registered = nodes
        self._send()

    def _told(self, groups: Sequence[TargetGroup], /) -> None:
        for group in groups:
            if group.source == targets.MASTERS and self._masters:
                self._configured = group
            elif group.source == targets.NODES:
                self._nodes, self._has_told = group, True
                self._left.clear()
        self._send()

    def _send(self) -> None:
        listed = self._registry.registered is not None
        groups = []
        if targets.MASTERS in self._sources and (listed or self._masters):
            masters = with_leader(self._configured, self._leader, port=self._port, scheme=self._scheme)
            groups.append(masters)
        if targets.NODES in self._sources and listed and not self._waits():
            groups.append(self._joined())
        if groups:
            self._up(groups)

    def _waits(self) -> bool:
        """Whether the first list still waits for the masters."""
        if self._asking is None or self._has_told:
            return False
        now = time.monotonic()
        if self._waits_until is None:
            self._waits_until = now + FIRST_WAIT
            self._tasks.create_task(self._send_later())
        return now < self._waits_until

    async def _send_later(self) -> None:
        await asyncio.sleep(FIRST_WAIT)
        if not self._has_told:
            self._send()

    def _joined(self) -> TargetGroup:
        # nobody can tell that they are still there; where a master can, its answer is waited for
        left = frozenset() if self._answered() else frozenset(self._left)
        seen = (self._nodes, self._registered, left)
        if seen != self._seen:
            self._group = joined(
                self._nodes,
                self._registered,
                left=left,
                port=self._port,
                scheme=self._scheme,
                memo=self._memo,
            )
            self._gauges = counted(self._group)
            self._seen = seen
        return self._group

    def status(self) -> ProviderStatus:
        """How they fare. That a leader cannot be asked is no failure: the nodes are known without it."""
        whole, store = super().status(), self._registry.status()
        if self._masters:
            return replace(whole, gauges=self._gauges)
        return replace(
            whole,
            last_error=store.last_error,
            last_success=store.last_success,
            last_duration=store.last_duration,
            gauges=self._gauges,
        )


class DiscoveredContainers(Discovered):
    """The containers, as the leader tells them."""

    def __init__(self, registry: Registry, ask: Ask) -> None:
        super().__init__(registry, (), ask)
        self._groups: dict[str, TargetGroup] = {}
        self._heard: Asking | None = None  # who told last

    def sources(self) -> frozenset[str]:
        """Those of the last list."""
        return frozenset(self._groups)

    def _standing(self) -> Sequence[TargetGroup]:
        return tuple(self._groups.values()) or self._recalled

    def _changed(self) -> None:
        """Nothing: there are only the leader's lists."""

    def _told(self, groups: Sequence[TargetGroup], /) -> None:
        gone: list[TargetGroup] = []
        if self._heard is not self._asking:  # a first list has everything, but does not know what was before
            self._heard = self._asking
            named = {group.source for group in groups}
            gone = [TargetGroup(source) for source in self._groups if source not in named]
        for group in (*groups, *gone):
            self._groups[group.source] = group
            if not group.targets:
                del self._groups[group.source]
        self._up([*groups, *gone])

    def status(self) -> ProviderStatus:
        """How they fare; without a leader there is nobody to ask."""
        status = super().status()
        if self._asking is None and self._registry.registered is not None:
            return replace(status, last_error=f"{self._registry.discovery}: no manager is the leader (yet)")
        return status
