"""``role: services``. Source: discovery/moby/services.go of prometheus/prometheus at v3.14."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from swarm_sd.discovery.docker_api.targets import (
    BAD_ADDRESS,
    NO_ADDRESS,
    NO_VIRTUAL_IP,
    Made,
    Mapped,
    Memo,
    Odd,
    cidr_ip,
    filled,
    mapped,
    network_labels,
)
from swarm_sd.discovery.docker_api.wire import Network, Service, VirtualIP
from swarm_sd.discovery.dockerswarm.labels import META, SERVICE, service_labels, tcp
from swarm_sd.model import ADDRESS, Labels, TargetGroup, join_host_port


def services(
    services: Iterable[Service],
    networks: Iterable[Network] | None,
    *,
    port: int | str,
    memo: Memo[Service] | None = None,
) -> Mapped:
    """One group ``service/<ID>`` per service: each of its virtual IPs with each published TCP port.

    ``port`` is for services that publish none. ``networks`` is None while their list cannot be had.
    """
    known = network_labels(META, networks)

    def make(source: str, service: Service) -> Made:
        return _service(source, service, known, str(port))

    named = ((f"service/{service.id}", service) for service in services)
    return mapped(named, make, memo=memo, context=(port, known), known_networks=networks is not None)


def _service(source: str, service: Service, networks: Mapping[str, Labels], port: str) -> Made:
    targets: list[Labels] = []
    skipped: list[Odd] = []
    ends = list(_ends(service, port))
    addresses = service.endpoint.virtual_ips or ()
    for virtual in addresses:
        ip = cidr_ip(virtual.addr)
        if ip is None:
            skipped.append(Odd(BAD_ADDRESS if virtual.addr else NO_ADDRESS, service, virtual.addr))
        else:
            targets += _at(virtual, ip, ends, networks)
    group = TargetGroup(source, tuple(targets), _labels(service))
    return Made(group, skipped, () if addresses else (Odd(NO_VIRTUAL_IP, service),))


def _ends(service: Service, port: str) -> Iterator[tuple[str, Labels]]:
    """(port, its labels) of every port to be scraped."""
    ports = tcp(service.endpoint.ports)
    for end in ports:
        labels = {"endpoint_port_name": end.name, "endpoint_port_publish_mode": end.publish_mode}
        yield str(end.published_port), filled({SERVICE + name: value for name, value in labels.items()})
    if not ports:
        yield port, {}


def _at(
    virtual: VirtualIP, ip: str, ends: Iterable[tuple[str, Labels]], networks: Mapping[str, Labels]
) -> Iterator[Labels]:
    network = networks.get(virtual.network_id, {})
    for port, labels in ends:
        yield {ADDRESS: join_host_port(ip, port), **labels, **network}


def _labels(service: Service) -> Labels:
    labels = dict(service_labels(service))
    if (spec := service.spec.task_template.container_spec) is not None:  # a plugin's service has none
        labels[SERVICE + "task_container_hostname"] = spec.hostname
        labels[SERVICE + "task_container_image"] = spec.image
    if service.update_status is not None:
        labels[SERVICE + "updating_status"] = service.update_status.state
    return filled(labels)
