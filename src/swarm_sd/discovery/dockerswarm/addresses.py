"""Where an endpoint of a task really answers: which network, which address. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from swarm_sd.discovery.docker_api.targets import (
    BAD_ADDRESS,
    NO_ADDRESS,
    NO_NETWORK,
    NO_SHARED_NETWORK,
    cidr_ip,
)
from swarm_sd.discovery.docker_api.wire import Node, PortConfig, Task

AddressFamily: TypeAlias = Literal["ipv4", "ipv6", "both"]

HOST: Final = "host"
INGRESS: Final = "ingress"
NOT_ATTACHED: Final = "not_attached"  # to the network that a label names

_NOWHERE = ("", "0.0.0.0", "127.0.0.1", "::", "::1")  # noqa: S104 - nobody listens there


class Attached(NamedTuple):
    """A network of a task, with the task's addresses there, one for each family that is wanted."""

    name: str
    id: str
    ips: Sequence[str]


class Ways(NamedTuple):
    """All the ways to a task. ``node`` is "" where the node has no address; ``odd`` are reasons."""

    networks: Sequence[Attached]  # by name; never ingress
    on_host: bool
    host_ports: Sequence[PortConfig]
    node: str
    odd: Sequence[str]

    def told(self) -> str:
        """The ways in words, for those who wonder that there is none."""
        names = [f"the network {one.name}" for one in self.networks]
        if self.on_host:
            names.append("the host's network")
        return "it is on " + (", ".join(names) or "no network that can be scraped")


class Place(NamedTuple):
    """Where to scrape. ``network_id`` is "" for an address of the node."""

    host: str
    port: int
    network_id: str = ""
    publish_mode: str = ""


class NoPlaceError(Exception):
    """There is no place to scrape; ``reason`` is one of those that are counted, or ``NOT_ATTACHED``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def node_address(node: Node) -> str:
    """The address of a node as others reach it; "" where it tells none."""
    if node.status.addr not in _NOWHERE:
        return node.status.addr
    manager = "" if node.manager_status is None else node.manager_status.addr
    host = manager.rpartition(":")[0].strip("[]")
    return "" if host in _NOWHERE else host


def ways(task: Task, node: str, ingress: Collection[str], family: AddressFamily) -> Ways:
    """The ways to ``task`` on a node of the address ``node``; ``ingress`` are the IDs of ingress networks."""
    attached: list[Attached] = []
    odd: list[str] = []
    on_host = False
    for one in task.networks_attachments or ():
        network = one.network
        if network.spec.name == HOST:
            on_host = True
        elif not (network.spec.ingress or network.id in ingress or network.spec.name == INGRESS):
            ips = list(_ips(one.addresses or (), odd))
            if ips:
                attached.append(Attached(network.spec.name, network.id, _of_family(ips, family)))
    if len(attached) > 1:
        attached.sort()
    held = task.status.port_status.ports
    return Ways(attached, on_host, _scrapable(held) if held else (), node, odd)


def _scrapable(ports: Sequence[PortConfig]) -> Sequence[PortConfig]:
    usable = [one for one in ports if one.protocol == "tcp" and one.target_port and one.published_port]
    return sorted(usable, key=_published)


def _published(port: PortConfig) -> int:
    return port.published_port


def _ips(addresses: Sequence[str], odd: list[str]) -> Iterator[str]:
    for address in addresses:
        ip = cidr_ip(address)
        if ip is not None:
            yield ip
        else:
            odd.append(BAD_ADDRESS if address else NO_ADDRESS)


def _of_family(ips: Sequence[str], family: AddressFamily) -> Sequence[str]:
    if len(ips) == 1:
        return ips
    firsts = [next((ip for ip in ips if (":" in ip) is six), "") for six in (False, True)]
    if family == "ipv6":
        firsts.reverse()
    there = [ip for ip in firsts if ip]
    return there if family == "both" else there[:1]


def places(
    found: Ways, port: int, *, label: Sequence[str] = (), networks: Sequence[str] | None = None
) -> list[Place]:
    """Where ``port`` of a task answers: one place, or one for each address family.

    ``label``: the names or IDs that a label's network may have, the first that is there counts. ``networks``:
    those that the scraper shares, the best first; None for "not told". ``NoPlaceError``: nowhere.
    """
    if label:
        return _labelled(found, port, label)
    if networks is not None:
        shared = (one for wanted in networks for one in found.networks if wanted in (one.name, one.id))
        if (network := next(shared, None)) is not None:
            return _on(network, port)
    if (place := _on_the_node(found, port)) is not None:
        return [place]
    if networks is None and found.networks:
        return _on(found.networks[0], port)
    raise NoPlaceError(_why(found, port, NO_NETWORK if networks is None else NO_SHARED_NETWORK))


def _labelled(found: Ways, port: int, label: Sequence[str]) -> list[Place]:
    by_label = (one for wanted in label for one in found.networks if wanted in (one.name, one.id))
    if (network := next(by_label, None)) is not None:
        return _on(network, port)
    if found.on_host and HOST in label and (place := _on_the_node(found, port)) is not None:
        return [place]
    raise NoPlaceError(_why(found, port, NOT_ATTACHED))


def _why(found: Ways, port: int, otherwise: str) -> str:
    if found.odd:
        return found.odd[0]
    on_the_node = found.on_host or _held(found, port) is not None
    return NO_ADDRESS if on_the_node and not found.node else otherwise


def _on(network: Attached, port: int) -> list[Place]:
    return [Place(ip, port, network.id) for ip in network.ips]


def _on_the_node(found: Ways, port: int) -> Place | None:
    held = _held(found, port)
    if not found.node or (held is None and not found.on_host):
        return None
    return Place(found.node, port if held is None else held.published_port, publish_mode=HOST if held else "")


def _held(found: Ways, port: int) -> PortConfig | None:
    if not found.host_ports:
        return None
    return next((one for one in found.host_ports if one.target_port == port), None)
