"""How soon the list follows the managers': changes that events tell of, and those that none does."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from swarm_sd.discovery.docker_api import wire
from swarm_sd.discovery.dockerswarm.tasks import tasks

from ..conftest import StartSwarmSD
from ..programs import SwarmSD, becomes, until
from .asking import config, known, node, served
from .cluster import OTHER_IMAGE, Cluster, Engine
from .services import FRONT, GLOBAL, replicas, service
from .streams import Disorder, Streams, streams
from .zoo import Zoo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

BOUND = 5.0
"""Seconds within which swarm-sd has to tell what the manager tells; with other tests beside it."""

Targets: TypeAlias = Counter[tuple[tuple[str, str], ...]]
"""Targets by all their labels; none should be there twice."""

TaskList: TypeAlias = Sequence[Mapping[str, Any]]


class Followed:
    """swarm-sd, asked at most every minute, beside the manager's own lists."""

    def __init__(self, sd: SwarmSD, zoo: Zoo, record: Callable[[str, object], None]) -> None:
        self.sd, self.zoo = sd, zoo
        self._record = record

    async def told(self) -> Targets:
        """What the leader's lists are as targets."""
        leader = await self.zoo.cluster.aleader()
        paths = ("/tasks", "/services", "/nodes", "/networks")
        listed = [json.dumps(await leader.aget(path)).encode() for path in paths]
        mapped = tasks(
            *(wire.decode_tasks(listed[0]), wire.decode_services(listed[1])),
            *(wire.decode_nodes(listed[2]), wire.decode_networks(listed[3])),
            port=80,
        )
        return Counter(
            tuple(sorted({**group.labels, **target}.items()))
            for group in mapped.groups
            for target in group.targets
        )

    async def served(self) -> Targets:
        """What swarm-sd serves."""
        return Counter(
            tuple(sorted({"__address__": address, **group.get("labels", {})}.items()))
            for group in await self.sd.served("/sd/tasks")
            for address in group["targets"]
        )

    async def same(self) -> bool:
        """Whether both are the same, each target once."""
        served, told = await asyncio.gather(self.served(), self.told())
        for what, only in {"swarm-sd": served - told, "the manager": told - served}.items():
            if only:
                print(f"only {what}: {[dict(target).get(NAMED) for target in only]}")
        return served == told

    async def follows(self, what: str, goal: Callable[[], Awaitable[bool]]) -> None:
        """Waits until the manager tells of ``goal``; then swarm-sd has to within the bound."""
        await until(goal, f"the manager tells that {what}", seconds=60)
        began = time.monotonic()
        await until(self.same, f"swarm-sd tells that {what}", seconds=BOUND)
        lag = f"{time.monotonic() - began:.2f} s after the manager"
        print(f"{what}: {lag}")
        self._record(what, lag)

    async def running(self, service: str, count: int, *, image: str = "", but: str = "") -> bool:
        """Whether just so many tasks of a service are there, all running, on no machine ``but``."""
        found = await self.zoo.tasks(service)
        elsewhere = but and (await (await self.zoo.cluster.aleader()).aget(f"/nodes/{but}"))["ID"]
        live = [task for task in found if task["DesiredState"] in ("running", "ready")]
        return len(live) == count and all(
            task["Status"]["State"] == task["DesiredState"] == "running"
            and task["NodeID"] != elsewhere
            and image in task["Spec"]["ContainerSpec"]["Image"]
            for task in live
        )


NAMED = "__meta_dockerswarm_service_name"


@pytest.fixture
def start(
    zoo: Zoo, swarm_sd: StartSwarmSD, record_property: Callable[[str, object], None]
) -> Callable[[Sequence[str]], Awaitable[Followed]]:
    """Starts swarm-sd on these hosts, and waits until it has their targets."""

    async def started(hosts: Sequence[str]) -> Followed:
        text = config(hosts, roles=["tasks"]).replace("refresh_interval: 300ms", "refresh_interval: 60s")
        sd = await swarm_sd(text, "--mass-loss.share=1")
        await known(sd, ["tasks"])
        followed = Followed(sd, zoo, record_property)
        await until(followed.same, "the same targets")
        return followed

    return started


Start: TypeAlias = Callable[[Sequence[str]], Awaitable[Followed]]


@pytest.fixture
async def followed(cluster: Cluster, leader: Engine, start: Start) -> Followed:
    """swarm-sd on all managers, the leader first."""
    others = [manager.host for manager in cluster.managers if manager is not leader]
    return await start([leader.host, *others])


async def change(cluster: Cluster, service: str, mend: Callable[[dict[str, Any]], object]) -> None:
    """Updates a service."""
    leader = await cluster.aleader()
    found = await leader.aget(f"/services/{service}")
    mend(found["Spec"])
    await leader.apost(f"/services/{found['ID']}/update", found["Spec"], version=found["Version"]["Index"])


def scaled(count: int) -> Callable[[dict[str, Any]], object]:
    """Another number of replicas."""
    return lambda spec: spec.update(Mode=replicas(count))


def other_image(spec: dict[str, Any]) -> None:
    """Another image, a task at a time."""
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = OTHER_IMAGE
    spec["UpdateConfig"] = {"Parallelism": 1, "Delay": 500_000_000, "Order": "start-first"}


async def life_of_a_service(followed: Followed) -> None:
    """A service is created, scaled, updated and removed, and followed."""
    zoo, cluster = followed.zoo, followed.zoo.cluster

    async def gone() -> bool:
        leader = await cluster.aleader()
        return all(task["ServiceID"] != made["fresh"] for task in await leader.aget("/tasks"))

    async with zoo.more(service("fresh", on=[FRONT], mode=replicas(2))) as made:
        await followed.follows("a service is created", lambda: followed.running("fresh", 2))
        await change(cluster, "fresh", scaled(5))
        await followed.follows("it is scaled up", lambda: followed.running("fresh", 5))
        await change(cluster, "fresh", scaled(2))
        await followed.follows("it is scaled down", lambda: left("fresh", 2, zoo))
        await change(cluster, "fresh", other_image)
        await followed.follows("it is updated", lambda: followed.running("fresh", 2, image=OTHER_IMAGE))
    await followed.follows("it is removed", gone)


async def left(service: str, count: int, zoo: Zoo) -> bool:
    """Whether a service has no more tasks than these, whatever their state."""
    return len(await zoo.tasks(service)) == count


async def test_a_service_is_followed_from_its_creation_to_its_end(followed: Followed) -> None:
    await life_of_a_service(followed)


async def test_nodes_that_are_drained_activated_and_killed_are_followed(
    followed: Followed, cluster: Cluster, zoo: Zoo
) -> None:
    drained, killed = cluster.workers  # not the other way: plain containers run on the first

    async def both(moves: int, each: int, *, but: str = "") -> bool:
        return await followed.running("moves", moves, but=but) and await followed.running(
            "each", each, but=but
        )

    async with zoo.more(
        service("moves", on=[FRONT], mode=replicas(4)), service("each", on=[FRONT], mode=GLOBAL)
    ):
        await followed.follows("services are created", lambda: both(4, 5))
        await cluster.update_node(drained, Availability="drain")
        await followed.follows("a node is drained", lambda: both(4, 4, but=drained.name))
        await cluster.update_node(drained, Availability="active")
        await followed.follows("a node has a global service again", lambda: followed.running("each", 5))

        async def down() -> bool:
            nodes = await (await cluster.aleader()).aget(f"/nodes/{killed.name}")
            return bool(nodes["Status"]["State"] == "down") and await followed.running(
                "moves", 4, but=killed.name
            )

        await cluster.kill(killed)
        await followed.follows("a node is down", down)


async def test_services_and_nodes_are_followed_by_events_alone(
    zoo: Zoo, cluster: Cluster, leader: Engine, swarm_sd: StartSwarmSD
) -> None:
    roles = ("services", "nodes")  # whose lists are asked for once in the interval while events come
    sd = await swarm_sd(config([leader.host], roles=roles).replace("300ms", "60s"), "--mass-loss.share=1")
    await known(sd, roles)
    worker = cluster.workers[1]

    async def services() -> set[str]:
        """What the label of the service tells, if there is the service."""
        found = await served(sd, "services", service_name="fresh")
        return {one.get("__meta_dockerswarm_service_label_told", "") for one in found}

    async with zoo.more(service("fresh", on=[FRONT])):
        await becomes(services, {""}, seconds=BOUND)
        await change(cluster, "fresh", lambda spec: spec.update(Labels={"told": "by event"}))
        await becomes(services, {"by event"}, seconds=BOUND)
        await cluster.update_node(worker, Labels={"told": "by event"})
        await becomes(lambda: node(sd, worker.name, "node_label_told"), "by event", seconds=BOUND)
    await becomes(services, set(), seconds=BOUND)


@pytest.fixture
async def between(cluster: Cluster, leader: Engine, short: Path) -> AsyncIterator[list[Streams]]:
    """A way to each manager, the leader first."""
    engines = sorted(cluster.managers, key=lambda manager: manager is not leader)
    async with streams(engines, short) as started:
        yield started


async def test_a_task_that_dies_without_an_event_is_followed(
    cluster: Cluster, zoo: Zoo, between: list[Streams], start: Start
) -> None:
    followed = await start([way.host for way in between])
    worker = cluster.workers[1]

    async def rests() -> bool:
        """Whether nobody expects the service to change: it is asked for with all others alone."""
        asked = [request.target for way in between for request in way.requests if "/tasks" in request.path]
        return len(asked) > 4 and not any(zoo.ids["everywhere"] in target for target in asked[-4:])

    await until(rests, "swarm-sd believes that all rests")
    (task,) = [task for task in await zoo.tasks("everywhere") if await runs_on(task, worker, cluster)]
    await worker.apost(f"/containers/{task['Status']['ContainerStatus']['ContainerID']}/kill")

    async def replaced() -> bool:
        found = {one["ID"] for one in await zoo.tasks("everywhere") if one["DesiredState"] == "running"}
        return task["ID"] not in found and await followed.running("everywhere", 2)

    await followed.follows("its task is another one", replaced)


async def runs_on(task: Mapping[str, Any], engine: Engine, cluster: Cluster) -> bool:
    """Whether a task runs on the node of ``engine``."""
    node = await (await cluster.aleader()).aget(f"/nodes/{engine.name}")
    return bool(task["NodeID"] == node["ID"] and task["DesiredState"] == "running")


@pytest.mark.parametrize("disorder", ["cut every second", "silent", "told twice"])
async def test_nothing_is_lost_or_doubled_while_the_event_stream_is(
    disorder: Disorder, between: list[Streams], start: Start
) -> None:
    for way in between:
        way.disorder = disorder
    followed = await start([way.host for way in between])
    await life_of_a_service(followed)
    assert sum(way.struck for way in between) > 0
    if disorder == "silent":
        await until(
            lambda: followed.sd.metric("swarm_sd_events_missed_total", job="tasks"), "it is found silent"
        )
