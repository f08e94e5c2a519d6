"""Events of a classic Swarm make a list at once, whatever becomes of the stream, and not too many of them."""

import asyncio
import time

import pytest
from tests.discovery.swarm.test_containers import Sent, running, small_cluster

from swarm_sd.discovery.docker_api.client import DockerAPI
from swarm_sd.discovery.docker_api.event_stream import Event
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.swarm import hints
from swarm_sd.discovery.swarm.container_provider import SwarmContainersProvider
from swarm_sd.discovery.swarm.hints import Hints, changes_containers, changes_nodes
from swarm_sd.discovery.swarm.provider import SwarmProvider, SwarmSDConfig
from swarm_sd.provider import DiscoveryError
from swarm_sd.scalars import Interval
from swarm_sd.sim import faults
from swarm_sd.sim.cluster import Engine
from swarm_sd.sim.manager import Manager
from swarm_sd.sim.workload import Container as Running
from swarm_sd.sim.workload import Port as Published

LISTS = "/containers/json"


def containers_of(*managers, interval=60.0, timeout=5.0):
    masters = [Host.from_yaml(manager.url) for manager in managers]
    return SwarmContainersProvider(masters, HTTPClientConfig(), interval=interval, port="80", timeout=timeout)


def nodes_of(manager):
    hosts = (Host.from_yaml(manager.url),)
    return SwarmProvider(SwarmSDConfig(masters=hosts, refresh_interval=Interval(60)))


def web(number=9, **more):
    return Running(
        name=f"web{number}",
        networks={"net": f"10.5.1.{number}"},
        ports=[Published(80, 8000 + number)],
        **more,
    )


async def until(true, seconds=10):
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


# --- which events matter


@pytest.mark.parametrize(
    ("event", "containers", "nodes"),
    [
        (Event(), True, True),
        (Event("swarm", "engine_disconnect"), True, True),
        (Event("swarm", "node_connect"), True, True),
        (Event("container", "start"), True, False),
        (Event("container", "die"), True, False),
        (Event("container", "rename"), True, False),
        (Event("network", "connect"), True, False),
        (Event("container", "exec_start"), False, False),
        (Event("container", "health_status: healthy"), False, False),
        (Event("container", "top"), False, False),
        (Event("image", "pull"), False, False),
        (Event("volume", "create"), False, False),
    ],
)
def test_only_what_changes_the_list_matters(event, containers, nodes):
    assert (changes_containers(event), changes_nodes(event)) == (containers, nodes)


# --- against simulated managers


@pytest.mark.parametrize("tag", ["v0.2.0", "v0.4.0", "v1.0.1", "v1.1.3", "v1.2.3", "v1.2.9"])
async def test_a_container_that_starts_is_a_target_at_once_and_one_that_ends_is_none(tag):
    cluster = small_cluster()
    async with Manager(cluster, tag=tag) as manager:
        provider = containers_of(manager)
        async with running(provider) as sent:
            assert manager.count(LISTS) == 1  # the stream began first
            cluster.run("n1", web())
            await sent.until(lambda: "10.0.0.1:8009" in sent.addresses())
            cluster.stop("n1", "web9")
            await sent.until(lambda: "10.0.0.1:8009" not in sent.addresses())
            assert manager.count(LISTS) <= 6
            [status] = provider.status().events
            assert (status.connected, status.connections, status.received) == (True, 1, 5)
    assert not cluster.watchers


async def test_an_event_that_is_no_json_is_a_hint_too():
    cluster = small_cluster()
    async with Manager(cluster, tag="v1.1.3") as manager:
        provider = containers_of(manager)
        async with running(provider) as sent:
            cluster.run("n1", web(labels={"full": '100%"', "more": "5%"}))
            await sent.until(lambda: "10.0.0.1:8009" in sent.addresses())
            assert provider.status().events[0].broken == 2


async def test_a_node_that_goes_or_comes_is_seen_at_once():
    cluster = small_cluster()
    async with Manager(cluster) as manager:
        provider = nodes_of(manager)
        sent = Sent()
        task = asyncio.create_task(provider.run(sent))
        await sent.until(
            lambda: len(sent.groups.get("swarm_nodes", sent).targets) == 2 if sent.calls > 1 else 0
        )
        asked = manager.count("/info")
        cluster.run("n1", web())  # a container is no node
        cluster.join(Engine(address="10.0.0.9:2375", name="n9", id="ID9"))
        await sent.until(lambda: len(sent.groups["swarm_nodes"].targets) == 3)
        assert manager.count("/info") == asked + 1
        cluster.fail("n9")
        await sent.until(lambda: "Unhealthy" in repr(sent.groups["swarm_nodes"]))
        assert provider.status().events[0].connected
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not cluster.watchers


async def test_streams_that_end_at_once_are_opened_again_ever_more_slowly():
    cluster = small_cluster()
    async with Manager(cluster, tag="v1.2.3") as manager:
        manager.inject(faults.EventsEnd(), path="/events")
        provider = containers_of(manager)
        started = time.monotonic()
        async with running(provider) as sent:
            await until(lambda: manager.count("/events") >= 4)
            assert time.monotonic() - started >= 0.5 * (0.2 + 0.4 + 0.8)
            assert manager.count(LISTS) <= manager.count("/events") + 1
            manager.mend()
            await until(lambda: provider.status().events[0].connected)
            cluster.run("n1", web())
            await sent.until(lambda: "10.0.0.1:8009" in sent.addresses())


async def test_what_happens_while_there_is_no_stream_is_listed_when_there_is_one():
    cluster = small_cluster()
    async with Manager(cluster) as manager, running(containers_of(manager)) as sent:
        manager.inject(faults.status(500), path="/events", times=1)
        manager.drop_connections()
        await until(lambda: not cluster.watchers)
        cluster.run("n1", web())
        await sent.until(lambda: "10.0.0.1:8009" in sent.addresses())


@pytest.mark.parametrize(
    "fault", [faults.HangMidBody(after=0), faults.status(404), faults.html(), faults.Garbage()],
    ids=["silent", "404", "page", "garbage"],
)  # fmt: skip
async def test_without_events_changes_are_found_at_the_end_of_the_interval(fault):
    cluster = small_cluster()
    async with Manager(cluster) as manager:
        manager.inject(fault, path="/events")
        async with running(containers_of(manager, interval=0.1)) as sent:
            cluster.run("n1", web())
            await sent.until(lambda: "10.0.0.1:8009" in sent.addresses())


async def test_a_replica_hands_on_the_events_of_the_primary():
    cluster = small_cluster()
    async with Manager(cluster, replication=True) as primary, Manager(cluster, replication=True) as replica:
        cluster.elect(primary.advertise)
        async with running(containers_of(replica)) as sent:
            await until(lambda: cluster.watchers)
            cluster.run("n1", web())
            await sent.until(lambda: "10.0.0.1:8009" in sent.addresses())
            assert primary.count("/events") == 1


async def test_the_stream_goes_over_to_the_master_that_answers():
    cluster = small_cluster()
    async with Manager(cluster) as first, Manager(cluster) as second:
        provider = containers_of(first, second, interval=0.2)
        async with running(provider) as sent:
            first.inject(faults.status(500), path="/info")  # while its stream goes on
            await until(lambda: second.count("/events") and provider.status().events[0].connected)
            cluster.run("n1", web())
            await sent.until(lambda: "10.0.0.1:8009" in sent.addresses())


async def test_a_list_that_failed_after_an_event_is_tried_again_before_the_interval_ends():
    cluster = small_cluster()
    async with Manager(cluster) as manager, running(containers_of(manager)) as sent:
        manager.inject(faults.status(500), path=LISTS, times=1)
        cluster.run("n1", web())
        await sent.until(lambda: "10.0.0.1:8009" in sent.addresses())


async def test_a_storm_of_events_is_few_lists():
    cluster = small_cluster()
    async with Manager(cluster) as manager, running(containers_of(manager)) as sent:
        before = manager.count(LISTS)
        for number in range(300):
            cluster.run("n1", web(number % 20))
        cluster.run("n1", web(99))
        await sent.until(lambda: "10.0.0.1:8099" in sent.addresses())
        assert manager.count(LISTS) - before < 12


async def test_many_nodes_are_mapped_in_a_thread(monkeypatch):
    monkeypatch.setattr("swarm_sd.discovery.swarm.provider.ON_THE_LOOP", 2)
    monkeypatch.setattr("swarm_sd.discovery.swarm.container_provider.ON_THE_LOOP", 2)
    threads = []

    async def to_thread(function, *given):
        threads.append(function.__name__)
        return function(*given)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    async with Manager(small_cluster()) as manager:
        for provider in (nodes_of(manager), containers_of(manager)):
            assert await provider.list()
            await provider.close()
    assert threads == ["_nodes", "_map"]


# --- how often


def hints_of(hint):
    api = DockerAPI([Host.from_yaml("tcp://127.0.0.1:1")], HTTPClientConfig())
    made = Hints(api, hint=hint, matters=lambda _: True)
    made._first = False
    return made


async def test_what_is_told_while_a_list_is_made_makes_another_one():
    hinted = asyncio.Event()
    made = hints_of(hinted.set)
    async with made.listing():
        made._tell()
    await asyncio.wait_for(hinted.wait(), 10)


async def test_what_is_told_before_a_list_is_answered_by_it():
    hinted = asyncio.Event()
    made = hints_of(hinted.set)
    made._tell()
    async with made.listing():
        pass
    assert made._timer is None
    assert not hinted.is_set()


async def test_a_list_that_fails_without_a_hint_makes_none():
    made = hints_of(lambda: None)
    with pytest.raises(DiscoveryError):
        async with made.listing():
            raise DiscoveryError("status", "500")
    assert made._timer is None


async def test_a_list_that_works_ends_the_waiting_after_one_that_failed():
    hinted = asyncio.Event()
    made = hints_of(hinted.set)
    for _ in range(9):
        with pytest.raises(DiscoveryError):
            async with made.listing():
                raise DiscoveryError("status", "500")
    async with made.listing():
        pass
    made._tell()
    await asyncio.wait_for(hinted.wait(), 4)  # it would have been five seconds at least


async def test_lists_take_a_fifth_of_the_time_at_most_however_many_events_come():
    hinted = asyncio.Event()
    made = hints_of(hinted.set)
    started, spent, longest = time.monotonic(), 0.0, 0.0
    while time.monotonic() - started < 1.5:
        made._tell()
        if hinted.is_set():
            hinted.clear()
            began = time.monotonic()
            async with made.listing():
                await asyncio.sleep(0.02)
            longest = max(longest, time.monotonic() - began)
            spent += time.monotonic() - began
        await asyncio.sleep(0.001)
    made._disarm()
    ahead = (hints.RESERVE + 1) * longest
    assert 0.02 < spent <= hints.SHARE * (time.monotonic() - started) + ahead
