"""The containers of one engine. Source: discovery/moby/docker.go of prometheus/prometheus at v3.14."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from swarm_sd.discovery.docker_api.containers import (
    META,
    Networks,
    container_labels,
    network_owner,
    port_labels,
    tcp_ports,
)
from swarm_sd.discovery.docker_api.targets import (
    NO_NAME,
    NO_NETWORK,
    NULL_NETWORK,
    Made,
    Mapped,
    Memo,
    Odd,
    filled,
    mapped,
    network_labels,
)
from swarm_sd.discovery.docker_api.wire import Container, EndpointSettings, Network
from swarm_sd.model import ADDRESS, Labels, TargetGroup, join_host_port

_Item: TypeAlias = tuple[Container, Networks]
ContainersMemo: TypeAlias = Memo[_Item]


def containers(
    containers: Iterable[Container],
    networks: Iterable[Network] | None,
    *,
    port: int | str,
    host_networking_host: str = "localhost",
    match_first_network: bool = True,
    memo: ContainersMemo | None = None,
) -> Mapped:
    """One group ``container/<ID>`` per container: its address in each network with each of its TCP ports.

    ``port`` is for containers that expose none, ``host_networking_host`` the whole address of those on the
    host's network. ``match_first_network``: only the network that is first by name. A container that
    shares another's network (``container:<ID>``) has that one's networks, if the other is listed too.
    ``networks`` is None while their list cannot be had.
    """
    listed = list(containers)
    by_id = {container.id: container for container in listed}
    known = network_labels(META, networks)

    def make(source: str, item: _Item) -> Made:
        container, its_networks = item
        if not container.names:
            return Made(TargetGroup(source), (Odd(NO_NAME, container),))
        there = _chosen(its_networks, match_first_network)
        targets = [
            target
            for endpoint in there
            for target in _targets(
                container, endpoint, known.get(endpoint.network_id, {}), str(port), host_networking_host
            )
        ]
        skipped = [
            Odd(NULL_NETWORK, container, name) for name, endpoint in its_networks.items() if endpoint is None
        ]
        group = TargetGroup(source, tuple(targets), container_labels(container, container.names[0]))
        return Made(group, skipped, () if its_networks else (Odd(NO_NETWORK, container, _shared(container)),))

    named = (
        (f"container/{one.id}", (one, network_owner(one, by_id).network_settings.networks or {}))
        for one in listed
    )
    context = (port, host_networking_host, match_first_network, known)
    return mapped(named, make, memo=memo, context=context, known_networks=networks is not None)


def _shared(container: Container) -> str:
    """Why a container has no network where it has another one's."""
    mode = container.host_config.network_mode
    return "it shares the network of a container that is not listed" if mode.startswith("container:") else ""


def _chosen(networks: Networks, first_only: bool) -> list[EndpointSettings]:
    there = [endpoint for _, endpoint in sorted(networks.items(), key=_name) if endpoint is not None]
    return there[:1] if first_only else there


def _name(item: tuple[str, EndpointSettings | None]) -> str:
    return item[0]


def _targets(
    container: Container, endpoint: EndpointSettings, network: Labels, port: str, host: str
) -> Iterator[Labels]:
    ip = endpoint.ip_address or endpoint.global_ipv6_address
    shared = {**filled({META + "network_ip": ip}), **network}
    ports = tcp_ports(container)
    for one in ports:
        yield {ADDRESS: join_host_port(ip, one.private_port), **port_labels(one), **shared}
    if not ports:
        on_the_host = container.host_config.network_mode == "host"
        yield {ADDRESS: host if on_the_host else join_host_port(ip, port), **shared}
