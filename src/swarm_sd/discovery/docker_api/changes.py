"""What events and tasks tell of what is about to change in a swarm: which services to ask for again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from swarm_sd.discovery.docker_api.event_stream import Event
from swarm_sd.discovery.docker_api.wire import Node, Service, Task

SERVICE_ID: Final = "com.docker.swarm.service.id"


@dataclass(slots=True)
class Changes:
    """What may be another than in the lists that stand. ``everything``: one cannot tell what.

    ``told``: whether an event told of it.
    """

    services: set[str] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)
    networks: bool = False
    everything: bool = False
    told: bool = field(default=False, compare=False)

    def __bool__(self) -> bool:
        return bool(self.services or self.nodes or self.networks or self.everything)

    def heard(self, event: Event) -> None:
        """Adds what a swarm's event may be about."""
        service = event.attributes.get(SERVICE_ID)
        if event.type == "service" and event.id:
            self.services.add(event.id)
        elif event.type == "node" and event.id:
            self.nodes.add(event.id)
        elif event.type == "network":
            self.networks = True
        elif event.type == "container" and service:  # a task on the very engine that we follow
            self.services.add(service)
        elif event.type not in ("container", "secret", "config", "image", "volume", "daemon", "plugin"):
            self.everything = True  # broken, or of a kind that is not known yet
        else:
            return
        self.told = True

    def add(self, other: Changes) -> None:
        """Adds ``other``."""
        self.services |= other.services
        self.nodes |= other.nodes
        self.networks |= other.networks
        self.everything |= other.everything
        self.told |= other.told


def takes_away(event: Event) -> bool:
    """Whether it tells of an object that is gone or becomes less, as no slip of a list could."""
    if event.type == "service" and event.action == "update":
        was, shall = (event.attributes.get(name, "") for name in ("replicas.old", "replicas.new"))
        return was.isdecimal() and shall.isdecimal() and int(shall) < int(was)
    return event.action in ("remove", "die", "destroy")


def affected(nodes: Iterable[str], services: Iterable[Service], tasks: Iterable[Task]) -> set[str]:
    """The services whose tasks change with these nodes: those that run there, and the global ones."""
    there = set(nodes)
    if not there:
        return set()
    running = {task.service_id for task in tasks if task.node_id in there}
    everywhere = {
        service.id
        for service in services
        if service.spec.mode.global_ is not None or service.spec.mode.global_job is not None
    }
    return running | everywhere


_STARTING: Final = frozenset(
    {"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting"}
)
_WANTED: Final = frozenset({"ready", "running", "complete"})
_ENDING: Final = frozenset({"shutdown", "remove"})


def in_flight(tasks: Iterable[Task], nodes: Mapping[str, Node]) -> bool:
    """Whether a task is on its way to another state, which no event will tell.

    Those of a node that is down stay as they are until it returns. Source: measured on dockerd 20.10.
    """
    return any(_moves(task) and _is_alive(nodes.get(task.node_id)) for task in tasks)


def _moves(task: Task) -> bool:
    state = task.status.state
    if task.desired_state in _WANTED:
        return state in _STARTING
    return task.desired_state in _ENDING and (state == "running" or state in _STARTING)


def _is_alive(node: Node | None) -> bool:
    return node is None or node.status.state in ("ready", "unknown", "")
