"""What masters tell and what is registered, joined by address. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.swarm import targets
from swarm_sd.discovery.swarm.info import Node, split_address
from swarm_sd.model import ADDRESS, Labels, TargetGroup
from swarm_sd.provider import Gauge

Joined: TypeAlias = dict[str, tuple[Labels | None, bool, bool | None, Labels]]
"""By address: what a target was made of, and the target."""

_BOOL = {True: "true", False: "false"}


def leader_host(leader: str) -> Host:
    """Where the manager that the leader's key names is asked."""
    return Host.from_yaml(f"tcp://{leader}")


def with_leader(group: TargetGroup, leader: str | None, *, port: str, scheme: str | None) -> TargetGroup:
    """The masters with ``leader`` as the primary: one of them, or one more."""
    if leader is None:
        return group
    masters = [_with_role(target, leader) for target in group.targets]
    if all(target["instance"] != leader for target in masters):
        host = leader_host(leader)
        masters += targets.masters((host,), port=port, scheme=scheme, roles={host: "primary"}).targets
    return TargetGroup(group.source, tuple(masters), group.labels)


def _with_role(target: Labels, leader: str) -> Labels:
    if target["instance"] == leader:
        return {**target, targets.MASTER_ROLE: "primary"}
    if target.get(targets.MASTER_ROLE) == "primary":  # there is one
        return {name: value for name, value in target.items() if name != targets.MASTER_ROLE}
    return target


def joined(
    told: TargetGroup | None,
    registered: Collection[str],
    *,
    left: Collection[str] = (),
    port: str,
    scheme: str | None = None,
    memo: Joined | None = None,
) -> TargetGroup:
    """One target per node, in order of address: those that are registered and those that a master told.

    ``told``: the group of nodes out of ``/info``, None while no master has told; ``left``: those of them that
    are none any more. ``memo`` is the work of last time: a node of which the same is known gets the same
    target object.
    """
    by_address = {target[targets.NODE_ADDRESS]: target for target in told.targets} if told else {}
    here, known, done = frozenset(registered), memo if memo is not None else {}, Joined()
    for address in {**dict.fromkeys(registered), **by_address}:
        if address in left and address not in here:
            continue
        labels = by_address.get(address)
        in_info = None if told is None else labels is not None
        before = known.get(address)
        if before is not None and before[0] is labels and before[1:3] == (address in here, in_info):
            done[address] = before
        else:
            made = _target(labels or _only_registered(address, port, scheme), address in here, in_info)
            done[address] = (labels, address in here, in_info, made)
    if memo is not None:
        memo.clear()
        memo.update(done)
    in_order = sorted((one[-1] for one in done.values()), key=_by_address)
    return TargetGroup(targets.NODES, tuple(in_order), {targets.ROLE: "node"})


def _by_address(target: Labels) -> tuple[str, str]:
    return target[ADDRESS], target["instance"]


def _target(labels: Labels, registered: bool, in_info: bool | None) -> Labels:
    made = {**labels, targets.REGISTERED: _BOOL[registered]}
    if in_info is not None:
        made[targets.IN_INFO] = _BOOL[in_info]
    return made


def _only_registered(address: str, port: str, scheme: str | None) -> Labels:
    host, _ = split_address(address) or (address, None)
    return targets.node_target(Node(None, address, host, {}), port, scheme)


def recalled(groups: Iterable[TargetGroup]) -> tuple[TargetGroup | None, frozenset[str]]:
    """(what masters told, who was registered) according to groups made before."""
    nodes = [target for group in groups if group.source == targets.NODES for target in group.targets]
    was = frozenset(one[targets.NODE_ADDRESS] for one in nodes if one.get(targets.REGISTERED) == "true")
    ours = (targets.REGISTERED, targets.IN_INFO)
    told = tuple(
        {name: value for name, value in one.items() if name not in ours}
        for one in nodes
        if one.get(targets.IN_INFO) == "true"
    )
    return (TargetGroup(targets.NODES, told) if told else None), was


def recalled_leader(groups: Iterable[TargetGroup]) -> str | None:
    """The primary according to groups made before."""
    masters = [target for group in groups if group.source == targets.MASTERS for target in group.targets]
    found = (one["instance"] for one in masters if one.get(targets.MASTER_ROLE) == "primary")
    return next(found, None)


def counted(nodes: TargetGroup) -> tuple[Gauge, ...]:
    """How many nodes are registered, in /info, or both; what nobody can tell has an empty label."""
    pairs = Counter((one[targets.REGISTERED], one.get(targets.IN_INFO, "")) for one in nodes.targets)
    if not any(in_info == "" for _, in_info in pairs):
        for pair in (("true", "true"), ("true", "false"), ("false", "true")):
            pairs.setdefault(pair, 0)
    return tuple(_gauge(pair, count) for pair, count in sorted(pairs.items()))


def _gauge(pair: tuple[str, str], count: int) -> Gauge:
    labels: Mapping[str, str] = {"registered": pair[0], "in_info": pair[1]}
    return Gauge("swarm_nodes", "Nodes by whether they are registered, and in /info.", labels, count)
