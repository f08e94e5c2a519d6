"""Managers that hang, fail, cut their answers or are none, and what a read-only proxy must let through."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from ..conftest import StartSwarmSD
from ..programs import SwarmSD, becomes, until
from .asking import ROLES, config, known, lasting, node, served, stale, standing
from .cluster import Cluster, Engine
from .proxy import FAULTS, Fault, Proxy
from .zoo import Zoo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

_news = itertools.count()


async def news(cluster: Cluster, sd: SwarmSD, *, seconds: float = 30) -> None:
    """Changes a node's label, and waits until swarm-sd tells of it."""
    told = f"news-{next(_news)}"
    await cluster.update_node(cluster.workers[1], Labels={"told": told})
    await becomes(lambda: node(sd, cluster.workers[1].name, "node_label_told"), told, seconds=seconds)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_another_manager_is_asked_when_one(
    fault: Fault, cluster: Cluster, between: Sequence[Proxy], swarm_sd: StartSwarmSD
) -> None:
    sd = await swarm_sd(config([proxy.host for proxy in between]))
    await known(sd)
    first = between[0]
    async with standing(sd, await lasting(sd)):
        first.fault = fault
        await news(cluster, sd, seconds=8)  # less than the time limit of a request
        assert first.struck > 0
        assert await stale(sd) == set()
    assert await sd.metric("swarm_sd_manager_up", job="nodes", manager=first.host) == 0
    active = [
        await sd.metric("swarm_sd_manager_active", job="nodes", manager=proxy.host) for proxy in between
    ]
    assert (active[0], sum(active)) == (0, 1)


@pytest.mark.parametrize(("fault", "reason"), [("answers 500", "status"), ("cuts at once", "reset")])
async def test_targets_stand_while_every_manager(
    fault: str, reason: str, cluster: Cluster, between: Sequence[Proxy], swarm_sd: StartSwarmSD
) -> None:
    sd = await swarm_sd(config([proxy.host for proxy in between]))
    await known(sd)
    async with standing(sd, await lasting(sd)):
        for proxy in between:
            proxy.fault = FAULTS[fault]
        await becomes(lambda: stale(sd), set(ROLES))
        assert await sd.metric("swarm_sd_refresh_failures_total", job="tasks", reason=reason) >= 1
        for proxy in between:
            proxy.fault = None
        await becomes(lambda: stale(sd), set())
    await news(cluster, sd)


async def test_a_worker_that_is_asked_first_is_passed_over(
    cluster: Cluster, leader: Engine, swarm_sd: StartSwarmSD
) -> None:
    worker = cluster.workers[0]
    sd = await swarm_sd(config([worker.host, leader.host]))
    await known(sd)
    why = {"job": "nodes", "manager": worker.host, "reason": "not_a_manager"}
    assert await sd.metric("swarm_sd_manager_failures_total", **why) >= 1
    assert await sd.metric("swarm_sd_manager_active", job="nodes", manager=leader.host) == 1
    await news(cluster, sd)


@pytest.mark.campaign
async def test_without_the_list_of_networks_only_their_names_are_missing(
    zoo: Zoo, between: Sequence[Proxy], swarm_sd: StartSwarmSD
) -> None:
    for proxy in between:
        proxy.fault = Fault(500, paths=["/networks"])
    sd = await swarm_sd(config([proxy.host for proxy in between]))
    await known(sd)
    everything = {role: await sd.addresses(f"/sd/{role}") for role in ROLES}
    assert await served(sd, "tasks", network_name="front") == []
    skipped = {"job": "tasks", "reason": "networks_unknown"}
    assert await sd.metric("swarm_sd_skipped_objects", **skipped) == 1
    async with standing(sd, everything):
        for proxy in between:
            proxy.fault = None
        await until(lambda: served(sd, "tasks", network_name="front"), "the names of networks")
        for proxy in between:
            proxy.fault = Fault(500, paths=["/networks"])
        await news(zoo.cluster, sd)
    assert await served(sd, "tasks", network_name="front") != []  # they were known


async def test_a_filter_that_docker_refuses_costs_nobody_else(
    cluster: Cluster, leader: Engine, swarm_sd: StartSwarmSD
) -> None:
    bad = {
        "name": "filters: [{name: colour, values: [red]}]",
        "value": "filters: [{name: desired-state, values: [merry]}]",
    }
    sd = await swarm_sd(
        config([leader.host]) + "".join(job(name, [leader.host], line) for name, line in bad.items())
    )
    await known(sd)
    for name in bad:
        failures = {"job": name, "reason": "refused_filter"}
        await until(
            lambda failures=failures: sd.metric("swarm_sd_refresh_failures_total", **failures),
            "it is refused",
        )
    await news(cluster, sd)
    assert await stale(sd) == set()


def job(name: str, hosts: Sequence[str], *lines: str) -> str:
    """A further job of the role tasks."""
    return (
        config(hosts, *lines, roles=["tasks"])
        .partition("scrape_configs:\n")[2]
        .replace("job_name: tasks", f"job_name: {name}")
    )


DOCS = Path(__file__).parents[3] / "docs" / "security.md"


def documented() -> set[str]:
    """The paths that docs/security.md names for discovery."""
    rows = re.findall(r"^\| `(/\S+)` \| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    kinds = ("`dockerswarm_sd_configs`", "`docker_sd_configs`")
    return {path for path, why in rows if any(kind in why for kind in kinds)}


async def test_the_paths_that_the_docs_name_are_those_that_are_asked(
    cluster: Cluster, between: Sequence[Proxy], swarm_sd: StartSwarmSD
) -> None:
    hosts = [proxy.host for proxy in between]
    engines = "".join(
        f"  - host: {host}\n    refresh_interval: 1s\n    filters: [{{name: status, values: [{status}]}}]\n"
        for host in hosts
        for status in ("running", "exited")
    )
    sd = await swarm_sd(
        config(hosts, "learn_managers: true")
        + job("filtered", hosts, "filters: [{name: desired-state, values: [running]}]")
        + f"- job_name: engines\n  docker_sd_configs:\n{engines}"
    )
    await known(sd)
    await news(cluster, sd)
    between[0].fault = Fault(500)
    await news(cluster, sd)
    requests = [request for proxy in between for request in proxy.requests]
    assert {request.method for request in requests} == {"GET"}
    asked = {re.sub(r"^/v1\.\d+/", "/vX.YY/", request.path) for request in requests}
    assert asked == documented()
    assert asked == {"/version", *(f"/vX.YY/{name}" for name in LISTS)}


LISTS = ("nodes", "services", "tasks", "networks", "containers/json", "events")


async def test_who_may_not_ask_who_the_managers_are_has_targets_all_the_same(
    zoo: Zoo, leader: Engine, short: Path, swarm_sd: StartSwarmSD
) -> None:
    async with Proxy(leader, short, tcp=True) as proxy:
        proxy.fault = Fault(403, paths=["/info"])
        sd = await swarm_sd(config([proxy.host], "learn_managers: true", roles=["services"]))
        await known(sd, ["services"])
        await until(lambda: struck(proxy, 3), "it is asked again and again")
        assert await sd.metric("swarm_sd_stale", job="services") == 0


async def struck(proxy: Proxy, times: int) -> bool:
    """Whether the fault struck so often."""
    return proxy.struck >= times
