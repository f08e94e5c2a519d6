"""The containers of a simulated cluster: ``/containers/json`` and ``/containers/<which>/json``."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator

from swarm_sd.sim.cluster import Cluster, Engine, Status
from swarm_sd.sim.gojson import Value, dumps
from swarm_sd.sim.info import all_labels, shown_id
from swarm_sd.sim.tags import Tag
from swarm_sd.sim.wire import Response, error, json_answer
from swarm_sd.sim.workload import Container, Port

Found = tuple[Engine, Container]


def containers_json(
    cluster: Cluster, tag: Tag, *, everything: bool, only: Callable[[list[Engine]], list[Engine]] = list
) -> bytes:
    """The body of ``GET /containers/json``: names are ``/node/name``; no field names the node.

    ``only`` chooses among the engines. Without ``everything`` those that run, and from v1.1.0 only those on
    healthy nodes. A node that is down shows in Status alone: State is what it was.
    Source: api/handlers.go, getContainersJSON.
    """
    found = [one for one in _all(only(cluster.listed(tag))) if everything or _shown_without_all(*one, tag)]
    found.sort(key=lambda one: -one[1].created)
    return dumps([_listed(engine, container, tag) for engine, container in found]).encode() + b"\n"


def _shown_without_all(engine: Engine, container: Container, tag: Tag) -> bool:
    return container.up and (engine.status == Status.HEALTHY or not tag.since("v1.1.0"))


def _all(engines: Iterable[Engine]) -> Iterator[Found]:
    for engine in engines:
        if engine.status != Status.PENDING:
            yield from ((engine, container) for container in _of_engine(engine))


def _of_engine(engine: Engine) -> Iterator[Container]:
    yield from engine.named.values()
    counts = engine.containers
    for state, count in (("running", counts.running), ("paused", counts.paused), ("exited", counts.stopped)):
        for index in range(count):
            name = f"{state}-{index}"
            own_id = hashlib.sha256(f"{engine.id}/{name}".encode()).hexdigest()
            yield Container(name=name, id=own_id, state=state)


def _listed(engine: Engine, container: Container, tag: Tag) -> Value:
    host_down = "Host Down" if tag.since("v0.3.0") else "Pending"
    told: dict[str, Value] = {
        "Id": container.id,
        "Names": [f"/{engine.name}/{container.name}"],
        "Image": container.image,
        "ImageID": container.image_id,
        "Command": container.command,
        "Created": container.created,
        "Ports": [_port(port, engine) for port in container.ports],
        "SizeRw": 0,
        "SizeRootFs": 0,
        "Labels": dict(sorted(container.labels.items())),
        "State": container.state,
        "Status": container.status if engine.status == Status.HEALTHY else host_down,
        "HostConfig": {"NetworkMode": container.network_mode},
        "NetworkSettings": {"Networks": _networks(container, tag)},
        "Mounts": [],
    }
    return {key: told[key] for key in _keys(tag)}


def _keys(tag: Tag) -> list[str]:
    """The fields of a container, in their order. Recorded of v0.2.0 to v1.1.0, v1.2.3 and v1.2.9."""
    if tag.since("v1.2.0"):
        told = "Id Names Image ImageID Command Created Ports Labels State Status HostConfig NetworkSettings"
        if not tag.since("v1.2.1"):
            told = told.replace(" State", "")
        return [*told.split(), "Mounts"]
    told = "Id Names Image Command Created Status Ports SizeRw SizeRootFs"
    labels = " Labels" if tag.since("v0.3.0") else ""
    return (told + labels + (" NetworkSettings" if tag.since("v1.1.0") else "")).split()


def _port(port: Port, engine: Engine) -> Value:
    """Ports that are published at every address get the engine's. Source: getContainersJSON."""
    if not port.public:
        return {"PrivatePort": port.private, "Type": port.type}
    ip = engine.shown_ip if ipaddress.ip_address(port.ip).is_unspecified else port.ip
    return {"IP": ip, "PrivatePort": port.private, "PublicPort": port.public, "Type": port.type}


def _networks(container: Container, tag: Tag) -> dict[str, Value]:
    return {
        name: {
            "IPAMConfig": None, "Links": None, "Aliases": None,
            "NetworkID": hashlib.sha256(name.encode()).hexdigest(),
            "EndpointID": hashlib.sha256((container.id + name).encode()).hexdigest(), "Gateway": "",
            "IPAddress": "" if ":" in ip else ip, "IPPrefixLen": 24 if ip else 0, "IPv6Gateway": "",
            "GlobalIPv6Address": ip if ":" in ip else "", "GlobalIPv6PrefixLen": 64 if ":" in ip else 0,
            "MacAddress": "", **({"DriverOpts": None} if tag.since("v1.2.7") else {}),
        }
        for name, ip in sorted(container.networks.items())
    }  # fmt: skip


# -- one of them -------------------------------------------------------------------------------------


def inspected(cluster: Cluster, tag: Tag, which: str) -> Response:
    """The answer to ``GET /containers/<which>/json``: an ID, its beginning, or ``node/name``.

    Source: api/handlers.go, getContainerJSON; the texts of refusals as recorded.
    """
    found = _find(cluster, tag, which)
    if found is None:
        return error(404, f"No such container {which}")
    engine, container = found
    if engine.status != Status.HEALTHY:
        return error(500, _on_unhealthy_node(engine, container, tag))
    return json_answer(dumps(_details(engine, container, tag)).encode() + b"\n")


def _find(cluster: Cluster, tag: Tag, which: str) -> Found | None:
    ours = list(_all(cluster.listed(tag)))
    for engine, container in ours:
        if which in (container.id, f"{engine.name}/{container.name}", container.name):
            return engine, container
    begins = [one for one in ours if one[1].id.startswith(which)]
    return begins[0] if len(begins) == 1 else None


def _on_unhealthy_node(engine: Engine, container: Container, tag: Tag) -> str:
    if tag.since("v1.1.0"):
        return f"Container {container.id} running on unhealthy node {engine.name}"
    url = f"http://{engine.address}/containers/{container.id}/json"
    return f'Get "{url}": dial tcp {engine.address}: connect: connection refused'


def _details(engine: Engine, container: Container, tag: Tag) -> Value:
    return {
        "Id": container.id,
        "Created": "2026-11-23T06:48:25.312517368Z",
        "State": {"Status": container.state, "Running": container.up, "Paused": container.state == "paused"},
        "Image": container.image_id,
        "Node": node(engine, tag),
        "Name": f"/{container.name}",
        "HostConfig": {"NetworkMode": container.network_mode},
        "Config": {"Env": list(container.env), "Image": container.image, "Labels": dict(container.labels)},
        "NetworkSettings": {"Networks": _networks(container, tag)},
    }


def node(engine: Engine, tag: Tag) -> dict[str, Value]:
    """The engine in the details of a container; v0.2.0 has other keys and no labels."""
    own_id, ip = shown_id(engine, tag), engine.shown_ip
    if re.match(r"v0\.2\.", str(tag)):
        return {"Name": engine.name, "Id": own_id, "Addr": engine.address, "Ip": ip}
    labels = dict(sorted(all_labels(engine, tag).items()))
    told: dict[str, Value] = {
        "ID": own_id, "IP": ip, "Addr": engine.address, "Name": engine.name, "Cpus": engine.cpus,
        "Memory": engine.memory, "Labels": labels,
    }  # fmt: skip
    if tag.since("v1.2.0") and not tag.since("v1.2.7"):
        told["Version"] = engine.server_version
    if tag.since("v1.2.4") and not tag.since("v1.2.7"):
        told["DeltaDuration"] = 0
    return told
