"""The endpoints of one task as targets, with all their labels. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Literal, NamedTuple, TypeAlias

from swarm_sd.discovery.docker_api.targets import NO_SHARED_NETWORK, NOT_LABELLED, Odd, filled
from swarm_sd.discovery.docker_api.wire import Node, Service, Task
from swarm_sd.discovery.dockerswarm.addresses import (
    NOT_ATTACHED,
    AddressFamily,
    NoPlaceError,
    Place,
    Ways,
    node_address,
    places,
    ways,
)
from swarm_sd.discovery.dockerswarm.conventions import METRICS_PATH, PARAM, Declared, Endpoint, declared
from swarm_sd.discovery.dockerswarm.instances import Preset, forms, service_mode, task_name
from swarm_sd.discovery.dockerswarm.labels import (
    CONTAINER_LABEL,
    META,
    NODE,
    SERVICE,
    TASK,
    node_labels,
    service_labels,
    task_labels,
    tcp,
)
from swarm_sd.model import Labels, join_host_port, meta_labels

Scrape: TypeAlias = Literal["labelled", "all"]

ENDPOINT: Final = META + "endpoint_"
STACK: Final = META + "stack_namespace"

_NAMESPACE: Final = "com.docker.stack.namespace"
_NOTHING: Labels = {}


@dataclass(frozen=True, slots=True)
class Options:
    """What an entry wants. ``networks``: names or IDs, the best first; None leaves the choice to the task."""

    port: int
    scrape: Scrape = "labelled"
    networks: tuple[str, ...] | None = None
    address_family: AddressFamily = "ipv4"
    instance: Preset = "task"


class NodeSeen(NamedTuple):
    """What tasks need of their node."""

    labels: Labels
    address: str
    hostname: str
    ready: bool


class ServiceSeen(NamedTuple):
    """What tasks need of their service. ``ports``: (target port, name, publish mode) of its TCP ports."""

    name: str
    mode: str
    labels: Mapping[str, str]
    ports: Sequence[tuple[int, str, str]]
    stack: str


class Around(NamedTuple):
    """What all tasks refer to, by ID; ``ingress`` are the IDs of ingress networks."""

    nodes: Mapping[str, NodeSeen]
    networks: Mapping[str, Labels]
    ingress: Collection[str]
    options: Options


class Target(NamedTuple):
    """A target but for its instance, for which there are ``forms``. ``where``: address, path, parameters."""

    layers: tuple[Labels, ...]
    where: tuple[str, ...]
    forms: Sequence[str]
    task: Task


def node_seen(node: Node) -> NodeSeen:
    """What tasks need of ``node``."""
    engine = meta_labels(NODE + "engine_label_", (node.description.engine.labels or {}).items())
    labels = {**node_labels(node), **engine}
    return NodeSeen(labels, node_address(node), node.description.hostname, node.status.state == "ready")


def service_seen(service: Service) -> ServiceSeen:
    """What tasks need of ``service``. A port that is published twice is there once."""
    labels = service.spec.labels or {}
    published = sorted(tcp(service.endpoint.ports), key=attrgetter("published_port"), reverse=True)
    by_target = {port.target_port: port for port in published if port.target_port}
    ports = [(number, port.name, port.publish_mode) for number, port in sorted(by_target.items())]
    return ServiceSeen(service.spec.name, service_mode(service), labels, ports, labels.get(_NAMESPACE, ""))


def group_labels(service: Service, seen: ServiceSeen) -> Labels:
    """What all targets of a service have."""
    return filled({**service_labels(service), SERVICE + "mode": seen.mode, STACK: seen.stack})


class _Read(NamedTuple):
    """What was made of one container's labels and image."""

    container: Mapping[str, str]
    image: str
    declared: Declared
    labels: Labels


class _OfTask(NamedTuple):
    """What all targets of one task are made of. ``name``: what it is called, as ``web.1``."""

    task: Task
    name: str
    hostname: str
    layers: tuple[Labels, ...]
    ways: Ways


class TaskTargets:
    """Gathers the targets of a service's tasks, and why some have none. ``looked``: whether at any task."""

    def __init__(self, service: ServiceSeen, around: Around) -> None:
        self._service = service
        self._around = around
        published = [(port, name) for port, name, _ in service.ports]
        self._published = published or [(around.options.port, "")]
        self._last: _Read | None = None
        self._ends: dict[tuple[str, int, str], tuple[Labels, Labels]] = {}
        self.looked = False
        self.targets: list[Target] = []
        self.skipped: list[Odd] = []
        self.untargeted: list[Odd] = []
        self.complaints: dict[str, None] = {}

    def read(self, container: Mapping[str, str], image: str) -> _Read:
        """What a container's labels and image say: a service's tasks nearly always have the same."""
        last = self._last
        if last is None or last.image != image or last.container != container:
            everything = self._around.options.scrape == "all"
            found = declared(self._service.name, self._service.labels, container, everything=everything)
            labels = {**_image(image), **meta_labels(CONTAINER_LABEL, container.items())}
            last = self._last = _Read(container, image, found, labels)
            self.complaints.update(dict.fromkeys(found.complaints))
        return last

    def add(self, task: Task) -> None:
        """Adds the targets of a task that runs on a node that is ready."""
        self.looked = True
        spec = task.spec.container_spec
        read = self.read({}, "") if spec is None else self.read(spec.labels or {}, spec.image)
        if not read.declared.endpoints:
            if not read.declared.complaints:
                self.untargeted.append(Odd(NOT_LABELLED, task))
            return
        node = self._around.nodes[task.node_id]
        found = ways(task, node.address, self._around.ingress, self._around.options.address_family)
        name = task_name(self._service.name, self._service.mode, task.slot, node.hostname or task.node_id)
        of = _OfTask(task, name, node.hostname, (task_labels(task), read.labels, node.labels), found)
        reasons = {
            self._add(of, endpoint, port, called)
            for endpoint in read.declared.endpoints
            for port, called in self._ports(endpoint)
        }
        self.skipped += [Odd(reason, task) for reason in {*found.odd}]
        self.untargeted += [
            Odd(reason, task, self._told(reason, found)) for reason in reasons - {"", *found.odd}
        ]

    def _told(self, reason: str, found: Ways) -> str:
        """The ways to a task that has no target, and where nothing is shared what the entry wants."""
        wanted = self._around.options.networks
        shared = f"; the entry wants {', '.join(wanted or ()) or 'none'}"
        return found.told() + (shared if reason == NO_SHARED_NETWORK else "")

    def _ports(self, endpoint: Endpoint) -> Sequence[tuple[int, str]]:
        """(port that the task listens on, the endpoint's name) of all that an endpoint stands for."""
        if endpoint.port is not None:
            return ((endpoint.port, endpoint.name),)
        return self._published

    def _add(self, of: _OfTask, endpoint: Endpoint, port: int, name: str) -> str:
        """Adds the targets of one port of a task; the reason where there are none, else ""."""
        wanted = endpoint.network
        # in a stack's file a network has its short name
        label = (wanted, f"{self._service.stack}_{wanted}") if wanted else ()
        try:
            there = places(of.ways, port, label=label, networks=self._around.options.networks)
        except NoPlaceError as err:
            if err.reason != NOT_ATTACHED:
                return err.reason
            self.complaints[self._not_attached(of, endpoint)] = None
            return ""
        for place in there:
            self.targets.append(self._target(of, endpoint, port, name, place, len(there) > 1))
        return ""

    def _not_attached(self, of: _OfTask, endpoint: Endpoint) -> str:
        names = ", ".join(one.name for one in of.ways.networks)
        way_out = f"write one of {names}" if names else "they are on none that can be scraped"
        what = f"its tasks are not on the network {endpoint.network[:60]!r}; {way_out}"
        return f"service {self._service.name}: {endpoint.network_key}: {what}"

    def _target(
        self, of: _OfTask, endpoint: Endpoint, port: int, name: str, place: Place, several: bool
    ) -> Target:
        twin = "-ipv6" if several and ":" in place.host else ""
        names = forms(
            self._around.options.instance, of.name + twin, of.hostname and of.hostname + twin, port, name
        )
        address, own = join_host_port(place.host, place.port), endpoint.labels
        asked = (
            [f"{key}={value}" for key, value in sorted(own.items()) if key.startswith(PARAM)] if own else ()
        )
        where = (address, own.get(METRICS_PATH, ""), *asked)
        end = self._end(endpoint, port, name, place.publish_mode)
        network = self._around.networks.get(place.network_id, _NOTHING)
        return Target((*of.layers, end, network), where, names, of.task)

    def _end(self, endpoint: Endpoint, port: int, name: str, publish_mode: str) -> Labels:
        """The labels that speak of one port, those that were declared for it among them."""
        key = (endpoint.name, port, publish_mode)
        last = self._ends.get(key)
        if last is None or last[0] != endpoint.labels:
            modes = {number: mode for number, _, mode in self._service.ports}
            own = {
                TASK + "port_publish_mode": publish_mode or modes.get(port, ""),
                ENDPOINT + "name": name,
                ENDPOINT + "port": str(port),
            }
            last = self._ends[key] = endpoint.labels, {**filled(own), **endpoint.labels}
        return last[1]


def _image(image: str) -> Labels:
    """``registry:5000/app:1.2@sha256:...`` in its parts."""
    name, _, digest = image.partition("@")
    before, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:  # that colon was the registry's
        before, tag = name, ""
    own = {"image": image, "image_name": before, "image_tag": tag, "image_digest": digest}
    return filled({TASK + key: value for key, value in own.items()})
