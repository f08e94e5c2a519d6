"""The shipped alerts, as a real Prometheus sees them on the real swarm: they fire, and they end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from yarl import URL

from ..conftest import StartPrometheus, StartSwarmSD
from ..programs import Prometheus, SwarmSD, until
from .asking import config, known
from .cluster import Cluster
from .services import replicas, service
from .zoo import Zoo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MIXIN = Path(__file__).parents[3] / "mixin"

SCRAPED = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
- job_name: swarm-sd
  honor_labels: true
  static_configs: [targets: ['{address}']]
- job_name: swarm
  honor_labels: true
  metrics_path: /metrics/swarm
  static_configs: [targets: ['{address}']]
"""


def quicker(folder: Path) -> Path:
    """The alerts with 2 seconds of patience each."""
    text = re.sub(r"(?m)^( +for: ).*", r"\g<1>2s", (MIXIN / "alerts.yml").read_text())
    file = folder / "alerts.yml"
    file.write_text(text)
    return file


@pytest.fixture
async def sd(cluster: Cluster, swarm_sd: StartSwarmSD) -> SwarmSD:
    """swarm-sd on all managers."""
    started = await swarm_sd(config([manager.host for manager in cluster.managers]))
    await known(started)
    return started


@pytest.fixture
async def judge(sd: SwarmSD, prometheus: StartPrometheus, tmp_path: Path) -> Prometheus:
    """A Prometheus that scrapes swarm-sd, with the alerts."""
    return await prometheus(SCRAPED.format(rules=quicker(tmp_path), address=URL(sd.url).authority))


async def firing(judge: Prometheus, name: str, **labels: str) -> bool:
    """Whether an alert of that name fires with these labels."""
    found = (await judge.get("/api/v1/alerts")).json()["data"]["alerts"]
    return any(
        one["state"] == "firing" and {"alertname": name, **labels}.items() <= one["labels"].items()
        for one in found
    )


async def fires(judge: Prometheus, name: str, **labels: str) -> None:
    """Waits until it does."""
    await until(lambda: firing(judge, name, **labels), f"{name} fires for {labels}", seconds=90)


async def ends(judge: Prometheus, name: str, **labels: str) -> None:
    """Waits until it does no more."""

    async def silent() -> bool:
        return not await firing(judge, name, **labels)

    await until(silent, f"{name} has ended for {labels}", seconds=120)


async def test_alerts_fire_for_a_dead_node_and_a_service_short_of_replicas_and_end_with_them(
    cluster: Cluster, zoo: Zoo, judge: Prometheus
) -> None:
    victim = cluster.workers[1]
    assert victim is not zoo.plain
    there = service("only-there", mode=replicas(2), constraints=[f"node.hostname=={victim.name}"])
    async with zoo.more(there):
        await until(
            lambda: judge.query('swarm_service_replicas_running{service="only-there"} == 2'), "both run"
        )
        assert not await firing(judge, "SwarmNodeDown")
        assert not await firing(judge, "SwarmServiceBelowReplicas", service="only-there")
        await cluster.kill(victim)
        await fires(judge, "SwarmNodeDown", hostname=victim.name)
        await fires(judge, "SwarmServiceBelowReplicas", service="only-there")
        cluster.start(victim.name)
        await ends(judge, "SwarmNodeDown", hostname=victim.name)
        await ends(judge, "SwarmServiceBelowReplicas", service="only-there")


async def test_alerts_fire_when_all_managers_are_gone_and_end_when_they_return(
    cluster: Cluster, judge: Prometheus
) -> None:
    await until(lambda: judge.query("swarm_sd_manager_up == 1"), "managers are known")
    assert not await firing(judge, "SwarmSDNoManager")
    await cluster.kill(*cluster.managers)
    await fires(judge, "SwarmSDNoManager", job="tasks")
    await fires(judge, "SwarmSDStale", job="tasks")
    cluster.start(*(manager.name for manager in cluster.managers))
    await ends(judge, "SwarmSDNoManager", job="tasks")
    await ends(judge, "SwarmSDStale", job="tasks")


def panels() -> Iterator[tuple[str, str]]:
    """(dashboard and panel, query), the variables filled in."""
    for path in sorted((MIXIN / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                query = re.sub(r"\$(?!__)\w+", ".*", target["expr"]).replace("$__rate_interval", "1m")
                yield f"{path.stem}: {panel['title']}", query


ELSEWHERE = {
    "docker-swarm: Nodes by status",  # of a classic Swarm, as the next two
    "docker-swarm: Containers by state",
    "docker-swarm: Tasks that are missing",  # where all is well
    "docker-swarm: Updates",
    "docker-swarm: Restarts",  # two scrapes in the time that is looked at: Prometheus needs them
    "docker-swarm: Restarts in an hour",
    "swarm-sd: Refreshes that failed",
}
"""Panels that are rightly empty here."""


async def test_every_panel_of_the_dashboards_has_something_to_show(judge: Prometheus) -> None:
    await until(lambda: judge.query("rate(process_cpu_seconds_total[1m])"), "two scrapes are there")
    empty = set()
    for panel, query in panels():
        answer = (await judge.get(str(URL("/api/v1/query").with_query(query=query)))).json()
        assert answer["status"] == "success", (panel, answer)
        if not answer["data"]["result"] and "classic" not in query:
            empty.add(panel)
    assert empty <= ELSEWHERE
