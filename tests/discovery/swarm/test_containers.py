"""Containers of a classic Swarm: against the recordings, and against simulated managers on sockets."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.listed import ListReader
from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.swarm import inspection
from swarm_sd.discovery.swarm.container_provider import SwarmContainersProvider
from swarm_sd.discovery.swarm.containers import Container, Place, containers, node_and_name
from swarm_sd.discovery.swarm.provider import SwarmSDConfig
from swarm_sd.scalars import Port
from swarm_sd.sim import faults
from swarm_sd.sim.cluster import Cluster, Containers, Engine
from swarm_sd.sim.containers import containers_json
from swarm_sd.sim.manager import Manager
from swarm_sd.sim.tags import TAGS, Tag
from swarm_sd.sim.workload import Container as Running
from swarm_sd.sim.workload import Port as Published

CLASSIC = Path(__file__).parents[2] / "fixtures" / "classic"
RECORDED = ["v0.2.0", "v0.3.0", "v1.0.0", "v1.1.0", "v1.2.3", "v1.2.9"]
HERE = Place("10.0.0.1", {"__meta_swarm_node_address": "10.0.0.1:2375"})


def read(body):
    return ListReader(Container).read(body)


def named(mapped):
    return {group.labels["__meta_docker_container_name"] for group in mapped.groups}


def addresses(groups):
    return sorted(target["__address__"] for group in groups for target in group.targets)


def mapped_of(*running, tag="v1.2.9", **options):
    cluster = Cluster([Engine(address="10.0.0.1:2375", name="n1", id="I1")])
    for one in running:
        cluster.run("n1", one)
    body = containers_json(cluster, Tag(tag), everything=True)
    return containers(read(body), lambda _: HERE, **{"port": "80", **options})


# --- the list


@pytest.mark.parametrize("tag", RECORDED)
@pytest.mark.parametrize("scenario", ["containers-all", "containers"])
def test_recorded_containers_that_run_are_known_and_have_no_address_without_a_network(tag, scenario):
    listed = read((CLASSIC / tag / f"{scenario}.json").read_bytes())
    mapped = containers(listed, lambda _: HERE, port="80")
    assert not mapped.groups  # all are on the network none
    assert mapped.untargeted == {"no_address": 4}
    assert {node_and_name(one) for one in listed} >= {("node-a", "/web"), ("node-b", "/db")}


@pytest.mark.parametrize("tag", ["v0.2.0", "v0.3.0", "v1.1.0"])
def test_on_a_dead_node_without_states_runs_what_ran_before(tag):
    listed = read((CLASSIC / tag / "containers-all-unhealthy.json").read_bytes())
    cache = next(one for one in listed if node_and_name(one) == ("node-c", "/cache"))
    assert containers(listed, lambda _: HERE, port="80").untargeted == {"no_address": 3}
    stood = {f"container/{cache.id}"}
    assert containers(listed, lambda _: HERE, port="80", stood=stood).untargeted == {"no_address": 4}


@pytest.mark.parametrize("tag", ["v1.2.3", "v1.2.9"])
def test_on_a_dead_node_the_last_state_counts(tag):
    listed = read((CLASSIC / tag / "containers-all-unhealthy.json").read_bytes())
    # the engine stopped its containers before it went
    stood = {f"container/{one.id}" for one in listed}
    assert containers(listed, lambda _: HERE, port="80", stood=stood).untargeted == {"no_address": 3}


def test_what_is_published_is_at_the_node_and_the_rest_at_the_network():
    web = Running(
        name="web",
        networks={"a": "", "b": "10.5.0.2", "c": "10.6.0.2"},
        ports=[Published(80, 8080), Published(81), Published(82, 8082, "10.1.1.1"),
               Published(83, 8083, "127.0.0.1"), Published(53, 53, type="udp")],
    )  # fmt: skip
    [group] = mapped_of(web).groups
    assert addresses([group]) == ["10.0.0.1:8080", "10.1.1.1:8082", "10.5.0.2:81", "10.5.0.2:83"]
    first = group.targets[0]
    assert first["__meta_docker_port_private"] == "80"
    assert first["__meta_docker_port_public"] == "8080"
    assert first["__meta_docker_port_public_ip"] == "10.0.0.1"
    assert (first["__meta_docker_network_name"], first["__meta_docker_network_ip"]) == ("b", "10.5.0.2")
    assert group.labels["__meta_docker_container_name"] == "/web"
    assert group.labels["__meta_swarm_role"] == "container"


@pytest.mark.parametrize(
    ("tag", "expected"), [("v1.0.0", ["10.0.0.1:8080"]), ("v1.1.0", ["10.0.0.1:80", "10.0.0.1:8080",
    "10.5.0.9:80"]), ("v1.2.9", ["10.0.0.1:80", "10.0.0.1:8080", "10.5.0.9:80"])],
)  # fmt: skip
def test_releases_that_tell_no_networks_leave_only_what_is_published(tag, expected):
    everyone = [
        Running(name="host", networks={"host": ""}, network_mode="host"),
        Running(name="plain", networks={"net": "10.5.0.9"}),
        Running(name="public", networks={"net": "10.5.0.8"}, ports=[Published(80, 8080)]),
    ]
    assert addresses(mapped_of(*everyone, tag=tag).groups) == expected


def test_a_container_in_anothers_network_has_its_address():
    other = Running(name="other", networks={"net": "10.5.0.9"}, ports=[Published(80, 8080)])
    mine = Running(name="mine", network_mode=f"container:{other.id}")
    assert addresses(mapped_of(mine, other, port="9100").groups) == ["10.0.0.1:8080", "10.5.0.9:9100"]


def test_ages_do_not_make_another_group():
    first, second = (
        mapped_of(Running(name="web", networks={"n": "10.5.0.2"}, age=age)) for age in ("1 minute", "2 hours")
    )
    assert first.groups == second.groups


@pytest.mark.parametrize("state", ["created", "exited"])
def test_what_does_not_run_is_no_target(state):
    assert not mapped_of(Running(name="web", networks={"n": "10.5.0.2"}, state=state)).groups


def test_names_given_by_links_are_not_a_containers_own():
    assert node_and_name(Container(names=["/n1/app/db", "/n1/db"])) == ("n1", "/db")
    assert node_and_name(Container(names=["/plain"])) is None
    assert node_and_name(Container()) is None


# --- the provider


class Sent:
    def __init__(self):
        self.groups = {}
        self.calls = 0
        self.changed = asyncio.Event()

    def __call__(self, groups):
        self.calls += 1
        self.groups.update((group.source, group) for group in groups)
        self.groups = {source: group for source, group in self.groups.items() if group.targets}
        self.changed.set()

    def addresses(self):
        return addresses(self.groups.values())

    def labels(self, name):
        found = (g.labels for g in self.groups.values() if g.labels["__meta_docker_container_name"] == name)
        return next(found, {})

    async def until(self, true):
        async with asyncio.timeout(10):
            while not true():
                self.changed.clear()
                await self.changed.wait()

    async def rounds(self, count):
        last = self.calls + count
        await self.until(lambda: self.calls >= last)


def provider_of(*managers, timeout=0.5):
    masters = [Host.from_yaml(manager.url) for manager in managers]
    return SwarmContainersProvider(masters, HTTPClientConfig(), interval=0.01, port="80", timeout=timeout)


@contextlib.asynccontextmanager
async def running(provider):
    sent = Sent()
    task = asyncio.create_task(provider.run(sent))
    try:
        await sent.until(lambda: sent.calls)
        yield sent
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def small_cluster():
    labels = {"zone": "a", "list": "x, m=1", "secret": "no"}
    engines = [
        Engine(address=f"10.0.0.{n}:2375", name=f"n{n}", id=f"ID{n}", labels=labels if n == 1 else {})
        for n in (1, 2)
    ]
    cluster = Cluster(engines)
    for n in (1, 2):
        cluster.run(f"n{n}", Running(name=f"c{n}", networks={"net": f"10.5.0.{n}"}, env=["PASSWORD=hunter2"]))
    return cluster


@pytest.mark.parametrize("tag", TAGS)
async def test_every_release_tells_its_containers(tag):
    cluster = small_cluster()
    cluster.run("n1", Running(name="pub", networks={"net": "10.5.0.3"}, ports=[Published(80, 8080)]))
    async with Manager(cluster, tag=tag) as manager, running(provider_of(manager)) as sent:
        await sent.until(lambda: len(sent.groups) == (3 if Tag(tag).since("v1.1.0") else 1))
        labels = sent.labels("/pub")
        assert "10.0.0.1:8080" in sent.addresses()
        assert labels["__meta_swarm_node_name"] == "n1"
        assert labels["__meta_swarm_node_address"] == "10.0.0.1:2375"
        assert ("__meta_swarm_node_status" in labels) == Tag(tag).since("v1.0.1")
        if tag != "v0.2.0":
            assert labels["__meta_swarm_node_label_list"] == "x, m=1"


async def test_node_labels_are_exact_and_asked_for_once_until_they_change():
    cluster = small_cluster()
    async with Manager(cluster) as manager, running(provider_of(manager)) as sent:
        assert sent.labels("/c1")["__meta_swarm_node_label_list"] == "x, m=1"
        assert "__meta_swarm_node_label_m" not in sent.labels("/c1")
        await sent.rounds(5)
        inspections = [
            r for r in manager.requests if r.path.endswith("/json") and "containers/json" not in r.path
        ]
        assert len(inspections) == 2
        cluster.engine("n1").labels = {"zone": "b"}
        await sent.until(lambda: sent.labels("/c1").get("__meta_swarm_node_label_zone") == "b")
        assert "__meta_swarm_node_label_list" not in sent.labels("/c1")
        assert "hunter2" not in repr(sent.groups)


async def test_an_inspection_that_fails_costs_the_exactness_alone():
    cluster = small_cluster()
    async with Manager(cluster) as manager:
        manager.inject(faults.status(500), path=cluster.engine("n1").named["c1"].id + "/json")
        async with running(provider_of(manager)) as sent:
            assert sent.labels("/c1")["__meta_swarm_node_label_m"] == "1"  # what the row of text seems to say
            await sent.rounds(5)
            assert manager.count(cluster.engine("n1").named["c1"].id + "/json") == 1


async def test_inspections_are_bounded_in_each_round(monkeypatch):
    monkeypatch.setattr(inspection, "IN_A_ROUND", 2)
    cluster = Cluster(Engine(address=f"10.0.0.{n}:2375", name=f"n{n}", id=f"ID{n}") for n in range(7))
    for n in range(7):
        cluster.run(f"n{n}", Running(name=f"c{n}", networks={"net": f"10.5.0.{n}"}))
    async with Manager(cluster) as manager, running(provider_of(manager)) as sent:
        assert len(sent.groups) == 7
        await sent.rounds(6)
        inspections = [
            r for r in manager.requests if r.path.endswith("/json") and "containers/json" not in r.path
        ]
        assert len(inspections) == 7


async def test_containers_find_their_nodes_where_two_have_one_name():
    engines = [Engine(address=f"10.0.0.{n}:2375", name="twin", id=f"ID{n}") for n in (1, 2)]
    cluster = Cluster(engines)
    for n in (1, 2):
        cluster.run(f"10.0.0.{n}:2375", Running(name=f"c{n}", network_mode="host", networks={"host": ""}))
    async with Manager(cluster) as manager, running(provider_of(manager)) as sent:
        assert sent.labels("/c1")["__meta_swarm_node_address"] == "10.0.0.1:2375"
        assert sent.labels("/c2")["__meta_swarm_node_address"] == "10.0.0.2:2375"


async def test_containers_come_and_go_and_stay_with_a_node_that_dies():
    cluster = small_cluster()
    async with Manager(cluster) as manager, running(provider_of(manager)) as sent:
        assert sent.addresses() == ["10.5.0.1:80", "10.5.0.2:80"]
        cluster.run("n1", Running(name="new", networks={"net": "10.5.0.7"}))
        await sent.until(lambda: "10.5.0.7:80" in sent.addresses())
        cluster.stop("n1", "new")
        await sent.until(lambda: "10.5.0.7:80" not in sent.addresses())
        cluster.fail("n2")
        await sent.until(lambda: sent.labels("/c2")["__meta_swarm_node_status"] == "Unhealthy")
        assert "10.5.0.2:80" in sent.addresses()
        cluster.leave("n2")
        await sent.until(lambda: sent.addresses() == ["10.5.0.1:80"])


async def test_a_manager_that_has_not_reached_a_node_yet_says_nothing_of_its_containers():
    cluster = small_cluster()
    async with Manager(cluster) as manager:
        provider = provider_of(manager)
        async with running(provider) as sent:
            groups = list(sent.groups.values())
            manager.inject(faults.Restarted(empty=0, pending=100_000))
            await sent.rounds(5)
            assert sent.addresses() == ["10.5.0.1:80", "10.5.0.2:80"]
        again = provider_of(manager)
        again.recall(groups)
        async with running(again) as sent:
            assert sent.addresses() == ["10.5.0.1:80", "10.5.0.2:80"]


@pytest.mark.parametrize(
    "fault",
    [faults.status(500), faults.body(b"[{]"), faults.body(b""), faults.json_value({"message": "?"}),
     faults.html(), faults.Truncated(), faults.Hang()],
    ids=["500", "broken", "empty", "object", "page", "cut", "silent"],
)  # fmt: skip
async def test_a_list_that_cannot_be_had_changes_nothing_and_the_next_master_is_asked(fault):
    cluster = small_cluster()
    async with Manager(cluster) as first, Manager(cluster) as second:
        first.inject(fault, path="/containers/json")
        second.inject(fault, path="/containers/json")
        provider = provider_of(first, second, timeout=0.1)
        sent = Sent()
        task = asyncio.create_task(provider.run(sent))
        async with asyncio.timeout(10):
            while not provider.status().failures:
                await asyncio.sleep(0.01)
        assert sent.calls == 0
        second.mend()
        await sent.until(lambda: sent.addresses() == ["10.5.0.1:80", "10.5.0.2:80"])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_replica_of_a_dead_primary_cannot_tell():
    cluster = small_cluster()
    async with Manager(cluster, replication=True) as primary, Manager(cluster, replication=True) as replica:
        cluster.elect(primary.advertise)
        async with running(provider_of(replica)) as sent:
            assert len(sent.groups) == 2
            await primary.stop()
            provider = provider_of(replica)
            task = asyncio.create_task(provider.run(lambda _: None))
            async with asyncio.timeout(10):
                while not provider.status().failures:
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert "Unable to reach primary" in provider.status().last_error
            assert len(sent.groups) == 2


async def test_one_odd_container_spoils_no_other():
    cluster = small_cluster()
    listed = json.loads(containers_json(cluster, Tag("v1.2.9"), everything=True))
    listed[0]["Ports"] = "many"
    listed.append({**listed[1], "Id": "e" * 64, "Names": ["/nowhere/x"]})
    async with Manager(cluster) as manager:
        manager.inject(faults.json_value(listed), path="/containers/json")
        provider = provider_of(manager)
        async with running(provider) as sent:
            assert len(sent.groups) == 1
            assert provider.skipped() == {"odd_object": 1, "unknown_node": 1}


# --- the configuration


def test_metrics_port_is_that_of_containers_that_expose_none():
    masters = (Host.from_yaml("tcp://m1:2375"),)
    config = SwarmSDConfig(masters=masters, role="containers", metrics_port=Port("9100"))
    assert isinstance(config.provider(), SwarmContainersProvider)
    assert not config.problems()
    assert config.identity() != SwarmSDConfig(masters=masters, role="containers").identity()


def test_containers_that_only_count_are_targets_of_nobody():
    cluster = Cluster([Engine(address="10.0.0.1:2375", name="n1", containers=Containers(3))])
    listed = read(containers_json(cluster, Tag("v1.2.9"), everything=True))
    assert containers(listed, lambda _: HERE, port="80").untargeted == {"no_address": 3}
