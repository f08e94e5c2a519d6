"""``/metrics/swarm`` of the real cluster: beside Docker's own numbers, and in a real Prometheus."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Mapping
from typing import Any, TypeAlias

import pytest
from prometheus_client.parser import text_string_to_metric_families

from swarm_sd.discovery.docker_api import wire
from swarm_sd.discovery.dockerswarm.task_counts import counted

from ..conftest import StartPrometheus, StartSwarmSD
from ..programs import Prometheus, SwarmSD, becomes, needs, until
from .asking import config, known
from .cluster import MACHINES, MANAGERS, OTHER_IMAGE, Cluster, Engine
from .services import GLOBAL, replicas, service
from .zoo import Zoo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

Counts: TypeAlias = Mapping[str, tuple[int, int, int]]
"""(running, desired, completed) by service."""


class Told:
    """What swarm-sd tells of the cluster."""

    def __init__(self, sd: SwarmSD) -> None:
        self.sd = sd

    async def text(self) -> str:
        """All of it."""
        answer = await self.sd.get("/metrics/swarm")
        assert answer.status == 200
        return answer.body.decode()

    async def values(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
        """The values of a metric by these labels."""
        return {
            tuple(sample.labels[one] for one in by): sample.value
            for family in text_string_to_metric_families(await self.text())
            for sample in family.samples
            if sample.name == name
        }

    async def of_service(self, name: str, service: str) -> float | None:
        """The value of a metric of a service; None where there is none."""
        return (await self.values(name, "service")).get((service,))

    async def counts(self) -> Counts:
        """What ``docker service ls`` would show."""
        running, desired, completed = [
            await self.values(f"swarm_service_replicas_{name}", "service")
            for name in ("running", "desired", "completed")
        ]
        return {
            name: (int(count), int(desired[name,]), int(completed.get((name,), 0)))
            for (name,), count in running.items()
        }


def of_docker(services: Any) -> Counts:
    """The same, as ``/services?status=true`` tells it."""
    names = ("RunningTasks", "DesiredTasks", "CompletedTasks")
    return {one["Spec"]["Name"]: tuple(one["ServiceStatus"][name] for name in names) for one in services}  # type: ignore[misc]


@pytest.fixture
async def told(cluster: Cluster, swarm_sd: StartSwarmSD) -> Told:
    sd = await swarm_sd(config([manager.host for manager in cluster.managers]))
    await known(sd)
    return Told(sd)


async def test_replicas_are_those_of_service_ls_for_every_kind_of_service(leader: Engine, told: Told) -> None:
    theirs = of_docker(await leader.aget("/services", status="true"))
    assert {"job", "global-job", "host-mode", "everywhere", "none-wanted", "nowhere"} <= theirs.keys()
    await becomes(told.counts, theirs)


def crashing(name: str, mode: Mapping[str, Any]) -> dict[str, Any]:
    """A service whose tasks end at once, again and again."""
    made = service(name, "false", mode=mode)
    made["TaskTemplate"]["RestartPolicy"]["Delay"] = 1_000_000_000
    return made


async def test_counting_is_dockers_own_while_tasks_come_and_go(leader: Engine, zoo: Zoo) -> None:
    """Where the tasks are the same, in the same versions, before and after its answer, it counted those."""
    specs = [crashing("crashes", replicas(3)), crashing("crashes-everywhere", GLOBAL)]
    specs.append(service("runs-everywhere", mode=GLOBAL))
    seen = set()

    async def tasks_of(id_: str) -> list[wire.Task]:
        listed = await leader.aget("/tasks", {"service": [id_]})
        return list(wire.decode_tasks(json.dumps(listed).encode()))

    async with zoo.more(*specs) as ids:
        for _ in range(60):
            for id_ in ids.values():
                before = await tasks_of(id_)
                listed = await leader.aget("/services", {"id": [id_]}, status="true")
                (one,) = wire.decode_services(json.dumps(listed).encode())
                if await tasks_of(id_) == before:
                    found = counted(one, before)
                    count = found.running, found.desired, found.completed or 0
                    assert {one.spec.name: count} == of_docker(listed)
                    seen.add((one.spec.name, count))
    print(sorted(seen))
    assert len(seen) > 10
    assert {name for name, _ in seen} == ids.keys()


async def test_a_service_that_is_scaled_updated_and_crashes_is_told_so(zoo: Zoo, told: Told) -> None:
    reserving = service("reserves", mode=GLOBAL)
    reserving["TaskTemplate"]["Resources"] = {
        "Reservations": {"NanoCPUs": 20_000_000, "MemoryBytes": 8 << 20}
    }
    async with zoo.more(service("grows"), crashing("crashes", replicas(1)), reserving) as ids:
        await becomes(lambda: told.of_service("swarm_service_replicas_running", "grows"), 1.0)
        await _change(zoo.cluster, ids["grows"], Mode=replicas(3))
        await becomes(lambda: told.of_service("swarm_service_replicas_desired", "grows"), 3.0)
        await becomes(lambda: told.of_service("swarm_service_replicas_running", "grows"), 3.0)

        await _change(zoo.cluster, ids["grows"], image=OTHER_IMAGE)

        async def updated() -> bool:
            states = await told.values("swarm_service_update_state", "service", "state")
            return states.get(("grows", "completed")) == 1.0

        await until(updated, "the update has completed", seconds=60)
        assert (await told.values("swarm_service_info", "service", "image"))["grows", OTHER_IMAGE] == 1
        assert await told.of_service("swarm_service_task_restarts_total", "grows") == 0

        async def restarted() -> bool:
            return (await told.of_service("swarm_service_task_restarts_total", "crashes") or 0) >= 3

        await until(restarted, "three restarts are seen", seconds=60)
        assert (await told.values("swarm_service_tasks", "service", "state"))["crashes", "failed"] >= 1
        memory = await told.values("swarm_node_reserved_memory_bytes", "hostname")
        assert memory == {(name,): 8 << 20 for name in MACHINES}
        cpus = await told.values("swarm_node_reserved_cpu_cores", "hostname")
        assert cpus == {(name,): 0.02 for name in MACHINES}


async def _change(cluster: Cluster, id_: str, *, image: str = "", **spec: object) -> None:
    leader = await cluster.aleader()
    found = await leader.aget(f"/services/{id_}")
    wanted = found["Spec"] | spec
    if image:
        wanted["TaskTemplate"]["ContainerSpec"]["Image"] = image
    await leader.apost(f"/services/{id_}/update", wanted, version=found["Version"]["Index"])


async def test_nodes_that_are_drained_killed_or_lead_are_told_so(cluster: Cluster, told: Told) -> None:
    async def states() -> dict[str, str]:
        found = await told.values("swarm_node_state", "hostname", "state")
        return {node: state for (node, state), value in found.items() if value}

    async def availability() -> dict[str, str]:
        found = await told.values("swarm_node_availability", "hostname", "availability")
        return {node: state for (node, state), value in found.items() if value}

    await becomes(states, dict.fromkeys(MACHINES, "ready"))
    leads = await told.values("swarm_node_manager_leader", "hostname")
    assert {node for (node,), value in leads.items() if value} == {(await cluster.aleader()).name}
    assert {node for (node,) in leads} == set(MANAGERS)
    infos = {node["ID"]: node for node in await (await cluster.aleader()).aget("/nodes")}
    memory = await told.values("swarm_node_memory_bytes", "node")
    assert memory == {(id_,): node["Description"]["Resources"]["MemoryBytes"] for id_, node in infos.items()}
    drained, killed = cluster.workers[0], cluster.workers[1]
    await cluster.update_node(drained, Availability="drain")
    await becomes(availability, {**dict.fromkeys(MACHINES, "active"), drained.name: "drain"})
    await cluster.kill(killed)
    await becomes(states, {**dict.fromkeys(MACHINES, "ready"), killed.name: "down"}, seconds=60)


async def test_prometheus_scrapes_both_pages_and_promtool_finds_no_fault(
    cluster: Cluster, told: Told, prometheus: StartPrometheus
) -> None:
    target = told.sd.url.removeprefix("http://")
    jobs = "".join(
        f"- job_name: {name}\n  metrics_path: {path}\n  static_configs:\n  - targets: ['{target}']\n"
        for name, path in (("sd", "/metrics"), ("swarm", "/metrics/swarm"))
    )
    running = await prometheus(
        f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{jobs}"
    )

    async def up() -> dict[str, str]:
        return {one["labels"]["job"]: one["health"] for one in await running.targets()}

    await becomes(up, {"sd": "up", "swarm": "up"})

    async def nodes() -> dict[str, float]:
        return await running.query(
            'label_replace(swarm_node_state{state="ready"} * on (cluster, node) group_left (role) '
            'swarm_node_description_info, "instance", "$1", "hostname", "(.*)")'
        )

    await becomes(nodes, dict.fromkeys(MACHINES, 1.0))
    wanted = "swarm_service_replicas_running < swarm_service_replicas_desired"
    lacking = {name for name, (runs, shall, _) in (await told.counts()).items() if runs < shall}
    assert "nowhere" in lacking
    assert await _services(running, wanted) == lacking
    assert _without_scrape_problems(running)
    checked = await asyncio.to_thread(
        subprocess.run,
        [needs("promtool"), "check", "metrics"],
        input=await told.text(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


async def _services(prometheus: Prometheus, promql: str) -> set[str]:
    return set(await prometheus.query(f'label_replace({promql}, "instance", "$1", "service", "(.*)")'))


def _without_scrape_problems(prometheus: Prometheus) -> bool:
    """Whether no sample was told twice or out of order."""
    return "duplicate" not in prometheus.log() and "Error on ingesting" not in prometheus.log()
