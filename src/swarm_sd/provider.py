"""What a source of discovery is, and the loop that most of them share.

The interface is that of Prometheus 0.17's ``TargetProvider`` in Python, with the promises kept that the
rest of the program (and a plug-in's author) relies on. docs/add-a-kind.md is the guide.
"""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec
import structlog

from swarm_sd.model import TargetGroup
from swarm_sd.scalars import Duration

log = structlog.stdlib.get_logger("discovery")


class DiscoveryError(Exception):
    """The world is at fault and may mend itself: asked again later, counted under ``reason``.

    ``reason`` is one short word from a small set (it becomes a metric's label); the message names the
    host, the path and the cause.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Up(Protocol):
    """Where a provider sends its groups.

    A plain call that never waits. The groups of one call are seen as one change. A group replaces the
    one of the same source; sources that are not named keep what they had.
    """

    def __call__(self, groups: Sequence[TargetGroup], /) -> None:
        """Takes the groups."""
        ...


class TargetProvider(Protocol):
    """A source of target groups. Source: retrieval.TargetProvider of Prometheus 0.17."""

    def sources(self) -> frozenset[str]:
        """The sources that must have been heard for the list to be complete. No I/O.

        Until each of them was sent, the entry's list is not served (an incomplete list would make
        Prometheus drop the rest). A provider that sends all its groups in its first update can simply
        name the groups that it last sent.
        """
        ...

    async def run(self, up: Up, /) -> None:
        """Sends groups to ``up`` until cancelled; every group again whenever it changed.

        While the provider cannot tell what is there, it sends nothing: the last groups stand. A source
        that is gone is sent once more without targets.
        """
        ...


class SDConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``<kind>_sd_configs``: its fields are the YAML's keys.

    Field types: str, bool, int, float, Literal, the scalar types of ``scalars.py``, other frozen
    Structs, and ``tuple[T, ...]`` or ``dict[str, T]`` of those, each also ``| None``.
    """

    kind: ClassVar[str]
    """``"swarm"`` gives the YAML key ``swarm_sd_configs``."""

    def provider(self) -> TargetProvider:
        """The provider that this entry describes. Equal configurations share one."""
        raise NotImplementedError

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong with the entry as a whole: (field path such as ``masters[1]`` or "", why)."""
        return []

    def identity(self) -> Any:
        """What decides *which* targets this entry has, as anything with a stable ``repr``.

        An entry of the same identity takes over the targets known before a reload or restart; leave out
        what only says how to ask (intervals, credentials).
        """
        return self


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What is known of one host that a provider may ask."""

    name: str
    state: str  # "up", "down" or "unknown" (never asked)
    active: bool = False
    last_error: str = ""
    last_success: float | None = None  # seconds since the epoch
    failures: Mapping[str, int] = field(default_factory=dict)  # by reason, since the start
    latency: float | None = None  # seconds until its last good answer was there; None: there is none


@dataclass(frozen=True, slots=True)
class EventsStatus:
    """How an event stream fares; counts are totals since the start.

    ``connected``: whether a stream is open now. ``missed``: changes that asking found and no event told of.
    """

    connected: bool = False
    connections: int = 0
    received: int = 0
    broken: int = 0  # events that were no JSON
    missed: int = 0
    last_event: float | None = None  # seconds since the epoch
    last_error: str = ""  # why the last stream ended; "" while one is open


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that a kind tells of itself: the metric ``swarm_sd_<name>``, described by ``text``.

    Gauges of one name have the same text and names of labels.
    """

    name: str
    text: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """What a provider tells about itself; counts are totals since its start."""

    refreshes: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)  # by reason
    last_success: float | None = None  # seconds since the epoch
    last_duration: float | None = None  # seconds
    last_error: str = ""  # of the last refresh; "" while that one succeeded
    skipped: Mapping[str, int] = field(default_factory=dict)  # by reason, in the answer that stands
    untargeted: Mapping[str, int] = field(default_factory=dict)  # likewise: no target by the rules
    hosts: tuple[HostStatus, ...] = ()
    events: tuple[EventsStatus, ...] = ()  # one for each stream; none: it follows no events
    gauges: tuple[Gauge, ...] = ()


@runtime_checkable
class Reporting(Protocol):
    """A provider that can say how it fares. Optional: one that cannot shows only its targets."""

    def status(self) -> ProviderStatus:
        """How it fares now. No I/O."""
        ...


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An object of the cluster that has no target, or not all that it might have, and why.

    ``reason`` is one word of a small set, ``kind`` one such as ``task``; ``name``, ``service`` and ``node``
    are as people know them, "" where there is none. ``detail`` is what the reason alone does not tell.
    """

    reason: str
    kind: str
    id: str
    name: str
    service: str = ""
    node: str = ""
    detail: str = ""


@runtime_checkable
class Choosy(Protocol):
    """A provider that can name what it made no target of. Optional."""

    def passed_over(self) -> Sequence[PassedOver]:
        """Each such object in the answer that stands. No I/O, but many: belongs in a thread."""
        ...


Prompt: TypeAlias = Literal["start", "poll", "event", "follow-up"]
"""What made a provider look: that it began, that it was time, an event, or that what an event told of may not
have come to an end."""


@runtime_checkable
class Prompted(Protocol):
    """A provider that can tell why it looked. Optional."""

    def prompt(self) -> Prompt:
        """What made it look when it sent its last update. No I/O."""
        ...


@runtime_checkable
class PartlyFixed(Protocol):
    """A provider some of whose groups no answer can take away, such as those its configuration names."""

    def fixed(self) -> frozenset[str]:
        """Their sources; they do not count when a mass loss is judged. No I/O."""
        ...


@runtime_checkable
class Announced(Protocol):
    """A provider that is told of changes beside its lists, as by events. Optional."""

    def announced(self, source: str, /) -> bool:
        """Whether it was told just now of a change of that group: what it loses is no surprise. No I/O."""
        ...


@runtime_checkable
class Recalling(Protocol):
    """A provider that can learn from the groups of an earlier life. Optional."""

    def recall(self, groups: Sequence[TargetGroup], /) -> None:
        """Takes the groups that stand, before ``run``; what they tell holds until it is contradicted."""
        ...


@runtime_checkable
class Partial(Protocol):
    """A provider of several parts, some of which may never answer. Optional."""

    def usable(self) -> bool:
        """Whether the list is to be served although it is not complete. No I/O."""
        ...


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that a kind tells of its clusters: a counter's name ends in ``_total``.

    ``labels`` are the names of its labels but for ``cluster``, which every one has.
    """

    name: str
    type: Literal["gauge", "counter"]
    text: str
    labels: tuple[str, ...] = ()


Sample: TypeAlias = tuple[tuple[str, ...], float]
"""The values of the labels, and the value."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Family:
    """A metric with its values: none of them twice. The same object has the same samples."""

    metric: Metric
    samples: Callable[[], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What stands of a cluster. ``cluster`` is what it is called, and stays; ``key``: equal, the same one.

    ``told_at``: when all of it was last confirmed, seconds since the epoch. ``families`` may take a while:
    it belongs in a thread, and is called by one at a time.
    """

    cluster: str
    key: object
    told_at: float
    families: Callable[[], Sequence[Family]]


@runtime_checkable
class Stateful(Protocol):
    """A provider that can tell the state of its cluster as metrics. Optional."""

    def cluster_state(self) -> ClusterState | None:
        """What stands now, None before there is anything. No I/O and no work."""
        ...


def together(parts: Sequence[ProviderStatus]) -> ProviderStatus:
    """The status of a provider that is made of others: counts added up, what fails before what works."""
    failures: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    untargeted: Counter[str] = Counter()
    for part in parts:
        untargeted.update(part.untargeted)
        failures.update(part.failures)
        skipped.update(part.skipped)
    successes = [part.last_success for part in parts if part.last_success is not None]
    return ProviderStatus(
        refreshes=sum(part.refreshes for part in parts),
        failures=dict(failures),
        last_success=min(successes, default=None),
        last_duration=max((part.last_duration or 0.0 for part in parts), default=None),
        last_error="; ".join(part.last_error for part in parts if part.last_error),
        skipped=dict(skipped),
        untargeted=dict(untargeted),
        hosts=tuple(host for part in parts for host in part.hosts),
        events=tuple(stream for part in parts for stream in part.events),
        gauges=tuple(gauge for part in parts for gauge in part.gauges),
    )


class Poller(ABC):
    """A provider that lists what there is, again and again; a subclass says how to list.

    ``interval`` is in seconds. After failures it waits longer, up to ``MAX_BACKOFF`` or the interval if
    that is longer, with jitter. ``name`` is for log lines.
    """

    MAX_BACKOFF = 10.0

    def __init__(self, name: str, interval: float) -> None:
        self._name = name
        self._interval = interval
        self._hint = asyncio.Event()
        self._prompt: Prompt = "start"
        self._sent: dict[str, int] = {}  # source -> number of targets
        self._refreshes = 0
        self._failures: Counter[str] = Counter()
        self._failed_in_a_row = 0
        self._failing_since: float | None = None
        self._last_success: float | None = None
        self._last_duration: float | None = None
        self._last_error = ""

    @abstractmethod
    async def list(self) -> Sequence[TargetGroup]:
        """Every group there is now. DiscoveryError while that cannot be told."""

    def first(self) -> Sequence[TargetGroup]:
        """Groups that are known without asking anybody; sent at once."""
        return ()

    def fixed(self) -> frozenset[str]:
        """The sources of ``first()``."""
        return frozenset(group.source for group in self.first())

    async def close(self) -> None:  # noqa: B027 - most hold nothing open
        """Gives back what ``list`` holds open."""

    def sources(self) -> frozenset[str]:
        """The sources of the groups sent last."""
        return frozenset(self._sent)

    def prompt(self) -> Prompt:
        """What made it list."""
        return self._prompt

    def hint(self) -> None:
        """Something may have changed: list now instead of at the end of the interval."""
        self._hint.set()

    async def run(self, up: Up, /) -> None:
        """Sends every group after each listing, and once more without targets those that are gone."""
        try:
            if first := self.first():
                up(first)
            due = time.monotonic()
            while True:
                started = time.monotonic()
                await self._refresh(up)
                # a hint does not put off what is due anyway
                if started >= due or self._failed_in_a_row:
                    due = started + self._wait()
                self._prompt = "event" if await self._hinted(due) else "poll"
        finally:
            await self.close()

    async def _refresh(self, up: Up) -> None:
        started = time.monotonic()
        self._refreshes += 1
        try:
            groups = await self.list()
        except DiscoveryError as err:
            self._failed(err)
        else:
            self._last_duration = time.monotonic() - started
            self._succeeded()
            now = {group.source: len(group.targets) for group in groups}
            gone = [TargetGroup(source) for source in self._sent if source not in now]
            self._sent = now
            up([*groups, *gone])

    def _failed(self, err: DiscoveryError) -> None:
        self._failures[err.reason] += 1
        self._failed_in_a_row += 1
        self._last_error = str(err)
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            log.warning(
                "discovery failed, keeping what is known",
                provider=self._name,
                reason=err.reason,
                err=str(err),
                **({"targets": sum(self._sent.values())} if self._sent else {}),
            )

    def _succeeded(self) -> None:
        self._failed_in_a_row = 0
        self._last_error = ""
        self._last_success = time.time()
        if self._failing_since is not None:
            away = Duration(round(time.monotonic() - self._failing_since))
            log.info("discovery works again", provider=self._name, after=str(away))
            self._failing_since = None

    def _wait(self) -> float:
        """Seconds from the start of one refresh to that of the next."""
        if not self._failed_in_a_row:
            return self._interval
        longest = max(self._interval, self.MAX_BACKOFF)
        backoff: float = self._interval * 2 ** min(self._failed_in_a_row, 32)
        return min(backoff, longest) * random.uniform(0.5, 1)

    async def _hinted(self, until: float) -> bool:
        """Whether a hint came before then, monotonic seconds."""
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._hint.wait()
        except TimeoutError:
            return False
        finally:
            self._hint.clear()
        return True

    def skipped(self) -> Mapping[str, int]:
        """By reason, what of the last answer could not be used."""
        return {}

    def untargeted(self) -> Mapping[str, int]:
        """By reason, objects of the last answer that have no target by the rules of their kind."""
        return {}

    def hosts(self) -> tuple[HostStatus, ...]:
        """The hosts it asks."""
        return ()

    def events(self) -> tuple[EventsStatus, ...]:
        """The event streams it follows."""
        return ()

    def status(self) -> ProviderStatus:
        """How it fares now."""
        return ProviderStatus(
            refreshes=self._refreshes,
            failures=dict(self._failures),
            last_success=self._last_success,
            last_duration=self._last_duration,
            last_error=self._last_error,
            skipped=dict(self.skipped()),
            untargeted=dict(self.untargeted()),
            hosts=self.hosts(),
            events=self.events(),
        )
