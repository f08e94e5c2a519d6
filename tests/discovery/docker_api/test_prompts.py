"""What made a provider look is told with each change: an event, a follow-up, or that it was time."""

import asyncio
from contextlib import asynccontextmanager

from tests.discovery.docker_api.test_cluster import Seen, provider, until
from tests.discovery.docker_api.test_watch import (
    LoseEvents,
    RefuseEvents,
    SlowWholes,
    agree,
    lists_asked,
    live,
    swarm,
)

from swarm_sd.discovery.docker.provider import DockerProvider, DockerSDConfig
from swarm_sd.discovery.docker_api import watch
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.scalars import Interval
from swarm_sd.sim import faults
from swarm_sd.sim.moby import life
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.engine import Engine
from swarm_sd.sim.wire import error

__all__ = ["swarm"]
TIER = "__meta_dockerswarm_service_label_tier"


class RefuseLists(faults.Fault):
    """Events come, and no service is told."""

    async def answer(self, connection, request, honest, /):
        if request.path.endswith("/services"):
            honest = error(500, "context deadline exceeded")
        return await super().answer(connection, request, honest)


class Prompts(Seen):
    """What a provider sent, and what made it look each time that something changed."""

    def __init__(self, job):
        super().__init__()
        self.job = job
        self.prompts = []

    def __call__(self, groups, /):
        before = dict(self)
        super().__call__(groups)
        if dict(self) != before:
            self.prompts.append(self.job.prompt())


@asynccontextmanager
async def watched(job):
    seen = Prompts(job)
    task = asyncio.create_task(job.run(seen))
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_first_list_is_the_start_and_what_an_event_tells_of_is_its_doing(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 60.0)
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with watched(provider(daemon, interval=60)) as seen:
            await agree(swarm, seen)
            assert seen.prompts == ["start"]
            swarm.update_service("web", labels={"tier": "new"})
            await until(lambda: "new" in seen.values_of(TIER))
            assert seen.prompts == ["start", "event"]


def silently(swarm, *services):
    """A task of the services fails on a node of whose containers nobody tells."""
    far = {swarm.id_of_node(name) for name in ("wrk1", "wrk2")}
    ids = {swarm.service(name)["ID"] for name in services}
    task = next(one for one in swarm.tasks.values() if one["NodeID"] in far and one["ServiceID"] in ids)
    life.stopped(swarm, task, "failed", "started", 137, error="task: non-zero exit (137)")


async def settled(seen):
    """All that moved at the start has settled: what changes now no question of then finds."""
    await until(lambda: not seen.job._cluster._watch._since)


async def test_what_follows_an_event_without_one_is_a_follow_up(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 60.0)
    swarm.create_service("far", replicas=1, networks=["net"], constraints=["node.hostname==wrk2"])
    swarm.settle()
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with watched(provider(daemon, interval=60)) as seen:
            await agree(swarm, seen)
            before = len(lists_asked(daemon))
            swarm.scale("far", 2)
            await until(lambda: any(one.startswith("tasks?") for one in lists_asked(daemon)[before:]))
            await until(lambda: seen.job._cluster._watch.prompt == "follow-up")
            await live(swarm)
            await agree(swarm, seen)
            assert seen.prompts[-1] == "follow-up"


async def test_what_no_event_tells_is_found_because_it_was_time(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 0.2)
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with watched(provider(daemon, interval=60)) as seen:
            await agree(swarm, seen)
            await settled(seen)
            silently(swarm, "web", "db", "api")
            await agree(swarm, seen)
            assert seen.prompts[:2] == ["start", "poll"]
            assert "event" not in seen.prompts


async def test_without_a_stream_every_change_is_found_by_asking(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 0.1)
    for fault in (LoseEvents(), RefuseEvents()):
        async with Daemon.on(swarm, "mgr1") as daemon:
            daemon.inject(fault)
            async with watched(provider(daemon, interval=60)) as seen:
                await until(lambda seen=seen: seen)
                swarm.update_service("web", labels={"tier": type(fault).__name__})
                await until(lambda fault=fault, seen=seen: type(fault).__name__ in seen.values_of(TIER))
                assert seen.prompts == ["start", "poll"]


async def test_what_happened_before_a_stream_began_again_no_event_told(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 60.0)
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with watched(provider(daemon, interval=60, role="services")) as seen:
            await until(lambda: seen)
            daemon.inject(faults.Refuse())
            await until(lambda: not swarm.events.listeners)
            swarm.update_service("web", labels={"tier": "new"})
            daemon.mend()
            await until(lambda: "new" in seen.values_of(TIER))
            assert seen.prompts == ["start", "poll"]


async def test_an_event_whose_question_failed_is_still_what_made_it_look(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 0.3)
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with watched(provider(daemon, interval=60, role="services")) as seen:
            await until(lambda: seen and seen.job.status().events[0].connected)
            daemon.inject(RefuseLists())
            swarm.update_service("web", labels={"tier": "new"})
            # first for what the event is about, and then for everything
            await until(lambda: seen.job._cluster._watch._failures >= 2)
            daemon.mend()
            await until(lambda: "new" in seen.values_of(TIER))
            assert seen.prompts == ["start", "event"]


async def test_a_change_found_by_a_long_question_is_not_that_of_a_short_one_beside_it(swarm, monkeypatch):
    monkeypatch.setattr(watch, "SOONEST", 0.2)
    async with Daemon.on(swarm, "mgr1") as daemon:
        async with watched(provider(daemon, interval=60, timeout=5)) as seen:
            await agree(swarm, seen)
            await settled(seen)
            daemon.inject(slow := SlowWholes())
            silently(swarm, "db", "api")
            await until(lambda: slow.begun)
            swarm.update_service("web", labels={"tier": "new"})
            await until(lambda: "new" in seen.values_of(TIER))
            await agree(swarm, seen)
            assert seen.prompts[:3] == ["start", "event", "poll"]


async def test_of_several_engines_the_one_that_sent_tells():
    engines = [Engine("one", seed=1), Engine("two", seed=2)]
    async with Daemon(engines[0]) as one, Daemon(engines[1]) as two:
        hosts = tuple(Host.from_yaml(daemon.url) for daemon in (one, two))
        job = DockerProvider(DockerSDConfig(hosts=hosts, refresh_interval=Interval(60)))
        async with watched(job) as seen:
            await until(lambda: all(str(host) in job.sources() for host in hosts))
            await until(lambda: all(engine.heard for engine in job._engines))
            await until(
                lambda: len(job.status().events) == 2 and all(e.connected for e in job.status().events)
            )
            engines[1].run("new")
            await until(lambda: seen)
            assert seen.prompts == ["event"]
