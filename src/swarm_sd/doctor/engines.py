"""What a Docker engine, or whatever stands in its place, says of itself, and what its refusals mean. Pure.

Source: daemon/cluster and api/server of moby; dockerd 20.10 and 28 as they answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec

from swarm_sd.discovery.docker_api.client import NEWEST_API
from swarm_sd.discovery.http_session import Answer, Body
from swarm_sd.doctor.findings import Finding, counted, listed, problem, warning

T = TypeVar("T")

_SWARM_MODE_SINCE = (1, 24)
CLOCKS_APART = 30.0
"""Seconds by which two clocks may differ: their certificates and events are judged by them."""

_PROXY_SAYS = {
    "/nodes": "NODES",
    "/services": "SERVICES",
    "/tasks": "TASKS",
    "/networks": "NETWORKS",
    "/containers/json": "CONTAINERS",
    "/events": "EVENTS",
    "/version": "VERSION",
    "/info": "INFO",
}
"""What lets a path through tecnativa/docker-socket-proxy, which most people have."""


class Version(msgspec.Struct, rename="pascal"):
    """``/version``."""

    version: str = ""
    api_version: str = ""
    min_api_version: str = msgspec.field(default="", name="MinAPIVersion")


class _Cluster(msgspec.Struct):
    id: str = msgspec.field(default="", name="ID")


class _Manager(msgspec.Struct, rename="pascal"):
    addr: str = ""


class SwarmPart(msgspec.Struct, rename="pascal"):
    """What ``/info`` says of swarm mode. ``local_node_state``: inactive, pending, active, locked, error."""

    local_node_state: str = ""
    control_available: bool = False
    error: str = ""
    node_addr: str = ""
    managers: int = 0
    nodes: int = 0
    remote_managers: list[_Manager] | None = None
    cluster: _Cluster | None = None

    def others(self) -> list[str]:
        """The addresses of the managers that it knows, without their port."""
        addresses = (one.addr.rpartition(":")[0].strip("[]") for one in self.remote_managers or ())
        return sorted({one for one in addresses if one and one not in ("0.0.0.0", "127.0.0.1")})  # noqa: S104


class Info(msgspec.Struct, rename="pascal"):
    """``/info``."""

    name: str = ""
    server_version: str = ""
    swarm: SwarmPart = msgspec.field(default_factory=SwarmPart)


class _Message(msgspec.Struct):
    message: str = ""


def decoded(body: Body, kind: type[T]) -> T | None:
    """The answer as a ``kind``; None where it is something else."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def said(answer: Answer) -> str:
    """What an error says: Docker's own message, else its first line."""
    told = decoded(answer.body, _Message)
    if told is not None and told.message:
        return told.message.strip()
    if (
        title := re.search(rb"<(?:title|h1)>\s*(.*?)\s*</", answer.body, re.DOTALL | re.IGNORECASE)
    ) is not None:
        return title[1].decode("utf-8", "replace")[:200]
    return answer.body.decode("utf-8", "replace").strip().partition("\n")[0][:200]


def api_prefix(told: Version) -> str:
    """``/v1.xx``: the version that both sides know."""
    newest, oldest = _number(told.api_version), _number(told.min_api_version)
    chosen = max(min(newest, NEWEST_API), oldest)
    return f"/v{chosen[0]}.{chosen[1]}"


def _number(version: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def version_judged(told: Version, *, swarm_mode: bool) -> Finding | None:
    """What is wrong with the engine's version; None where nothing is."""
    if told.version.startswith("swarm/") or (not told.api_version and "swarm" in told.version.lower()):
        kind = "dockerswarm_sd_configs" if swarm_mode else "docker_sd_configs"
        return problem(
            "classic-swarm",
            f"this is a manager of a classic Swarm ({told.version})",
            f"{kind} is for {'swarm mode' if swarm_mode else 'engines'}; classic Swarm has a kind of its own",
            "swarm_sd_configs:\n  - masters: [the host]",
        )
    newest, oldest = _number(told.api_version), _number(told.min_api_version)
    if newest == (0, 0):
        return not_docker("/version", "it tells no API version")
    if swarm_mode and newest < _SWARM_MODE_SINCE:
        return problem(
            "api-version",
            f"Docker {told.version} with API {told.api_version} is too old",
            "swarm mode came with API 1.24 (Docker 1.12)",
            "update Docker; a classic Swarm on old engines is asked by swarm_sd_configs",
        )
    if oldest > NEWEST_API:
        return warning(
            "api-version",
            f"Docker {told.version} takes API {told.min_api_version} and later; swarm-sd knows up to "
            f"{NEWEST_API[0]}.{NEWEST_API[1]}",
            "it is asked at its oldest version, of which swarm-sd knows nothing",
            "update swarm-sd",
        )
    return None


def not_docker(path: str, how: str) -> Finding:
    """Something else than Docker answers."""
    return problem(
        "not-docker",
        f"it answers {path} not as a Docker engine does: {how}",
        "another program listens there, or a proxy answers in Docker's place",
        "mend host and port",
    )


def refusal(path: str, answer: Answer, info: Info | None) -> Finding:
    """What it means that ``path``, as the docs name it, was answered so; not for 2xx and 403."""
    text = said(answer)
    if "HTTP request to an HTTPS server" in text:
        return problem(
            "tls-wanted",
            "it speaks TLS, and is asked without",
            "there is no tls_config, or the host is written http://",
            "write the host as tcp:// or https://, and:\n"
            "  tls_config: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}",
        )
    if "not a swarm manager" in text:
        return not_a_manager(info.swarm if info is not None else None)
    if "needs to be unlocked" in text or "swarm is encrypted" in text.lower():
        return problem(
            "locked",
            "the manager is locked",
            "the swarm locks its managers (autolock), and this one was started anew",
            "docker swarm unlock (on it; the key: docker swarm unlock-key on another manager)",
        )
    if "does not have a leader" in text or "lost the quorum" in text.lower():
        return no_quorum(info.swarm if info is not None else None)
    if "too old" in text or "too new" in text:
        return problem(
            "api-version", f"{path}: {text}", "both sides have no API version in common", "update the older"
        )
    if answer.status == 401:
        return problem(
            "unauthorized",
            f"{path}: HTTP status 401: {text}",
            "a proxy before Docker wants a user and password, or a token",
            "basic_auth: {username: ..., password_file: ...}",
        )
    if answer.status in (502, 503, 504):
        return problem(
            "proxy-without-docker",
            f"{path}: HTTP status {answer.status}: {text}",
            "a proxy answers, and Docker behind it does not",
            "look whether Docker runs where the proxy is, and whether the proxy may open its socket",
        )
    if answer.status == 404:
        return not_docker(path, f"HTTP status 404: {text}")
    return problem(
        "status", f"{path}: HTTP status {answer.status}: {text}", "", "look into the log of Docker there"
    )


def not_a_manager(swarm: SwarmPart | None) -> Finding:
    """A worker, or an engine in no swarm; the managers that it knows."""
    message = "this node is not a swarm manager"
    if swarm is None or not swarm.local_node_state:
        return problem(
            "not-a-manager",
            message,
            "/info does not tell whether it is a worker",
            "docker node ls tells who is one",
        )
    if swarm.local_node_state == "inactive":
        return problem(
            "not-a-manager",
            message,
            "it is in no swarm at all",
            "name a manager of the swarm; or docker swarm init, where this machine is to be one; "
            "or docker_sd_configs, where its own containers are meant",
        )
    others = swarm.others()
    way_out = (
        f"hosts: [{', '.join(f'tcp://{one}:2375' for one in others)}] (2376 with TLS), or docker node promote"
        if others
        else "docker node ls (on a manager) tells who is one"
    )
    known = f"; managers that it knows: {listed(others)}" if others else ""
    return problem("not-a-manager", message, f"it is a worker of a swarm{known}", way_out)


def no_quorum(swarm: SwarmPart | None) -> Finding:
    """Too few managers see each other."""
    others = swarm.others() if swarm is not None else []
    majority = f": {len(others) // 2 + 1} of {len(others)} must see each other" if others else ""
    known = f" ({listed(others)})" if others else ""
    return problem(
        "no-quorum",
        "the swarm has no leader: it has lost its quorum",
        f"too few managers{known} run or reach each other at port 2377{majority}",
        "start the other managers, or let them through at 2377; where they are gone for good, on one that "
        "is left: docker swarm init --force-new-cluster",
    )


def forbidden(paths: Iterable[str], status: int) -> Finding:
    """A proxy (or Docker's authorization plugin) lets these paths not through."""
    refused = list(paths)
    words = sorted(_PROXY_SAYS[path] for path in refused if path in _PROXY_SAYS)
    environment = ", ".join(f"{word}: 1" for word in words)
    way_out = (
        f"let GET through for {listed(refused)} (docs/security.md); with tecnativa/docker-socket-proxy:\n"
        f"  environment: {{{environment}}}"
    )
    if refused == ["/networks"]:
        return warning(
            "forbidden",
            f"forbidden (HTTP status {status}): /networks",
            "a proxy before Docker does not let it through: labels that tell of networks are missing",
            way_out,
        )
    many = counted(len(refused), "path")
    cause = f"a proxy before Docker (or an authorization plugin of it) does not let {many} through"
    return problem(
        "forbidden", f"forbidden (HTTP status {status}): {listed(refused, at_most=9)}", cause, way_out
    )


def clock(headers: Mapping[str, str], now: float) -> Finding | None:
    """Whether its clock is far from ours; ``now`` in seconds since the epoch."""
    try:
        theirs = parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (TypeError, ValueError):
        return None
    apart = theirs - now
    if abs(apart) <= CLOCKS_APART:
        return None
    return warning(
        "clock",
        f"its clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} ours",
        "certificates, times of events and samples of Prometheus are judged by the clock",
        "set both by NTP: timedatectl set-ntp true",
    )


def different_swarms(swarms: Mapping[str, str]) -> Finding | None:
    """Whether the hosts of one entry are of several swarms; ``swarms``: the swarm's ID by host."""
    by_swarm: dict[str, list[str]] = {}
    for host, swarm in swarms.items():
        by_swarm.setdefault(swarm, []).append(host)
    if len(by_swarm) < 2:
        return None
    groups: Sequence[str] = [listed(hosts) for hosts in by_swarm.values()]
    return problem(
        "different-swarms",
        f"its hosts are managers of {len(by_swarm)} different swarms",
        "one of them is asked at a time: targets of the others are never seen; " + " | ".join(groups),
        "write an entry for each swarm",
    )
