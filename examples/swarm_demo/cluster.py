"""What the demo's clusters share: they live on loopback addresses, and what is true of them is known."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

from swarm_sd.sim.nodes import Nodes
from swarm_sd.sim.server import Server

T = TypeVar("T", bound=AbstractAsyncContextManager[Any])

METRICS_PORT = 8070  # preferred; any free one where it is taken

Deed = Callable[[], Awaitable[str]]
"""Something that happens; gives what it was, in words."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What one target really is; ``address`` is the ``host:port`` of its /metrics."""

    name: str
    address: str
    state: str  # in the cluster's own words
    told: bool = True  # False: swarm-sd may not know the state yet


class Told(NamedTuple):
    """What a target's labels tell of it."""

    kind: str  # as one counts them: "masters", or the name of a service
    state: str


class Cluster(ABC):
    """Lives while entered. Deeds change it; ``name`` is for the lines, ``job`` discovers it.

    ``alone``: the usual ports are for this one. They are free for a moment whenever something dies.
    """

    name: ClassVar[str]
    job: ClassVar[str]
    path: ClassVar[str]  # where a manager lists the targets

    managers: Mapping[str, Server]

    def __init__(self, *, alone: bool, seed: int = 0) -> None:
        self.forgetful = False  # it lists nothing, though everything is there
        self._alone = alone
        self._chance = random.Random(seed)
        self._down: set[str] = set()  # names of the managers that are dead
        self._nodes = Nodes([])
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @abstractmethod
    async def _start(self) -> None:
        """Starts managers and /metrics, and leaves their ends to ``_stack``."""

    async def _entered(self, make: Callable[[int], T], port: int) -> T:
        """What ``make`` gives for ``port``, or for 0 where that one is not free for us; entered."""
        if self._alone:
            with suppress(OSError):
                return await self._stack.enter_async_context(make(port))
        return await self._stack.enter_async_context(make(0))

    def urls(self) -> str:
        """Where one can look at it."""
        return "  ".join(f"{manager.url}{self.path}" for manager in self.managers.values())

    # -- the truth ----------------------------------------------------------------------------------

    @property
    def metrics_port(self) -> int:
        """The port of every /metrics."""
        return self._nodes.port

    @abstractmethod
    def truth(self) -> list[Truth]:
        """Every target that there has to be now."""

    @abstractmethod
    def told(self, labels: Mapping[str, str]) -> Told | None:
        """What a target's labels tell; None for one that the job's relabelling drops."""

    def addresses(self) -> frozenset[str]:
        """The addresses of ``truth``."""
        return frozenset(one.address for one in self.truth())

    def answering(self) -> set[str]:
        """``host:port`` of the managers that live."""
        return {manager.address for name, manager in self.managers.items() if name not in self._down}

    # -- what happens -------------------------------------------------------------------------------

    @abstractmethod
    def script(self) -> Sequence[Deed]:
        """What one has to see, in order."""

    @abstractmethod
    def chance(self) -> Iterator[Deed]:
        """Without end, whatever chance brings after the script."""

    async def mend(self) -> None:
        """The managers tell the truth again."""
        for manager in self.managers.values():
            manager.mend()
        self.forgetful = False


def turns(
    clusters: Sequence[Cluster], deeds: Callable[[Cluster], Iterable[Deed]]
) -> Iterator[tuple[Cluster, Deed]]:
    """The ``deeds`` of all clusters, which take turns until each has no more."""
    left = [(cluster, iter(deeds(cluster))) for cluster in clusters]
    while left:
        for one in left.copy():
            cluster, coming = one
            if (deed := next(coming, None)) is None:
                left.remove(one)
            else:
                yield cluster, deed
