"""The work of the mapping before, service by service: made for a hundred thousand tasks. Pure.

What tasks share (their nodes' and networks' labels) is worked out once and referred to, and a service whose
tasks did not change costs a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from swarm_sd.discovery.docker_api.lists import by_service
from swarm_sd.discovery.docker_api.targets import Made
from swarm_sd.discovery.docker_api.wire import Node, Service, Task

N = TypeVar("N")


@dataclass(slots=True)
class _ServiceMade:
    """What a service's tasks became, and what it was made of: ``tasks`` as they were listed."""

    service: Service | None
    tasks: Sequence[Task]
    made: Made


class ServicesMemo(Generic[N]):
    """What is the same comes out as the same group object. ``see`` makes of a node what tasks need of it."""

    def __init__(self, see: Callable[[Node], N]) -> None:
        self._see = see
        self._context: object = None
        self._nodes: dict[str, tuple[Node, N]] = {}
        self._changed: Collection[str] = ()
        self._services: dict[str, _ServiceMade] = {}

    def look_around(self, nodes: Iterable[Node], context: object) -> Mapping[str, N]:
        """What is seen of the nodes, by ID. ``context``: what else all tasks depend on."""
        before = self._nodes
        self._nodes = {node.id: (node, self._seen(node, before.get(node.id))) for node in nodes}
        if context != self._context:
            self._context, self._services = context, {}
        ids = self._nodes.keys() | before.keys()
        self._changed = {one for one in ids if _second(self._nodes.get(one)) is not _second(before.get(one))}
        return {node_id: seen for node_id, (_, seen) in self._nodes.items()}

    def _seen(self, node: Node, last: tuple[Node, N] | None) -> N:
        if last is not None and (last[0] is node or last[0] == node):
            return last[1]
        seen = self._see(node)
        return last[1] if last is not None and last[1] == seen else seen

    def made(
        self,
        tasks: Iterable[Task],
        services: Iterable[Service],
        make: Callable[[str, Service | None, Iterable[Task]], Made],
    ) -> list[Made]:
        """What ``make`` gives for each (service ID, service, its tasks), in order of ID.

        The service is None where it is gone: its tasks are listed for a while.
        """
        by_id = {service.id: service for service in services}
        self._services = {
            service_id: self._service(service_id, by_id.get(service_id), its_tasks, make)
            for service_id, its_tasks in sorted(by_service(tasks).items(), key=lambda item: item[0])
        }
        return [service.made for service in self._services.values()]

    def _service(
        self,
        service_id: str,
        service: Service | None,
        tasks: Sequence[Task],
        make: Callable[[str, Service | None, Iterable[Task]], Made],
    ) -> _ServiceMade:
        last = self._services.get(service_id)
        changed = self._changed
        # tasks of a part of the answer that did not change are the very objects of before: quickly compared
        if (
            last is not None
            and (last.service is service or last.service == service)
            and (last.tasks is tasks or last.tasks == tasks)
            and not (changed and any(task.node_id in changed for task in tasks))
        ):
            last.service, last.tasks = service, tasks  # lets go of the objects of the answer before
            return last
        made = make(service_id, service, tasks)
        if last is not None and last.made.group == made.group:
            made = made._replace(group=last.made.group)
        return _ServiceMade(service, tasks, made)


def _second(pair: tuple[Node, N] | None) -> N | None:
    return None if pair is None else pair[1]
