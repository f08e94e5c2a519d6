"""Where a target comes from, read off its labels. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from swarm_sd.inventory import NODE_LABELS, SERVICE_LABELS, Row
from swarm_sd.model import Labels

_TASK_ID: Final = "__meta_dockerswarm_task_id"
_SLOT: Final = "__meta_dockerswarm_task_slot"
_CONTAINER: Final = ("__meta_docker_container_name", "__meta_docker_container_id")


class Origin(NamedTuple):
    """Names as people know them, "" where there is none. ``task`` is a task or a container."""

    service: str
    node: str
    task: str
    task_id: str


def origin(row: Row) -> Origin:
    """That of a target."""
    labels = row.discovered
    service, node = _first(SERVICE_LABELS, labels), _first(NODE_LABELS, labels)
    if task_id := labels.get(_TASK_ID, ""):
        slot = labels.get(_SLOT, "0")
        # as docker service ps names it: tasks of a global service have no slot
        return Origin(service, node, f"{service}.{slot if slot != '0' else node}", task_id)
    container = _first(_CONTAINER, labels).removeprefix("/")
    return Origin("" if service.removeprefix("/") == container else service, node, container, "")


def _first(names: Sequence[str], labels: Labels) -> str:
    return next((value for name in names if (value := labels.get(name))), "")
