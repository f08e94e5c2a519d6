"""The containers of a classic Swarm as target groups. Pure.

Source: what ``/containers/json`` of v0.1.0 to v1.2.9 answers (api/handlers.go, getContainersJSON); the labels
of a container as docker_sd_configs has them. docs/classic-swarm.md gives the rules.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from swarm_sd.discovery.docker_api import wire
from swarm_sd.discovery.docker_api.containers import (
    META,
    Networks,
    container_labels,
    network_owner,
    port_labels,
    tcp_ports,
)
from swarm_sd.discovery.docker_api.targets import NO_ADDRESS, NO_NAME, Made, Mapped, Memo, Odd, filled, mapped
from swarm_sd.discovery.swarm.targets import ROLE
from swarm_sd.model import ADDRESS, SCHEME, Labels, TargetGroup, join_host_port

UNKNOWN_NODE: Final = "unknown_node"
"""The reason for a container whose node cannot be told (yet)."""

NODE_DOWN = ("Host Down", "Pending")  # v0.1 and v0.2 say Pending
_WITHOUT_ADDRESS = "it has no address in a network, and publishes no port of its own on its node"
_UP = ("Up", "Restarting")
_UP_STATES = ("running", "paused", "restarting")


class Container(wire.Container, frozen=True):
    """One of a Swarm's ``/containers/json``. ``status``: the state in words; ``state`` only from v1.2.1."""

    status: str = ""


class Place(NamedTuple):
    """A container's node: its address without the port, and the labels that speak of it."""

    host: str
    labels: Labels


class _Item(NamedTuple):
    """What a container's group is made of: all but what changes while the container stays."""

    container: wire.Container
    mode: str  # of the network that it is in
    networks: Networks
    place: Place | None


ContainersMemo: TypeAlias = Memo[_Item]


def source(container: Container) -> str:
    """The source of its group."""
    return f"container/{container.id}"


def node_and_name(container: Container) -> tuple[str, str] | None:
    """(name of the node, its own name beginning with a slash) out of ``/node/name``; None without such.

    A container that others link to has longer names too: ``/node/other/alias``.
    """
    names = [name for name in container.names or () if name.count("/") >= 2 and name.startswith("/")]
    if not names:
        return None
    node, _, own = min(names, key=lambda name: name.count("/"))[1:].partition("/")
    return node, f"/{own}"


def is_up(container: Container, stood: Collection[str]) -> bool:
    """Whether it runs, as far as is known. ``stood``: the sources of the groups of last time.

    On a node that is down the words say only that: it runs if that was its last state, and where the release
    tells no state, if it did last time. On other nodes the words are right, and the state may be old.
    """
    if container.status in NODE_DOWN:
        return container.state in _UP_STATES if container.state else source(container) in stood
    return container.status.startswith(_UP)


def containers(
    listed: Iterable[Container],
    place: Callable[[Container], Place | None],
    *,
    port: str,
    scheme: str | None = None,
    stood: Collection[str] = (),
    memo: ContainersMemo | None = None,
) -> Mapped:
    """One group ``container/<ID>`` per container that runs: a target for each of its TCP ports.

    ``place`` tells its node; ``port`` is for containers that expose none.
    """
    everyone = list(listed)
    by_id: dict[str, wire.Container] = {container.id: container for container in everyone}

    def make(source: str, item: _Item) -> Made:
        container, place = item.container, item.place
        if not container.names:
            return Made(TargetGroup(source), (Odd(NO_NAME, container),))
        if place is None:
            return Made(TargetGroup(source), (Odd(UNKNOWN_NODE, container),))
        targets = tuple(_targets(item, place.host, port))
        labels = {ROLE: "container", **container_labels(container, container.names[0]), **place.labels}
        if scheme:
            labels[SCHEME] = scheme
        untargeted = () if targets else (Odd(NO_ADDRESS, container, _WITHOUT_ADDRESS),)
        return Made(TargetGroup(source, targets, labels), (), untargeted)

    items = ((source(one), _item(one, by_id, place)) for one in everyone if is_up(one, stood))
    return mapped(items, make, memo=memo, context=(port, scheme), known_networks=True)


def _item(
    container: Container, by_id: dict[str, wire.Container], place: Callable[[Container], Place | None]
) -> _Item:
    owner = network_owner(container, by_id)
    found = node_and_name(container)
    lasting = wire.Container(
        id=container.id,
        names=[found[1]] if found else None,
        image=container.image,
        image_id=container.image_id,
        ports=tcp_ports(container),
        labels=container.labels,
        host_config=container.host_config,
    )
    networks = owner.network_settings.networks or {}
    return _Item(lasting, owner.host_config.network_mode, networks, place(container) if found else None)


def _targets(item: _Item, host: str, port: str) -> Iterator[Labels]:
    # the host's network has the node's address; before v1.2.0 only the network's name tells
    on_the_host = item.mode == "host" or "host" in item.networks
    name, ip, network_id = _network(item.networks)
    here = host if on_the_host else ip
    shared = filled({META + "network_ip": ip, META + "network_name": name, META + "network_id": network_id})
    ports = item.container.ports or ()
    for one in ports:
        public = _public_host(one, host)
        if public is not None:
            address = join_host_port(public, one.public_port)
        elif here:
            address = join_host_port(here, one.private_port)
        else:
            continue
        yield {ADDRESS: address, **port_labels(one), **shared}
    if not ports and here:
        yield {ADDRESS: join_host_port(here, port), **shared}


def _public_host(port: wire.Port, host: str) -> str | None:
    """Where on the node a port is published; None where it is not, or for the node alone."""
    if port.public_port <= 0:
        return None
    try:
        ip = ipaddress.ip_address(port.ip)
    except ValueError:
        return host
    if ip.is_loopback:
        return None
    return host if ip.is_unspecified else port.ip


def _network(networks: Networks) -> tuple[str, str, str]:
    """(name, address, ID) of the network that is first by name, of those in which it has an address."""
    for name, endpoint in sorted(networks.items(), key=lambda item: item[0]):
        if endpoint is not None and (ip := endpoint.ip_address or endpoint.global_ipv6_address):
            return name, ip, endpoint.network_id
    return "", "", ""
