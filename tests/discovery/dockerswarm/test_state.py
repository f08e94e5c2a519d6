"""The state of a swarm as metrics: against Docker's own counts, recorded and simulated, and by itself."""

import gc
import json
import random
import weakref

import pytest
from tests.discovery.docker_api.test_cluster import provider, running, until
from tests.discovery.dockerswarm.recordings import CASES, RefusedError, case

from swarm_sd.discovery.docker_api import wire
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.lists import NODES, SERVICES, TASKS, Asked, Lists, with_tasks
from swarm_sd.discovery.docker_api.sd_config import FilterConfig
from swarm_sd.discovery.dockerswarm.state import SwarmState
from swarm_sd.discovery.dockerswarm.task_counts import Restarts
from swarm_sd.sim import faults
from swarm_sd.sim.moby import life
from swarm_sd.sim.moby.clusters import example
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.swarm import Swarm

DECODE = {NODES: wire.decode_nodes, SERVICES: wire.decode_services, TASKS: wire.decode_tasks}
HOST = Host.from_yaml("tcp://m:1")


def lists(bodies):
    """Whole lists of JSON or bytes by path."""
    encoded = {
        path: body if isinstance(body, bytes) else json.dumps(body).encode() for path, body in bodies.items()
    }
    listed = {Asked(path): DECODE[path](body) for path, body in encoded.items()}
    return Lists(HOST, {(asked.path, ""): asked for asked in listed}, listed, {})


def of(swarm):
    told = swarm.lists()
    return lists({NODES: told["nodes"], SERVICES: told["services"], TASKS: told["tasks"]})


def values(families):
    """Every value by the name of the metric and its labels; none is there twice."""
    found = {}
    for family in families:
        for labels, value in family.samples():
            key = family.metric.name, tuple(zip(family.metric.labels, labels, strict=True))
            assert key not in found
            assert len(labels) == len(family.metric.labels)
            found[key] = value
    return found


def told(state_or_lists, name, *by):
    """The values of one metric by the values of these labels."""
    families = SwarmState().families(state_or_lists) if isinstance(state_or_lists, Lists) else state_or_lists
    metric = f"swarm_{name}"
    return {
        tuple(dict(labels)[one] for one in by) if len(by) != 1 else dict(labels)[by[0]]: value
        for (found, labels), value in values(families).items()
        if found == metric
    }


def names(families):
    return {family.metric.name for family in families if list(family.samples())}


# -- beside Docker's own numbers ------------------------------------------------------------------------


def replicas(found):
    """(running, desired, completed) by service."""
    families = SwarmState().families(found)
    running, desired, completed = (
        told(families, f"service_replicas_{name}", "service") for name in ("running", "desired", "completed")
    )
    return {name: (running[name], desired[name], completed.get(name, 0)) for name in running}


def theirs(services):
    return {
        one["Spec"]["Name"]: tuple(
            one["ServiceStatus"][name] for name in ("RunningTasks", "DesiredTasks", "CompletedTasks")
        )
        for one in services
    }


def recorded_with_status():
    for name in CASES:
        try:
            if json.loads(case(name).body("/services", status="true")):
                yield name
        except (RefusedError, KeyError):
            pass


@pytest.mark.parametrize("name", list(recorded_with_status()))
def test_replicas_are_those_that_a_real_docker_counted(name):
    recorded = case(name)
    bodies = {path: recorded.body(path) for path in DECODE}
    assert replicas(lists(bodies)) == theirs(json.loads(recorded.body("/services", status="true")))


def test_there_are_recordings_of_every_mode():
    modes = {
        mode
        for name in recorded_with_status()
        for service in json.loads(case(name).body("/services"))
        for mode in service["Spec"]["Mode"]
    }
    assert modes == {"Replicated", "Global", "ReplicatedJob", "GlobalJob"}


def task(state, wanted, run=0):
    return {
        "ID": f"{state}-{wanted}-{run}", "ServiceID": "j", "Slot": 1,
        "Status": {"State": state}, "DesiredState": wanted, "JobIteration": {"Index": run},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "desired"), [({"GlobalJob": {}}, 2), ({"ReplicatedJob": {"MaxConcurrent": 3}}, 3)]
)
def test_of_a_job_the_current_run_counts(mode, desired):
    """Source: ListServiceStatuses of moby/swarmkit."""
    job = {"ID": "j", "Spec": {"Name": "j", "Mode": mode}, "JobStatus": {"JobIteration": {"Index": 1}}}
    tasks = [
        task("complete", "complete", 0), task("running", "complete", 0),
        task("complete", "complete", 1), task("running", "complete", 1), task("preparing", "complete", 1),
        {**task("failed", "shutdown", 1), "JobIteration": None},
    ]  # fmt: skip
    found = lists({SERVICES: [job], TASKS: tasks})
    assert replicas(found) == {"j": (1, desired, 1)}
    assert told(found, "service_tasks", "state") == {
        "complete": 2, "running": 2, "preparing": 1, "failed": 1,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_what_is_remembered_changes_no_value_but_that_of_restarts(seed):
    swarm, state, chance = example(seed=seed), SwarmState(), random.Random(seed)
    for _ in range(60):
        found = of(swarm)
        kept, fresh = state.families(found), SwarmState().families(found)
        assert {**values(kept), **restarts_of(fresh)} == values(fresh)
        if chance.random() < 0.3:
            swarm.churn()
        swarm.tick()
    assert sum(restarts_of(kept).values()) > 0


def restarts_of(families):
    return {key: value for key, value in values(families).items() if key[0].endswith("restarts_total")}


# -- nodes ----------------------------------------------------------------------------------------------


@pytest.fixture
def swarm():
    made = Swarm(("mgr1", "mgr2", "mgr3"), ("wrk1", "wrk2"), seed=1)
    made.create_service(
        "web", replicas=2, labels={"com.docker.stack.namespace": "shop"}, image="web:1@sha256:ab"
    )
    made.create_service("agent", mode="global")
    return made.settle()


def test_a_node_is_in_one_state_of_each_kind(swarm):
    swarm.kill("wrk1")
    swarm.drain("wrk2")
    swarm.settle()
    found = of(swarm)
    state = told(found, "node_state", "hostname", "state")
    assert {node for (node, name), value in state.items() if value and name == "down"} == {"wrk1"}
    assert {name for node, name in state if node == "wrk1"} == {"unknown", "down", "ready", "disconnected"}
    availability = told(found, "node_availability", "hostname", "availability")
    assert {node for (node, name), value in availability.items() if value and name == "drain"} == {"wrk2"}
    for one in (state, availability):
        assert all(sum(value for (node, _), value in one.items() if node == name) == 1 for name, _ in one)


def test_a_state_that_nobody_knew_is_told_too(swarm):
    swarm.node("wrk1")["Status"]["State"] = "asleep"
    state = told(of(swarm), "node_state", "hostname", "state")
    assert {name: value for (node, name), value in state.items() if node == "wrk1"} == {
        "unknown": 0, "down": 0, "ready": 0, "disconnected": 0, "asleep": 1,
    }  # fmt: skip


def test_managers_alone_have_a_reachability_and_one_of_them_leads(swarm):
    found = of(swarm)
    leads = told(found, "node_manager_leader", "hostname")
    assert (leads.keys(), sum(leads.values())) == ({"mgr1", "mgr2", "mgr3"}, 1)
    reachable = told(found, "node_manager_reachability", "hostname", "reachability")
    assert {
        node for (node, name), value in reachable.items() if value and name == "reachable"
    } == leads.keys()


def test_a_node_has_what_it_has_in_base_units(swarm):
    found = of(swarm)
    assert set(told(found, "node_cpu_cores", "hostname").values()) == {2}
    assert set(told(found, "node_memory_bytes", "hostname").values()) == {25_276_514_304}
    swarm.node("wrk1")["Description"]["Resources"] = {}
    assert told(of(swarm), "node_cpu_cores", "hostname").keys() == {"mgr1", "mgr2", "mgr3", "wrk2"}


def test_what_describes_a_node_is_on_a_metric_of_its_own(swarm):
    node = swarm.node("wrk1")
    described = told(
        of(swarm), "node_description_info", "node", "hostname", "address", "role", "os", "architecture",
        "engine_version",
    )  # fmt: skip
    wanted = (
        node["ID"], "wrk1", node["Status"]["Addr"], "worker", "linux", "x86_64",
        node["Description"]["Engine"]["EngineVersion"],
    )  # fmt: skip
    assert described[wanted] == 1


def test_two_nodes_with_one_host_name_are_two(swarm):
    for name in ("wrk1", "wrk2"):
        swarm.node(name)["Description"]["Hostname"] = "wrk"
    state = SwarmState().families(of(swarm))
    assert len(told(state, "node_description_info", "node")) == 5
    assert values(state)


def test_what_is_reserved_on_a_node_is_that_of_its_tasks_that_have_not_ended(swarm):
    spec = swarm.service("agent")["Spec"]["TaskTemplate"]
    spec["Resources"] = {"Limits": {}, "Reservations": {"NanoCPUs": 500_000_000, "MemoryBytes": 1 << 20}}
    swarm.drain("wrk1")
    swarm.settle()
    found = of(swarm)
    cpus = told(found, "node_reserved_cpu_cores", "hostname")
    assert cpus == {"mgr1": 0.5, "mgr2": 0.5, "mgr3": 0.5, "wrk1": 0, "wrk2": 0.5}
    assert told(found, "node_reserved_memory_bytes", "hostname")["mgr1"] == 1 << 20


# -- services -------------------------------------------------------------------------------------------


def test_what_describes_a_service_is_on_a_metric_of_its_own(swarm):
    swarm.create_service("job", mode="replicated-job", replicas=3)
    found = of(swarm)
    ids = {name: swarm.service(name)["ID"] for name in ("web", "agent", "job")}
    assert told(found, "service_info", "service", "service_id", "mode", "image", "stack") == {
        ("web", ids["web"], "replicated", "web:1", "shop"): 1,
        ("agent", ids["agent"], "global", "lab/busybox:1", ""): 1,
        ("job", ids["job"], "replicated-job", "lab/busybox:1", ""): 1,
    }
    assert told(found, "service_job_completions_desired", "service") == {"job": 3}


def test_an_update_has_a_state_and_a_service_that_was_never_updated_none(swarm):
    swarm.update_service("web", image="web:2")
    updating = told(of(swarm), "service_update_state", "service", "state")
    assert {key for key, value in updating.items() if value} == {("web", "updating")}
    assert len(updating) == 6
    swarm.settle()
    assert told(of(swarm), "service_update_state", "service", "state")["web", "completed"] == 1


def test_tasks_are_counted_by_state_those_of_the_past_included(swarm):
    swarm.update_service("web", image="web:2")
    swarm.settle()
    tasks = told(of(swarm), "service_tasks", "service", "state")
    assert tasks["web", "running"] == 2
    assert tasks["web", "shutdown"] == 2
    assert tasks["agent", "running"] == 5
    assert 0 not in tasks.values()


def test_older_clients_left_out_a_single_replica(swarm):
    swarm.service("web")["Spec"]["Mode"] = {"Replicated": {}}
    assert told(of(swarm), "service_replicas_desired", "service")["web"] == 1
    swarm.service("web")["Spec"]["Mode"] = {"ReplicatedJob": {"MaxConcurrent": 4}}
    found = of(swarm)
    assert told(found, "service_replicas_desired", "service")["web"] == 4
    assert told(found, "service_job_completions_desired", "service")["web"] == 4


def test_tasks_of_a_service_that_is_gone_are_nobodys(swarm):
    swarm.services.pop(swarm.service("web")["ID"])
    assert {name for name, _ in told(of(swarm), "service_tasks", "service", "state")} == {"agent"}


# -- restarts -------------------------------------------------------------------------------------------


class Looks:
    """One look after the other at a swarm."""

    def __init__(self, swarm):
        self.swarm, self.state = swarm, SwarmState()

    def __call__(self):
        return told(self.state.families(of(self.swarm)), "service_task_restarts_total", "service")


def dies(swarm, service):
    """The first task of a service that runs fails, and another takes its place."""
    wanted = swarm.service(service)["ID"]
    running = (one for one in swarm.tasks.values() if one["Status"]["State"] == "running")
    task = next(one for one in running if one["ServiceID"] == wanted)
    life.stopped(swarm, task, "failed", "started", 137, error="task: non-zero exit (137)")
    swarm.settle()


@pytest.mark.parametrize("service", ["web", "agent"])
def test_a_task_in_the_place_of_another_is_a_restart(swarm, service):
    look = Looks(swarm)
    assert look() == {"web": 0, "agent": 0}
    dies(swarm, service)
    assert look()[service] == 1
    assert look() == {"web": 0, "agent": 0, service: 1}
    dies(swarm, service)
    dies(swarm, service)
    assert look()[service] == 3


def test_what_was_there_at_the_first_look_is_no_restart(swarm):
    dies(swarm, "web")
    look = Looks(swarm)
    assert look()["web"] == 0


def test_another_replica_and_another_node_are_no_restarts(swarm):
    look = Looks(swarm)
    look()
    swarm.scale("web", 5)
    swarm.join("wrk3")
    swarm.settle()
    assert look() == {"web": 0, "agent": 0}


def test_an_update_brings_no_restarts_and_what_fails_after_it_does(swarm):
    look = Looks(swarm)
    look()
    swarm.update_service("web", image="web:2")
    for _ in range(40):
        swarm.tick()
        assert look()["web"] == 0
    assert told(of(swarm), "service_update_state", "service", "state")["web", "completed"] == 1
    dies(swarm, "web")
    assert look()["web"] == 1


def test_an_update_between_two_looks_brings_none_either(swarm):
    look = Looks(swarm)
    look()
    swarm.update_service("web", image="web:2")
    swarm.settle()
    assert look()["web"] == 0


def test_a_node_that_is_drained_brings_restarts(swarm):
    look = Looks(swarm)
    look()
    busy = next(
        one["NodeID"] for one in swarm.tasks.values() if one["ServiceID"] == swarm.service("web")["ID"]
    )
    swarm.drain(busy)
    swarm.settle()
    assert look()["web"] >= 1


def test_a_service_that_is_made_anew_begins_at_none(swarm):
    look = Looks(swarm)
    look()
    dies(swarm, "web")
    assert look()["web"] == 1
    swarm.remove_service("web")
    swarm.settle()
    assert "web" not in look()
    swarm.create_service("web", replicas=2)
    swarm.settle()
    assert look()["web"] == 0


def test_tasks_in_another_order_are_the_same_tasks(swarm):
    restarts = Restarts()
    services = wire.decode_services(json.dumps(swarm.lists()["services"]).encode())
    tasks = list(wire.decode_tasks(json.dumps(swarm.lists()["tasks"]).encode()))
    by_id = {one.id: one for one in services}
    groups = {name: [task for task in tasks if task.service_id == name] for name in by_id}
    restarts.look(by_id, groups)
    backwards = {name: group[::-1] for name, group in groups.items()}
    assert set(restarts.look(by_id, backwards).values()) == {0}


# -- what is not listed is not told ---------------------------------------------------------------------


def test_without_lists_there_is_nothing(swarm):
    assert names(SwarmState().families(Lists(HOST, {}, {}, {}))) == set()


def test_nodes_alone_tell_of_nodes_alone(swarm):
    found = names(SwarmState().families(lists({NODES: swarm.lists()["nodes"]})))
    assert {one for one in found if not one.startswith("swarm_node_")} == set()
    assert "swarm_node_reserved_cpu_cores" not in found


def test_services_alone_tell_what_is_desired_but_of_global_ones(swarm):
    found = lists({SERVICES: swarm.lists()["services"]})
    assert names(SwarmState().families(found)) == {"swarm_service_info", "swarm_service_replicas_desired"}
    assert told(found, "service_replicas_desired", "service") == {"web": 2}


def test_some_of_the_tasks_are_none(swarm):
    every = of(swarm)
    some = Asked(TASKS, '{"desired-state":{"running":true}}')
    listed = {asked: every.listed(asked) for asked in every.all_asked() if asked.path != TASKS}
    listed[some] = every.listed(Asked(TASKS))
    found = Lists(HOST, {(one.path, one.parameter): one for one in listed}, listed, {})
    assert not {name for name in names(SwarmState().families(found)) if "running" in name or "tasks" in name}


def test_lists_that_were_filtered_in_several_ways_are_told_together(swarm):
    nodes = wire.decode_nodes(json.dumps(swarm.lists()["nodes"]).encode())
    first, second = Asked(NODES, '{"a":{}}'), Asked(NODES, '{"b":{}}')
    listed = {first: type(nodes)(nodes[:3]), second: type(nodes)(nodes[2:])}
    found = Lists(HOST, {(one.path, one.parameter): one for one in listed}, listed, {})
    assert len(told(found, "node_description_info", "node")) == 5


# -- what it costs --------------------------------------------------------------------------------------


def test_what_did_not_change_is_the_very_same(swarm):
    state, found = SwarmState(), of(swarm)
    first = state.families(found)
    assert all(a is b for a, b in zip(first, state.families(found), strict=True))
    asked = Asked(TASKS)
    service = swarm.service("web")["ID"]
    fresh = [task for task in found.listed(asked) if task.service_id == service][:1]
    changed = found.with_({asked: with_tasks(found.listed(asked), {service}, fresh)})
    after = {one.metric.name: one for one in state.families(changed)}
    same = {one.metric.name for one in first if after[one.metric.name] is one}
    assert {"swarm_node_state", "swarm_service_info"} <= same
    assert "swarm_service_tasks" not in same


def test_tasks_that_are_out_of_date_are_not_kept(swarm):
    state, found = SwarmState(), of(swarm)
    state.families(found)
    gone = weakref.ref(found.listed(Asked(TASKS)))
    del found
    gc.collect()
    assert gone() is None


# -- the provider ---------------------------------------------------------------------------------------


async def test_entries_that_share_a_cluster_tell_the_same_thing_of_it(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        nodes, tasks = provider(daemon, role="nodes"), provider(daemon, role="tasks")
        assert nodes.cluster_state() is None
        async with running(nodes, tasks):
            await until(lambda: nodes.status().last_success and tasks.status().last_success)
            await until(lambda: "swarm_service_tasks" in names(nodes.cluster_state().families()))
            one, other = nodes.cluster_state(), tasks.cluster_state()
            assert (one.key, one.cluster) == (other.key, other.cluster)
            assert one.cluster == daemon.url.replace("tcp:", "http:")
            assert all(a is b for a, b in zip(one.families(), other.families(), strict=True))


async def test_while_docker_does_not_answer_the_state_stands_and_grows_old(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        asking = provider(daemon, role="tasks")
        async with running(asking):
            await until(lambda: asking.cluster_state() is not None)
            daemon.inject(faults.Refuse())
            await until(lambda: asking.status().last_error)
            before = asking.cluster_state()
            swarm.scale("web", 1)
            failed = sum(asking.status().failures.values())
            await until(lambda: sum(asking.status().failures.values()) > failed)
            after = asking.cluster_state()
            assert after.told_at == before.told_at
            assert values(after.families()) == values(before.families())
            daemon.inject(faults.Fault())
            await until(lambda: asking.cluster_state().told_at > before.told_at)


async def test_an_entry_with_filters_tells_only_what_is_whole(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        wanted = (FilterConfig(name="desired-state", values=("running",)),)
        asking = provider(daemon, role="tasks", filters=wanted)
        async with running(asking):
            await until(lambda: asking.cluster_state() is not None)
            found = names(asking.cluster_state().families())
            assert {"swarm_node_state", "swarm_service_info"} <= found
            assert "swarm_service_replicas_running" not in found
