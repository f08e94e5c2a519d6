"""A daemon with a world of its own for the tests of what it tells: no Docker, every kind of answer."""

import asyncio
import platform
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import aiohttp
from prometheus_client import CollectorRegistry
from yarl import URL

from swarm_sd import __version__
from swarm_sd.deliver.clients import Clients
from swarm_sd.deliver.http import HTTPSD
from swarm_sd.insight import Insight
from swarm_sd.job import Job
from swarm_sd.manager import Manager
from swarm_sd.model import TargetGroup
from swarm_sd.provider import DiscoveryError, EventsStatus, HostStatus, PassedOver, Poller, SDConfig
from swarm_sd.relabel import RelabelConfig, compile_rule
from swarm_sd.web.about import About, LastReload
from swarm_sd.web.api import API
from swarm_sd.web.api.endpoint import Running
from swarm_sd.web.metrics import Reloads, registry
from swarm_sd.web.page.views import Page
from swarm_sd.web.server import Server

NODE, SERVICE = "__meta_dockerswarm_node_hostname", "__meta_dockerswarm_service_name"


def target(address, node, service, **labels):
    return {"__address__": address, NODE: node, SERVICE: service, **labels}


TARGETS = [
    target("10.0.0.1:80", "alpha", "shop"),
    target("10.0.0.1:80", "alpha", "shop", __meta_twin="é"),
    target("10.0.0.2:80", "beta", "shop"),
    target("10.0.0.3:80", "beta", "quiet"),
    target("10.0.0.4:80/x", "beta", "odd"),
]
OTHERS = [
    PassedOver("not_running", "task", "id1", "shop.3", "shop", "beta", "shutdown"),
    PassedOver("no_shared_network", "task", "id2", "db.1", "db", "alpha"),
]


class WorldProvider(Poller):
    """Sends what the world holds now."""

    def __init__(self, world):
        super().__init__("world", 0.01)
        self._world = world

    async def list(self):
        if isinstance(self._world.targets, Exception):
            raise self._world.targets
        return [TargetGroup("s", tuple(self._world.targets))]

    def untargeted(self):
        return {"not_running": 1, "no_shared_network": 1, "odd_object": 2}

    def passed_over(self):
        return OTHERS

    def hosts(self):
        return tuple(self._world.hosts)

    def events(self):
        return (EventsStatus(connected=True, connections=1, received=7, last_event=1.0),)


class WorldConfig(SDConfig, frozen=True, kw_only=True):
    kind = "world"
    world: object

    def provider(self):
        return WorldProvider(self.world)


RULES = [
    RelabelConfig(source_labels=(SERVICE,), regex="quiet", action="drop"),
    RelabelConfig(source_labels=(SERVICE,), target_label="service"),
]


@dataclass(eq=False)
class World:
    targets: object = field(default_factory=lambda: list(TARGETS))
    hosts: list = field(
        default_factory=lambda: [
            HostStatus("tcp://m1:2375", "up", active=True, last_success=1.5, latency=0.25),
            HostStatus("tcp://m2:2375", "down", last_error="m2: refused", failures={"refused": 3}),
        ]
    )
    flags: dict = field(default_factory=lambda: {"config.file": "prometheus.yml"})
    config: str = "scrape_configs: []\n"
    reload: LastReload = field(default_factory=lambda: LastReload(successful=True, at=10.0))

    def job(self, name="shop"):
        defaults = {"job": name, "__scrape_interval__": "1m", "__scrape_timeout__": "10s"}
        rules = tuple(compile_rule(rule, where=f"x.yml:{line}:5") for line, rule in enumerate(RULES, 1))
        return Job(name, (WorldConfig(world=self),), rules, defaults)

    def fails(self, what="m1: refused"):
        self.targets = DiscoveryError("refused", what)

    def about(self):
        return About(
            version=__version__,
            python=platform.python_version(),
            started_at=5.0,
            flags=self.flags,
            config_file="prometheus.yml",
            config=lambda: self.config,
            reload=self.reload,
        )


@dataclass
class Served:
    """A running one; ``get`` gives (status, the answer's JSON)."""

    base: str
    world: World
    manager: Manager
    api: API
    session: aiohttp.ClientSession
    metrics: CollectorRegistry

    def ask(self, path, method="GET", **more):
        return self.session.request(method, URL(self.base + path, encoded=True), **more)

    async def get(self, path, status=200, **more):
        async with asyncio.timeout(10), self.ask(path, **more) as answer:
            told = await answer.json(content_type="application/json")
            assert answer.status == status, told
            return told

    async def data(self, path):
        told = await self.get(path)
        assert told["status"] == "success"
        return told["data"]


@asynccontextmanager
async def serving(world=None, *jobs, live=None, config=None):
    """One that knows its targets, unless they fail. ``config``: a web configuration file."""
    world = World() if world is None else world
    manager = Manager(pause=0)
    clients = Clients()
    insight = Insight(manager)
    api = API(Running(insight, manager.status, world.about, clients))
    page = Page(manager.status, insight, world.about, clients)
    if live is not None:
        api.live = live(api)

    metrics = registry(manager.status, Reloads(), lambda: (0, 0), lambda: (), clients)

    async def nothing():
        return None

    server = Server(
        status=manager.status,
        metrics=metrics,
        reload=nothing,
        count=nothing,
        routes=[*HTTPSD(manager, clients).routes(), *api.routes(), *page.routes()],
        config=config,
    )
    running = asyncio.create_task(manager.run(jobs or [world.job()]))
    try:
        async with server.listening([("127.0.0.1", 0)]) as [base], aiohttp.ClientSession() as session:
            await until(lambda: manager.status().deliveries)
            if not isinstance(world.targets, Exception):
                await until(lambda: manager.status().ready)
            yield Served(base, world, manager, api, session, metrics)
            api.live.end()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@contextmanager
def beside(world=None, **more):
    """One that runs in a thread of its own, for who asks without a loop."""
    served, ready, over = [], threading.Event(), threading.Event()

    async def main():
        async with serving(world, **more) as running:
            served.append(running)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert ready.wait(20)
        yield served[0]
    finally:
        over.set()
        thread.join()


async def until(holds, seconds=10.0):
    """Returns as soon as something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        await asyncio.sleep(0.005)
