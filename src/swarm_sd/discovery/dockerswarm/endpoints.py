"""``role: endpoints``: each metrics endpoint of each running task, at the address that answers. Pure.

docs/endpoints.md has the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from operator import attrgetter

from swarm_sd.discovery.docker_api.targets import (
    BAD_LABEL,
    NO_SERVICE,
    NODE_NOT_READY,
    NOT_RUNNING,
    SAME_ADDRESS,
    Made,
    Mapped,
    Odd,
    collected,
    network_labels,
)
from swarm_sd.discovery.docker_api.wire import Network, Node, Service, Task
from swarm_sd.discovery.dockerswarm.by_service import ServicesMemo
from swarm_sd.discovery.dockerswarm.endpoint_targets import (
    Around,
    NodeSeen,
    Options,
    ServiceSeen,
    Target,
    TaskTargets,
    group_labels,
    node_seen,
    service_seen,
)
from swarm_sd.discovery.dockerswarm.instances import told_apart
from swarm_sd.discovery.dockerswarm.labels import META
from swarm_sd.model import Layered, TargetGroup


class EndpointsMemo(ServicesMemo[NodeSeen]):
    """The work of the mapping before, for one entry."""

    def __init__(self) -> None:
        super().__init__(node_seen)


def endpoints(
    tasks: Iterable[Task],
    services: Iterable[Service],
    nodes: Iterable[Node],
    networks: Iterable[Network] | None,
    *,
    options: Options,
    memo: EndpointsMemo | None = None,
) -> Mapped:
    """One group ``endpoints/<service ID>`` per service: its running tasks' endpoints in order of task ID.

    ``networks`` is None while their list cannot be had: then no label speaks of them.
    """
    memo = EndpointsMemo() if memo is None else memo
    listed = list(networks or ())
    known = network_labels(META, listed)
    ingress = frozenset(network.id for network in listed if network.ingress)
    around = Around(memo.look_around(nodes, (known, ingress, options)), known, ingress, options)
    made = memo.made(tasks, services, partial(_mapped, around))
    return collected(made, networks is not None)


def _mapped(around: Around, service_id: str, service: Service | None, tasks: Iterable[Task]) -> Made:
    source = f"endpoints/{service_id}"
    if service is None:
        return Made(
            TargetGroup(source), (), [Odd(_unfit(task, around) or NO_SERVICE, task) for task in tasks]
        )
    seen = service_seen(service)
    its = TaskTargets(seen, around)
    for task in sorted(tasks, key=attrgetter("id")):
        if reason := _unfit(task, around):
            its.untargeted.append(Odd(reason, task))
        else:
            its.add(task)
    there = _one_each(its)
    targets = _named(there)
    complaints = tuple(its.complaints) or _complaints_of(seen, its)
    skipped = its.skipped + [Odd(BAD_LABEL, service, complaint) for complaint in complaints]
    return Made(
        TargetGroup(source, targets, group_labels(service, seen)), skipped, its.untargeted, complaints
    )


def _unfit(task: Task, around: Around) -> str:
    """Why a task cannot have an endpoint, whatever it is; "" where it can."""
    # a job's task is to be complete one day
    if task.status.state != "running" or task.desired_state not in ("running", "complete"):
        return NOT_RUNNING
    node = around.nodes.get(task.node_id)
    return "" if node is not None and node.ready else NODE_NOT_READY


def _complaints_of(service: ServiceSeen, its: TaskTargets) -> Sequence[str]:
    """Those of the service's own labels while no task of it runs: the mistake may be why."""
    return its.read({}, "").declared.complaints if service.labels and not its.looked else ()


def _one_each(its: TaskTargets) -> Sequence[Target]:
    """Of several targets at one place, the first."""
    # as two tasks on one host's network are: only one of them can have the port
    first: dict[tuple[str, ...], Target] = {}
    for target in its.targets:
        if first.setdefault(target.where, target) is not target:
            its.untargeted.append(Odd(SAME_ADDRESS, target.task, target.where[0]))
    return list(first.values())


def _named(there: Sequence[Target]) -> tuple[Layered, ...]:
    """The targets with their instances."""
    names = told_apart([target.forms for target in there])
    return tuple(
        # a label that somebody wrote for it wins
        Layered(target.where[0], (*(({"instance": name},) if name else ()), *target.layers))
        for name, target in zip(names, there, strict=True)
    )
