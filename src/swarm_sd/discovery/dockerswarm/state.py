"""The state of a swarm as metrics, made of the lists that stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

from swarm_sd.discovery.docker_api.cluster import Cluster
from swarm_sd.discovery.docker_api.listed import Listed
from swarm_sd.discovery.docker_api.lists import NODES, SERVICES, TASKS, Asked, Lists, by_id, by_service
from swarm_sd.discovery.dockerswarm import node_metrics, service_metrics
from swarm_sd.discovery.dockerswarm.task_counts import Restarts, counted, reserved
from swarm_sd.provider import Family


class SwarmState:
    """What lists tell, worked out again only where they are others than last time."""

    def __init__(self) -> None:
        self._restarts = Restarts()
        self._nodes, self._services, self._tasks, self._reserved = _Kept(), _Kept(), _Kept(), _Kept()

    def families(self, lists: Lists) -> list[Family]:
        """The metrics. Of tasks nothing where only some of them are listed: their numbers would be wrong."""
        nodes, services, tasks = lists.of(NODES), lists.of(SERVICES), lists.listed(Asked(TASKS))
        families = [
            *self._nodes(nodes, lambda: node_metrics.of_nodes(_merged(nodes))),
            *self._services(services, lambda: service_metrics.of_services(_merged(services))),
        ]
        if tasks is None:
            return families + self._tasks(services, lambda: service_metrics.without_tasks(_merged(services)))
        families += self._tasks([*nodes, *services, tasks], lambda: self._of_tasks(nodes, services, tasks))
        return families + self._reserved(
            [*nodes, *services, tasks], lambda: _of_reservations(nodes, services, tasks)
        )

    def _of_tasks(
        self, nodes: Sequence[Listed[Any]], services: Sequence[Listed[Any]], tasks: Listed[Any]
    ) -> list[Family]:
        known, groups = _merged(services), by_service(tasks)
        down = {name for name, node in _merged(nodes).items() if node.status.state == "down"}
        counts = {name: counted(service, groups.get(name, ()), down) for name, service in known.items()}
        return service_metrics.of_tasks(known, counts, self._restarts.look(known, groups))


def _of_reservations(
    nodes: Sequence[Listed[Any]], services: Sequence[Listed[Any]], tasks: Listed[Any]
) -> list[Family]:
    return node_metrics.of_reservations(_merged(nodes), reserved(_merged(services), by_service(tasks)))


def _merged(lists: Sequence[Listed[Any]]) -> dict[str, Any]:
    """The objects of all lists by ID."""
    return {name: one for listed in lists for name, one in by_id(listed).items()}


class _Kept:
    """Metrics that are made again when one of the lists that they are made of is another one."""

    def __init__(self) -> None:
        self._of: list[ref[Listed[Any]]] = []  # what is out of date is not kept for this
        self._families: list[Family] = []

    def __call__(self, of: Sequence[Listed[Any]], make: Callable[[], list[Family]]) -> list[Family]:
        if len(self._of) != len(of) or any(was() is not one for was, one in zip(self._of, of, strict=True)):
            self._families, self._of = make(), [ref(one) for one in of]
        return self._families


_states: WeakKeyDictionary[Cluster, SwarmState] = WeakKeyDictionary()


def state_of(cluster: Cluster) -> SwarmState:
    """The state of a cluster: those who share the cluster share what is remembered of it."""
    return _states.setdefault(cluster, SwarmState())
