"""``role: endpoints`` on the real cluster, with a real Prometheus on the networks that services share."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from ..conftest import StartSwarmSD
from ..programs import Program, SwarmSD, becomes, until
from .asking import META, served
from .attached import attached, overlays
from .cluster import Cluster, Engine
from .inside import PrometheusInside
from .labelled import (
    ENDPOINTS,
    MONITORING,
    ON_NODE,
    SHARED,
    SIX,
    UNREACHABLE,
    labelled,
    networks,
    reachable,
    running,
    unreachable,
)
from .services import GLOBAL, port, replicas
from .zoo import Zoo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SIXTH = "on-ipv6"
BUILT_IN = {"built-in": 80, "built-in, told the port": 8000}
"""The jobs of Prometheus' own discovery, and the port that each takes for services that publish none: its
default, and the one that nearly all of these services have.
"""


@dataclass(frozen=True)
class Scraped:
    """swarm-sd, and a Prometheus on the networks that services share."""

    sd: SwarmSD
    prometheus: PrometheusInside

    async def health(self, job: str) -> Counter[str]:
        """How many targets of a job are ``up``, ``down`` and ``unknown``."""
        return Counter(target["health"] for target in await self.prometheus.targets(job))

    async def services(self, job: str = "endpoints") -> dict[str, list[dict[str, Any]]]:
        """The targets of a job that are up, by service."""
        found: dict[str, list[dict[str, Any]]] = {}
        for target in await self.prometheus.targets(job):
            if target["health"] == "up":
                found.setdefault(target["discoveredLabels"][META + "service_name"], []).append(target)
        return found

    async def answered(self, job: str) -> str:
        """How a job of the built-in fares; "" while not all of it was scraped."""
        health = await self.health(job)
        if not health or health["unknown"]:
            return ""
        known = {target["scrapeUrl"] for targets in (await self.services()).values() for target in targets}
        found = [t["scrapeUrl"] for targets in (await self.services(job)).values() for t in targets]
        down = Counter(
            target["discoveredLabels"][META + "service_name"]
            for target in await self.prometheus.targets(job)
            if target["health"] == "down"
        )
        print(f"{job}: down are {dict(down)}")
        there = f"{len(known & {*found})} of {len(known)} endpoints are among them"
        return f"of {health.total()} targets {health['up']} answered, {there}"

    async def skipped(self, reason: str) -> float:
        """How many tasks or labels are counted under a reason."""
        return await self.sd.metric("swarm_sd_skipped_objects", job="endpoints", reason=reason)

    async def counts(self) -> dict[str, int]:
        """How many endpoints of each service are up."""
        return {service: len(targets) for service, targets in (await self.services()).items()}


def config(hosts: Sequence[str]) -> str:
    """Every endpoint at the networks that are shared, and the one with IPv6 by a job of its own."""
    common = f"hosts: {list(hosts)}\n    role: endpoints\n    refresh_interval: 60s"
    return f"""
scrape_configs:
- job_name: endpoints
  dockerswarm_sd_configs:
  - {common}
    networks: {list(SHARED)}
- job_name: ipv6
  dockerswarm_sd_configs:
  - {common}
    networks: {SIX}
    address_family: both
    filters: [{{name: service, values: [{SIXTH}]}}]
"""


def scraping(files: Path, leader: Engine) -> str:
    """A Prometheus with what swarm-sd finds, and with what its own discovery finds of the same services."""
    ours = "".join(
        f"- job_name: {job}\n  file_sd_configs:\n  - files: ['{files}/{job}_0.json']\n"
        for job in ("endpoints", "ipv6")
    )
    theirs = "".join(
        f"""
- job_name: {job}
  dockerswarm_sd_configs:
  - {{host: '{leader.host}', role: tasks, port: {port}, refresh_interval: 1s}}
  relabel_configs:
  - source_labels: [__meta_dockerswarm_service_label_com_example_suite]
    action: keep
    regex: endpoints
  - source_labels: [__meta_dockerswarm_task_desired_state]
    action: keep
    regex: running|complete
"""
        for job, port in BUILT_IN.items()
    )
    return f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{ours}{theirs}"


@pytest.fixture
async def namespace(zoo: Zoo, leader: Engine, request: pytest.FixtureRequest) -> AsyncIterator[Path]:
    """That of a container on the networks that are shared, or on those that the test names."""
    async with overlays(zoo, *networks()), attached(leader, getattr(request, "param", SHARED)) as inside:
        yield inside


Scraping: TypeAlias = Callable[[], Awaitable[Scraped]]


@pytest.fixture
def scraped(
    cluster: Cluster,
    leader: Engine,
    namespace: Path,
    swarm_sd: StartSwarmSD,
    started: list[Program],
    tmp_path: Path,
) -> Scraping:
    """Starts both."""

    async def start() -> Scraped:
        hosts = sorted((manager.host for manager in cluster.managers), key=lambda host: host != leader.host)
        files = tmp_path / "sd"
        sd = await swarm_sd(config(hosts), f"--file-sd.directory={files}")
        prometheus = PrometheusInside(tmp_path, scraping(files, leader))
        prometheus.namespace = namespace
        started.append(prometheus)
        await prometheus.start("/-/ready")
        return Scraped(sd, prometheus)

    return start


@pytest.mark.parametrize("namespace", [(*SHARED, SIX)], indirect=True, ids=["ipv6 too"])
async def test_every_endpoint_is_up_and_most_of_what_the_built_in_gives_is_not(
    zoo: Zoo, scraped: Scraping, record_property: Callable[[str, object], None]
) -> None:
    six = labelled(SIXTH, on=[SIX])
    del six["Labels"]["com.example.suite"]  # a job of its own: not compared with the built-in
    async with running(zoo, *reachable(), *unreachable(), six):
        both = await scraped()
        expected = {service: count for service, (count, _) in ENDPOINTS.items()}
        await becomes(both.counts, expected, seconds=60)
        await becomes(lambda: both.health("endpoints"), Counter(up=sum(expected.values())))

        async def six_is_scraped() -> bool:
            return sum((await both.health("ipv6")).values()) == 1

        # of an overlay's IPv6 addresses managers tell nothing (Docker 20.10), and engines may give a task and
        # the scraper the same one: then neither family answers
        await until(six_is_scraped, "the target on the network with IPv6")

        for service, targets in (await both.services()).items():
            where = {target["discoveredLabels"].get(META + "network_name", "") for target in targets}
            assert where == {ENDPOINTS[service][1]}, service
        for job in BUILT_IN:
            told = await until(partial(both.answered, job), "what the built-in gave was scraped")
            print(f"{job}: {told}")
            record_property(job, told)
        health = await both.health("built-in")
        assert health["down"] > health["up"]


async def test_endpoints_without_a_way_are_counted_and_mistyped_labels_are_told(
    zoo: Zoo, scraped: Scraping
) -> None:
    wrong = {"prometheus.port": "8000", "prometheus.prot": "9000"}
    services = [
        *unreachable(),
        labelled("mistyped", labels=wrong, on=[MONITORING]),
        labelled("over", "true", on=[MONITORING], restart="none"),
    ]
    async with running(zoo, *services):
        both = await scraped()
        await becomes(both.counts, {"mistyped": 1}, seconds=60)
        for reason, count in {"no_shared_network": len(UNREACHABLE), "bad_label": 1}.items():
            await becomes(partial(both.skipped, reason), float(count))
        await both.sd.said("service mistyped: label prometheus.prot: unknown, did you mean prometheus.port?")


async def test_endpoints_follow_nodes_that_are_labelled_drained_and_killed(
    zoo: Zoo, cluster: Cluster, leader: Engine, scraped: Scraping
) -> None:
    drained, killed = cluster.workers
    async with running(
        zoo,
        labelled("on-node", ports=[port(8000, ON_NODE, mode="host")], mode=GLOBAL),
        labelled("on-overlay", on=[MONITORING], mode=replicas(3)),
    ):
        both = await scraped()

        async def nodes() -> set[str]:
            """The machines at whose address there is an endpoint that is up."""
            found = (await both.services()).get("on-node", [])
            return {target["discoveredLabels"][META + "node_hostname"] for target in found}

        async def replicas_up() -> int:
            return len((await both.services()).get("on-overlay", []))

        machines = set(cluster.engines)
        await becomes(nodes, machines, seconds=60)
        await becomes(replicas_up, 3)
        (one,) = await served(both.sd, "endpoints", service_name="on-node", node_hostname=drained.name)
        assert one["__address__"] == f"{drained.address}:{ON_NODE}"
        assert one["instance"] == f"on-node.{drained.name}:8000"
        assert one[META + "node_label_zone"] == drained.name
        assert one[META + "node_engine_label_engine_zone"] == f"zone-{drained.name}"

        await cluster.update_node(drained, Availability="drain")
        await becomes(nodes, machines - {drained.name})
        await becomes(replicas_up, 3)
        await cluster.kill(killed)
        await becomes(nodes, machines - {drained.name, killed.name}, seconds=60)
        await becomes(replicas_up, 3)
        await becomes(lambda: both.health("endpoints"), Counter(up=6))
        await cluster.update_node(drained, Availability="active")
        await becomes(nodes, machines - {killed.name})
