"""Changes are seen at once: events, the part of the lists they are about, and what no event tells of."""

import asyncio
import itertools
from dataclasses import dataclass, replace
from urllib.parse import unquote

import pytest
import structlog
from tests.discovery.docker_api.test_cluster import fetched, provider, running, until

from swarm_sd.discovery.docker.provider import DockerProvider, DockerSDConfig
from swarm_sd.discovery.docker_api import watch
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.sd_config import FilterConfig
from swarm_sd.scalars import Interval
from swarm_sd.sim import faults
from swarm_sd.sim.moby import life
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.engine import Engine
from swarm_sd.sim.moby.objects import Port
from swarm_sd.sim.moby.swarm import Swarm
from swarm_sd.sim.wire import error

TASKS = "__meta_dockerswarm_task_id"
STATE = "__meta_dockerswarm_task_state"


@pytest.fixture
def swarm():
    made = Swarm(("mgr1", "mgr2", "mgr3"), ("wrk1", "wrk2"), seed=1)
    made.create_network("net")
    for name in ("web", "db", "api"):
        made.create_service(
            name,
            replicas=2,
            networks=["net"],
            ports=[Port(80, 18080 + len(made.services))],
            labels={"tier": name},
        )
    return made.settle()


class LoseEvents(faults.Fault):
    """Streams begin, and nothing ever comes, as with a manager that is none any more."""

    async def answer(self, connection, request, honest, /):
        if not request.path.endswith("/events"):
            return await super().answer(connection, request, honest)
        await connection.send(replace(honest, chunked=True).head())
        await connection.wait_until_client_leaves()
        return False


class RefuseEvents(faults.Fault):
    """A proxy that lets lists through, and no events."""

    async def answer(self, connection, request, honest, /):
        if request.path.endswith("/events"):
            honest = error(403, "Forbidden")
        return await super().answer(connection, request, honest)


@dataclass
class CutEvents(faults.Fault):
    """A proxy that cuts every stream at once."""

    streams: int = 0

    async def answer(self, connection, request, honest, /):
        if not request.path.endswith("/events"):
            return await super().answer(connection, request, honest)
        self.streams += 1
        await connection.send(replace(honest, chunked=True).head())
        return False


@dataclass
class SlowWholes(faults.Fault):
    """The whole list of tasks takes its time, as that of a large swarm does; ``begun`` counts them."""

    seconds: float = 0.9
    begun: int = 0

    async def answer(self, connection, request, honest, /):
        if request.target.endswith("/tasks"):
            self.begun += 1
            await asyncio.sleep(self.seconds)
        return await super().answer(connection, request, honest)


def states(swarm):
    return {
        task["ID"]: task["Status"]["State"]
        for task in swarm.tasks.values()
        if task.get("NetworksAttachments")
    }


def seen_states(seen):
    return {t[TASKS]: t[STATE] for group in seen.values() for t in group.targets}


async def live(swarm, steps=40):
    """Time goes on in the swarm."""
    for _ in range(steps):
        await asyncio.sleep(0.01)
        swarm.tick()


async def agree(swarm, *seen, seconds=8):
    await until(lambda: all(seen_states(one) == states(swarm) for one in seen), seconds)


def lists_asked(daemon):
    """The paths with their filters, as asked so far, without the version."""
    return [unquote(request.target.split("/", 2)[2]) for request in daemon.requests if "/v1" in request.path]


@pytest.mark.parametrize(
    "change",
    [
        lambda swarm: swarm.scale("web", 4),
        lambda swarm: swarm.scale("web", 1),
        lambda swarm: swarm.remove_service("web"),
        lambda swarm: swarm.create_service("new", replicas=2, networks=["net"]),
        lambda swarm: swarm.update_service("web", force=True),
        lambda swarm: swarm.drain("wrk1"),
        lambda swarm: swarm.kill("wrk1"),
    ],
    ids=["up", "down", "remove", "create", "update", "drain", "kill"],
)
async def test_a_change_is_seen_without_listing_everything_again(swarm, change, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 60.0)  # so it is events alone that tell
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with running(provider(daemon, interval=60)) as (seen,):
            await agree(swarm, seen)
            whole = lists_asked(daemon).count("tasks")
            change(swarm)
            await live(swarm)
            await agree(swarm, seen)
            assert lists_asked(daemon).count("tasks") == whole
            assert any(asked.startswith("tasks?") for asked in lists_asked(daemon))


async def test_the_task_of_a_global_service_on_a_new_node_is_seen_at_once(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 60.0)
    swarm.create_service("agent", mode="global", networks=["net"])
    swarm.settle()
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with running(provider(daemon, interval=60)) as (seen,):
            await agree(swarm, seen)
            swarm.join("wrk3")  # of the task that follows no event tells
            await live(swarm)
            await agree(swarm, seen)
            assert "wrk3" in seen.values_of("__meta_dockerswarm_node_hostname")


async def test_a_service_that_did_not_change_is_not_asked_for(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 60.0)
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with running(provider(daemon, interval=60)) as (seen,):
            await agree(swarm, seen)
            before = len(daemon.requests)
            web = swarm.scale("web", 3)["ID"]
            await live(swarm)
            await agree(swarm, seen)
            asked = [unquote(request.target) for request in daemon.requests[before:]]
    others = {service["ID"] for service in swarm.services.values()} - {web}
    assert any(web in path for path in asked)
    assert not [path for path in asked if any(other in path for other in others)]


async def test_every_role_sees_a_change_at_once(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 60.0)
    async with Daemon.on(swarm, "mgr1") as daemon:
        jobs = [provider(daemon, interval=60, role=role) for role in ("tasks", "services", "nodes")]
        async with running(*jobs) as (tasks, services, nodes):
            await agree(swarm, tasks)
            swarm.create_service("new", replicas=1, networks=["net"], ports=[Port(8080, 18090)])
            swarm.label_node("wrk1", zone="b")
            await until(lambda: "new" in services.values_of("__meta_dockerswarm_service_name"))
            await until(lambda: "b" in nodes.values_of("__meta_dockerswarm_node_label_zone"))
            await until(lambda: "b" in tasks.values_of("__meta_dockerswarm_node_label_zone"))


@pytest.mark.parametrize(
    "filters",
    [
        [("desired-state", "running")],
        [("service", "web"), ("desired-state", "running")],
        [("name", "web")],
        [("node", "wrk1")],
        [("label", "tier=web")],
        [("id", "ALL")],
    ],
    ids=lambda filters: "+".join(name for name, _ in filters),
)
async def test_what_is_filtered_is_seen_at_once_too(swarm, filters, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 60.0)
    ids = tuple(task["ID"] for task in swarm.tasks.values())
    wanted = tuple(
        FilterConfig(name=name, values=ids if value == "ALL" else (value,)) for name, value in filters
    )
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with running(provider(daemon, interval=60, filters=wanted)) as (seen,):
            await until(lambda: seen.updates)
            swarm.scale("web", 1)
            await live(swarm)
            swarm.scale("web", 4)
            await live(swarm)
            fresh = provider(daemon, interval=60, filters=wanted, port="81")
            async with running(fresh) as (truth,):
                await until(lambda: truth.updates)
            await until(lambda: seen_states(seen) == seen_states(truth))


async def test_what_no_event_tells_is_found_by_asking(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 0.2)
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with running(provider(daemon, interval=60)) as (seen,):
            await agree(swarm, seen)
            heard = len(swarm.events.kept)
            task = next(task for task in swarm.tasks.values() if task["Status"]["State"] == "running")
            life.stopped(swarm, task, "failed", "started", 137, error="task: non-zero exit (137)")
            await live(swarm)
            await agree(swarm, seen)
            assert len(swarm.events.kept) == heard


@pytest.mark.parametrize("fault", [LoseEvents(), RefuseEvents(), CutEvents()], ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("role", ["tasks", "services"])
async def test_without_events_changes_are_found_by_asking(swarm, fault, role, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 0.2)
    label = "__meta_dockerswarm_service_label_tier"
    async with Daemon.on(swarm, "mgr1") as daemon:
        daemon.inject(fault)
        interval = 0.5 if role == "services" and isinstance(fault, LoseEvents) else 60
        async with running(provider(daemon, interval=interval, role=role)) as (seen,):
            await until(lambda: seen.updates)
            swarm.update_service("web", labels={"tier": "new"})
            await live(swarm)
            await until(lambda: "new" in seen.values_of(label))


@pytest.mark.parametrize(("fault", "told"), [(RefuseEvents(), True), (faults.Refuse(), False)])
async def test_that_there_are_no_events_is_told_of_a_host_that_answers(swarm, fault, told):
    async with Daemon.on(swarm, "mgr1") as first, Daemon.on(swarm, "mgr2") as second:
        first.inject(fault)
        with structlog.testing.capture_logs() as logs:
            async with running(provider(first, second, interval=60)) as (seen,):
                await until(lambda: seen.updates)
                await until(lambda: told or swarm.events.listeners)
                await until(lambda: not told or logs)
        assert any(line["event"].startswith("no events") for line in logs) is told


async def test_changes_that_events_missed_are_counted_and_the_stream_is_opened_anew(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 0.1)
    monkeypatch.setattr(watch, "TOLD_WITHIN", 0.2)
    async with Daemon.on(swarm, "mgr1") as daemon:
        daemon.inject(LoseEvents())
        job = provider(daemon, interval=60)
        async with running(job) as (seen,):
            await until(lambda: seen.updates and job.status().events[0].connected)
            await asyncio.sleep(0.3)
            swarm.update_service("web", labels={"tier": "new"})
            await until(lambda: job.status().events[0].missed)
            daemon.mend()
            async with asyncio.timeout(10):
                for number in itertools.count():
                    if job.status().events[0].received:
                        break
                    swarm.update_service("web", labels={"tier": str(number)})
                    await asyncio.sleep(0.05)


async def test_what_happened_while_there_was_no_stream_is_listed(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 60.0)
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with running(provider(daemon, interval=60, role="services")) as (seen,):
            await until(lambda: seen.updates)
            daemon.inject(faults.Refuse())
            await until(lambda: not swarm.events.listeners)
            swarm.update_service("web", labels={"tier": "new"})
            daemon.mend()
            await until(lambda: "new" in seen.values_of("__meta_dockerswarm_service_label_tier"))


async def test_streams_that_are_cut_all_the_time_cost_no_more_than_asking(swarm, monkeypatch):
    monkeypatch.setattr(watch, "BUSY_SHARE", 0.2)
    async with Daemon.on(swarm, "mgr1") as daemon:
        fault = CutEvents()
        daemon.inject(fault)
        async with running(provider(daemon, interval=60)) as (seen,):
            await until(lambda: fault.streams >= 4)
            assert seen.updates >= 1
            assert fetched(daemon, "/tasks") <= fault.streams + 2


async def test_a_change_is_seen_while_everything_is_being_fetched_and_stands_after_it(swarm, monkeypatch):
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with running(provider(daemon, interval=2, timeout=5)) as (seen,):
            await agree(swarm, seen)
            slow = SlowWholes()
            daemon.inject(slow)
            await until(lambda: slow.begun)
            swarm.remove_service("web")
            swarm.settle()
            swarm.create_service("new", replicas=3, networks=["net"])
            swarm.settle()
            await agree(swarm, seen, seconds=slow.seconds * 0.8)
            assert slow.begun == 1
            updates = seen.updates
            await until(lambda: slow.begun == 2)  # the first has been taken: it was older than what was seen
            assert seen_states(seen) == states(swarm)
            assert seen.updates >= updates


async def test_a_storm_of_events_is_one_question(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 60.0)
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with running(provider(daemon, interval=60)) as (seen,):
            await agree(swarm, seen)
            before = len(daemon.requests)
            for number in range(300):
                swarm.update_service("web", labels={"tier": str(number)})
            await until(lambda: "299" in seen.values_of("__meta_dockerswarm_service_label_tier"))
            assert len(daemon.requests) - before < 12


async def test_the_stream_follows_the_manager_that_answers(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 0.1)
    async with Daemon.on(swarm, "mgr1") as first, Daemon.on(swarm, "mgr2") as second:
        job = provider(first, second, interval=60)
        async with running(job) as (seen,):
            await agree(swarm, seen)
            first.inject(faults.Refuse())
            await until(lambda: any(request.path.endswith("/events") for request in second.requests))
            monkeypatch.setattr(watch, "SOONEST", 60.0)
            swarm.scale("web", 3)
            await live(swarm)
            await agree(swarm, seen)


async def test_nothing_is_lost_or_doubled_whatever_happens(swarm, monkeypatch):
    """The lists that are patched by parts are those that listing everything gives."""
    monkeypatch.setattr(watch, "SOONEST", 0.5)
    async with Daemon.on(swarm, "mgr1") as one, Daemon.on(swarm, "mgr2") as two:
        async with running(provider(one, two, interval=60)) as (seen,):
            await agree(swarm, seen)
            for _ in range(60):
                swarm.churn()
                await live(swarm, 2)
            swarm.settle()
            await agree(swarm, seen)
            addresses = [(t["__address__"], t[TASKS]) for group in seen.values() for t in group.targets]
            assert len(addresses) == len(set(addresses))


async def test_a_manager_that_cannot_tell_when_an_event_comes_loses_nothing(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 0.1)
    async with Daemon.on(swarm, "mgr1") as daemon:
        job = provider(daemon, interval=60)
        async with running(job) as (seen,):
            await agree(swarm, seen)
            before = dict(seen)
            daemon.inject(faults.status(500))
            swarm.scale("web", 4)
            await live(swarm)
            await until(lambda: job.status().last_error)
            assert dict(seen) == before
            daemon.mend()
            await agree(swarm, seen)
            assert not job.status().last_error


async def test_an_engine_tells_of_its_containers_at_once():
    engine = Engine("one", seed=1)
    engine.run("web")
    async with Daemon(engine) as daemon:
        config = DockerSDConfig(host=Host.from_yaml(daemon.url), refresh_interval=Interval(60))
        job = DockerProvider(config)
        async with running(job) as (seen,):
            await until(lambda: seen.values_of("__meta_docker_container_name") == ["/web"])
            engine.run("db")
            await until(lambda: seen.values_of("__meta_docker_container_name") == ["/db", "/web"])
            engine.stop("web")
            await until(lambda: seen.values_of("__meta_docker_container_name") == ["/db"])
            assert fetched(daemon, "/containers/json") <= 5
            assert job.status().events[0].connected


async def test_it_is_known_of_which_groups_events_have_told(swarm, monkeypatch):
    monkeypatch.setattr(watch, "ANNOUNCED_FOR", 2.0)
    async with Daemon.on(swarm, "mgr1") as daemon:
        job = provider(daemon, interval=60)
        async with running(job) as (seen,):
            await agree(swarm, seen)
            web, db = (f"task/{swarm.service(name)['ID']}" for name in ("web", "db"))
            swarm.remove_service("web")
            await live(swarm)
            await until(lambda: job.announced(web))
            assert not job.announced(db)
            await until(lambda: not job.announced(web))
