"""What a manager of each release answers to ``/info`` and ``/version``, byte for byte.

Held to recordings of real managers by tests/sim/test_info.py (v0.2.0, v0.3.0, v1.0.0, v1.1.0, v1.2.3,
v1.2.9). For the other releases the rows are those of their sources; the fields around them are those of
the nearest recorded release, with the differences that are known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from swarm_sd.sim.cluster import Cluster, Engine, Offer, Status
from swarm_sd.sim.gojson import Value, bytes_size, dumps
from swarm_sd.sim.tags import Tag

Row: TypeAlias = tuple[str, str]
Form: TypeAlias = Literal["DriverStatus", "SystemStatus"]
Role: TypeAlias = Literal["primary", "replica"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """The manager that tells: what ``/info`` says beyond the cluster itself.

    ``system_time`` as RFC 3339 text; None: the cluster's clock. ``primary`` is a replica's leader, ""
    while it knows none. ``form`` None: the one that belongs to the path.
    """

    tag: Tag
    role: Role = "primary"
    primary: str = ""
    hostname: str = "swarm-manager"
    kernel_version: str = "5.10.0-30-amd64"
    arch: str = "amd64"
    go_version: str = "go1.19.8"
    git_commit: str = "HEAD"
    system_time: str | None = None
    listeners: int = 0  # clients of /events
    form: Form | None = None


def info(
    cluster: Cluster, teller: Teller, path: str = "/info", *, engines: Sequence[Engine] | None = None
) -> bytes:
    """The body of ``GET path`` on the manager ``teller``; ``engines`` where it lists others."""
    listed = cluster.listed(teller.tag) if engines is None else list(engines)
    status = rows(cluster, teller, listed)
    form = teller.form or form_of(teller.tag, path)
    if form == "DriverStatus":
        status = [(_driver_key(teller.tag, key), value) for key, value in status]
    fields = _fields(cluster, teller, listed, status, form)
    return dumps(fields).encode(errors="surrogatepass") + b"\n"


def form_of(tag: Tag, path: str) -> Form:
    """Which list holds the nodes in the answer to ``path``. Source: api/handlers.go, getInfo."""
    if tag.since("v1.2.9"):
        return "SystemStatus"
    if not tag.since("v1.1.0"):
        return "DriverStatus"
    asked = re.match(r"/v([0-9]+)[^/]([0-9]+)/", path)
    old = asked is not None and (int(asked[1]), int(asked[2])) < (1, 22)
    return "DriverStatus" if old else "SystemStatus"


def _driver_key(tag: Tag, key: str) -> str:
    """A row's key in the old list: one space less, or a backspace where there was none.

    v0.1.0 to v1.0.1 wrote the rows this way themselves.
    """
    return key[1:] if key.startswith(" ") else f"\b{key}"


# -- the list ----------------------------------------------------------------------------------------


def rows(cluster: Cluster, teller: Teller, listed: Sequence[Engine]) -> list[Row]:
    """The list as SystemStatus has it: top rows, then every engine with its own."""
    top = _top_rows(cluster, teller)
    if cluster.mesos:
        return [*top, ("Offers", str(len(cluster.offers))), *_offer_rows(cluster.offers)]
    found = [*top, ("Nodes", str(len(listed)))]
    for engine in listed:
        found.append((f" {_shown_name(engine)}", engine.address))
        found += [(f"  └ {key}", value) for key, value in engine_rows(engine, teller.tag)]
    return found


def _top_rows(cluster: Cluster, teller: Teller) -> list[Row]:
    found: list[Row] = []
    if teller.tag.since("v0.3.0"):
        found.append(("Role", teller.role))
        if teller.role == "replica":
            found.append(("Primary", teller.primary))
    if teller.tag.since("v0.2.0"):
        filters = default_filters(teller.tag) if cluster.filters is None else cluster.filters
        found += [("Strategy", cluster.strategy), ("Filters", filters)]
    return found


def default_filters(tag: Tag) -> str:
    """The filters of a manager started without ``--filter``, in the order of that release."""
    if not tag.since("v1.0.0"):
        return "affinity, health, constraint, port, dependency"
    names = ["health", "port", "dependency", "affinity", "constraint"]
    if tag.since("v1.2.0"):
        names.insert(2, "containerslots")
    if tag.since("v1.2.6"):
        names.append("whitelist")
    return ", ".join(names)


def _offer_rows(offers: Sequence[Offer]) -> list[Row]:
    """Source: cluster/mesos/cluster.go, Info."""
    found: list[Row] = []
    for offer in offers:
        found.append(("  Offer", offer.id))
        found += [(f"   └ {name}", value) for name, value in offer.resources.items()]
    return found


def _shown_name(engine: Engine) -> str:
    return engine.name or "(unknown)"


def engine_rows(engine: Engine, tag: Tag) -> list[Row]:
    """An engine's own rows, keys without prefix. Source: cluster/swarm/cluster.go, Info."""
    cpus, memory = (engine.cpus, engine.total_memory) if engine.known else (0, 0)
    found: list[Row] = []
    if tag.since("v1.2.1"):
        found.append(("ID", shown_id(engine, tag)))
    if tag.since("v1.0.1"):
        found.append(("Status", shown_status(engine, tag)))
    found += [
        ("Containers", _shown_containers(engine, tag)),
        ("Reserved CPUs", f"{engine.reserved_cpus} / {cpus}"),
        ("Reserved Memory", f"{bytes_size(engine.reserved_memory)} / {bytes_size(memory)}"),
    ]
    if tag.since("v0.3.0"):
        found.append(("Labels", shown_labels(engine, tag)))
    if tag.since("v1.1.0"):
        found += [
            *_error_row(engine, tag),
            ("UpdatedAt", f"{engine.updated_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"),
        ]
    if tag.since("v1.2.0"):
        found.append(("ServerVersion", engine.server_version if engine.known else ""))
    return found


def shown_id(engine: Engine, tag: Tag) -> str:
    """The engine's ID as that release calls it."""
    if not engine.known:
        return ""
    return f"{engine.id}|{engine.address}" if tag.since("v1.2.7") else engine.id


def shown_status(engine: Engine, tag: Tag) -> str:
    """The text of the row Status. Source: cluster/engine.go, stateText."""
    if engine.status == Status.DISCONNECTED and not tag.since("v1.2.0"):
        return Status.UNHEALTHY
    return engine.status


def _shown_containers(engine: Engine, tag: Tag) -> str:
    own = engine.counts
    if tag.since("v1.2.4") and engine.status == Status.HEALTHY:
        return f"{own.total} ({own.running} Running, {own.paused} Paused, {own.stopped} Stopped)"
    return str(own.total)


def _error_row(engine: Engine, tag: Tag) -> list[Row]:
    text = engine.error or (cannot_connect(engine.address, tag) if engine.unreachable else "")
    if not text and tag.since("v1.2.3"):
        return []
    return [("Error", text or "(none)")]


def cannot_connect(address: str, tag: Tag) -> str:
    """The error text for an engine that refuses connections; v1.2.0 also used that of v1.1.x."""
    if tag.since("v1.2.6"):
        return f"Cannot connect to the Docker daemon at tcp://{address}. Is the docker daemon running?"
    if tag.since("v1.2.0"):
        return "Cannot connect to the Docker daemon. Is the docker daemon running on this host?"
    return "Cannot connect to the docker engine endpoint"


def shown_labels(engine: Engine, tag: Tag) -> str:
    """All labels as one text, sorted as bytes; nothing is quoted."""
    pairs = (f"{key}={value}" for key, value in all_labels(engine, tag).items())
    return ", ".join(sorted(pairs, key=lambda pair: pair.encode(errors="surrogatepass")))


def all_labels(engine: Engine, tag: Tag) -> dict[str, str]:
    """The user's labels with Swarm's own. Source: cluster/engine.go, updateSpecs.

    Up to v1.2.3 a user's label wins over Swarm's of that name; from v1.2.4 it loses, and ``node`` is
    dropped.
    """
    if not engine.known:
        return {}
    own = _built_in_labels(engine, tag)
    if not tag.since("v1.2.4"):
        return own | dict(engine.labels)
    return {key: value for key, value in engine.labels.items() if key != "node"} | own


def _built_in_labels(engine: Engine, tag: Tag) -> dict[str, str]:
    found = {
        "storagedriver": engine.storage_driver,
        "kernelversion": engine.kernel_version,
        "operatingsystem": engine.operating_system,
    }
    if tag.since("v1.2.7"):
        return found | {"ostype": engine.os_type}
    if not tag.since("v1.2.0") or engine.refreshed:
        return found | {"executiondriver": engine.execution_driver}
    # an engine that has no such thing any more: empty at first, and the old words after a refresh
    if not tag.since("v1.2.4"):
        return found | {"executiondriver": ""}
    return found


# -- the fields around it ------------------------------------------------------------------------------


def _fields(
    cluster: Cluster, teller: Teller, listed: Sequence[Engine], status: Sequence[Row], form: Form
) -> Mapping[str, Value]:
    counted = [engine for engine in listed if engine.status != Status.PENDING]
    totals: dict[str, Value] = {
        "Containers": sum(engine.counts.total for engine in counted),
        "ContainersRunning": sum(engine.counts.running for engine in counted),
        "ContainersPaused": sum(engine.counts.paused for engine in counted),
        "ContainersStopped": sum(engine.counts.stopped for engine in counted),
        "Images": sum(engine.images for engine in counted),
        "NCPU": sum(engine.cpus for engine in counted),
        "MemTotal": sum(engine.total_memory for engine in counted),
        "NEventsListener": teller.listeners,
        "SystemTime": teller.system_time or rfc3339_nano(cluster.clock()),
        "Name": teller.hostname,
        "KernelVersion": teller.kernel_version,
        "Architecture": teller.arch,
        "ServerVersion": teller.tag.product,
        "DriverStatus": status if form == "DriverStatus" else None,
        "SystemStatus": status if form == "SystemStatus" else None,
    }
    shape = _shape(teller.tag)
    return {key: totals.get(key) if fixed is _TOLD else fixed for key, fixed in shape.items()}


def rfc3339_nano(moment: datetime) -> str:
    """``moment`` in UTC as Go's RFC3339Nano: no zeros at the end of the fraction."""
    text = f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}".rstrip("0").rstrip(".")
    return f"{text}Z"


_TOLD = "\0told"  # stands for a value that depends on cluster and manager
_PROXIES: dict[str, Value] = {"HttpProxy": "", "HttpsProxy": "", "NoProxy": ""}


def _shape(tag: Tag) -> dict[str, Value]:
    """The fields of the answer in their order, each with its constant or ``_TOLD``."""
    if not tag.since("v0.3.0"):
        return {"Containers": _TOLD, "DriverStatus": _TOLD, "NEventsListener": _TOLD, "Debug": False}
    return _dockerclient_shape(tag) if not tag.since("v1.1.0") else _engine_api_shape(tag)


def _dockerclient_shape(tag: Tag) -> dict[str, Value]:
    """Source: the struct Info of samalba/dockerclient, 2015."""
    later = tag.since("v1.0.0")
    found: dict[str, Value] = {
        "ID": "", "Containers": _TOLD, "Driver": "", "DriverStatus": _TOLD, "ExecutionDriver": "",
        "Images": _TOLD, "KernelVersion": "", "OperatingSystem": "", "NCPU": _TOLD, "MemTotal": _TOLD,
        "Name": _TOLD if tag.since("v0.4.0") else "", "Labels": None, "Debug": False, "NFd": 0,
        "NGoroutines": 0, "SystemTime": _TOLD if later else "0001-01-01T00:00:00Z",
        "NEventsListener": _TOLD, "InitPath": "", "InitSha1": "", "IndexServerAddress": "",
        "MemoryLimit": True, "SwapLimit": True, "IPv4Forwarding": True,
    }  # fmt: skip
    if later:
        found |= {"BridgeNfIptables": True, "BridgeNfIp6tables": True}
    return found | {"DockerRootDir": "", **_PROXIES}


def _engine_api_shape(tag: Tag) -> dict[str, Value]:
    """Source: the struct Info of docker/engine-api, and from v1.2.6 that of docker/docker/api/types."""
    plugins: dict[str, Value] = {"Volume": None, "Network": None, "Authorization": None}
    if tag.since("v1.2.7"):
        plugins["Log"] = None
    found: dict[str, Value] = {
        "ID": "", "Containers": _TOLD, "ContainersRunning": _TOLD, "ContainersPaused": _TOLD,
        "ContainersStopped": _TOLD, "Images": _TOLD, "Driver": "", "DriverStatus": _TOLD,
        "SystemStatus": _TOLD, "Plugins": plugins, "MemoryLimit": True, "SwapLimit": True,
        "KernelMemory": False, "CpuCfsPeriod": True, "CpuCfsQuota": True, "CPUShares": True,
        "CPUSet": True, "IPv4Forwarding": True, "BridgeNfIptables": True, "BridgeNfIp6tables": True,
        "Debug": False, "NFd": 0, "OomKillDisable": True, "NGoroutines": 0, "SystemTime": _TOLD,
        "ExecutionDriver": "", "LoggingDriver": "", "CgroupDriver": "", "NEventsListener": _TOLD,
        "KernelVersion": _TOLD, "OperatingSystem": "linux", "OSType": "", "Architecture": _TOLD,
        "IndexServerAddress": "", "RegistryConfig": None, "NCPU": _TOLD, "MemTotal": _TOLD,
        "DockerRootDir": "", **_PROXIES, "Name": _TOLD, "Labels": None, "ExperimentalBuild": False,
        "ServerVersion": _TOLD if tag.since("v1.1.1") else "", "ClusterStore": "", "ClusterAdvertise": "",
        **(_swarm_mode_shape(tag) if tag.since("v1.2.4") else {}), "SecurityOptions": None,
    }  # fmt: skip
    absent = {"ExecutionDriver"} if tag.since("v1.2.6") else set()
    if not tag.since("v1.2.0"):
        absent |= {"KernelMemory", "CgroupDriver", "SecurityOptions"}
    return {key: value for key, value in found.items() if key not in absent}


def _swarm_mode_shape(tag: Tag) -> dict[str, Value]:
    """The empty structs of swarm mode that come with newer types; they say nothing of this cluster."""
    swarm: dict[str, Value] = {
        "NodeID": "", "NodeAddr": "", "LocalNodeState": "", "ControlAvailable": False, "Error": "",
        "RemoteManagers": None,
    }  # fmt: skip
    found: dict[str, Value] = {
        "Runtimes": None,
        "DefaultRuntime": "",
        "Swarm": swarm,
        "LiveRestoreEnabled": False,
    }
    if not tag.since("v1.2.6"):
        return found
    commits = {f"{name}Commit": {"ID": "", "Expected": ""} for name in ("Containerd", "Runc", "Init")}
    return {**found, "Isolation": "", "InitBinary": "", **commits}


def version(teller: Teller) -> bytes:
    """The body of ``GET /version``. Source: api/handlers.go, getVersion; api/api.go in v0.x."""
    tag = teller.tag
    told: dict[str, Value] = {
        "Version": tag.product,
        "APIVersion": tag.api_version,
        "GoVersion": teller.go_version,
        "GitCommit": teller.git_commit,
        "Os": "linux",
        "Arch": teller.arch,
    }
    if tag.since("v0.3.0"):
        told = _newer_version(teller)
    return dumps(told).encode() + b"\n"


def _newer_version(teller: Teller) -> dict[str, Value]:
    tag = teller.tag
    if not tag.since("v1.1.0"):
        return {
            "ApiVersion": tag.api_version, "Arch": teller.arch, "GitCommit": teller.git_commit,
            "GoVersion": teller.go_version, "KernelVersion": "", "Os": "linux", "Version": tag.product,
        }  # fmt: skip
    return {
        "Version": tag.product, "ApiVersion": tag.api_version, "GitCommit": teller.git_commit,
        "GoVersion": teller.go_version, "Os": "linux", "Arch": teller.arch,
        "KernelVersion": teller.kernel_version, "BuildTime": "<unknown>",
    }  # fmt: skip
