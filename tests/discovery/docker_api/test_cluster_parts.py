"""Parts of a cluster's lists: from which manager they are believed, and that no whole list undoes them."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from tests.discovery.docker_api.test_cluster import config, fetched, provider, running, until

from swarm_sd.discovery.docker_api import cluster as module
from swarm_sd.discovery.docker_api import watch
from swarm_sd.discovery.docker_api.changes import Changes
from swarm_sd.discovery.docker_api.cluster import Cluster
from swarm_sd.discovery.docker_api.lists import NETWORKS, NODES, SERVICES, TASKS, Wanted
from swarm_sd.provider import DiscoveryError
from swarm_sd.sim import faults
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.swarm import Swarm
from swarm_sd.sim.wire import error

WANTED = tuple(Wanted(path) for path in (SERVICES, NODES, TASKS, NETWORKS))


@pytest.fixture
def swarm():
    made = Swarm(("mgr1", "mgr2", "mgr3"), ("wrk1",), seed=1)
    made.create_network("net")
    for name in ("web", "db"):
        made.create_service(name, replicas=2, networks=["net"], labels={"tier": name})
    return made.settle()


@dataclass
class SlowWholes(faults.Fault):
    """The whole list of tasks, as it is when it is asked for, comes when ``go`` is set."""

    go: asyncio.Event
    begun: int = 0

    async def answer(self, connection, request, honest, /):
        if request.target.endswith("/tasks"):
            self.begun += 1
            await self.go.wait()
        return await super().answer(connection, request, honest)


@dataclass
class GoesMeanwhile(faults.Fault):
    """A service goes when a part of the services has been told, and before their tasks are asked for."""

    swarm: Swarm
    name: str

    async def answer(self, connection, request, honest, /):
        if "/services?" in request.target and any(
            service["Spec"]["Name"] == self.name for service in self.swarm.services.values()
        ):
            self.swarm.remove_service(self.name)
        return await super().answer(connection, request, honest)


class RefuseFilters(faults.Fault):
    """A proxy that lets through whole lists alone."""

    async def answer(self, connection, request, honest, /):
        if "filters=" in request.target and "/events" not in request.target:
            honest = error(400, "no filters here")
        return await super().answer(connection, request, honest)


@asynccontextmanager
async def cluster_of(*daemons, timeout=2):
    """A cluster that nobody watches, and that has been listed once."""
    settings = config(*daemons)
    made = Cluster(settings.hosts, settings, timeout=timeout)
    try:
        made.want(made, WANTED)
        await made.lists(WANTED, 60)
        yield made
    finally:
        await made.release(made)


async def ask(cluster, *services, nodes=()):
    return await cluster.ask_for(Changes(set(services), set(nodes)))


async def seen(cluster):
    """Tasks and their states, services and their tiers, as whoever wants them is told."""
    lists = await cluster.lists(WANTED, 60)
    tasks, services = lists.get(WANTED[2]), lists.get(WANTED[0])
    return {
        **{task.id: task.status.state for task in tasks},
        **{one.spec.name: one.spec.labels["tier"] for one in services},
    }


def truth(swarm):
    return {
        **{task["ID"]: task["Status"]["State"] for task in swarm.tasks.values()},
        **{one["Spec"]["Name"]: one["Spec"]["Labels"]["tier"] for one in swarm.services.values()},
    }


def failures(cluster):
    return [dict(host.failures) for host in cluster.status()]


async def test_a_part_is_what_the_swarm_is_now_and_costs_no_whole_list(swarm):
    web, db = (swarm.service(name)["ID"] for name in ("web", "db"))
    async with Daemon.on(swarm, "mgr1") as daemon, cluster_of(daemon) as cluster:
        swarm.update_service("web", labels={"tier": "new"})
        swarm.scale("web", 3)
        swarm.settle()
        assert await ask(cluster, web) == {web}
        assert await ask(cluster, db) == set()
        assert await seen(cluster) == truth(swarm)
        assert cluster.fetches == 1


# --- a manager that lags behind


async def test_a_part_from_another_manager_that_is_older_than_what_was_seen_is_not_believed(swarm):
    web = swarm.service("web")["ID"]
    old = swarm.snapshot()
    swarm.update_service("web", labels={"tier": "new"})
    swarm.settle()
    async with Daemon.on(swarm, "mgr1") as one, Daemon.on(swarm, "mgr2") as two:
        async with cluster_of(one, two) as cluster:
            one.inject(faults.Refuse())
            two.inject(faults.OlderState(old))
            with pytest.raises(DiscoveryError, match="older than one already seen"):
                await ask(cluster, web)
            assert failures(cluster)[1] == {"stale": 1}
            two.mend()
            await ask(cluster, web)
            assert await seen(cluster) == truth(swarm)


async def test_a_node_that_is_older_than_what_was_seen_is_not_believed(swarm):
    old = swarm.snapshot()
    node = swarm.label_node("wrk1", zone="b")["ID"]
    async with Daemon.on(swarm, "mgr1") as one, Daemon.on(swarm, "mgr2") as two:
        async with cluster_of(one, two) as cluster:
            one.inject(faults.Refuse())
            two.inject(faults.OlderState(old))
            with pytest.raises(DiscoveryError, match="older than one already seen"):
                await ask(cluster, nodes=[node])


async def test_a_whole_list_that_is_older_than_a_part_already_seen_is_not_believed(swarm):
    async with Daemon.on(swarm, "mgr1") as one, Daemon.on(swarm, "mgr2") as two:
        async with cluster_of(one, two) as cluster:
            two.inject(faults.OlderState(swarm.snapshot()))
            web = swarm.update_service("web", labels={"tier": "new"})["ID"]
            swarm.settle()
            await ask(cluster, web)
            one.inject(faults.Refuse())
            with pytest.raises(DiscoveryError, match="older than one already seen"):
                await cluster.refresh()
            two.mend()
            await cluster.refresh()
            assert await seen(cluster) == truth(swarm)


async def test_a_swarm_that_one_manager_restored_from_a_backup_is_believed(swarm):
    web = swarm.service("web")["ID"]
    old = swarm.snapshot()
    swarm.update_service("web", labels={"tier": "new"})
    swarm.settle()
    async with Daemon.on(swarm, "mgr1") as daemon, cluster_of(daemon) as cluster:
        daemon.inject(faults.OlderState(old))
        await ask(cluster, web)
        assert (await seen(cluster))["web"] == "web"


async def test_another_manager_that_does_not_lag_is_believed(swarm):
    async with Daemon.on(swarm, "mgr1") as one, Daemon.on(swarm, "mgr2") as two:
        async with cluster_of(one, two) as cluster:
            one.inject(faults.Refuse())
            web = swarm.update_service("web", labels={"tier": "new"})["ID"]
            swarm.settle()
            await ask(cluster, web)
            assert await seen(cluster) == truth(swarm)
            assert fetched(two, "/tasks") == 1


# --- parts that cannot be had


async def test_a_service_that_goes_between_two_requests_is_no_fault_of_the_manager(swarm):
    web = swarm.service("web")["ID"]
    async with Daemon.on(swarm, "mgr1") as one, Daemon.on(swarm, "mgr2") as two:
        async with cluster_of(one, two) as cluster:
            one.inject(GoesMeanwhile(swarm, "web"))
            await ask(cluster, web)
            assert "web" not in await seen(cluster)
            assert await seen(cluster) == truth(swarm)
            assert failures(cluster) == [{}, {}]
            assert not fetched(two, "/tasks")


async def test_a_part_that_is_refused_is_no_fault_of_the_manager_but_nobody_can_tell(swarm):
    web = swarm.service("web")["ID"]
    async with Daemon.on(swarm, "mgr1") as one, Daemon.on(swarm, "mgr2") as two:
        async with cluster_of(one, two) as cluster:
            one.inject(RefuseFilters())
            with pytest.raises(DiscoveryError) as caught:
                await ask(cluster, web)
            assert caught.value.reason == "refused_filter"
            assert failures(cluster) == [{}, {}]
            assert [host.active for host in cluster.status()] == [True, False]
            assert not fetched(two, "/tasks")


async def test_after_a_part_that_could_not_be_had_nobody_is_served_from_memory(swarm, monkeypatch):
    monkeypatch.setattr(module, "_PART_WITHIN", 0.2)
    async with Daemon.on(swarm, "mgr1") as daemon, cluster_of(daemon) as cluster:
        web = swarm.update_service("web", labels={"tier": "new"})["ID"]
        swarm.settle()
        daemon.inject(faults.Hang())
        with pytest.raises(DiscoveryError) as caught:
            await ask(cluster, web)
        assert caught.value.reason == "timeout"
        daemon.mend()
        assert await seen(cluster) == truth(swarm)
        assert cluster.fetches == 2


async def test_where_parts_are_refused_changes_are_found_by_asking_for_everything(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 0.1)
    async with Daemon.on(swarm, "mgr1") as daemon:
        daemon.inject(RefuseFilters())
        async with running(provider(daemon, interval=60)) as (found,):
            await until(lambda: found.updates)
            swarm.create_service("new", replicas=1, networks=["net"], labels={"tier": "new"})
            swarm.settle()
            await until(lambda: "new" in found.values_of("__meta_dockerswarm_service_name"))


# --- parts while everything is on its way


async def test_what_was_asked_for_during_a_fetch_stands_after_it_and_only_then(swarm):
    web, db = (swarm.service(name)["ID"] for name in ("web", "db"))
    async with Daemon.on(swarm, "mgr1") as daemon, cluster_of(daemon) as cluster:
        slow = SlowWholes(asyncio.Event())
        daemon.inject(slow)
        fetch = asyncio.create_task(cluster.refresh())
        await until(lambda: slow.begun)
        swarm.update_service("web", labels={"tier": "new"}, force=True)
        swarm.remove_service("db")
        swarm.settle()
        await ask(cluster, web, db)
        assert await seen(cluster) == truth(swarm)
        slow.go.set()
        await fetch
        assert await seen(cluster) == truth(swarm)
        # those parts are older than what the next whole list tells
        swarm.update_service("web", labels={"tier": "newer"}, force=True)
        swarm.settle()
        await cluster.refresh()
        assert await seen(cluster) == truth(swarm)


async def test_a_fetch_takes_nothing_of_parts_that_came_before_it(swarm):
    web = swarm.service("web")["ID"]
    async with Daemon.on(swarm, "mgr1") as daemon, cluster_of(daemon) as cluster:
        await ask(cluster, web)
        swarm.update_service("web", labels={"tier": "new"}, force=True)
        swarm.settle()
        await cluster.refresh()
        assert await seen(cluster) == truth(swarm)


# --- the stream


async def test_the_stream_goes_over_to_the_manager_that_lists_though_it_was_not_cut(swarm):
    async with Daemon.on(swarm, "mgr1") as first, Daemon.on(swarm, "mgr2") as second:
        job = provider(first, second, interval=0.3)
        async with running(job) as (found,):
            await until(lambda: found.updates and job.status().events[0].connected)
            first.inject(faults.api_error(500), path="/tasks")
            await until(lambda: fetched(second, "/events"))
            assert fetched(first, "/events") == 1
            received = job.status().events[0].received
            swarm.update_service("web", labels={"tier": "new"})
            await until(lambda: job.status().events[0].received > received)


async def test_a_manager_that_lags_behind_a_part_of_another_is_not_believed_for_having_told_the_whole(swarm):
    old = swarm.snapshot()
    async with Daemon.on(swarm, "mgr1") as one, Daemon.on(swarm, "mgr2") as two:
        async with cluster_of(one, two) as cluster:
            web = swarm.update_service("web", labels={"tier": "new"})["ID"]
            swarm.settle()
            one.inject(faults.Refuse())
            await ask(cluster, web)
            assert (await seen(cluster))["web"] == "new"
            one.mend()
            one.inject(faults.OlderState(old))
            two.inject(faults.Refuse())
            with pytest.raises(DiscoveryError, match="older"):
                await ask(cluster, web)
