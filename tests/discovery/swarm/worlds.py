"""Worlds for the contract in which Swarm's own discovery is followed."""

import random
from pathlib import Path

from tests.contract import World

from swarm_sd.discovery.kv import consul as consul_backend
from swarm_sd.discovery.kv import file as file_backend
from swarm_sd.discovery.kv.locator import Discovery
from swarm_sd.discovery.swarm.provider import SwarmSDConfig
from swarm_sd.provider import Poller
from swarm_sd.scalars import Interval, Port
from swarm_sd.sim import faults
from swarm_sd.sim.clusters import Newcomers, example
from swarm_sd.sim.consul import Consul
from swarm_sd.sim.manager import Manager

IMPATIENT = [
    (file_backend, "LOOK", 0.02),
    (file_backend, "SETTLED", 0.01),
    (consul_backend, "BREATH", 0.01),
    (Poller, "MAX_BACKOFF", 0.05),
]


class DiscoveryWorld(World):
    """Somewhere that nodes register."""

    kind = "swarm"
    url: str

    async def __aenter__(self):
        self.patient = [getattr(where, name) for where, name, _ in IMPATIENT]
        for where, name, seconds in IMPATIENT:
            setattr(where, name, seconds)
        return self

    async def __aexit__(self, *_):
        for (where, name, _), seconds in zip(IMPATIENT, self.patient, strict=True):
            setattr(where, name, seconds)

    def config(self):
        return SwarmSDConfig(
            discovery=Discovery.from_yaml(self.url),
            metrics_port=Port("9323"),
            refresh_interval=Interval(0.01),
        )

    def provider(self):
        provider = self.config().provider()
        provider._registry._interval = 0.01
        return provider


class FileWorld(DiscoveryWorld):
    """``file://``: a file that somebody edits."""

    faults = ("missing", "a_folder", "no_text", "too_large")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "nodes"
        self.url = f"file://{self.path}"
        self.number = 3
        self.broken = False
        self.write()

    def write(self):
        if not self.broken:
            self.replace(f"# the nodes\n10.0.0.[1:{self.number}]:2375\n")

    def replace(self, text):
        """As one step: a file that is written in place is empty for a moment."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)

    def addresses(self):
        return frozenset(f"10.0.0.{number}:9323" for number in range(1, self.number + 1))

    def grow(self):
        self.number += 1
        self.write()

    def shrink(self):
        self.number -= 1
        self.write()

    def drift(self):
        nodes = [f"10.0.0.{number}:2375" for number in range(1, self.number + 1)]
        random.shuffle(nodes)
        self.replace("\n".join(nodes))

    def break_(self, fault):
        self.broken = True
        self.path.unlink()
        if fault == "a_folder":
            self.path.mkdir()
        elif fault == "no_text":
            self.path.write_bytes(b"\xff\xfe")
        elif fault == "too_large":
            with self.path.open("wb") as file:
                file.truncate(file_backend.MAX_BYTES + 1)

    def mend(self):
        self.broken = False
        if self.path.is_dir():
            self.path.rmdir()
        self.write()


class ConsulWorld(DiscoveryWorld):
    """``consul://`` and the leader that it tells of."""

    faults = ("refused", "no_answer")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cluster = example()
        self.manager = Manager(self.cluster)
        self.store = Consul()
        self.newcomers, self.chance = Newcomers(), random.Random(1)

    def key(self, address):
        return f"docker/swarm/nodes/{address}"

    async def __aenter__(self):
        await self.manager.start()
        await self.store.start()
        self.url = f"consul://{self.store.address}"
        for engine in self.cluster.engines:
            self.store.put(self.key(engine.address), engine.address)
        self.store.put("docker/swarm/leader", self.manager.address, session=self.store.session(ttl=1000))
        return await super().__aenter__()

    async def __aexit__(self, *_):
        await super().__aexit__()
        await self.store.stop()
        await self.manager.stop()

    def provider(self):
        provider = super().provider()
        provider._registry._backend._timeout = 0.15
        ask = provider._ask

        def impatient(masters):
            asking = ask(masters)
            asking._api._timeout = 0.15
            return asking

        provider._ask = impatient
        return provider

    def looks(self, provider):
        # both are to have looked
        registry, asking = provider._registry.status().refreshes, provider._asking
        return min(registry, asking.status().refreshes) if asking is not None else registry

    def addresses(self):
        hosts = [self.manager.address, *(engine.address for engine in self.cluster.engines)]
        return frozenset(host.rpartition(":")[0] + ":9323" for host in hosts)

    def grow(self):
        engine = self.newcomers(self.chance)
        self.cluster.join(engine)
        self.store.put(self.key(engine.address), engine.address)

    def shrink(self):
        address = self.chance.choice(self.cluster.engines).address
        self.cluster.leave(address)
        self.store.delete(self.key(address))

    def drift(self):
        for engine in self.cluster.engines:
            engine.images += 1
            engine.updated_at = self.cluster.clock()
            self.store.put(self.key(engine.address), engine.address)  # a heartbeat
        self.store.put("other/key", str(self.chance.random()))

    def break_(self, fault):
        if fault == "refused":
            self.store.refuse()
            self.manager.inject(faults.Refuse())
        else:
            self.store.hang()
            self.manager.inject(faults.Hang())

    def mend(self):
        self.store.mend()
        self.manager.mend()
