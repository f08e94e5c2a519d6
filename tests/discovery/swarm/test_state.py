"""The state of a classic Swarm as metrics, of every dialect that was recorded."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.discovery.swarm.test_provider import Seen, config, running, until

from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.kv.locator import Discovery
from swarm_sd.discovery.swarm.info import parse_info
from swarm_sd.discovery.swarm.provider import SwarmSDConfig
from swarm_sd.discovery.swarm.state import families, told
from swarm_sd.provider import ClusterState
from swarm_sd.sim import faults
from swarm_sd.sim.cluster import Status
from swarm_sd.sim.clusters import example
from swarm_sd.sim.manager import Manager

CLASSIC = Path(__file__).parents[2] / "fixtures" / "classic"
TAGS = sorted(path.name for path in CLASSIC.iterdir() if path.is_dir())
A, B, C = (f"10.99.0.{number}:2375" for number in (11, 12, 13))
GIB = 1 << 30


def body(tag, name):
    return (CLASSIC / tag / f"info-{name}.json").read_bytes()


def values(found, name, *by):
    """The values of one metric by the values of these labels."""
    family = next(one for one in found if one.metric.name == f"swarm_classic_{name}")
    samples = [
        (dict(zip(family.metric.labels, labels, strict=True)), value) for labels, value in family.samples()
    ]
    made = {
        labels[by[0]] if len(by) == 1 else tuple(labels[one] for one in by): value
        for labels, value in samples
    }
    assert len(made) == len(samples)
    return made


def of(tag, name="healthy", roles=None):
    return families(parse_info(body(tag, name)), roles or {})


@pytest.mark.parametrize("tag", TAGS)
def test_reserved_and_total_are_in_base_units(tag):
    found = of(tag)
    assert values(found, "node_cpu_cores", "node") == {A: 2, B: 2, C: 2}
    assert values(found, "node_reserved_memory_bytes", "node") == {A: 0, B: 64 << 20, C: 0}
    memory = values(found, "node_memory_bytes", "node")
    assert memory.keys() == {A, B, C}
    assert all(value == round(24.72 * GIB) for value in memory.values())
    reserved = values(found, "node_reserved_cpu_cores", "node")
    assert (reserved[A], reserved[B]) == (0, 0)
    assert reserved[C] == (262144 if tag == "v0.2.0" else reserved[C])


@pytest.mark.parametrize("tag", TAGS)
def test_containers_are_told_by_state_where_the_manager_does(tag):
    found = values(of(tag), "node_containers", "node", "state")
    if tag == "v1.2.9":
        assert found == {
            (A, "running"): 1, (A, "paused"): 1, (A, "stopped"): 0,
            (B, "running"): 1, (B, "paused"): 0, (B, "stopped"): 2,
            (C, "running"): 1, (C, "paused"): 0, (C, "stopped"): 1,
        }  # fmt: skip
    else:
        assert found == {(A, "unknown"): 2, (B, "unknown"): 3, (C, "unknown"): 2}


@pytest.mark.parametrize("tag", TAGS)
def test_nodes_are_up_where_the_manager_says_how_they_are(tag):
    found = of(tag)
    if tag in ("v0.2.0", "v0.3.0", "v1.0.0"):
        assert values(found, "nodes", "status") == {"unknown": 3}
        assert values(found, "node_up", "node") == {}
    else:
        assert values(found, "nodes", "status") == {
            "Healthy": 3, "Unhealthy": 0, "Pending": 0, "Disconnected": 0,
        }  # fmt: skip
        assert values(found, "node_up", "node") == {A: 1, B: 1, C: 1}


@pytest.mark.parametrize("tag", ["v1.1.0", "v1.2.3", "v1.2.9"])
def test_a_node_that_is_lost_is_not_up(tag):
    found = of(tag, "unhealthy")
    up = values(found, "node_up", "node")
    assert sorted(up.values()) == [0, 1, 1]
    counts = values(found, "nodes", "status")
    assert counts["Healthy"] == 2
    assert sum(counts.values()) == 3
    assert {state for node, state in values(found, "node_containers", "node", "state") if not up[node]} == {
        "unknown"
    }


@pytest.mark.parametrize("tag", ["v1.1.0", "v1.2.3", "v1.2.9"])
def test_of_a_node_that_was_never_reached_nothing_is_made_up(tag):
    found = of(tag, "pending")
    pending = {node for node, up in values(found, "node_up", "node").items() if not up}
    assert pending
    for name in ("node_cpu_cores", "node_memory_bytes", "node_reserved_cpu_cores"):
        assert not pending & values(found, name, "node").keys()
    assert values(found, "nodes", "status")["Pending"] == len(pending)


def test_when_a_manager_last_heard_of_a_node_is_a_time():
    found = values(of("v1.2.9"), "node_last_update_timestamp_seconds", "node")
    assert found[A] == found[B] + 2 == 1795416836
    assert values(of("v1.0.0"), "node_last_update_timestamp_seconds", "node") == {}


def test_what_describes_a_node_is_on_a_metric_of_its_own():
    found = values(of("v1.2.9"), "node_info", "node", "name", "id", "server_version")
    id_ = "C3VI:2LJ4:RSW3:LA2E:2NZB:UTFD:YYGE:HOZS:AHH3:MY2V:VBIN:N7XH"
    assert found[A, "node-a", id_, "20.10.24+dfsg1"] == 1
    assert (A, "node-a", "", "") in values(of("v0.2.0"), "node_info", "node", "name", "id", "server_version")


def test_a_master_has_the_role_that_is_known():
    roles = {"http://m:1": "primary", "http://m:2": "replica"}
    assert values(of("v1.2.9", roles=roles), "manager_role", "manager", "role") == {
        ("http://m:1", "primary"): 1, ("http://m:1", "replica"): 0,
        ("http://m:2", "primary"): 0, ("http://m:2", "replica"): 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "path", sorted(CLASSIC.glob("*/info-*.json")), ids=lambda path: "/".join(path.parts[-2:])
)
def test_every_recording_gives_values_and_none_twice(path):
    for family in told(path.read_bytes(), {}, {}):
        samples = list(family.samples())
        assert len({labels for labels, _ in samples}) == len(samples)
        assert all(len(labels) == len(family.metric.labels) for labels, _ in samples)
        assert all(value >= 0 for _, value in samples)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("Reserved Memory", "64 MiB"), ("Reserved Memory", "a / b"), ("Reserved Memory", "1 XiB / 2 XiB"),
        ("Reserved Memory", "1 GiB / inf GiB"), ("Reserved CPUs", "1 / two"), ("Reserved CPUs", "-1 / -2"),
        ("UpdatedAt", "yesterday"), ("UpdatedAt", "0001-01-01T00:00:00Z"), ("UpdatedAt", "2026-11-23"),
        ("Containers", "many"),
    ],
)  # fmt: skip
def test_a_row_that_makes_no_sense_is_left_out(row, text):
    answer = json.loads(body("v1.2.9", "healthy"))
    for cells in answer["SystemStatus"]:
        if cells[0] == f"  └ {row}":
            cells[1] = text
    found = told(json.dumps(answer).encode(), {}, {})
    metrics = {
        "Reserved Memory": ("node_memory_bytes", "node_reserved_memory_bytes"),
        "Reserved CPUs": ("node_cpu_cores", "node_reserved_cpu_cores"),
        "UpdatedAt": ("node_last_update_timestamp_seconds",),
        "Containers": ("node_containers",),
    }[row]
    assert [values(found, name, "node") for name in metrics] == [{}] * len(metrics)


# -- the providers -------------------------------------------------------------------------------------


def containers(provider):
    state = provider.cluster_state()
    return sum(values(state.families(), "node_containers", "node", "state").values())


async def test_what_moves_is_of_the_last_answer_though_no_target_changes():
    cluster = example()
    async with Manager(cluster) as one, Manager(cluster) as two:
        async with running(config(one.url, two.url)) as (asking, seen):
            await until(lambda: asking.cluster_state() is not None)
            assert asking.cluster_state().cluster == one.url
            before, nodes = containers(asking), seen["swarm_nodes"]
            cluster.engines[0].containers.running += 7
            await until(lambda: containers(asking) == before + 7)
            assert seen["swarm_nodes"] is nodes


async def test_masters_have_their_roles():
    cluster = example()
    async with Manager(cluster, replication=True) as one, Manager(cluster, replication=True) as two:
        cluster.elect(two.advertise)
        async with running(config(one.url, two.url)) as (asking, _):
            await until(lambda: asking.cluster_state() is not None)
            roles = values(asking.cluster_state().families(), "manager_role", "manager", "role")
            assert {key for key, value in roles.items() if value} == {
                (one.url, "replica"),
                (two.url, "primary"),
            }


async def test_while_no_master_answers_the_state_stands_and_grows_old():
    cluster = example()
    async with Manager(cluster) as manager, running(config(manager.url)) as (asking, _):
        await until(lambda: asking.cluster_state() is not None)
        manager.inject(faults.Refuse())
        await until(lambda: asking.status().last_error)
        before, told_at = containers(asking), asking.cluster_state().told_at
        cluster.engines[0].containers.running += 7
        failed = asking.status().refreshes + 2
        await until(lambda: asking.status().refreshes > failed)
        assert (containers(asking), asking.cluster_state().told_at) == (before, told_at)


async def test_a_master_that_has_just_started_does_not_take_a_node_its_name():
    cluster = example()
    async with Manager(cluster) as manager, running(config(manager.url)) as (asking, _):
        await until(lambda: asking.cluster_state() is not None)

        def named():
            return dict(values(asking.cluster_state().families(), "node_info", "node", "name").keys())

        before = named()
        assert "" not in before.values()
        engine = cluster.engines[0]
        engine.name, engine.status = "", Status.PENDING
        pending = lambda: values(asking.cluster_state().families(), "nodes", "status")["Pending"]  # noqa: E731
        await until(lambda: pending() == 1)
        assert named() == before


async def test_who_asks_for_containers_tells_of_the_nodes_too():
    cluster = example()
    async with Manager(cluster) as manager:
        settings = config(manager.url, role="containers")
        asking = settings.provider()
        assert asking.cluster_state() is None
        task = asyncio.create_task(asking.run(Seen()))
        try:
            await until(lambda: asking.cluster_state() is not None)
            state = asking.cluster_state()
            assert state.cluster == manager.url
            assert len(values(state.families(), "node_up", "node")) == len(cluster.engines)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Told:
    """Asks nobody, and tells."""

    def cluster_state(self):
        return ClusterState("tcp://leader:3375", self, 1.0, list)


@pytest.mark.parametrize("masters", [(), ("http://m:1",)])
def test_a_cluster_whose_leader_changes_is_called_by_its_discovery(masters):
    hosts = tuple(map(Host.from_yaml, masters))
    entry = SwarmSDConfig(masters=hosts, discovery=Discovery.from_yaml("consul://c:8500/prod"))
    following = entry.provider()
    assert following.cluster_state() is None
    following._asking = Told()
    assert following.cluster_state().cluster == ("tcp://leader:3375" if masters else "consul://c:8500/prod")
