"""What the mappings made no target of, named as people know it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from swarm_sd.discovery.docker_api.targets import NODE_NOT_READY, NOT_RUNNING, Odd
from swarm_sd.discovery.docker_api.wire import Container, Node, Service, Task
from swarm_sd.provider import PassedOver


def passed_over(
    odd: Iterable[Sequence[Odd]], services: Iterable[Service] = (), nodes: Iterable[Node] = ()
) -> list[PassedOver]:
    """One for each; ``services`` and ``nodes`` are those that tasks refer to."""
    by_service = {service.id: service for service in services}
    by_node = {node.id: node for node in nodes}
    return [_named(one, by_service, by_node) for several in odd for one in several]


def _named(odd: Odd, services: Mapping[str, Service], nodes: Mapping[str, Node]) -> PassedOver:
    what = odd.what
    if isinstance(what, Task):
        return _task(odd, what, services.get(what.service_id), nodes.get(what.node_id))
    if isinstance(what, Service):
        name = what.spec.name
        return PassedOver(odd.reason, "service", what.id, name, service=name, detail=odd.detail)
    if isinstance(what, Node):
        name = what.description.hostname
        return PassedOver(odd.reason, "node", what.id, name, node=name, detail=odd.detail)
    if isinstance(what, Container):
        name = (what.names or ("",))[0].removeprefix("/")
        return PassedOver(odd.reason, "container", what.id, name, detail=odd.detail)
    return PassedOver(odd.reason, type(what).__name__.lower(), "", "", detail=odd.detail)


def _task(odd: Odd, task: Task, service: Service | None, node: Node | None) -> PassedOver:
    of = service.spec.name if service is not None else task.service_id
    host = node.description.hostname if node is not None else task.node_id
    name = f"{of}.{task.slot}" if task.slot else f"{of}.{host}"
    detail = odd.detail or _state(odd.reason, task, node)
    return PassedOver(odd.reason, "task", task.id, name, of, host, detail)


def _state(reason: str, task: Task, node: Node | None) -> str:
    if reason == NOT_RUNNING:
        ill = node is not None and node.status.state not in ("ready", "")
        where = f", on a node that is {node.status.state}" if node is not None and ill else ""
        return f"it is {task.status.state}, and to be {task.desired_state}{where}"
    if reason == NODE_NOT_READY:
        return "its node is not listed" if node is None else f"its node is {node.status.state or 'unknown'}"
    return ""
