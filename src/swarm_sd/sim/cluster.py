"""A classic Swarm as a state that can be changed: engines that join, fail, recover and leave.

Nothing here knows HTTP or a release; ``info.py`` tells what a manager of a given tag says of this state.
Everything random comes from the seed, so the same verbs give the same cluster.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cmp_to_key

from swarm_sd.sim.tags import Tag
from swarm_sd.sim.workload import Container

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time of day; a test gives the cluster another clock."""
    return datetime.now(UTC)


class Status(StrEnum):
    """How a manager stands with an engine. Source: cluster/engine.go, stateText."""

    PENDING = "Pending"
    UNHEALTHY = "Unhealthy"
    HEALTHY = "Healthy"
    DISCONNECTED = "Disconnected"


@dataclass(slots=True)
class Containers:
    """How many containers an engine has, by state; "stopped" is all that neither runs nor is paused."""

    running: int = 0
    paused: int = 0
    stopped: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.running + self.paused + self.stopped


@dataclass(frozen=True, slots=True)
class Happening:
    """What managers tell at ``/events``: ``action`` of a ``container``, or of an ``engine`` without one."""

    engine: Engine
    action: str
    container: Container | None = None


@dataclass(slots=True, kw_only=True)
class Engine:
    """A Docker engine as a manager knows it.

    ``address`` is ``host:port`` as discovery gave it. An engine without ``name`` was never reached:
    managers show it as ``(unknown)`` and without any specification. ``labels`` are the user's own; what
    Swarm adds (``storagedriver=`` ...) comes from the fields below them. ``memory`` is in bytes as the
    engine tells it, without the 5 % that Swarm adds. ``containers`` are those that only count, ``named``
    those that are more than a number, by name.
    """

    address: str
    name: str = ""
    id: str = ""
    status: Status = Status.HEALTHY
    error: str = ""  # the text of the last error, where it is not just that nobody listens
    unreachable: bool = False  # nobody listens: the text is each release's own
    labels: Mapping[str, str] = field(default_factory=dict)
    storage_driver: str = "overlay2"
    kernel_version: str = "5.10.0-30-amd64"
    operating_system: str = "Debian GNU/Linux 12 (bookworm)"
    os_type: str = "linux"
    execution_driver: str = "<not supported>"  # what engines since 1.11 say; "native-0.2" before
    refreshed: bool = False  # the manager has read the specification a second time
    containers: Containers = field(default_factory=Containers)
    named: dict[str, Container] = field(default_factory=dict)
    images: int = 0
    cpus: int = 4
    memory: int = 8 << 30
    reserved_cpus: int = 0
    reserved_memory: int = 0
    server_version: str = "20.10.24"
    updated_at: datetime = field(default_factory=utc_now)

    @property
    def known(self) -> bool:
        """Whether a manager ever reached it."""
        return bool(self.name)

    @property
    def counts(self) -> Containers:
        """All containers, the named ones too."""
        states = [container.state for container in self.named.values()]
        running, paused = (states.count(state) for state in ("running", "paused"))
        own = self.containers
        stopped = own.stopped + len(states) - running - paused
        return Containers(own.running + running, own.paused + paused, stopped)

    @property
    def shown_ip(self) -> str:
        """Its address without the port."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def total_memory(self) -> int:
        """Bytes with the over-commitment of 5 %. Source: cluster/engine.go, TotalMemory."""
        return self.memory + self.memory * 5 // 100


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer of the Mesos driver: its id and resources as it shows them, ``{"cpus": "2"}``."""

    id: str
    resources: Mapping[str, str]


class Cluster:
    """Engines, what schedules them, and which manager leads.

    ``primary`` is the address that the leader's lock names (it may be dead); "" when no leader is known.
    ``mesos`` makes it a cluster of the Mesos driver: managers then list ``offers`` and no engines.
    ``filters`` None means each release's own list. Managers list engines of the same name in random
    order, as real ones do; ``steady`` keeps them as they joined.
    """

    def __init__(
        self,
        engines: Iterable[Engine] = (),
        *,
        seed: int = 0,
        strategy: str = "spread",
        filters: str | None = None,
        primary: str = "",
        offers: Iterable[Offer] = (),
        mesos: bool = False,
        steady: bool = False,
        clock: Clock = utc_now,
    ) -> None:
        self._engines = {engine.address: engine for engine in engines}
        self._size = len(self._engines)  # about which churn keeps it
        self._chance = random.Random(seed)
        self._shuffle = random.Random(seed)  # its own: how often somebody asks must not change what happens
        self.strategy = strategy
        self.filters = filters
        self.primary = primary
        self.offers = list(offers)
        self.mesos = mesos
        self.steady = steady
        self.clock = clock
        self.watchers: set[Callable[[Happening], None]] = set()

    @property
    def engines(self) -> tuple[Engine, ...]:
        """All engines as they joined, the pending ones too."""
        return tuple(self._engines.values())

    def engine(self, which: str) -> Engine:
        """The engine at the address ``which``, or else the first of that name. ``KeyError``: none."""
        if which in self._engines:
            return self._engines[which]
        for engine in self._engines.values():
            if engine.name == which:
                return engine
        raise KeyError(which)

    # -- what happens to engines ------------------------------------------------------------------

    def join(self, engine: Engine) -> Engine:
        """``engine`` is discovered and answers; one at the same address is replaced."""
        engine.updated_at = self.clock()
        self._engines[engine.address] = engine
        if engine.known:
            self._tell(Happening(engine, "engine_connect"))
        return engine

    def pending(self, address: str, *, error: str = "", unreachable: bool = True) -> Engine:
        """An address is discovered that the managers cannot reach."""
        engine = Engine(address=address, status=Status.PENDING, error=error, unreachable=unreachable)
        return self.join(engine)

    def answer(self, which: str, engine: Engine) -> Engine:
        """The pending engine ``which`` answers at last: it turns out to be ``engine``."""
        engine.address = self.engine(which).address
        return self.join(engine)

    def leave(self, which: str) -> Engine:
        """An engine is gone from discovery."""
        engine = self._engines.pop(self.engine(which).address)
        if engine.known:
            self._tell(Happening(engine, "engine_disconnect"))
        return engine

    def failing(self, which: str) -> Engine:
        """An engine stops answering; while tries are left it stays Healthy, with an error."""
        engine = self.engine(which)
        engine.unreachable = True
        return engine

    def fail(self, which: str) -> Engine:
        """An engine is given up: Unhealthy. What was last known of it stays."""
        engine = self.failing(which)
        engine.status = Status.UNHEALTHY
        self._tell(Happening(engine, "engine_disconnect"))
        return engine

    def disconnect(self, which: str) -> Engine:
        """The moment before an engine is removed."""
        engine = self.engine(which)
        engine.status = Status.DISCONNECTED
        return engine

    def recover(self, which: str) -> Engine:
        """An engine answers again; its specification is read anew."""
        engine = self.engine(which)
        engine.status, engine.error, engine.unreachable = Status.HEALTHY, "", False
        engine.refreshed = engine.known
        engine.updated_at = self.clock()
        self._tell(Happening(engine, "engine_reconnect"))
        return engine

    def elect(self, address: str) -> None:
        """The manager advertised at ``address`` takes the leader's lock."""
        self.primary = address

    # -- what happens to containers ----------------------------------------------------------------

    def run(self, which: str, container: Container) -> Container:
        """``container`` is created and started on the engine ``which``; one of that name is replaced."""
        engine = self.engine(which)
        engine.named[container.name] = container
        self._tell(Happening(engine, "create", container))
        self._tell(Happening(engine, "start", container))
        return container

    def stop(self, which: str, name: str, *, exit_code: int = 0) -> Container:
        """A container ends; it stays listed with ``all=1``."""
        engine = self.engine(which)
        container = engine.named[name]
        container.state, container.exit_code = "exited", exit_code
        for action in ("kill", "die", "stop"):
            self._tell(Happening(engine, action, container))
        return container

    def start(self, which: str, name: str) -> Container:
        """A container that ended runs again."""
        engine = self.engine(which)
        container = engine.named[name]
        container.state = "running"
        self._tell(Happening(engine, "start", container))
        return container

    def remove(self, which: str, name: str) -> Container:
        """A container is gone for good."""
        engine = self.engine(which)
        container = engine.named.pop(name)
        self._tell(Happening(engine, "destroy", container))
        return container

    def containers(self) -> tuple[tuple[Engine, Container], ...]:
        """Every named container with its engine."""
        return tuple((engine, one) for engine in self.engines for one in engine.named.values())

    def _tell(self, happening: Happening) -> None:
        for watcher in tuple(self.watchers):
            watcher(happening)

    # -- what managers list -----------------------------------------------------------------------

    def listed(self, tag: Tag) -> list[Engine]:
        """The engines in the order that a manager of ``tag`` lists them; before v1.1.0 no pending ones.

        Source: cluster/swarm/cluster.go, Info; cluster/engine_sorter.go; the map order of v0.1.0.
        """
        found = list(self._engines.values())
        if not self.steady:
            self._shuffle.shuffle(found)
        if not tag.since("v1.1.0"):
            found = [engine for engine in found if engine.known and engine.status != Status.PENDING]
        if tag.since("v1.0.0"):
            found.sort(key=lambda engine: _natural(_CHUNK.findall(engine.name)))  # node2 before node10
        elif tag.since("v0.2.0"):
            found.sort(key=lambda engine: engine.name)
        return found

    # -- a life of its own ------------------------------------------------------------------------

    def churn(self, newcomer: Callable[[random.Random], Engine] | None = None) -> str:
        """One thing happens, by chance; says what, readably. ``newcomer`` makes the engines that join."""
        chance = self._chance
        by_status = {status: [e for e in self.engines if e.status == status] for status in Status}
        deeds: list[Callable[[], str]] = []
        if newcomer is not None:
            deeds += [lambda: self._joins(newcomer(chance)), lambda: self._stays_pending(newcomer(chance))]
        if healthy := by_status[Status.HEALTHY]:
            deeds += [
                lambda: self._fails(chance.choice(healthy)),
                lambda: self._works(chance.choice(healthy)),
            ]
        if len(healthy) > 1 and len(self._engines) >= self._size:
            deeds.append(lambda: self._leaves(chance.choice(healthy)))
        if away := by_status[Status.UNHEALTHY]:
            deeds += [lambda: self._recovers(chance.choice(away))] * 2
        if waiting := by_status[Status.PENDING]:
            deeds.append(lambda: self._leaves(chance.choice(waiting)))
        return chance.choice(deeds)() if deeds else "nothing happens: the cluster is empty"

    def _joins(self, engine: Engine) -> str:
        self.join(engine)
        return f"{engine.name} ({engine.address}) joins"

    def _stays_pending(self, engine: Engine) -> str:
        self.pending(engine.address)
        return f"{engine.address} is discovered, but nobody listens there: Pending"

    def _fails(self, engine: Engine) -> str:
        self.fail(engine.address)
        return f"{engine.name} ({engine.address}) stops answering: Unhealthy"

    def _recovers(self, engine: Engine) -> str:
        self.recover(engine.address)
        return f"{engine.name} ({engine.address}) is back: Healthy"

    def _leaves(self, engine: Engine) -> str:
        self.leave(engine.address)
        return f"{engine.name or '(unknown)'} ({engine.address}) leaves"

    def _works(self, engine: Engine) -> str:
        before = engine.containers.total
        engine.containers.running = self._chance.randrange(0, 20)
        engine.updated_at = self.clock()
        return f"{engine.name} ({engine.address}) had {before} containers and has {engine.containers.total}"


_CHUNK = re.compile(r"[0-9]+|[^0-9]+")


def _less(a: list[str], b: list[str]) -> int:
    for left, right in zip(a, b, strict=False):
        if left == right:
            continue
        if left[0] not in "0123456789" or right[0] not in "0123456789":
            return -1 if left < right else 1
        if int(left) != int(right):
            return -1 if int(left) < int(right) else 1
    return len(a) - len(b)


_natural = cmp_to_key(_less)


def engine_id(chance: random.Random) -> str:
    """An engine's ID as libtrust makes it: twelve groups of four in base 32."""
    text = base64.b32encode(chance.randbytes(30)).decode()
    return ":".join(text[start : start + 4] for start in range(0, 48, 4))
