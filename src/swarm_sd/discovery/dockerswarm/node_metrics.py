"""The nodes of a swarm as metrics. Pure. docs/swarm-metrics.md describes each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

from swarm_sd.discovery.docker_api.wire import Node
from swarm_sd.provider import Family, Metric, Sample

Nodes: TypeAlias = Mapping[str, Node]
"""By ID."""

_NODE: Final = ("node", "hostname")  # two nodes may have one host name: one that left, and what came back

INFO: Final = Metric(
    # not swarm_node_info: every Docker engine has a metric of that name, about itself
    "swarm_node_description_info",
    "gauge",
    "What a node is.",
    (*_NODE, "address", "role", "os", "architecture", "engine_version"),
)
STATE: Final = Metric("swarm_node_state", "gauge", "Whether the node is in this state.", (*_NODE, "state"))
AVAILABILITY: Final = Metric(
    "swarm_node_availability", "gauge", "Whether the node has this availability.", (*_NODE, "availability")
)
REACHABILITY: Final = Metric(
    "swarm_node_manager_reachability",
    "gauge",
    "Whether the manager is seen so by the other managers.",
    (*_NODE, "reachability"),
)
LEADER: Final = Metric("swarm_node_manager_leader", "gauge", "Whether the manager is the leader.", _NODE)
CPUS: Final = Metric("swarm_node_cpu_cores", "gauge", "CPUs of the node.", _NODE)
MEMORY: Final = Metric("swarm_node_memory_bytes", "gauge", "Memory of the node.", _NODE)
RESERVED_CPUS: Final = Metric(
    "swarm_node_reserved_cpu_cores", "gauge", "CPUs reserved for tasks on the node.", _NODE
)
RESERVED_MEMORY: Final = Metric(
    "swarm_node_reserved_memory_bytes", "gauge", "Memory reserved for tasks on the node.", _NODE
)

# Source: NodeState, NodeAvailability and Reachability in api/types/swarm of moby
_STATES: Final = ("unknown", "down", "ready", "disconnected")
_AVAILABILITIES: Final = ("active", "pause", "drain")
_REACHABILITIES: Final = ("unknown", "unreachable", "reachable")

_NANO: Final = 1e9


def of_nodes(nodes: Nodes) -> list[Family]:
    """What the list of nodes tells."""
    managers = {name: node for name, node in nodes.items() if node.manager_status is not None}
    return [
        Family(INFO, lambda: [(_described(node), 1) for node in nodes.values()]),
        Family(STATE, partial(_set, nodes, _STATES, lambda node: node.status.state)),
        Family(AVAILABILITY, partial(_set, nodes, _AVAILABILITIES, lambda node: node.spec.availability)),
        Family(REACHABILITY, partial(_set, managers, _REACHABILITIES, _reachability)),
        Family(LEADER, lambda: [(_named(node), _leads(node)) for node in managers.values()]),
        Family(CPUS, partial(_filled, nodes, lambda node: node.description.resources.nano_cpus / _NANO)),
        Family(MEMORY, partial(_filled, nodes, lambda node: node.description.resources.memory_bytes)),
    ]


def of_reservations(nodes: Nodes, reserved: Mapping[str, tuple[int, int]]) -> list[Family]:
    """What is reserved: (billionths of a CPU, bytes) by ID of the node."""
    none = (0, 0)
    return [
        Family(
            RESERVED_CPUS,
            lambda: [(_named(node), reserved.get(name, none)[0] / _NANO) for name, node in nodes.items()],
        ),
        Family(
            RESERVED_MEMORY,
            lambda: [(_named(node), reserved.get(name, none)[1]) for name, node in nodes.items()],
        ),
    ]


def _named(node: Node) -> tuple[str, ...]:
    return node.id, node.description.hostname


def _described(node: Node) -> tuple[str, ...]:
    description = node.description
    platform = description.platform
    return (
        *_named(node),
        node.status.addr,
        node.spec.role,
        platform.os,
        platform.architecture,
        description.engine.engine_version,
    )


def _reachability(node: Node) -> str:
    return "" if node.manager_status is None else node.manager_status.reachability


def _leads(node: Node) -> bool:
    return node.manager_status is not None and node.manager_status.leader


def _set(nodes: Nodes, states: Sequence[str], state: Callable[[Node], str]) -> Iterator[Sample]:
    """1 for the state that each node is in, 0 for the others; nothing where it is not told."""
    for node in nodes.values():
        if now := state(node):
            for one in states if now in states else (*states, now):
                yield (*_named(node), one), one == now


def _filled(nodes: Nodes, value: Callable[[Node], float]) -> Iterator[Sample]:
    """The values that are told: a node that never was ready has none."""
    for node in nodes.values():
        if now := value(node):
            yield _named(node), now
