"""Maps a classic Swarm to target groups: its masters and its nodes. Pure.

Source: retrieval/discovery/swarm/discovery.go of the 2016 plugin; where we differ and why:
docs/classic-swarm.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.swarm.info import Info, Node, split_labels
from swarm_sd.model import (
    ADDRESS,
    SCHEME,
    Labels,
    TargetGroup,
    join_host_port,
    meta_labels,
    sanitize_label_name,
)

MASTERS = "swarm_masters"
NODES = "swarm_nodes"

META = "__meta_swarm_"
ROLE = META + "role"
NODE_LABEL = META + "node_label_"
NODE_ADDRESS = META + "node_address"
MASTER_ROLE = META + "master_role"
REGISTERED = META + "node_registered"
IN_INFO = META + "node_in_info"

Memo: TypeAlias = dict[tuple[str | None, ...], Labels]


def masters(
    hosts: Iterable[Host], *, port: str, scheme: str | None = None, roles: Mapping[str, str] | None = None
) -> TargetGroup:
    """One target per configured master, up or not. ``roles``: primary or replica by host, where known."""
    targets = [_master(host, port, scheme, (roles or {}).get(host)) for host in dict.fromkeys(hosts)]
    return TargetGroup(MASTERS, tuple(targets), {ROLE: "master"})


def _master(host: Host, port: str, scheme: str | None, role: str | None) -> Labels:
    # a master behind a socket is on this very machine
    name = host.hostname or "localhost"
    labels = {ADDRESS: join_host_port(name, port), "instance": _instance(host)}
    if scheme or host.scheme in ("http", "https"):
        labels[SCHEME] = scheme or host.scheme
    if role:
        labels[MASTER_ROLE] = role
    return labels


def _instance(host: Host) -> str:
    if host.scheme == "unix":
        return host.path
    if host.port is not None:
        return join_host_port(host.hostname, host.port)
    return f"[{host.hostname}]" if ":" in host.hostname else host.hostname


def nodes(info: Info, *, port: str, scheme: str | None = None, memo: Memo | None = None) -> TargetGroup:
    """One target per node, whatever its status, in order of address.

    ``memo`` is the work of the last refresh: a node that is the same gets the same target object. It is
    brought up to date in place.
    """
    done: Memo = {}
    known = memo if memo is not None else {}
    for node in info.nodes:
        rows = node.rows.get
        key = (node.name, node.address, rows("ID"), rows("Status"), rows("Labels"), rows("ServerVersion"))
        done[key] = known.get(key) or node_target(node, port, scheme)
    if memo is not None:
        memo.clear()
        memo.update(done)
    in_order = sorted(done.values(), key=_by_address)
    return TargetGroup(NODES, tuple(in_order), {ROLE: "node"})


def _by_address(target: Labels) -> tuple[str, str]:
    return target[ADDRESS], target["instance"]


def node_target(node: Node, port: str, scheme: str | None) -> Labels:
    """The target of one node."""
    labels = {ADDRESS: join_host_port(node.host, port), "instance": node_address(node)}
    if scheme:
        labels[SCHEME] = scheme
    labels.update(node_meta(node))
    return labels


def node_meta(node: Node, exact: Mapping[str, str] | None = None) -> dict[str, str]:
    """The meta labels that speak of a node. ``exact``: its labels, where more is known than the row tells."""
    labels = {NODE_ADDRESS: node_address(node)}
    if node.name:
        labels[META + "node_name"] = node.name
    for row, name in _ROWS:
        if value := node.rows.get(row):
            labels[name] = value
    if exact is not None:
        labels.update(meta_labels(NODE_LABEL, exact.items()))
    elif text := node.rows.get("Labels"):
        labels.update(node_labels(text))
    return labels


_ROWS = (
    ("ID", META + "node_id"),
    ("Status", META + "node_status"),
    ("ServerVersion", META + "node_server_version"),
)


def node_address(node: Node) -> str:
    """``host:port`` as listed, IPv6 in brackets; the host alone where no port is."""
    return f"[{node.host}]" if node.address == node.host and ":" in node.host else node.address


def node_labels(text: str) -> Labels:
    """The meta labels of a ``Labels`` row; of keys that become one name as in ``meta_labels``."""
    pieces = text.split(", ")
    if pieces == sorted(pieces) and None not in (metas := list(map(_meta, pieces))):
        found = dict(filter(None, metas))
        if len(found) == len(pieces) and "" not in found.values():
            return found
    split = (pair.partition("=") for pair in split_labels(text))
    return meta_labels(NODE_LABEL, ((key, value) for key, equals, value in split if equals))


@lru_cache(maxsize=131_072)  # most labels are those of many nodes
def _meta(pair: str) -> tuple[str, str] | None:
    key, equals, value = pair.partition("=")
    return (NODE_LABEL + sanitize_label_name(key), value) if equals else None


def with_memory(info: Info, last: Mapping[str, Node]) -> Info:
    """``info`` with what is known of nodes that the manager has not reached itself.

    A manager that has just started lists a node as ``(unknown)``, without labels, until its engine
    answers; the node is the same, so its name, ID and labels of the last answer stand.
    """
    if all(node.name is not None for node in info.nodes):
        return info
    return info._replace(nodes=tuple(_remembered(node, last.get(node.address)) for node in info.nodes))


def remember(info: Info, last: Mapping[str, Node]) -> dict[str, Node]:
    """What ``with_memory`` shall know next time: also nodes that are not listed now, for a manager that
    restarts lists none at first; not more of those than would be a Swarm of twice the size.
    """
    listed = {node.address: node for node in info.nodes if node.name is not None}
    unlisted = [address for address in last if address not in listed]
    most = max(len(last), len(listed), 100)
    return {**{address: last[address] for address in unlisted[-most:]}, **listed}


def _remembered(node: Node, last: Node | None) -> Node:
    if node.name is not None or last is None or last.name is None:
        return node
    kept = {name: value for name, value in last.rows.items() if name in ("ID", "Labels", "ServerVersion")}
    return node._replace(name=last.name, rows={**node.rows, **kept})


def recalled_roles(groups: Iterable[TargetGroup], hosts: Iterable[Host]) -> dict[str, str]:
    """The roles that a group of masters made before tells, by host."""
    told = {
        target.get("instance"): target[MASTER_ROLE]
        for group in groups
        if group.source == MASTERS
        for target in group.targets
        if MASTER_ROLE in target
    }
    return {host: told[_instance(host)] for host in hosts if _instance(host) in told}


def master_roles(
    info: Info, answered: Host, hosts: Sequence[Host], roles: Mapping[str, str]
) -> dict[str, str]:
    """Which configured master is primary or replica, after ``answered`` gave ``info``.

    ``roles`` is what was known before. There is one primary: when another turns up, the role of the one
    before it is unknown until it answers itself.
    """
    known = dict(roles)
    if info.role is None:
        known.pop(answered, None)
        return known
    if info.role == "primary":
        primary: str | None = answered
    else:
        known[answered] = info.role
        primary = next((host for host in hosts if host != answered and _instance(host) == info.primary), None)
    if primary is not None:
        known = {host: role for host, role in known.items() if role != "primary"}
        known[primary] = "primary"
    return known


def forget() -> None:
    """Empties the cache of labels: for measurements of a first refresh."""
    _meta.cache_clear()
