"""Discovery with Swarm's own: a simulated Consul that nodes register in, and simulated managers."""

import asyncio
import contextlib

import pytest
from tests.discovery.swarm.test_provider import Seen, until

from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.http_client import Authorization
from swarm_sd.discovery.kv import consul as consul_backend
from swarm_sd.discovery.kv.locator import Discovery
from swarm_sd.discovery.swarm import discovered
from swarm_sd.discovery.swarm.provider import SwarmSDConfig
from swarm_sd.model import TargetGroup
from swarm_sd.provider import Poller
from swarm_sd.scalars import Interval, Secret
from swarm_sd.sim import faults
from swarm_sd.sim.clusters import example
from swarm_sd.sim.consul import Consul
from swarm_sd.sim.manager import Manager
from swarm_sd.sim.workload import Container
from swarm_sd.sim.workload import Port as ContainerPort

NODES, LEADER = "prod/docker/swarm/nodes", "prod/docker/swarm/leader"
NEW = "10.9.9.9:2375"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(consul_backend, "BREATH", 0.01)
    monkeypatch.setattr(Poller, "MAX_BACKOFF", 0.05)
    monkeypatch.setattr(discovered, "FIRST_WAIT", 0.3)


@pytest.fixture
def cluster():
    return example()


@pytest.fixture
async def store(cluster):
    async with Consul() as consul:
        for engine in cluster.engines:
            consul.put(f"{NODES}/{engine.address}", engine.address)
        yield consul


def elect(store, leader):
    store.put(LEADER, leader, session=store.session(ttl=1000))


def resign(store):
    for name in list(store._sessions):
        store.destroy(name)


def config(store, *masters, **options):
    hosts = tuple(Host.from_yaml(manager.url) for manager in masters)
    options.setdefault("refresh_interval", Interval(0.02))
    url = Discovery.from_yaml(f"consul://{store.address}/prod")
    return SwarmSDConfig(masters=hosts, discovery=url, **options)


class Counting(Seen):
    """Remembers the most masters that were targets at a time."""

    most_masters = 0

    def __call__(self, groups, /):
        super().__call__(groups)
        self.most_masters = max(self.most_masters, len(masters(self)))


@contextlib.asynccontextmanager
async def running(settings, groups=()):
    provider, seen = settings.provider(), Counting()
    provider.recall(groups)
    task = asyncio.create_task(provider.run(seen))
    try:
        yield provider, seen
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def addresses(cluster):
    return {engine.address for engine in cluster.engines}


def node(seen, address):
    nodes = seen.get("swarm_nodes", TargetGroup("")).targets
    return next((one for one in nodes if one["instance"] == address), None)


def flags(seen, address):
    labels = node(seen, address)
    return labels and (labels["__meta_swarm_node_registered"], labels.get("__meta_swarm_node_in_info"))


def masters(seen):
    group = seen.get("swarm_masters", TargetGroup(""))
    return [(one["instance"], one.get("__meta_swarm_master_role")) for one in group.targets]


def gauges(provider):
    return {(one.labels["registered"], one.labels["in_info"]): one.value for one in provider.status().gauges}


# -- discovery alone ----------------------------------------------------------------------------------------


async def test_without_a_leader_the_nodes_are_known_by_their_addresses(store, cluster):
    async with running(config(store)) as (provider, seen):
        await until(lambda: seen.nodes() == addresses(cluster))
        assert masters(seen) == []
        assert provider.sources() == {"swarm_masters", "swarm_nodes"} == set(seen)
        first = cluster.engines[0].address
        assert flags(seen, first) == ("true", None)
        assert gauges(provider) == {("true", ""): len(cluster.engines)}
        assert provider.fixed() == frozenset()


async def test_the_leader_is_a_target_and_gives_the_nodes_their_labels_from_the_first_list_on(store, cluster):
    async with Manager(cluster) as manager:
        elect(store, manager.address)
        async with running(config(store)) as (provider, seen):
            await until(lambda: "swarm_nodes" in seen)
            first = cluster.engines[0]
            assert node(seen, first.address)["__meta_swarm_node_name"] == first.name
            assert flags(seen, first.address) == ("true", "true")
            assert masters(seen) == [(manager.address, "primary")]
            assert "__scheme__" not in seen["swarm_masters"].targets[0]
            assert provider.status().last_error == ""
            assert {host.name for host in provider.status().hosts} == {
                store.address,
                f"tcp://{manager.address}",
            }


async def test_a_leader_that_does_not_answer_costs_no_target_and_is_no_failure_of_the_list(store, cluster):
    elect(store, "127.0.0.1:1")
    async with running(config(store)) as (provider, seen):
        await until(lambda: seen.nodes() == addresses(cluster))
        assert masters(seen) == [("127.0.0.1:1", "primary")]
        store.put(f"{NODES}/{NEW}", NEW)
        await until(lambda: NEW in seen.nodes())
        store.delete(f"{NODES}/{NEW}")
        await until(lambda: NEW not in seen.nodes())
        await until(lambda: "refused" in provider.status().failures)
        assert provider.status().last_error == ""


async def test_another_leader_is_the_target_and_the_one_to_ask(store, cluster):
    async with Manager(cluster) as one, Manager(cluster) as two:
        elect(store, one.address)
        async with running(config(store)) as (provider, seen):
            await until(lambda: seen.nodes() == addresses(cluster))
            before, asked = dict(seen), provider.status().refreshes
            seen.most_masters = 0
            resign(store)
            elect(store, two.address)
            await until(lambda: masters(seen) == [(two.address, "primary")])
            await until(lambda: [one for one in two.requests if one.path == "/info"])
            asked_one = len(one.requests)
            await until(lambda: provider.status().refreshes > asked + 20)
            assert len([one for one in one.requests[asked_one:] if one.path == "/info"]) <= 1
            assert seen["swarm_nodes"] == before["swarm_nodes"]
            assert seen.most_masters == 1


async def test_between_two_leaders_the_last_one_stays(store, cluster):
    async with Manager(cluster) as manager:
        elect(store, manager.address)
        async with running(config(store)) as (provider, seen):
            await until(lambda: seen.nodes() == addresses(cluster))
            resign(store)
            store.put(f"{NODES}/{NEW}", NEW)
            await until(lambda: NEW in seen.nodes())
            assert provider._registry.registered.leader is None
            assert masters(seen) == [(manager.address, "primary")]


async def test_credentials_are_not_sent_to_whom_a_store_names(cluster):
    async with Consul(token="geheim") as store, Manager(cluster) as manager:
        store.put(f"{NODES}/{NEW}", NEW)
        elect(store, manager.address)
        token = Authorization(credentials=Secret("geheim"))
        async with running(config(store, authorization=token)) as (_, seen):
            await until(lambda: seen.nodes() == {NEW} | addresses(cluster))
        assert all(request.header("Authorization") is None for request in manager.requests)
        async with running(config(store, manager, authorization=token)) as (_, seen):
            await until(lambda: seen.nodes() == {NEW} | addresses(cluster))
        assert manager.requests[-1].header("Authorization") == "Bearer geheim"


# -- both ----------------------------------------------------------------------------------------------------


async def test_registered_and_listed_nodes_are_joined_and_the_difference_is_counted(store, cluster):
    silent = cluster.engines[0].address
    store.delete(f"{NODES}/{silent}")
    store.put(f"{NODES}/{NEW}", NEW)
    async with Manager(cluster) as manager, running(config(store, manager)) as (provider, seen):
        await until(lambda: seen.nodes() == addresses(cluster) | {NEW})
        assert (flags(seen, silent), flags(seen, NEW)) == (("false", "true"), ("true", "false"))
        both = len(cluster.engines) - 1
        assert gauges(provider) == {("true", "true"): both, ("true", "false"): 1, ("false", "true"): 1}
        assert provider.fixed() == {"swarm_masters"}


async def test_a_leader_that_is_no_configured_master_is_one_more(store, cluster):
    elect(store, "10.0.0.99:4000")
    async with Manager(cluster) as manager, running(config(store, manager)) as (_, seen):
        await until(lambda: masters(seen) == [(manager.address, None), ("10.0.0.99:4000", "primary")])


async def test_nodes_over_ttl_go_unless_a_master_lists_them(store, cluster):
    gone = cluster.engines[0].address
    async with Manager(cluster) as manager, running(config(store, manager)) as (_, seen):
        await until(lambda: flags(seen, gone) == ("true", "true"))
        store.delete(f"{NODES}/{gone}")
        await until(lambda: flags(seen, gone) == ("false", "true"))
        cluster.leave(gone)
        await until(lambda: gone not in seen.nodes())


async def test_a_node_that_a_master_listed_last_is_not_gone_before_it_is_asked_again(store, cluster):
    gone = cluster.engines[0].address
    async with Manager(cluster) as manager:
        settings = config(store, manager, refresh_interval=Interval(60))
        async with running(settings) as (_, seen):
            await until(lambda: flags(seen, gone) == ("true", "true"))
            store.delete(f"{NODES}/{gone}")
            await until(lambda: flags(seen, gone) != ("true", "true"))
            assert flags(seen, gone) == ("false", "true")


async def test_a_node_that_a_master_listed_after_it_left_stays_when_the_master_goes_away(store, cluster):
    left = cluster.engines[0].address
    async with Manager(cluster) as manager, running(config(store, manager)) as (provider, seen):
        await until(lambda: flags(seen, left) == ("true", "true"))
        store.delete(f"{NODES}/{left}")
        await until(lambda: flags(seen, left) == ("false", "true"))
        told = provider._asking.status().last_success
        await until(lambda: provider._asking.status().last_success > told)
        manager.inject(faults.Refuse())
        await until(lambda: provider.status().last_error)
        store.put(f"{NODES}/{NEW}", NEW)
        await until(lambda: NEW in seen.nodes())
        assert flags(seen, left) == ("false", "true")


async def test_a_master_that_is_away_removes_nothing_and_takes_no_labels(store, cluster):
    unregistered, gone, kept = (engine.address for engine in cluster.engines[:3])
    store.delete(f"{NODES}/{unregistered}")
    async with Manager(cluster) as manager, running(config(store, manager)) as (provider, seen):
        await until(lambda: flags(seen, unregistered) == ("false", "true") and flags(seen, kept))
        before = node(seen, kept)
        manager.inject(faults.Refuse())
        await until(lambda: provider.status().last_error)
        store.put(f"{NODES}/{NEW}", NEW)
        store.delete(f"{NODES}/{gone}")
        await until(lambda: NEW in seen.nodes() and gone not in seen.nodes())
        assert node(seen, kept) == before
        assert seen.nodes() == (addresses(cluster) | {NEW}) - {gone}
        manager.mend()
        await until(lambda: flags(seen, gone) == ("false", "true"))


async def test_a_store_that_is_away_removes_nothing_and_the_masters_go_on_telling(store, cluster):
    async with Manager(cluster) as manager, running(config(store, manager)) as (provider, seen):
        await until(lambda: seen.nodes() == addresses(cluster))
        store.put(f"{NODES}/{NEW}", NEW)
        await until(lambda: NEW in seen.nodes())
        store.refuse()
        await until(lambda: provider.status().last_error)
        cluster.engines[0].status = "Unhealthy"
        address = cluster.engines[0].address
        await until(lambda: node(seen, address)["__meta_swarm_node_status"] == "Unhealthy")
        assert seen.nodes() == addresses(cluster) | {NEW}
        store.mend()
        await until(lambda: not provider.status().last_error)


async def test_without_the_store_ever_heard_the_nodes_are_not_known(store, cluster):
    store.refuse()
    async with Manager(cluster) as manager, running(config(store, manager)) as (provider, seen):
        await until(lambda: provider.status().refreshes > 10)
        assert set(seen) == {"swarm_masters"}
        assert "swarm_nodes" in provider.sources()
        store.mend()
        await until(lambda: seen.nodes() == addresses(cluster))


# -- an earlier life -----------------------------------------------------------------------------------------


async def test_labels_and_the_leader_of_an_earlier_life_stand_until_they_are_told_anew(store, cluster):
    gone, kept = (engine.address for engine in cluster.engines[:2])
    async with Manager(cluster) as manager:
        elect(store, manager.address)
        async with running(config(store)) as (_, seen):
            await until(lambda: flags(seen, kept) == ("true", "true"))
        before = dict(seen)
    resign(store)
    store.delete(f"{NODES}/{gone}")
    async with running(config(store), tuple(before.values())) as (_, seen):
        await until(lambda: seen.nodes() is not None)
        assert seen.nodes() == addresses(cluster) - {gone}
        assert node(seen, kept) in before["swarm_nodes"].targets
        assert seen["swarm_masters"] == before["swarm_masters"]


# -- roles ---------------------------------------------------------------------------------------------------


async def test_the_role_masters_asks_nobody_but_the_store(store, cluster):
    async with Manager(cluster) as manager:
        elect(store, manager.address)
        async with running(config(store, role="masters")) as (provider, seen):
            await until(lambda: masters(seen) == [(manager.address, "primary")])
            assert set(seen) == provider.sources() == {"swarm_masters"}
        assert manager.requests == []


async def test_the_role_nodes_has_no_masters(store, cluster):
    async with Manager(cluster) as manager:
        elect(store, manager.address)
        async with running(config(store, role="nodes")) as (provider, seen):
            await until(lambda: seen.nodes() == addresses(cluster))
            assert set(seen) == provider.sources() == {"swarm_nodes"}


def started(cluster, number):
    container = Container(name=f"c{number}", ports=[ContainerPort(80, 30000 + number)])
    cluster.run(cluster.engines[0].address, container)


def ports(seen):
    found = (target for group in seen.values() for target in group.targets)
    return {int(target["__address__"].rpartition(":")[2]) for target in found}


async def test_containers_are_told_by_the_leader_and_stay_when_it_changes(store, cluster):
    started(cluster, 1)
    started(cluster, 2)
    async with Manager(cluster) as one, Manager(cluster) as two:
        async with running(config(store, role="containers")) as (provider, seen):
            await until(lambda: "no manager is the leader" in provider.status().last_error)
            assert dict(seen) == {}
            elect(store, one.address)
            await until(lambda: {30001, 30002} <= ports(seen))
            sources = provider.sources()
            two.inject(faults.Hang())
            resign(store)
            elect(store, two.address)
            await until(lambda: two.requests)
            cluster.stop(cluster.engines[0].address, "c1")
            cluster.remove(cluster.engines[0].address, "c1")
            started(cluster, 3)
            assert provider.sources() == sources
            two.mend()
            await until(lambda: {30002, 30003} <= ports(seen) and 30001 not in ports(seen))
            assert len(provider.sources()) == len(sources)


# -- nothing for nothing -------------------------------------------------------------------------------------


async def test_heartbeats_make_no_group_and_no_list(store, cluster):
    async with running(config(store)) as (provider, seen):
        await until(lambda: seen.nodes() == addresses(cluster))
        session = store.session(ttl=1000)
        store.put(f"{NODES}/{NEW}", NEW, session=session)
        await until(lambda: NEW in seen.nodes())
        await until(lambda: provider._registry.status().refreshes >= 2)
        before, refreshes = seen["swarm_nodes"], provider.status().refreshes
        for _ in range(50):
            store.renew(session)
            store.put(f"{NODES}/{NEW}", NEW, session=session)
        store.wake()
        await asyncio.sleep(0.1)
        assert provider.status().refreshes <= refreshes + 1
        assert seen["swarm_nodes"] is before


async def test_a_storm_of_registrations_makes_few_lists(store, cluster):
    async with running(config(store)) as (provider, seen):
        await until(lambda: seen.nodes() == addresses(cluster))
        before = provider.status().refreshes
        ask = provider._registry._backend.nodes

        async def slow():
            await asyncio.sleep(0.05)
            return await ask()

        provider._registry._backend.nodes = slow
        for number in range(100):
            store.put(f"{NODES}/10.8.0.{number}:1", f"10.8.0.{number}:1")
            await asyncio.sleep(0.005)
        await until(lambda: len(seen.nodes()) == 100 + len(cluster.engines))
        assert provider.status().refreshes - before <= 10


async def test_a_master_that_tells_the_same_makes_no_group(store, cluster):
    async with Manager(cluster) as manager, running(config(store, manager)) as (_, seen):
        await until(lambda: flags(seen, cluster.engines[0].address) == ("true", "true"))
        before, updates = seen["swarm_nodes"], seen.updates
        await until(lambda: seen.updates > updates + 5)
        assert seen["swarm_nodes"] is before
