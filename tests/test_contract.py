"""Every kind of discovery keeps the contract. A new kind needs a world here."""

import asyncio
import contextlib
import random
import socket
import threading
import time

import msgspec
import pytest
from tests.contract import Contract, World
from tests.discovery.swarm.worlds import ConsulWorld, FileWorld

from swarm_sd.discovery import kinds
from swarm_sd.discovery.docker.provider import DockerProvider, DockerSDConfig
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.dockerswarm.provider import DockerSwarmProvider, DockerSwarmSDConfig
from swarm_sd.discovery.swarm.container_provider import SwarmContainersProvider
from swarm_sd.discovery.swarm.provider import SwarmProvider, SwarmSDConfig
from swarm_sd.model import TargetGroup
from swarm_sd.scalars import Duration, Interval, Port
from swarm_sd.sim import faults
from swarm_sd.sim.cluster import Containers, Status
from swarm_sd.sim.clusters import Newcomers, example
from swarm_sd.sim.manager import Manager
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.engine import Engine
from swarm_sd.sim.moby.swarm import Swarm
from swarm_sd.sim.workload import Container
from swarm_sd.sim.workload import Port as ContainerPort

FAULTS = {
    "refused": faults.Refuse,
    "reset": faults.Reset,
    "reset_in_the_body": faults.ResetMidBody,
    "no_answer": faults.Hang,
    "half_an_answer": faults.HangMidBody,
    "cut_by_length": faults.Truncated,
    "cut_by_chunks": lambda: faults.Truncated(chunked=True),
    "endless": lambda: faults.Endless(limit=4 << 20),
    "status_500": lambda: faults.status(500),
    "status_401": lambda: faults.status(401),
    "status_404": lambda: faults.status(404),
    "page": faults.html,
    "empty_body": lambda: faults.body(b""),
    "not_text": lambda: faults.body(b"\xff\xfe\x00"),
    "list": lambda: faults.json_value([1]),
    "null": lambda: faults.json_value(None),
    "number": lambda: faults.json_value(7),
    "deep": lambda: faults.body(b"[" * 100_000),
    "not_http": faults.Garbage,
    "gzip_unsaid": lambda: faults.GzipLie("unsaid"),
    "gzip_cut": lambda: faults.GzipLie("cut"),
    "gzip_lie": lambda: faults.GzipLie("plain"),
    "plain_engine": faults.docker_engine,
    "swarm_mode": faults.swarm_mode_engine,
}


class SwarmWorld(World):
    """``swarm``: a manager of classic Swarm and its nodes."""

    kind = "swarm"
    faults = tuple(FAULTS)
    tag = "v1.2.9"
    managers = 1

    def __init__(self, folder):
        super().__init__(folder)
        self.cluster = example()
        self.hosts = [Manager(self.cluster, tag=self.tag, hostname=f"m{n}") for n in range(self.managers)]
        self.newcomers = Newcomers()
        self.chance = random.Random(1)

    async def __aenter__(self):
        for manager in self.hosts:
            await manager.start()
        return self

    async def __aexit__(self, *_):
        for manager in self.hosts:
            await manager.stop()

    def config(self):
        masters = tuple(Host.from_yaml(manager.url) for manager in self.hosts)
        return SwarmSDConfig(masters=masters, metrics_port=Port("9323"), refresh_interval=Duration(0.01))

    def provider(self):
        return SwarmProvider(self.config(), timeout=0.15)

    def addresses(self):
        hosts = [manager.address for manager in self.hosts]
        hosts += [engine.address for engine in self.cluster.engines]
        return frozenset(host.rpartition(":")[0] + ":9323" for host in hosts)

    def grow(self):
        self.cluster.join(self.newcomers(self.chance))

    def shrink(self):
        self.cluster.leave(self.chance.choice(self.cluster.engines).address)

    def drift(self):
        for engine in self.cluster.engines:
            if engine.status == Status.HEALTHY:
                engine.containers.running = self.chance.randrange(50)
                engine.images += 1
                engine.reserved_cpus = self.chance.randrange(4)
                engine.reserved_memory += 1 << 20
                engine.updated_at = self.cluster.clock()
        self.cluster.strategy = self.chance.choice(("spread", "binpack"))

    def break_(self, fault):
        for manager in self.hosts:
            manager.inject(FAULTS[fault]())

    def mend(self):
        for manager in self.hosts:
            manager.mend()


class SwarmOfTwoWorld(SwarmWorld):
    """Two managers of an old release: the primary's answer, or the other's."""

    faults = ("refused", "no_answer", "status_500", "plain_engine")
    tag = "v1.0.0"
    managers = 2


class SwarmContainersWorld(SwarmWorld):
    """``swarm``, role containers: two managers and what runs on their nodes, published and not."""

    faults = ("refused", "no_answer", "half_an_answer", "cut_by_chunks", "status_500", "page", "null", "list")
    managers = 2

    def __init__(self, folder):
        super().__init__(folder)
        for engine in self.cluster.engines:
            engine.containers = Containers()
        self.started = 0
        for number in range(4):
            self.grow(number)

    def config(self):
        masters = tuple(Host.from_yaml(manager.url) for manager in self.hosts)
        return SwarmSDConfig(masters=masters, role="containers", refresh_interval=Interval(0.01))

    def provider(self):
        config = self.config()
        return SwarmContainersProvider(config.masters, config, interval=0.01, port="80", timeout=0.15)

    def addresses(self):
        return frozenset(
            f"{engine.shown_ip}:{one.ports[0].public}" if one.ports else f"{one.networks['net']}:80"
            for engine, one in self.cluster.containers()
        )

    def grow(self, number=0):
        self.started += 1
        ports = [ContainerPort(80, 30000 + self.started)] if self.started % 2 else []
        container = Container(
            name=f"c{self.started}", networks={"net": f"10.5.0.{self.started}"}, ports=ports
        )
        self.cluster.run(self.cluster.engines[number % len(self.cluster.engines)].address, container)

    def shrink(self):
        engine, container = self.chance.choice(self.cluster.containers())
        self.cluster.stop(engine.address, container.name)
        self.cluster.remove(engine.address, container.name)

    def drift(self):
        super().drift()
        for _, container in self.cluster.containers():
            container.age = f"{self.chance.randrange(2, 60)} minutes"


ENGINE_FAULTS = {
    name: FAULTS[name]
    for name in (
        "refused",
        "reset_in_the_body",
        "no_answer",
        "half_an_answer",
        "cut_by_chunks",
        "not_http",
        "page",
    )
}
SWARM_FAULTS = ENGINE_FAULTS | {
    "status_500": lambda: faults.api_error(500),
    "not_a_manager": faults.not_a_manager,
    "no_leader": faults.no_leader,
    "locked": faults.locked,
    "object": lambda: faults.json_value({"message": "?"}),
}


class DockerSwarmWorld(World):
    """``dockerswarm``, role tasks: a swarm of two managers and a worker."""

    kind = "dockerswarm"
    role = "tasks"
    faults = tuple(SWARM_FAULTS)

    def __init__(self, folder):
        super().__init__(folder)
        self.swarm = Swarm(("mgr1", "mgr2"), ("wrk1",), seed=1)
        self.swarm.create_network("net")
        for name, replicas in (("web", 3), ("db", 1)):
            self.swarm.create_service(name, replicas=replicas, networks=["net"])
        self.swarm.settle()
        self.daemons = [Daemon.on(self.swarm, name) for name in ("mgr1", "mgr2")]
        self.services = 0

    async def __aenter__(self):
        for daemon in self.daemons:
            await daemon.start()
        return self

    async def __aexit__(self, *_):
        for daemon in self.daemons:
            await daemon.stop()

    def config(self):
        hosts = tuple(Host.from_yaml(daemon.url) for daemon in self.daemons)
        return DockerSwarmSDConfig(
            hosts=hosts, role=self.role, port=Port("9323"), refresh_interval=Interval(0.01)
        )

    def provider(self):
        return DockerSwarmProvider(self.config(), timeout=0.15)

    def addresses(self):
        ends = [end for task in self.swarm.tasks.values() for end in task.get("NetworksAttachments", ())]
        return frozenset(f"{ip.partition('/')[0]}:9323" for end in ends for ip in end["Addresses"])

    def grow(self):
        self.services += 1
        self.swarm.create_service(f"more-{self.services}", networks=["net"])
        self.swarm.settle()

    def shrink(self):
        self.swarm.remove_service(next(reversed(self.swarm.services)))
        self.swarm.settle()

    def drift(self):
        for task in self.swarm.tasks.values():
            self.swarm.touch(task)

    def break_(self, fault):
        for daemon in self.daemons:
            daemon.inject(SWARM_FAULTS[fault]())

    def mend(self):
        for daemon in self.daemons:
            daemon.mend()


class DockerSwarmServicesWorld(DockerSwarmWorld):
    """``dockerswarm``, role services."""

    role = "services"
    faults = ("refused", "no_leader")

    def addresses(self):
        ends = [end for service in self.swarm.services.values() for end in service["Endpoint"]["VirtualIPs"]]
        return frozenset(f"{end['Addr'].partition('/')[0]}:9323" for end in ends)

    def drift(self):
        for service in self.swarm.services.values():
            self.swarm.touch(service)


class DockerSwarmEndpointsWorld(DockerSwarmWorld):
    """``dockerswarm``, role endpoints, of whatever runs on the network that is named."""

    role = "endpoints"
    faults = ("refused", "half_an_answer", "no_leader")

    def config(self):
        wanted = {"scrape": "all", "networks": ("net",), "instance": "hostname"}
        return msgspec.structs.replace(super().config(), **wanted)


class DockerSwarmNodesWorld(DockerSwarmWorld):
    """``dockerswarm``, role nodes."""

    role = "nodes"
    faults = ("refused", "no_leader")

    def addresses(self):
        return frozenset(f"{node['Status']['Addr']}:9323" for node in self.swarm.nodes.values())

    def grow(self):
        self.services += 1
        self.swarm.join(f"new-{self.services}", role="worker")
        self.swarm.settle()

    def shrink(self):
        self.swarm.leave("wrk1" if not self.services else f"new-{self.services}")
        self.services = max(0, self.services - 1)
        self.swarm.settle()

    def drift(self):
        for node in self.swarm.nodes.values():
            self.swarm.touch(node)


class DockerWorld(World):
    """``docker``: the containers of two engines."""

    kind = "docker"
    faults = tuple(ENGINE_FAULTS)

    def __init__(self, folder):
        super().__init__(folder)
        self.engines = [Engine("one", seed=1), Engine("two", seed=2, subnet="172.27.0.0/16")]
        for engine in self.engines:
            for name in ("web", "db"):
                engine.run(name)
        self.daemons = [Daemon(engine) for engine in self.engines]
        self.containers = 0

    async def __aenter__(self):
        for daemon in self.daemons:
            await daemon.start()
        return self

    async def __aexit__(self, *_):
        for daemon in self.daemons:
            await daemon.stop()

    def config(self):
        hosts = tuple(Host.from_yaml(daemon.url) for daemon in self.daemons)
        return DockerSDConfig(hosts=hosts, port=Port("9323"), refresh_interval=Interval(0.01))

    def provider(self):
        return DockerProvider(self.config(), timeout=0.15)

    def addresses(self):
        return frozenset(f"{ip}:9323" for engine in self.engines for ip in engine.addresses())

    def grow(self):
        self.containers += 1
        self.engines[0].run(f"more-{self.containers}")

    def shrink(self):
        names = [container["Names"][0].strip("/") for container in self.engines[0].containers.values()]
        self.engines[0].remove(names[0])

    def drift(self):
        for engine in self.engines:
            for container in engine.containers.values():
                container["Status"] = f"Up {random.randrange(50)} minutes"

    def break_(self, fault):
        for daemon in self.daemons:
            daemon.inject(ENGINE_FAULTS[fault]())

    def mend(self):
        for daemon in self.daemons:
            daemon.mend()


WORLDS = {
    "swarm": SwarmWorld,
    "swarm_of_two": SwarmOfTwoWorld,
    "swarm_containers": SwarmContainersWorld,
    "swarm_on_a_file": FileWorld,
    "swarm_on_consul": ConsulWorld,
    "dockerswarm_tasks": DockerSwarmWorld,
    "dockerswarm_services": DockerSwarmServicesWorld,
    "dockerswarm_endpoints": DockerSwarmEndpointsWorld,
    "dockerswarm_nodes": DockerSwarmNodesWorld,
    "docker": DockerWorld,
}
"""By a name for the tests' IDs. A kind may have several."""


class TestEveryKind(Contract):
    worlds = WORLDS


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_is_held_to_the_contract(kind):
    assert kind in {world.kind for world in WORLDS.values()}, (
        f"no world for {kind}_sd_configs: write a World (tests/contract.py) that makes such a cluster on "
        f"real sockets, and add it to WORLDS in tests/test_contract.py; docs/add-a-kind.md tells how"
    )


# -- the contract itself: a provider that breaks a promise does not pass ------------------------------------


class _EmptiesInTrouble(SwarmProvider):
    async def list(self):
        try:
            return await super().list()
        except Exception:
            return [TargetGroup("swarm_nodes")]


class _EndsInTrouble(SwarmProvider):
    async def list(self):
        try:
            return await super().list()
        except Exception as err:
            raise RuntimeError("not mine") from err


class _CountsInALabel(SwarmProvider):
    async def list(self):
        groups = list(await super().list())
        return [*groups[:-1], TargetGroup("swarm_nodes", groups[-1].targets, {"n": str(time.monotonic())})]


class _Shuffles(SwarmProvider):
    made = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._turn = type(self).made = self.made + 1

    async def list(self):
        masters, nodes = await super().list()
        turn = self._turn % len(nodes.targets)
        return [masters, TargetGroup(nodes.source, nodes.targets[turn:] + nodes.targets[:turn], nodes.labels)]


class _ForgetsNobody(SwarmProvider):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._ever = {}

    async def list(self):
        groups = await super().list()
        self._ever.update((target["instance"], target) for target in groups[-1].targets)
        return [groups[0], TargetGroup("swarm_nodes", tuple(self._ever.values()))]


class _SaysHalf(SwarmProvider):
    def first(self):
        return [*super().first(), TargetGroup("swarm_nodes", ({"__address__": "10.0.0.11:9323"},))]


class _Blocks(SwarmProvider):
    async def list(self):
        time.sleep(0.001)
        return await super().list()


class _BadAddress(SwarmProvider):
    async def list(self):
        return [*await super().list(), TargetGroup("odd", ({"__address__": "::1:80"},))]


class _SwallowsCancellation(SwarmProvider):
    async def run(self, up, /):
        with contextlib.suppress(asyncio.CancelledError):
            await super().run(up)


class _IsSlowToEnd(SwarmProvider):
    async def close(self):
        await asyncio.sleep(1.2)
        await super().close()


class _LeavesATask(SwarmProvider):
    async def close(self):
        self.task = asyncio.create_task(asyncio.sleep(60))
        await super().close()


class _LeavesASocket(SwarmProvider):
    async def close(self):
        self.socket = socket.socket()
        OPEN.append(self.socket)
        await super().close()


class _LeavesAThread(SwarmProvider):
    async def close(self):
        self.thread = threading.Thread(target=STAY.wait, daemon=True)
        self.thread.start()
        await super().close()


OPEN = []
STAY = threading.Event()

BROKEN = {
    _EmptiesInTrouble: "test_trouble_sends_nothing_and_the_truth_comes_right_after_it",
    _EndsInTrouble: "test_trouble_at_the_start_is_no_other_trouble",
    _CountsInALabel: "test_targets_do_not_change_while_only_counters_and_times_do",
    _Shuffles: "test_the_same_world_gives_the_same_groups",
    _ForgetsNobody: "test_a_new_target_comes_and_a_vanished_one_goes",
    _SaysHalf: "test_the_first_complete_list_is_the_truth",
    _Blocks: "test_the_first_complete_list_is_the_truth",
    _BadAddress: "test_the_first_complete_list_is_the_truth",
    _SwallowsCancellation: "test_cancellation_ends_it_at_once",
    _IsSlowToEnd: "test_cancellation_ends_it_at_once",
    _LeavesATask: "test_cancellation_ends_it_at_once",
    _LeavesASocket: "test_cancellation_ends_it_at_once",
    _LeavesAThread: "test_cancellation_ends_it_at_once",
}


@pytest.mark.parametrize(("broken", "test"), BROKEN.items(), ids=[broken.__name__ for broken in BROKEN])
async def test_a_provider_that_breaks_a_promise_does_not_pass(broken, test, tmp_path, monkeypatch):
    class BrokenWorld(SwarmWorld):
        modules = ("swarm_sd", "tests.test_contract") if broken is _Blocks else ("swarm_sd",)

        def provider(self):
            return broken(self.config(), timeout=0.15)

    monkeypatch.setattr("tests.contract._PATIENCE", 1.5)
    STAY.clear()
    given = {"fault": "status_500"} if "trouble" in test else {}
    try:
        with pytest.raises(AssertionError) as failure:
            await getattr(Contract(), test)(make_world=BrokenWorld, tmp_path=tmp_path, **given)
    finally:
        STAY.set()
        while OPEN:
            OPEN.pop().close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
    print(failure.value)  # -s shows what an author would read
