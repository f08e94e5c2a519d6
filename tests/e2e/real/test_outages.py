"""Machines die, are drained and come back; services are updated: no target is lost meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ..conftest import StartSwarmSD
from ..programs import SwarmSD, becomes, until
from .asking import META, config, known, lasting, leader_told, node, served, stale, standing
from .built_in import Job, same_targets
from .cluster import OTHER_IMAGE, APIError, Cluster, Engine
from .services import FRONT, replicas, service
from .zoo import Zoo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture
async def sd(cluster: Cluster, leader: Engine, swarm_sd: StartSwarmSD) -> SwarmSD:
    """swarm-sd on all managers, the leader first, with every role known."""
    hosts = sorted((manager.host for manager in cluster.managers), key=lambda host: host != leader.host)
    started = await swarm_sd(config(hosts))
    await known(started)
    return started


async def leads(managers: list[Engine]) -> Engine | None:
    """The one of ``managers`` that leads as they tell, asked briefly: without a leader they keep silent."""

    async def told(engine: Engine) -> set[str]:
        try:
            nodes = await engine.aask("GET", "/nodes", seconds=1)
        except (OSError, APIError):
            return set()
        return {
            node["Description"]["Hostname"] for node in nodes if node.get("ManagerStatus", {}).get("Leader")
        }

    names: set[str] = set().union(*await asyncio.gather(*map(told, managers)))
    return next((manager for manager in managers if manager.name in names), None)


Measured = Callable[[str, Awaitable[object]], Awaitable[float]]


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Tells (in the report, and with ``-s``) how many seconds something takes."""

    async def measure(what: str, until_then: Awaitable[object]) -> float:
        began = time.monotonic()
        await until_then
        took = time.monotonic() - began
        print(f"{what}: {took:.1f} s")
        record_property(what, f"{took:.1f} s")
        return took

    return measure


async def test_managers_die_until_no_quorum_is_left_and_come_back_and_no_target_is_lost(
    cluster: Cluster, leader: Engine, sd: SwarmSD, measured: Measured, tmp_path: Path
) -> None:
    others = [manager for manager in cluster.managers if manager is not leader]
    async with standing(sd, await lasting(sd, [leader.name, *(manager.name for manager in others)])):
        await cluster.kill(leader)

        async def told() -> bool:
            return await leader_told(sd) in {manager.name for manager in others}

        swarms, ours = await asyncio.gather(
            measured(
                "leader killed, until a manager tells of another",
                until(lambda: leads(others), "a manager tells of a new leader", seconds=60),
            ),
            measured(
                "leader killed, until swarm-sd tells of another",
                until(told, "swarm-sd tells of a new leader", seconds=60),
            ),
        )
        assert ours < swarms + 15  # a silent manager is asked again after 10 s
        await becomes(lambda: stale(sd), set())
        assert await sd.metric("swarm_sd_manager_up", job="nodes", manager=leader.host) == 0

        second = await cluster.aleader()
        (last,) = (manager for manager in others if manager is not second)
        await cluster.kill(second)
        await measured(
            "quorum lost, until it is told",
            becomes(lambda: stale(sd), {"nodes", "services", "tasks"}, seconds=60),
        )
        await until(
            lambda: sd.metric(
                "swarm_sd_manager_failures_total", job="nodes", manager=last.host, reason="no_quorum"
            ),
            "the last manager says why",
            seconds=60,
        )
        answer = await sd.get("/sd/tasks")
        assert (answer.status, answer.headers["X-Swarm-SD-Stale"]) == (200, "true")
        assert (await sd.get("/-/ready")).status == 200

        await measured(
            "managers switched on, until targets are confirmed",
            asyncio.gather(
                asyncio.to_thread(cluster.start, leader.name, second.name),
                becomes(lambda: stale(sd), set(), seconds=60),
            ),
        )
    jobs = [
        Job(role, "dockerswarm", await cluster.aleader(), role) for role in ("nodes", "services", "tasks")
    ]
    await same_targets(jobs, tmp_path)


async def test_a_worker_dies_and_its_tasks_start_elsewhere_and_it_comes_back(
    cluster: Cluster, sd: SwarmSD, zoo: Zoo, measured: Measured
) -> None:
    victim = cluster.workers[1]
    assert victim is not zoo.plain
    before = {task[META + "task_id"] for task in await served(sd, "tasks")}

    async def moved() -> bool:
        running = await served(sd, "tasks", task_state="running", service_name="several-networks")
        here = {task[META + "task_id"] for task in running if task[META + "node_hostname"] != victim.name}
        return len(here) >= 2

    async with standing(sd, await lasting(sd, [victim.name])):
        await cluster.kill(victim)
        await measured(
            "worker killed, until it is told",
            becomes(lambda: node(sd, victim.name, "node_status"), "down", seconds=60),
        )
        # its address stands: whether it is scraped is the user's choice
        await until(moved, "both tasks run elsewhere", seconds=60)
        dead = await served(sd, "tasks", node_hostname=victim.name, node_status="down")
        assert {task[META + "task_id"] for task in dead} & before
        await asyncio.to_thread(cluster.start, victim.name)
        await becomes(lambda: node(sd, victim.name, "node_status"), "ready", seconds=60)
    assert await stale(sd) == set()


@pytest.mark.campaign
async def test_a_drained_node_stays_a_target_and_its_tasks_start_elsewhere(
    cluster: Cluster, sd: SwarmSD
) -> None:
    drained = cluster.workers[1]

    async def left() -> set[str]:
        tasks = await served(sd, "tasks", node_hostname=drained.name, task_state="running")
        return {task[META + "task_id"] for task in tasks}

    assert await left()
    async with standing(sd, await lasting(sd, [drained.name])):
        await cluster.update_node(drained, Availability="drain")
        await becomes(lambda: node(sd, drained.name, "node_availability"), "drain")
        await becomes(left, set())
        await cluster.update_node(drained, Availability="active")
        await becomes(lambda: node(sd, drained.name, "node_availability"), "active")
        await until(left, "tasks that run on every node start there again")


@pytest.mark.campaign
async def test_a_rolling_update_is_followed_task_by_task(sd: SwarmSD, zoo: Zoo, cluster: Cluster) -> None:
    spec = service("rolls", on=[FRONT], mode=replicas(3), Labels={"com.example.release": "1"})
    spec["UpdateConfig"] = {"Parallelism": 1, "Delay": 1_000_000_000, "Order": "start-first"}

    async def running(release: str) -> int:
        return len(
            await served(
                sd,
                "tasks",
                service_name="rolls",
                task_state="running",
                task_desired_state="running",
                container_label_com_example_release=release,
            )
        )

    async def status() -> str:
        return (await served(sd, "services", service_name="rolls"))[0].get(
            META + "service_updating_status", ""
        )

    async def counts() -> set[str]:
        return {"all"} if await running("1") + await running("2") >= 3 else set()

    async with zoo.more(spec) as made:
        await becomes(lambda: running("1"), 3)
        await update(await cluster.aleader(), made["rolls"])
        async with standing(sd, await lasting(sd)):
            await becomes(status, "updating")
            await until(lambda: mixed(running), "old and new tasks side by side")
            await becomes(status, "completed", seconds=60)
        await becomes(lambda: running("2"), 3)
        assert await running("1") == 0


async def mixed(running: Callable[[str], Awaitable[int]]) -> bool:
    """Whether tasks of both releases run."""
    return await running("1") > 0 and await running("2") > 0


async def update(leader: Engine, id_: str) -> None:
    """Gives a service another image and another release."""
    found = await leader.aget(f"/services/{id_}")
    container = found["Spec"]["TaskTemplate"]["ContainerSpec"]
    container["Image"], container["Labels"]["com.example.release"] = OTHER_IMAGE, "2"
    await leader.apost(f"/services/{id_}/update", found["Spec"], version=found["Version"]["Index"])
