"""What one of those who share a cluster finds out, and when, the others have too."""

import asyncio
from dataclasses import dataclass

import pytest
from tests.discovery.docker_api.test_cluster import fetched, provider, running, until

from swarm_sd.discovery.docker_api import watch
from swarm_sd.sim import faults
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.objects import Port
from swarm_sd.sim.moby.swarm import Swarm

TIER = "__meta_dockerswarm_service_label_tier"
NETWORK = "__meta_dockerswarm_network_name"


@pytest.fixture(autouse=True)
def events_alone(monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 60.0)


@pytest.fixture
def swarm():
    made = Swarm(("mgr1",), ("wrk1",), seed=1)
    made.create_network("net")
    made.create_service("web", replicas=2, networks=["net"], ports=[Port(80, 18080)], labels={"tier": "old"})
    return made.settle()


@dataclass
class SlowLists(faults.Fault):
    """Whole lists take their time, and are what they were when they were asked for."""

    seconds: float = 0.6
    begun: int = 0

    async def answer(self, connection, request, honest, /):
        if request.target.endswith(("/tasks", "/services", "/nodes", "/networks")):
            self.begun += 1
            await asyncio.sleep(self.seconds)
        return await super().answer(connection, request, honest)


async def test_a_job_that_joins_while_lists_are_fetched_gets_its_own(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        daemon.inject(slow := SlowLists())
        async with running(provider(daemon, role="nodes", interval=60, timeout=5)):
            await until(lambda: slow.begun)
            async with running(provider(daemon, role="tasks", interval=60, timeout=5)) as (tasks,):
                await until(lambda: tasks.updates)
                assert tasks


async def test_an_event_that_comes_during_the_first_fetch_is_not_forgotten(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        daemon.inject(slow := SlowLists())
        async with running(provider(daemon, role="services", interval=60, timeout=5)) as (seen,):
            await until(lambda: slow.begun == 2)
            await asyncio.sleep(0.1)
            swarm.update_service("web", labels={"tier": "new"})
            await until(lambda: seen.values_of(TIER) == ["new"])


async def test_a_network_that_is_made_while_everything_is_fetched_keeps_its_name(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with running(provider(daemon, interval=2, timeout=5)) as (seen,):
            await until(lambda: seen.updates)
            daemon.inject(slow := SlowLists())
            await until(lambda: slow.begun)
            swarm.create_network("fresh")
            swarm.create_service("new", networks=["fresh"])
            swarm.settle()
            await until(lambda: "fresh" in seen.values_of(NETWORK))
            wholes = fetched(daemon, "/networks")
            updates = seen.updates
            await until(lambda: seen.updates > updates or fetched(daemon, "/networks") > wholes)
            assert "fresh" in seen.values_of(NETWORK)


async def test_what_a_new_job_finds_the_others_have_at_once(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with running(provider(daemon, role="services", interval=60)) as (old,):
            await until(lambda: old.updates)
            swarm.events.listeners.clear()  # and no event tells it
            swarm.update_service("web", labels={"tier": "new"})
            async with running(provider(daemon, role="tasks", interval=60)) as (new,):
                await until(lambda: new.updates)
                await until(lambda: old.values_of(TIER) == ["new"])


async def test_that_nobody_can_tell_is_known_to_jobs_that_ask_seldom(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        seldom, often = provider(daemon, role="services", interval=60), provider(daemon, interval=0.1)
        async with running(seldom, often) as (seen, _):
            await until(lambda: seen.updates)
            daemon.inject(faults.status(500))
            await until(lambda: seldom.status().last_error)
            daemon.mend()
            await until(lambda: not seldom.status().last_error)
