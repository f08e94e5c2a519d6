"""What an entry's cluster has besides its targets: labels and networks of objects that are none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from swarm_sd.discovery.docker_api.client import DockerAPI, Get
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.lists import NETWORKS, SERVICES, TASKS
from swarm_sd.discovery.docker_api.sd_config import DockerAPIConfig
from swarm_sd.discovery.docker_api.wire import (
    Network,
    Service,
    Task,
    decode_networks,
    decode_services,
    decode_tasks,
)
from swarm_sd.discovery.dockerswarm.labels import CONTAINER_LABEL, SERVICE
from swarm_sd.discovery.dockerswarm.own_networks import OwnNetworks, own_container
from swarm_sd.model import Labels, meta_labels
from swarm_sd.provider import DiscoveryError


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``owners``: meta labels with the services that have them. ``networks``: None where they are not told.

    ``own``: IDs of the networks that swarm-sd's own container is on; None where it is in none, or not found.
    """

    owners: Mapping[str, set[str]] = field(default_factory=dict)
    networks: Sequence[Network] | None = None
    own: tuple[str, ...] | None = None


async def surroundings(hosts: Sequence[Host], config: DockerAPIConfig, *, timeout: float) -> Surroundings:
    """What one of ``hosts`` tells; what it does not tell is left out."""
    api = DockerAPI(hosts, config, timeout=timeout, negotiate=True)
    try:
        _, (services, tasks, networks) = await api.ask(_lists)
    except DiscoveryError:
        return Surroundings()
    finally:
        await api.close()
    own = await _own_networks(config, tasks or (), timeout)
    return Surroundings(owners(services or (), tasks or ()), networks, own)


async def _lists(_: Host, get: Get) -> tuple[Any, Any, Any]:
    async def told(path: str, read: Any) -> Any:
        try:
            return await get(path, read)
        except DiscoveryError:
            return None

    return (
        await told(SERVICES, decode_services),
        await told(TASKS, decode_tasks),
        await told(NETWORKS, decode_networks),
    )


def owners(services: Iterable[Service], tasks: Iterable[Task]) -> Mapping[str, set[str]]:
    """The services that have each label, on themselves or on their containers, by its meta label. Pure."""
    found: dict[str, set[str]] = {}
    names = {}

    def add(prefix: str, labels: Labels | None, name: str) -> None:
        for one in meta_labels(prefix, (labels or {}).items()):
            found.setdefault(one, set()).add(name)

    for service in services:
        names[service.id] = service.spec.name
        add(SERVICE + "label_", service.spec.labels, service.spec.name)
    for task in tasks:
        spec = task.spec.container_spec
        if spec is not None and task.service_id in names:
            add(CONTAINER_LABEL, spec.labels, names[task.service_id])
    return found


async def _own_networks(
    config: DockerAPIConfig, tasks: Sequence[Task], timeout: float
) -> tuple[str, ...] | None:
    container = await asyncio.to_thread(own_container)
    if not container:
        return None
    own = OwnNetworks(config, container, timeout=timeout)
    try:
        return await own.find(tasks)
    except DiscoveryError:
        return None  # the machine's Docker is another one; an entry that says auto tells so itself
    finally:
        await own.close()
