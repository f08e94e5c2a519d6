"""The labels that targets of several roles have. Source: discovery/moby of prometheus/prometheus at v3.14."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from swarm_sd.discovery.docker_api.targets import filled
from swarm_sd.discovery.docker_api.wire import Node, PortConfig, Service, Task
from swarm_sd.model import Labels, meta_labels

META: Final = "__meta_dockerswarm_"
NODE: Final = META + "node_"
NODE_ADDRESS: Final = NODE + "address"
SERVICE: Final = META + "service_"
TASK: Final = META + "task_"
_ID, _DESIRED_STATE, _STATE = TASK + "id", TASK + "desired_state", TASK + "state"
_SLOT, _CONTAINER_ID = TASK + "slot", TASK + "container_id"
CONTAINER_LABEL: Final = META + "container_label_"


def node_labels(node: Node) -> Labels:
    """What a task's targets say of the task's node."""
    description = node.description
    own = {
        NODE + "id": node.id,
        NODE + "role": node.spec.role,
        NODE_ADDRESS: node.status.addr,
        NODE + "availability": node.spec.availability,
        NODE + "hostname": description.hostname,
        NODE + "platform_architecture": description.platform.architecture,
        NODE + "platform_os": description.platform.os,
        NODE + "status": node.status.state,
    }
    return {**filled(own), **meta_labels(NODE + "label_", (node.spec.labels or {}).items())}


def service_labels(service: Service) -> Labels:
    """What a task's targets say of the task's service."""
    spec = service.spec
    own = {SERVICE + "id": service.id, SERVICE + "name": spec.name, SERVICE + "mode": _mode(service)}
    return {**filled(own), **meta_labels(SERVICE + "label_", (spec.labels or {}).items())}


def task_labels(task: Task) -> Labels:
    """What a task's targets say of the task."""
    container, status = task.status.container_status, task.status
    labels = {
        _ID: task.id,
        _DESIRED_STATE: task.desired_state,
        _STATE: status.state,
        _SLOT: str(task.slot),
        _CONTAINER_ID: "" if container is None else container.container_id,
    }
    return filled(labels) if "" in labels.values() else labels


def _mode(service: Service) -> str:
    # job services have none
    mode = service.spec.mode
    if mode.global_ is not None:
        return "global"
    return "replicated" if mode.replicated is not None else ""


def tcp(ports: Iterable[PortConfig] | None) -> list[PortConfig]:
    """The ports that can be scraped, none twice: a host's are told once for each IP family."""
    found = [port for port in ports or () if port.protocol == "tcp"]
    if len(found) < 2:
        return found
    return list({(port.published_port, port.publish_mode, port.name): port for port in found}.values())
