"""The state of a classic Swarm as metrics, out of a manager's ``/info``. Pure.

docs/swarm-metrics.md describes each. Source: cluster/swarm/cluster.go (Info) of docker/swarm, and
docker/go-units (BytesSize) for the units; what a manager's version does not tell is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Final

from swarm_sd.discovery.swarm import targets
from swarm_sd.discovery.swarm.info import Info, Node, parse_info
from swarm_sd.provider import Family, Metric, Sample

NODES: Final = Metric("swarm_classic_nodes", "gauge", "Nodes by status.", ("status",))
UP: Final = Metric("swarm_classic_node_up", "gauge", "Whether the manager can use the node.", ("node",))
INFO: Final = Metric(
    "swarm_classic_node_info", "gauge", "What a node is.", ("node", "name", "id", "server_version")
)
CONTAINERS: Final = Metric(
    "swarm_classic_node_containers", "gauge", "Containers on the node by state.", ("node", "state")
)
CPUS: Final = Metric("swarm_classic_node_cpu_cores", "gauge", "CPUs of the node.", ("node",))
RESERVED_CPUS: Final = Metric(
    "swarm_classic_node_reserved_cpu_cores", "gauge", "CPUs reserved by containers on the node.", ("node",)
)
MEMORY: Final = Metric("swarm_classic_node_memory_bytes", "gauge", "Memory of the node.", ("node",))
RESERVED_MEMORY: Final = Metric(
    "swarm_classic_node_reserved_memory_bytes",
    "gauge",
    "Memory reserved by containers on the node.",
    ("node",),
)
UPDATED: Final = Metric(
    "swarm_classic_node_last_update_timestamp_seconds",
    "gauge",
    "When the manager last heard of the node.",
    ("node",),
)
MANAGER_ROLE: Final = Metric(
    "swarm_classic_manager_role", "gauge", "Whether the manager has this role.", ("manager", "role")
)

_STATUSES: Final = ("Healthy", "Unhealthy", "Pending", "Disconnected")
_ROLES: Final = ("primary", "replica")
_UNKNOWN: Final = "unknown"


def told(body: bytes | bytearray, known: Mapping[str, Node], roles: Mapping[str, str]) -> list[Family]:
    """What a ``/info`` tells; ``known``: nodes by address as they were when last reached, for their names."""
    return families(targets.with_memory(parse_info(body), known), roles)


def families(info: Info, roles: Mapping[str, str]) -> list[Family]:
    """What ``info`` tells of the nodes; ``roles``: those of managers that are known, by host."""
    nodes = {targets.node_address(node): node for node in info.nodes}
    return [
        Family(NODES, partial(_by_status, nodes)),
        Family(UP, partial(_each, nodes, _up)),
        Family(INFO, partial(_described, nodes)),
        Family(CONTAINERS, partial(_containers, nodes)),
        Family(CPUS, partial(_each, nodes, lambda node: _pair(node, "Reserved CPUs", _number)[1])),
        Family(RESERVED_CPUS, partial(_each, nodes, lambda node: _pair(node, "Reserved CPUs", _number)[0])),
        Family(MEMORY, partial(_each, nodes, lambda node: _pair(node, "Reserved Memory", _bytes)[1])),
        Family(
            RESERVED_MEMORY, partial(_each, nodes, lambda node: _pair(node, "Reserved Memory", _bytes)[0])
        ),
        Family(UPDATED, partial(_each, nodes, _updated)),
        Family(MANAGER_ROLE, partial(_roles, dict(roles))),
    ]


def _each(nodes: Mapping[str, Node], value: Callable[[Node], float | None]) -> Iterator[Sample]:
    for address, node in nodes.items():
        if (now := value(node)) is not None:
            yield (address,), now


def _by_status(nodes: Mapping[str, Node]) -> Iterator[Sample]:
    """By the words of the manager; those before v1.0.1 say nothing."""
    counts = Counter(node.status or _UNKNOWN for node in nodes.values())
    for status in _STATUSES if _UNKNOWN not in counts else ():
        counts.setdefault(status, 0)
    yield from (((status,), count) for status, count in counts.items())


def _up(node: Node) -> bool | None:
    return None if node.status is None else node.status == "Healthy"


def _described(nodes: Mapping[str, Node]) -> Iterator[Sample]:
    for address, node in nodes.items():
        # from v1.2.7 on the ID ends in the address
        id_ = (node.id or "").partition("|")[0]
        yield (address, node.name or "", id_, node.server_version or ""), 1


_BY_STATE = re.compile(r"(\d+) (Running|Paused|Stopped)")


def _containers(nodes: Mapping[str, Node]) -> Iterator[Sample]:
    """By state from v1.2.4 on, of a node that is Healthy; else how many there are."""
    for address, node in nodes.items():
        by_state = _BY_STATE.findall(node.rows.get("Containers", ""))
        for count, state in by_state:
            yield (address, state.lower()), int(count)
        if not by_state and (count := node.containers) is not None:
            yield (address, _UNKNOWN), count


def _pair(node: Node, row: str, number: Callable[[str], float | None]) -> tuple[float | None, float | None]:
    """(reserved, total) of ``reserved / total``; neither of a node that was not reached yet: ``0 / 0``."""
    reserved, _, total = node.rows.get(row, "").partition(" / ")
    of = number(total)
    return (number(reserved), of) if of else (None, None)


def _number(text: str) -> float | None:
    return int(text) if text.isascii() and text.isdigit() else None


_UNITS: Final[Mapping[str, int]] = {
    unit: 1024**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
}


def _bytes(text: str) -> float | None:
    """``24.72 GiB``: four digits are all that a manager tells."""
    amount, _, unit = text.strip().partition(" ")
    try:
        return round(float(amount) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        return None


def _updated(node: Node) -> float | None:
    """Seconds since the epoch; nothing for a node that was never heard of, in the year 1."""
    try:
        at = datetime.fromisoformat(node.rows.get("UpdatedAt", ""))
        return at.timestamp() if at.tzinfo is not None and at.year > 1 else None
    except ValueError:
        return None


def _roles(roles: Mapping[str, str]) -> Iterator[Sample]:
    for manager, now in roles.items():
        for role in _ROLES:
            yield (manager, role), role == now
