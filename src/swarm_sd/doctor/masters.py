"""Asks a master of a classic Swarm."""

from __future__ import annotations

import time

from swarm_sd.discovery.docker_api.client import DockerAPI
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.http_session import Answer
from swarm_sd.discovery.swarm.info import Info, parse_info, trusted
from swarm_sd.doctor import engines
from swarm_sd.doctor.docker_hosts import WITHIN, HostSeen
from swarm_sd.doctor.event_check import events_arrive
from swarm_sd.doctor.findings import Finding, counted, is_ill, listed, ok, problem, warning
from swarm_sd.doctor.reach import Place, unreachable
from swarm_sd.provider import DiscoveryError

_HEALTHY = (None, "Healthy")


async def seen(host: Host, config: HTTPClientConfig) -> HostSeen:
    """What ``host`` answers to what ``swarm_sd_configs`` asks of it."""
    api = DockerAPI((host,), config, timeout=WITHIN)
    place = Place.of(api.base(host), config, host.path if host.scheme == "unix" else "")
    try:
        answer = await api.answer(host, "/info", timeout=WITHIN)
        found = judged(answer)
        if (clock := engines.clock(answer.headers, time.time())) is not None:
            found.append(clock)
        if not is_ill(found):
            found.append(
                await events_arrive(
                    None,
                    lambda path, take, began: api.stream(
                        host, path, take, began=began, timeout=WITHIN, silence=4 * WITHIN
                    ),
                )
            )
        return HostSeen(tuple(found))
    except DiscoveryError as err:
        return HostSeen((await unreachable(place, err),))
    finally:
        await api.close()


def judged(answer: Answer) -> list[Finding]:
    """What a master's ``/info`` says of it. Pure."""
    if answer.status == 403:
        return [engines.forbidden(["/info"], 403)]
    if answer.status >= 300:
        return [_refused(answer)]
    try:
        info = trusted(parse_info(answer.body))
    except DiscoveryError as err:
        return [_untrusted(err, answer)]
    return [*_role(info), *_nodes(info)]


def _refused(answer: Answer) -> Finding:
    text = engines.said(answer)
    if "primary" in text.lower() or "No elected" in text:
        return _no_leader()
    return engines.refusal("/info", answer, None)


def _untrusted(err: DiscoveryError, answer: Answer) -> Finding:
    if err.reason == "replica_without_nodes":
        replica = parse_info(answer.body)
        if not replica.primary:
            return _no_leader()
        return problem(
            "replica-without-nodes",
            "it is a replica that knows no node",
            f"its primary is {replica.primary}; it cannot reach the store, or has only just started",
            f"ask the primary, too: masters: [..., {replica.primary}]",
        )
    if err.reason == "not_a_swarm":
        return _an_engine(engines.decoded(answer.body, engines.Info))
    if err.reason == "not_json":
        return engines.not_docker("/info", f"{err}")
    return problem("not-understood", str(err), "", "report it, with the answer of /info")


def _an_engine(info: engines.Info | None) -> Finding:
    """Somebody's engine in the place of a classic manager."""
    if info is None or not info.server_version:
        return engines.not_docker("/info", "no nodes in its status, no version")
    if info.swarm.control_available:
        return problem(
            "swarm-mode",
            f"{info.name} is a manager in swarm mode (Docker {info.server_version}), not a classic Swarm",
            "swarm_sd_configs is for standalone Swarm (swarm manage)",
            "dockerswarm_sd_configs:\n  - host: the host\n    role: tasks",
        )
    state = info.swarm.local_node_state
    where = "a worker of a swarm in swarm mode" if state == "active" else "a single engine"
    return problem(
        "engine-as-master",
        f"{info.name} is {where} (Docker {info.server_version}), not a manager of a classic Swarm",
        "/info has no list of nodes: the port is that of the engine, not that of swarm manage (often 3375)",
        "write the port of swarm manage into masters; or docker_sd_configs, where its containers are meant",
    )


def _no_leader() -> Finding:
    return problem(
        "no-primary",
        "it is a replica, and there is no primary",
        "no manager holds the lock in the store: the store is away, or the primary died just now",
        "look at the store (swarm manage --replication ... consul://...), and at the other managers' logs",
    )


def _role(info: Info) -> list[Finding]:
    replica = info.role == "replica"
    what = f"replica of {info.primary}" if replica and info.primary else info.role or "manager"
    if replica and not info.primary:
        return [_no_leader()]
    return [ok("master", f"classic Swarm, {what}, {counted(len(info.nodes), 'node')}")]


def _nodes(info: Info) -> list[Finding]:
    if not info.nodes:
        return [
            warning(
                "no-nodes",
                "it knows no node",
                "nobody has joined, or the nodes register under another prefix of the store",
                "swarm list <the discovery URL of swarm manage>",
            )
        ]
    ill = [node for node in info.nodes if node.status not in _HEALTHY]
    if not ill:
        return []
    told = listed(f"{node.address} {node.status}{f' ({node.error})' if node.error else ''}" for node in ill)
    return [
        warning(
            "nodes-ill",
            f"{len(ill)} of {counted(len(info.nodes), 'node')} cannot be used",
            told,
            "look at these engines: the manager must reach each at its address",
        )
    ]
