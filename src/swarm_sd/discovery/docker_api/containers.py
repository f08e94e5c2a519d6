"""What the containers of one engine and those of a classic Swarm share: labels, ports, networks. Pure.

Source: discovery/moby/docker.go of prometheus/prometheus at v3.14.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from swarm_sd.discovery.docker_api.targets import filled
from swarm_sd.discovery.docker_api.wire import Container, EndpointSettings, Port
from swarm_sd.model import Labels, meta_labels

META: Final = "__meta_docker_"
CONTAINER: Final = META + "container_"

Networks: TypeAlias = Mapping[str, EndpointSettings | None]


def network_owner(container: Container, by_id: Mapping[str, Container]) -> Container:
    """Whose networks a container has: its own, or with ``container:<ID>`` those of another that is listed."""
    seen: set[str] = set()
    while not container.network_settings.networks:
        mode, colon, other = container.host_config.network_mode.partition(":")
        if mode != "container" or not colon or other in seen or other not in by_id:
            break
        seen.add(other)
        container = by_id[other]
    return container


def tcp_ports(container: Container) -> list[Port]:
    """Its TCP ports in order, each once."""
    # Docker lists ports in another order each time
    ports = [port for port in container.ports or () if port.type == "tcp"]
    by_key = {(port.private_port, port.public_port, port.ip): port for port in ports}
    return [by_key[key] for key in sorted(by_key)]


def port_labels(port: Port) -> Labels:
    """The labels that speak of a port."""
    labels = {"port_private": str(port.private_port)}
    if port.public_port > 0:
        labels |= {"port_public": str(port.public_port), "port_public_ip": port.ip}
    return filled({META + name: value for name, value in labels.items()})


def container_labels(container: Container, name: str) -> Labels:
    """The labels that speak of a container; ``name`` begins with a slash."""
    own = {
        CONTAINER + "id": container.id,
        CONTAINER + "name": name,
        CONTAINER + "network_mode": container.host_config.network_mode,
        CONTAINER + "image": container.image,
        CONTAINER + "image_id": container.image_id,
    }
    return {**filled(own), **meta_labels(CONTAINER + "label_", (container.labels or {}).items())}
