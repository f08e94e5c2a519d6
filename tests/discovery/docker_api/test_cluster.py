"""One set of lists for everybody who asks the same cluster, from whichever manager can tell."""

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from swarm_sd.discovery.docker.provider import DockerProvider, DockerSDConfig
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.sd_config import FilterConfig
from swarm_sd.discovery.dockerswarm.provider import DockerSwarmProvider, DockerSwarmSDConfig
from swarm_sd.discovery.http_client import Authorization
from swarm_sd.scalars import Interval, Secret
from swarm_sd.sim import faults
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.engine import Engine
from swarm_sd.sim.moby.swarm import Swarm
from swarm_sd.sim.moby.told import Release


@pytest.fixture
def swarm():
    made = Swarm(("mgr1", "mgr2", "mgr3"), ("wrk1",), seed=1)
    made.create_network("net")
    for name in ("web", "db"):
        made.create_service(name, replicas=2, networks=["net"], labels={"tier": name})
    return made.settle()


class Seen(dict):
    def __init__(self):
        super().__init__()
        self.updates = 0

    def __call__(self, groups, /):
        self.updates += 1
        for group in groups:
            self[group.source] = group
            if not group.targets:
                del self[group.source]

    def values_of(self, label):
        return sorted({t.get(label, g.labels.get(label)) for g in self.values() for t in g.targets} - {None})


@asynccontextmanager
async def running(*providers):
    seen = [Seen() for _ in providers]
    tasks = [asyncio.create_task(one.run(into)) for one, into in zip(providers, seen, strict=True)]
    try:
        yield seen
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(true, seconds=10):
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


def config(*daemons, role="tasks", interval=0.05, **more):
    hosts = tuple(Host.from_yaml(daemon if isinstance(daemon, str) else daemon.url) for daemon in daemons)
    return DockerSwarmSDConfig(hosts=hosts, role=role, refresh_interval=Interval(interval), **more)


def provider(*daemons, timeout=0.5, **more):
    made = DockerSwarmProvider(config(*daemons, **more), timeout=timeout)
    made.MAX_BACKOFF = 0.05
    return made


def paths(daemon):
    return Counter(request.path.partition("?")[0] for request in daemon.requests)


def fetched(daemon, path):
    return sum(count for asked, count in paths(daemon).items() if asked.endswith(path))


async def test_fifty_jobs_fetch_each_list_once_in_a_refresh(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        # other ports and roles: fifty providers that share nothing but the cluster
        jobs = [
            provider(daemon, role=("tasks", "services", "nodes")[n % 3], interval=60, port=str(n + 1))
            for n in range(50)
        ]
        async with running(*jobs) as seen:
            await until(lambda: all(one.updates for one in seen))
        asked = paths(daemon)
    assert {path.split("/", 2)[2]: count for path, count in asked.items() if path != "/version"} == {
        "nodes": 1,
        "services": 1,
        "tasks": 1,
        "networks": 1,
        "events": 1,
    }


async def test_the_lists_are_fetched_again_once_an_interval(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        jobs = [provider(daemon, interval=0.3, port=str(n + 1)) for n in range(10)]
        started = time.monotonic()
        async with running(*jobs):
            await until(lambda: fetched(daemon, "/tasks") >= 5)
        assert time.monotonic() - started > 3 * 0.3 * 0.75


async def test_who_asks_as_another_user_does_not_share(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        secrets = [Authorization(credentials=Secret(text)) for text in ("one", "two")]
        jobs = [provider(daemon, interval=60, authorization=secret) for secret in secrets]
        async with running(*jobs) as seen:
            await until(lambda: all(one.updates for one in seen))
        assert sum(count for path, count in paths(daemon).items() if path.endswith("/tasks")) == 2


async def test_different_filters_share_the_whole_list_and_one_alone_is_left_to_docker(swarm):
    def filtered(name):
        return (FilterConfig(name="service", values=(name,)),)

    async with Daemon.on(swarm, "mgr1") as daemon:
        both = [provider(daemon, interval=60, filters=filtered(name)) for name in ("web", "db")]
        async with running(*both) as seen:
            await until(lambda: all(one.updates for one in seen))
            assert [one.values_of("__meta_dockerswarm_service_name") for one in seen] == [["web"], ["db"]]
        asked = [request.target for request in daemon.requests if "/tasks" in request.path]
        assert len(asked) == 1
        assert "filters" not in asked[0]
        daemon.requests.clear()
        async with running(provider(daemon, interval=60, filters=filtered("web"))) as [seen]:
            await until(lambda: seen.updates)
            assert seen.values_of("__meta_dockerswarm_service_name") == ["web"]
        assert any("filters" in request.target for request in daemon.requests if "/tasks" in request.path)


async def test_a_filter_that_docker_refuses_hurts_only_who_wrote_it(swarm):
    async with Daemon.on(swarm, "mgr1") as daemon:
        bad = provider(daemon, role="nodes", filters=(FilterConfig(name="nosuch", values=("x",)),))
        async with running(provider(daemon), bad) as [good, none]:
            await until(lambda: good.updates > 2 and bad.status().failures)
            assert not none.updates
            assert set(bad.status().failures) == {"refused_filter"}
            assert "nosuch" in bad.status().last_error


ANSWERS = {
    "refused": faults.Refuse(),
    "timeout": faults.Hang(),
    "status": faults.api_error(500),
    "not_a_manager": faults.not_a_manager(),
    "no_quorum": faults.no_leader(),
    "locked": faults.locked(),
    "not_json": faults.html(),
    "truncated": faults.Truncated(),
}


@pytest.mark.parametrize("reason", ANSWERS)
async def test_a_manager_that_cannot_tell_is_left_and_nothing_is_lost(swarm, reason):
    async with Daemon.on(swarm, "mgr1") as one, Daemon.on(swarm, "mgr2") as two:
        job = provider(one, two)
        async with running(job) as [seen]:
            await until(lambda: seen.updates)
            before = dict(seen)
            one.inject(ANSWERS[reason])
            await until(lambda: job.status().hosts[1].active)
            assert dict(seen) == before
            # a slow one is overtaken before its time limit is over
            assert set(job.status().hosts[0].failures) <= {reason, "slow", "reset"}


async def test_a_worker_as_first_host_is_passed_over(swarm):
    async with Daemon.on(swarm, "wrk1") as worker, Daemon.on(swarm, "mgr1") as manager:
        job = provider(worker, manager)
        async with running(job) as [seen]:
            await until(lambda: seen.updates)
        assert dict(job.status().hosts[0].failures) == {"not_a_manager": 1}


async def test_an_answer_older_than_one_already_seen_is_not_believed(swarm):
    async with Daemon.on(swarm, "mgr1") as one, Daemon.on(swarm, "mgr2") as two:
        old = swarm.snapshot()
        swarm.update_service("web", labels={"tier": "new"})
        swarm.settle()
        two.inject(faults.OlderState(old))
        job = provider(one, two)
        async with running(job) as [seen]:
            await until(lambda: "new" in seen.values_of("__meta_dockerswarm_service_label_tier"))
            one.inject(faults.Refuse())
            await until(lambda: "stale" in job.status().hosts[1].failures)
            assert "new" in seen.values_of("__meta_dockerswarm_service_label_tier")
            two.mend()
            await until(lambda: job.status().hosts[1].active)


async def test_networks_that_cannot_be_had_cost_no_target_and_their_names_stay(swarm):
    label = "__meta_dockerswarm_network_name"
    async with Daemon.on(swarm, "mgr1") as daemon:
        job = provider(daemon)
        async with running(job) as [seen]:
            await until(lambda: seen.values_of(label) == ["net"])
            daemon.inject(faults.api_error(500), path="/networks")
            updates = seen.updates
            swarm.create_service("more", networks=["net"])
            swarm.settle()
            await until(lambda: "more" in seen.values_of("__meta_dockerswarm_service_name"))
            assert seen.values_of(label) == ["net"]
            assert seen.updates > updates
        # at the start nothing is known of them: the targets are there all the same, and it is counted
        job = provider(daemon)
        async with running(job) as [seen]:
            await until(lambda: seen.updates)
            assert seen.values_of(label) == []
            assert len(seen.values_of("__meta_dockerswarm_task_id")) == 5
            assert job.status().skipped == {"networks_unknown": 1}


@pytest.mark.parametrize("role", ["tasks", "services"])
async def test_managers_can_be_learned(swarm, role):
    async with Daemon.on(swarm, "mgr1") as daemon:
        job = provider(daemon, role=role, learn_managers=True)
        async with running(job) as [seen]:
            await until(lambda: seen.updates)
            port = daemon.url.rpartition(":")[2]
            learned = {host.name for host in job.status().hosts} - {daemon.url}
            addresses = [node["ManagerStatus"]["Addr"].partition(":")[0] for node in swarm.managers]
            assert learned == {f"http://{address}:{port}" for address in addresses}


@pytest.mark.parametrize(
    ("release", "asked"),
    [
        (Release("1.12.0", "1.24", "1.12"), "/v1.24/"),
        (Release("20.10.24", "1.41", "1.12"), "/v1.41/"),
        (Release("29.0.0", "1.52", "1.44"), "/v1.51/"),
        (Release("40.0.0", "1.70", "1.60"), "/v1.60/"),
    ],
)
async def test_engines_of_any_age_are_asked_in_a_version_they_take(swarm, release, asked):
    async with Daemon.on(swarm, "mgr1", release=release) as daemon, running(provider(daemon)) as [seen]:
        await until(lambda: seen.updates)
        assert {path[: len(asked)] for path in paths(daemon) if path != "/version"} == {asked}


async def test_only_gets_of_the_paths_a_proxy_must_allow_are_made(swarm):
    engine = Engine("one", seed=1)
    engine.run("web")
    async with Daemon.on(swarm, "mgr1") as manager, Daemon(engine) as single:
        jobs = [provider(manager, role=role) for role in ("tasks", "services", "nodes")]
        jobs.append(
            DockerProvider(DockerSDConfig(host=Host.from_yaml(single.url), refresh_interval=Interval(0.05)))
        )
        async with running(*jobs) as seen:
            await until(lambda: all(one.updates > 2 for one in seen))
        requests = [*manager.requests, *single.requests]
    assert {request.method for request in requests} == {"GET"}
    asked = {request.path.partition("?")[0].removeprefix("/v1.41") for request in requests}
    assert asked == {"/version", "/nodes", "/services", "/tasks", "/networks", "/containers/json", "/events"}


async def test_an_engine_that_is_down_keeps_its_targets_and_hurts_nobody():
    engines = [Engine("one", seed=1), Engine("two", seed=2)]
    for engine in engines:
        engine.run("web")
    async with Daemon(engines[0]) as one, Daemon(engines[1]) as two:
        hosts = (Host.from_yaml(one.url), Host.from_yaml(two.url))
        job = DockerProvider(DockerSDConfig(hosts=hosts, refresh_interval=Interval(0.05)), timeout=0.3)
        async with running(job) as [seen]:
            await until(lambda: len(seen) == 2)
            two.inject(faults.Refuse())
            engines[0].run("more")
            await until(lambda: len(seen) == 3)
            await until(lambda: [host.state for host in job.status().hosts] == ["up", "down"])
            assert any(source.startswith(two.url) for source in seen)


async def test_an_engine_that_never_answered_is_waited_for_and_then_left_out():
    engine = Engine("one", seed=1)
    engine.run("web")
    async with Daemon(engine) as one:
        hosts = (Host.from_yaml(one.url), Host.from_yaml("http://127.0.0.1:1"))
        job = DockerProvider(
            DockerSDConfig(hosts=hosts, refresh_interval=Interval(0.05)), grace=0.3, timeout=0.2
        )
        async with running(job) as [seen]:
            await until(lambda: len(seen) == 1)
            assert "http://127.0.0.1:1" in job.sources()
            assert not job.usable()
            await until(job.usable)


async def test_managers_that_are_not_in_use_are_asked_how_they_fare(swarm, monkeypatch):
    monkeypatch.setattr("swarm_sd.discovery.docker_api.cluster.PROBE_AFTER", 0.0)
    async with Daemon.on(swarm, "mgr1") as first, Daemon.on(swarm, "mgr2") as second:
        job = provider(first, second)
        async with running(job):
            await until(lambda: [host.state for host in job.hosts()] == ["up", "up"])
            second.inject(faults.status(503, "This node is not a swarm manager."))
            await until(lambda: [host.state for host in job.hosts()] == ["up", "down"])
            assert job.hosts()[1].failures["not_a_manager"]
            assert job.hosts()[0].active
            second.mend()
            await until(lambda: [host.state for host in job.hosts()] == ["up", "up"])
        assert not any(request.path.endswith("/networks") for request in second.requests)
