"""The lists of Docker's API as types: only the fields that discovery uses, everything else is passed over.

Never a task's environment, mounts or command: what is not decoded cannot leak. Source: the types of
api/types/{swarm,container,network} of moby, as dockerd 20.10 and later write them.
"""

from __future__ import annotations

import msgspec

from swarm_sd.discovery.docker_api.listed import Listed, ListReader
from swarm_sd.provider import DiscoveryError

_GO = {"id": "ID", "cpus": "CPUs", "ip": "IP", "ips": "IPs", "os": "OS", "ipv6": "IPv6"}


def _go_name(field: str) -> str:
    """The JSON name that Go gives a field: ``virtual_ips`` is ``VirtualIPs``."""
    return "".join(_GO.get(word, word.capitalize()) for word in field.split("_"))


class _Object(msgspec.Struct, rename=_go_name, gc=False, frozen=True):
    """A Go struct: a field that is missing is zero. Lists, maps and pointers may be null, as nil is."""


class Version(_Object, frozen=True):
    """How often a swarm object was changed, counted over the whole swarm; 0: not told."""

    index: int = 0


class Present(_Object, frozen=True):
    """An object of which only matters that it is there."""


class Resources(_Object, frozen=True):
    """Billionths of a CPU, and bytes: what a node has, or what is reserved for a task."""

    nano_cpus: int = 0
    memory_bytes: int = 0


class PortConfig(_Object, frozen=True):
    """A published port of a service or of a task's host."""

    name: str = ""
    protocol: str = ""
    target_port: int = 0
    published_port: int = 0
    publish_mode: str = ""


# --- nodes


class NodeSpec(_Object, frozen=True):
    """What the user wants of a node."""

    labels: dict[str, str] | None = None
    role: str = ""
    availability: str = ""


class Platform(_Object, frozen=True):
    """``x86_64``, ``linux``."""

    architecture: str = ""
    os: str = ""


class Engine(_Object, frozen=True):
    """The engine of a node; its labels are those of ``dockerd --label``."""

    engine_version: str = ""
    labels: dict[str, str] | None = None


class NodeDescription(_Object, frozen=True):
    """What a node tells of itself."""

    hostname: str = ""
    platform: Platform = Platform()
    resources: Resources = Resources()
    engine: Engine = Engine()


class NodeStatus(_Object, frozen=True):
    """How a manager sees a node; ``addr`` is without a port."""

    state: str = ""
    addr: str = ""


class ManagerStatus(_Object, frozen=True):
    """A manager's place among the managers."""

    leader: bool = False
    reachability: str = ""
    addr: str = ""


class Node(_Object, frozen=True):
    """One of ``/nodes``."""

    id: str = ""
    version: Version = Version()
    spec: NodeSpec = NodeSpec()
    description: NodeDescription = NodeDescription()
    status: NodeStatus = NodeStatus()
    manager_status: ManagerStatus | None = None


# --- services


class ContainerSpec(_Object, frozen=True):
    """What containers of a service are made of."""

    image: str = ""
    hostname: str = ""


class Requirements(_Object, frozen=True):
    """What is kept for a task on its node; limits are not decoded."""

    reservations: Resources | None = None


class TaskTemplate(_Object, frozen=True):
    """``container_spec`` is None for plugins. ``runtime``: container (or ""), plugin, attachment."""

    container_spec: ContainerSpec | None = None
    resources: Requirements | None = None
    runtime: str = ""


class Replicated(_Object, frozen=True):
    """So many tasks; ``replicas`` None (older clients leave it out) is 1."""

    replicas: int | None = None


class ReplicatedJob(_Object, frozen=True):
    """So many tasks at a time, until so many have ended well; None is 1, or as many as the other."""

    max_concurrent: int | None = None
    total_completions: int | None = None


class ServiceMode(_Object, frozen=True):
    """One of them is there."""

    replicated: Replicated | None = None
    global_: Present | None = msgspec.field(default=None, name="Global")
    replicated_job: ReplicatedJob | None = None
    global_job: Present | None = None


class ServiceSpec(_Object, frozen=True):
    """What the user wants of a service."""

    name: str = ""
    labels: dict[str, str] | None = None
    task_template: TaskTemplate = TaskTemplate()
    mode: ServiceMode = ServiceMode()


class VirtualIP(_Object, frozen=True):
    """``addr`` is in CIDR form; "" on the host network."""

    network_id: str = ""
    addr: str = ""


class Endpoint(_Object, frozen=True):
    """Where a service is published."""

    ports: list[PortConfig] | None = None
    virtual_ips: list[VirtualIP] | None = None


class UpdateStatus(_Object, frozen=True):
    """How the last update of a service fares."""

    state: str = ""


class JobStatus(_Object, frozen=True):
    """Which run of a job it is: tasks of earlier ones do not count."""

    job_iteration: Version = Version()


class Service(_Object, frozen=True):
    """One of ``/services``. ``job_status``: of jobs alone."""

    id: str = ""
    version: Version = Version()
    spec: ServiceSpec = ServiceSpec()
    endpoint: Endpoint = Endpoint()
    update_status: UpdateStatus | None = None
    job_status: JobStatus | None = None


# --- tasks


class ContainerStatus(_Object, frozen=True):
    """The container that a task runs in."""

    container_id: str = ""


class PortStatus(_Object, frozen=True):
    """Ports of the node that a task holds (publish mode host)."""

    ports: list[PortConfig] | None = None


class TaskStatus(_Object, frozen=True):
    """How a task fares."""

    state: str = ""
    container_status: ContainerStatus | None = None
    port_status: PortStatus = PortStatus()


class NetworkSpec(_Object, frozen=True):
    """What the user wants of a network. That of the host is ``host``; ``/networks`` does not list it."""

    name: str = ""
    ingress: bool = False


class AttachedNetwork(_Object, frozen=True):
    """The network of an attachment."""

    id: str = ""
    spec: NetworkSpec = NetworkSpec()


class NetworkAttachment(_Object, frozen=True):
    """``addresses`` are in CIDR form."""

    network: AttachedNetwork = AttachedNetwork()
    addresses: list[str] | None = None


class TaskContainerSpec(_Object, frozen=True):
    """What a task's container is made of: a copy of its service's."""

    image: str = ""
    labels: dict[str, str] | None = None


class TaskSpec(_Object, frozen=True):
    """``container_spec`` is None for plugins and attachments."""

    container_spec: TaskContainerSpec | None = None
    runtime: str = ""


class Task(_Object, frozen=True):
    """One of ``/tasks``. ``updated_at`` with ``version`` names one state of it."""

    id: str = ""
    version: Version = Version()
    updated_at: str = ""
    spec: TaskSpec = TaskSpec()
    service_id: str = ""
    slot: int = 0
    node_id: str = ""
    status: TaskStatus = TaskStatus()
    desired_state: str = ""
    networks_attachments: list[NetworkAttachment] | None = None
    job_iteration: Version | None = None


# --- containers and networks: Docker writes their "Id" differently


class Port(_Object, frozen=True):
    """A port of a container; ``public_port`` is 0 where it is not published."""

    ip: str = ""
    private_port: int = 0
    public_port: int = 0
    type: str = ""


class EndpointSettings(_Object, frozen=True):
    """A container's place in a network; addresses without prefix length, "" where it has none."""

    network_id: str = ""
    ip_address: str = ""
    global_ipv6_address: str = msgspec.field(default="", name="GlobalIPv6Address")


class NetworkSettings(_Object, frozen=True):
    """By name of the network."""

    networks: dict[str, EndpointSettings | None] | None = None


class HostConfig(_Object, frozen=True):
    """``default``, ``host``, ``none``, ``container:<id>`` or a network's name."""

    network_mode: str = ""


class Container(_Object, frozen=True):
    """One of ``/containers/json``. ``names`` begin with a slash; ``state`` is one word, such as running."""

    id: str = msgspec.field(default="", name="Id")
    names: list[str] | None = None
    image: str = ""
    image_id: str = ""
    ports: list[Port] | None = None
    labels: dict[str, str] | None = None
    state: str = ""
    host_config: HostConfig = HostConfig()
    network_settings: NetworkSettings = NetworkSettings()


class Network(_Object, frozen=True):
    """One of ``/networks``."""

    id: str = msgspec.field(default="", name="Id")
    name: str = ""
    scope: str = ""
    internal: bool = False
    ingress: bool = False
    labels: dict[str, str] | None = None


# --- reading


def decode_nodes(answer: bytes | bytearray) -> Listed[Node]:
    """The nodes of a whole answer."""
    return ListReader(Node).read(answer)


def decode_services(answer: bytes | bytearray) -> Listed[Service]:
    """The services of a whole answer."""
    return ListReader(Service).read(answer)


def decode_tasks(answer: bytes | bytearray) -> Listed[Task]:
    """The tasks of a whole answer."""
    return ListReader(Task).read(answer)


def decode_containers(answer: bytes | bytearray) -> Listed[Container]:
    """The containers of a whole answer."""
    return ListReader(Container).read(answer)


def decode_networks(answer: bytes | bytearray) -> Listed[Network]:
    """The networks of a whole answer."""
    return ListReader(Network).read(answer)


class _RemoteManager(_Object, frozen=True):
    addr: str = ""


class _SwarmInfo(_Object, frozen=True):
    remote_managers: list[_RemoteManager] | None = None


class _Info(_Object, frozen=True):
    swarm: _SwarmInfo = _SwarmInfo()


def decode_managers(answer: bytes | bytearray) -> list[str]:
    """The managers' addresses, ``ip:2377``, that an engine's ``/info`` tells of."""
    try:
        info = msgspec.json.decode(answer, type=_Info)
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise DiscoveryError("not_json", f"answers with something else than a JSON object: {err}") from None
    return [manager.addr for manager in info.swarm.remote_managers or ()]
