"""``role: endpoints`` on the real cluster, with a real Prometheus on the networks that services share."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..conftest import StartSwarmSD
from ..programs import Program, SwarmSD, becomes, until
from .asking import META
from .attached import attached, overlays
from .cluster import Cluster, Engine
from .inside import PrometheusInside
from .labelled import (
    ENDPOINTS,
    SHARED,
    SIX,
    labelled,
    networks,
    reachable,
    unreachable,
)
from .zoo import Zoo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SIXTH = "on-ipv6"


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
    return f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
{ours}
- job_name: built-in
  dockerswarm_sd_configs:
  - host: {leader.host}
    role: tasks
    port: 8000
    refresh_interval: 1s
  relabel_configs:
  - source_labels: [__meta_dockerswarm_service_label_com_example_suite]
    action: keep
    regex: endpoints
  - source_labels: [__meta_dockerswarm_task_desired_state]
    action: keep
    regex: running|complete
"""


@pytest.fixture
async def namespace(zoo: Zoo, leader: Engine) -> AsyncIterator[Path]:
    """That of a container on the networks that are shared."""
    async with overlays(zoo, *networks()), attached(leader, [*SHARED, SIX]) as inside:
        yield inside


Scraping = Callable[[], Any]


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


async def test_every_endpoint_is_up_and_most_of_what_the_built_in_gives_is_not(
    zoo: Zoo, scraped: Scraping, record_property: Callable[[str, object], None]
) -> None:
    six = labelled(SIXTH, on=[SIX])
    async with zoo.more(*reachable(), *unreachable(), six):
        both = await scraped()
        expected = {service: count for service, (count, _) in ENDPOINTS.items()}
        await becomes(both.counts, expected, seconds=60)
        await becomes(lambda: both.health("endpoints"), Counter(up=sum(expected.values())))
        await becomes(lambda: both.health("ipv6"), Counter(up=2))

        for service, targets in (await both.services()).items():
            where = {target["discoveredLabels"].get(META + "network_name", "") for target in targets}
            assert where == {ENDPOINTS[service][1]}, service
        await until(lambda: settled(both), "the built-in's targets were all scraped")
        health = await both.health("built-in")
        told = f"of {health.total()} targets that the built-in gave, {health['up']} answered"
        print(told)
        record_property("built-in", told)
        assert health["down"] > health["up"] > 0


async def settled(both: Scraped) -> bool:
    """Whether every target of the built-in was scraped."""
    health = await both.health("built-in")
    return bool(health) and not health["unknown"]
