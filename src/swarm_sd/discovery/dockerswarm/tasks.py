"""``role: tasks``. Source: discovery/moby/tasks.go of prometheus/prometheus at v3.14."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from swarm_sd.discovery.docker_api.targets import (
    BAD_ADDRESS,
    NO_ADDRESS,
    NO_NETWORK,
    Made,
    Mapped,
    Odd,
    cidr_ip,
    collected,
    network_labels,
)
from swarm_sd.discovery.docker_api.wire import Network, Node, PortConfig, Service, Task
from swarm_sd.discovery.dockerswarm.by_service import ServicesMemo
from swarm_sd.discovery.dockerswarm.labels import (
    CONTAINER_LABEL,
    META,
    NODE_ADDRESS,
    TASK,
    node_labels,
    service_labels,
    task_labels,
    tcp,
)
from swarm_sd.model import Labels, Layered, TargetGroup, join_host_port, meta_labels

_NOTHING: Labels = {}
_End = tuple[str, Labels]  # a port and its labels


class _Around(NamedTuple):
    """What tasks refer to, as labels by ID."""

    nodes: Mapping[str, Labels]
    networks: Mapping[str, Labels]
    port: str


class TasksMemo(ServicesMemo[Labels]):
    """The work of the mapping before, for one entry."""

    def __init__(self) -> None:
        super().__init__(node_labels)


def tasks(
    tasks: Iterable[Task],
    services: Iterable[Service],
    nodes: Iterable[Node],
    networks: Iterable[Network] | None,
    *,
    port: int | str,
    memo: TasksMemo | None = None,
) -> Mapped:
    """One group ``task/<service ID>`` per service, with the targets of its tasks in order of task ID.

    A task in any state has targets: its node's address with each TCP port that it holds there, and each
    of its own addresses with each TCP port that the service publishes, or ``port`` where it publishes none.
    ``networks`` is None while their list cannot be had.
    """
    memo = TasksMemo() if memo is None else memo
    known = network_labels(META, networks)
    around = _Around(memo.look_around(nodes, (known, port)), known, str(port))
    made = memo.made(tasks, services, partial(_mapped, around))
    return collected(made, networks is not None)


def _mapped(around: _Around, service_id: str, service: Service | None, tasks: Iterable[Task]) -> Made:
    # a removed service's tasks are listed for a while
    labels = _NOTHING if service is None else service_labels(service)
    ends, container_labels = _ends(service, around.port), _ContainerLabels()
    targets: list[Labels] = []
    skipped: list[Odd] = []
    untargeted: list[Odd] = []
    for task in sorted(tasks, key=attrgetter("id")):
        before = len(targets) + len(skipped)
        _add_targets(task, around, ends, container_labels, targets, skipped)
        if len(targets) + len(skipped) == before:
            untargeted.append(Odd(NO_NETWORK, task))
    return Made(TargetGroup(f"task/{service_id}", tuple(targets), labels), skipped, untargeted)


def _ends(service: Service | None, port: str) -> Sequence[_End]:
    """Every port to be scraped at a task's own addresses."""
    ports = tcp(None if service is None else service.endpoint.ports)
    # the published port, though the task listens on the target port: as Prometheus does
    ends = dict.fromkeys((str(end.published_port), end.publish_mode) for end in ports)
    return [(published, _mode(mode)) for published, mode in ends] or [(port, _NOTHING)]


def _mode(publish_mode: str) -> Labels:
    return {TASK + "port_publish_mode": publish_mode} if publish_mode else _NOTHING


class _ContainerLabels:
    """The labels of a service's container spec: its tasks nearly always have the same."""

    def __init__(self) -> None:
        self._last: tuple[Mapping[str, str], Labels] = {}, {}

    def __call__(self, labels: Mapping[str, str] | None) -> Labels:
        if not labels:
            return _NOTHING
        if labels != self._last[0]:
            self._last = labels, meta_labels(CONTAINER_LABEL, labels.items())
        return self._last[1]


def _add_targets(
    task: Task,
    around: _Around,
    ends: Sequence[_End],
    containers: _ContainerLabels,
    targets: list[Labels],
    skipped: list[Odd],
) -> None:
    attachments, ports = task.networks_attachments, task.status.port_status.ports
    if not attachments and not ports:
        return
    spec, node = task.spec.container_spec, around.nodes.get(task.node_id, _NOTHING)
    layers = task_labels(task), containers(None if spec is None else spec.labels), node
    if ports:
        targets += _on_the_node(ports, layers, node.get(NODE_ADDRESS, ""))
    for attachment in attachments or ():
        network = around.networks.get(attachment.network.id, _NOTHING)
        for address in attachment.addresses or ():
            ip = cidr_ip(address)
            if ip is None:
                skipped.append(Odd(BAD_ADDRESS if address else NO_ADDRESS, task, address))
                continue
            for port, mode in ends:
                targets.append(Layered(join_host_port(ip, port), (*layers, mode, network)))


def _on_the_node(ports: Sequence[PortConfig], layers: tuple[Labels, ...], host: str) -> Iterator[Labels]:
    for port in tcp(ports):
        yield Layered(join_host_port(host, port.published_port), (*layers, _mode(port.publish_mode)))
