"""Who is asked, how that goes, and what it means for the targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from swarm_sd.manager import EntryStatus, Status
from swarm_sd.provider import EventsStatus, HostStatus
from swarm_sd.web.api.answers import Answer, Reason, Time, at_or_never, reasons
from swarm_sd.web.api.endpoint import Running
from swarm_sd.web.api.parameters import Asked
from swarm_sd.web.page import words


class EntryName(Answer, frozen=True, kw_only=True):
    """An entry of a job, counted from 0."""

    job: str
    entry: int


class Manager(Answer, frozen=True, kw_only=True):
    """A host that is asked: a manager, an engine or an address of a store.

    `state` is `up`, `down` or `unknown` (never asked); `active`: the one that answers now. `latency`: the
    seconds that its last good answer took, null where there is none. `failures` are counted since the start.
    """

    name: str
    state: str
    active: bool
    last_error: str
    last_success: Time | None
    latency: float | None
    failures: tuple[Reason, ...]


class EventStream(Answer, frozen=True, kw_only=True):
    """How an event stream fares. `missed` are changes that asking found and no event told of."""

    connected: bool
    connections: int
    received: int
    broken: int
    missed: int
    last_event: Time | None
    last_error: str


class Trouble(Answer, frozen=True, kw_only=True):
    """Something that is not as it should be. `bad`: targets are at stake; `odd`: it mends itself."""

    level: Literal["bad", "odd"]
    title: str
    text: str


class Cluster(Answer, frozen=True, kw_only=True):
    """One provider of targets; entries with the same configuration share it.

    `state` is `unknown`, `restored` or `known`. `staleSince`: since when the targets are not confirmed, null
    while they are. `held`: a mass loss of targets is held back now. Counts are since the start, durations in
    seconds. `troubles` say what is the matter.
    """

    entries: tuple[EntryName, ...]
    kind: str
    state: str
    targets: int
    changed_at: Time | None
    restored_from: Time | None
    stale_since: Time | None
    held: bool
    holds: int
    crashes: int
    refreshes: int
    failures: tuple[Reason, ...]
    last_success: Time | None
    last_duration: float | None
    last_error: str
    managers: tuple[Manager, ...]
    event_streams: tuple[EventStream, ...]
    troubles: tuple[Trouble, ...]


async def clusters(running: Running, asked: Asked) -> tuple[Cluster, ...]:
    """Every provider: its managers, its event streams, whether its targets are confirmed."""
    entries = running.status().entries
    return tuple(_cluster(one, entries) for one in entries if one.shared_with == one.entry)


def _cluster(status: EntryStatus, entries: Sequence[EntryStatus]) -> Cluster:
    provider = status.provider
    shared = (one.entry for one in entries if one.shared_with == status.entry)
    troubles = words.troubles(Status(entries=(status,)))
    return Cluster(
        entries=tuple(EntryName(job=entry.job, entry=entry.index) for entry in shared),
        kind=status.kind,
        state=status.state,
        targets=status.targets,
        changed_at=at_or_never(status.changed_at),
        restored_from=at_or_never(status.restored_from),
        stale_since=at_or_never(status.stale_since),
        held=status.held,
        holds=status.holds,
        crashes=status.crashes,
        refreshes=provider.refreshes,
        failures=reasons(provider.failures),
        last_success=at_or_never(provider.last_success),
        last_duration=provider.last_duration,
        last_error=provider.last_error,
        managers=tuple(_manager(host) for host in provider.hosts),
        event_streams=tuple(_stream(stream) for stream in provider.events),
        troubles=tuple(Trouble(level=one.level, title=one.title, text=one.text) for one in troubles),
    )


def _manager(host: HostStatus) -> Manager:
    return Manager(
        name=host.name,
        state=host.state,
        active=host.active,
        last_error=host.last_error,
        last_success=at_or_never(host.last_success),
        latency=host.latency,
        failures=reasons(host.failures),
    )


def _stream(stream: EventsStatus) -> EventStream:
    return EventStream(
        connected=stream.connected,
        connections=stream.connections,
        received=stream.received,
        broken=stream.broken,
        missed=stream.missed,
        last_event=at_or_never(stream.last_event),
        last_error=stream.last_error,
    )
