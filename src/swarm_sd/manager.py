"""Runs the providers of all jobs, merges what they send, and delivers the lists.

Source: the promises of retrieval/targetmanager.go (Prometheus 0.17) and discovery/manager.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from swarm_sd.brake import MassLoss
from swarm_sd.feed import Feed, State
from swarm_sd.history import History, Pair, Why
from swarm_sd.job import Entry, Job
from swarm_sd.model import TargetGroup
from swarm_sd.provider import ClusterState, ProviderStatus, SDConfig
from swarm_sd.snapshot import Pieces, Snapshot, relabelling
from swarm_sd.store import Store

log = structlog.stdlib.get_logger("manager")

PAUSE = 0.1
"""Seconds between two deliveries: the first change goes out at once, a storm is seen as a few."""

RETRY, RECHECK = 5.0, 60.0
"""Seconds after which a delivery that failed is made again, and after which what was delivered is looked at
again: a file that somebody removed comes back.
"""

SAVE_TICK, SAVE_EVERY, CONFIRM_EVERY = 0.5, 5.0, 60.0
"""Seconds: how often what is to be saved is looked for, the least time between two saves of one provider's
targets, and after how long targets that did not change are noted as still right."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The lists that stand: of each entry, and of each job as its entries joined; None: not known yet."""

    entries: Mapping[Entry, Snapshot | None] = field(default_factory=dict)
    jobs: Mapping[str, Snapshot | None] = field(default_factory=dict)


class Sink(Protocol):
    """Where lists are delivered to."""

    async def deliver(self, catalog: Catalog, /) -> None:
        """Takes the lists. Called when something changed, and now and then to look after what was taken.

        OSError where it could not be done: called again soon.
        """
        ...


@dataclass(frozen=True, slots=True)
class EntryStatus:
    """How one entry stands. Times are in seconds since the epoch."""

    entry: Entry
    kind: str
    state: State
    targets: int
    changed_at: float | None
    restored_from: float | None
    held: bool
    holds: int
    crashes: int
    provider: ProviderStatus
    stale_since: float | None  # since when its targets are not confirmed; None while they are
    shared_with: Entry  # the first entry that shares its provider; itself where it is the first


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that page, metrics and command line show."""

    delivered: bool = False  # whether what is known of each entry was delivered
    entries: tuple[EntryStatus, ...] = ()
    deliveries: int = 0
    delivery_failures: int = 0
    store_failures: int = 0

    @property
    def ready(self) -> bool:
        """Whether every job is known or restored."""
        return self.delivered and all(entry.state != "unknown" for entry in self.entries)


class Manager:
    """Providers in, lists out. ``store`` None: nothing is kept over a restart."""

    def __init__(
        self,
        sinks: Sequence[Sink] = (),
        *,
        store: Store | None = None,
        brake: MassLoss | None = None,
        pause: float = PAUSE,
    ) -> None:
        self._sinks = sinks
        self._store = store
        self._brake = brake or MassLoss()
        self._pause = pause
        self._jobs: dict[str, Job] = {}
        self._feeds: dict[Feed, asyncio.Task[None]] = {}
        self._entries: dict[Entry, Feed] = {}
        self._wake = asyncio.Event()
        self._catalog = Catalog()
        self.history = History()
        # the list made last of these feeds, and of an entry or a job after relabelling; with what it is of
        self._lists: dict[tuple[Feed, ...], tuple[list[int], Pieces, Snapshot]] = {}
        self._relabelled: dict[Entry | str, tuple[list[int], Pieces, Snapshot]] = {}
        self._saved: dict[Feed, tuple[int, float]] = {}  # version and monotonic time of the last save
        self._started = False
        self._complained: set[str] = set()  # troubles that were told and last
        self._deliveries = 0
        self._delivery_failures = 0
        self._store_failures = 0
        self._tasks: asyncio.TaskGroup | None = None
        self._runs = asyncio.Event()
        self._applying = asyncio.Lock()

    async def run(self, jobs: Iterable[Job]) -> None:
        """Runs until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._runs.set()
                await self.apply(jobs)
                tasks.create_task(self._keep_saved())
                delivered = False
                while True:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(RECHECK if delivered else RETRY):
                            await self._wake.wait()
                    self._wake.clear()
                    delivered = await self._deliver()
                    await asyncio.sleep(self._pause)
        finally:
            self._tasks = None
            if self._store is not None:
                await self._save(self._store, final=True)

    async def apply(self, jobs: Iterable[Job]) -> None:
        """Goes over to ``jobs``; an entry whose configuration stays keeps its provider and targets.

        Waits for the manager to run, and for another ``apply`` to end.
        """
        async with self._applying:
            await self._runs.wait()
            if self._tasks is not None:  # None: it has ended meanwhile
                await self._apply(self._tasks, jobs)

    async def _apply(self, tasks: asyncio.TaskGroup, jobs: Iterable[Job]) -> None:
        by_name = {job.name: job for job in jobs}
        feeds: dict[Feed, asyncio.Task[None] | None] = {}
        entries: dict[Entry, Feed] = {}
        heirs: dict[Feed, Feed] = {}
        for job in by_name.values():
            for entry, config in zip(job.entries(), job.sd_configs, strict=True):
                feed = _of_config(config, [*feeds, *self._feeds]) or await self._new_feed(config, heirs)
                feeds[feed] = self._feeds.get(feed)
                entries[entry] = feed
        gone = {feed: task for feed, task in self._feeds.items() if feed not in feeds}
        # from here to the start of the new providers nothing waits: no delivery sees half a change
        before, self._jobs, self._entries = self._entries, by_name, entries
        self._feeds = {feed: task or tasks.create_task(feed.run()) for feed, task in feeds.items()}
        self._lists = {feeds: made for feeds, made in self._lists.items() if set(feeds) <= self._feeds.keys()}
        self._relabelled.clear()
        self._started = True
        # at once: a job that is new is "not known yet", not "no such job"
        self._catalog = self._make_catalog()
        self._wake.set()
        new = [feed for feed, task in feeds.items() if task is None]
        self._note_reload(before, [feed for feed in new if feed not in heirs], gone, set(heirs.values()))
        for feed, task in gone.items():
            self._saved.pop(feed, None)
            task.cancel()
        await asyncio.gather(*gone.values(), return_exceptions=True)

    def _note_reload(
        self,
        before: Mapping[Entry, Feed],
        new: Iterable[Feed],
        gone: Iterable[Feed],
        inherited: Collection[Feed],
    ) -> None:
        if before:
            self.history.note(self, "", self._jobs, "reload", ())
        for feed in new:
            restored = [(TargetGroup(source), group) for source, group in feed.groups.items()]
            if restored:
                self._note(feed, "restored", restored)
        for feed in gone:
            if feed in inherited:  # another one has its targets now: none was lost
                self.history.forget(feed)
                continue
            lost = [(group, TargetGroup(source)) for source, group in feed.groups.items()]
            jobs = dict.fromkeys(entry.job for entry, its in before.items() if its is feed)
            self.history.note(feed, feed.config.kind, jobs, "reload", lost)

    def _note(self, feed: Feed, why: Why, changed: Sequence[Pair]) -> None:
        jobs = dict.fromkeys(entry.job for entry, its in self._entries.items() if its is feed)
        self.history.note(feed, feed.config.kind, jobs, why, changed)

    async def _new_feed(self, config: SDConfig, heirs: dict[Feed, Feed]) -> Feed:
        """A feed with what is known of its targets already; ``heirs`` learns whose they were until now."""
        feed = Feed(config, self._brake, self._wake.set, self._note)
        for before in self._feeds:
            if before.state() != "unknown" and repr(before.config.identity()) == repr(config.identity()):
                feed.restore(before.groups.values(), before.stale_since() or time.time())
                self.history.pass_on(before, feed)
                heirs[feed] = before
                return feed
        await self._load(feed)
        return feed

    async def _load(self, feed: Feed) -> None:
        """What is known from disk."""
        if self._store is not None:
            saved = await asyncio.to_thread(self._store.load, feed.config)
            if saved is not None:
                feed.restore(saved.groups, saved.confirmed)
                log.info(
                    "targets restored",
                    kind=feed.config.kind,
                    targets=feed.targets(),
                    age_seconds=round(max(0.0, time.time() - saved.confirmed)),
                )

    async def _deliver(self) -> bool:
        """Delivers what stands; whether every sink took it."""
        catalog = self._catalog = self._make_catalog()
        self._deliveries += 1
        failures = self._delivery_failures
        for sink in self._sinks:
            try:
                await sink.deliver(catalog)
            except OSError as err:
                self._delivery_failures += 1
                self._complain("a delivery failed, it is tried again", sink=type(sink).__name__, err=str(err))
            except Exception:
                self._delivery_failures += 1
                log.exception("a delivery failed", sink=type(sink).__name__)
        if failures == self._delivery_failures:
            self._complained.discard("a delivery failed, it is tried again")
        return failures == self._delivery_failures

    def _complain(self, what: str, **more: str) -> None:
        """Says it once, not every few seconds while it lasts."""
        if what not in self._complained:
            self._complained.add(what)
            log.warning(what, **more)

    def _make_catalog(self) -> Catalog:
        by_job: dict[str, list[Feed]] = {}
        for entry, feed in self._entries.items():
            by_job.setdefault(entry.job, []).append(feed)
        return Catalog(
            {entry: self._list_of(feed) for entry, feed in self._entries.items()},
            {job: self._list_of(*feeds) for job, feeds in by_job.items()},
        )

    def _list_of(self, *feeds: Feed) -> Snapshot | None:
        """The feeds' groups as one list: the very same one while no group changed. None: not known yet."""
        if any(feed.state() == "unknown" for feed in feeds):
            return None
        stamp = [feed.version for feed in feeds]
        done = self._lists.get(feeds)
        if done is None or done[0] != stamp:
            groups = [named for feed in feeds for named in feed.standing()]
            pieces = done[1] if done is not None else Pieces()
            made = Snapshot(lambda: pieces.of(groups), sum(feed.targets() for feed in feeds))
            done = self._lists[feeds] = (stamp, pieces, made)
        return done[2]

    async def _keep_saved(self) -> None:
        while True:
            await asyncio.sleep(SAVE_TICK)
            if self.history.waiting:
                await asyncio.to_thread(self.history.compare)
            if self._store is not None:
                await self._save(self._store)

    async def _save(self, store: Store, *, final: bool = False) -> None:
        for feed in list(self._feeds):
            # restored groups are on disk already, with the time they were last right
            if feed.state() != "known" or feed.held_since is not None:
                continue
            version, at = self._saved.get(feed, (-1, float("-inf")))
            due = time.monotonic() - at
            try:
                if feed.version != version and (due >= SAVE_EVERY or final):
                    now = feed.version
                    await asyncio.to_thread(store.save, feed.config, list(feed.groups.values()))
                    version = now
                elif feed.version == version and (due >= CONFIRM_EVERY or final) and feed.confirmed():
                    await asyncio.to_thread(store.confirm, feed.config)
                else:
                    continue
            except OSError as err:
                self._store_failures += 1
                self._complain("cannot save the targets", err=str(err))
            else:
                self._complained.discard("cannot save the targets")
            if feed in self._feeds:  # a reload may have taken it out meanwhile
                self._saved[feed] = (version, time.monotonic())

    def catalog(self) -> Catalog:
        """The lists that stand."""
        return self._catalog

    def job(self, name: str) -> Job | None:
        """The job of that name."""
        return self._jobs.get(name)

    def groups(self, job: str) -> list[TargetGroup]:
        """The groups that stand for a job, entry by entry in order of source."""
        feeds = [feed for entry, feed in self._entries.items() if entry.job == job]
        return [group for feed in feeds for _, group in sorted(feed.groups.items())]

    def entries(self, job: str) -> list[tuple[Entry, Feed]]:
        """The job's entries with their feeds."""
        return [(entry, feed) for entry, feed in self._entries.items() if entry.job == job]

    def feeds(self, of: Entry | str) -> list[Feed]:
        """The feeds of an entry, or of a job in the order of its entries; each once."""
        return list(dict.fromkeys(feed for entry, feed in self._entries.items() if of in (entry, entry.job)))

    def cluster_states(self) -> list[ClusterState]:
        """What the providers tell of their clusters, in the order of the entries."""
        states = (feed.cluster_state() for feed in dict.fromkeys(self._entries.values()))
        return [state for state in states if state is not None]

    def stale_since(self, of: Entry | str) -> float | None:
        """Since when targets of an entry or a job are not confirmed, seconds since the epoch, or None."""
        feeds = [feed for entry, feed in self._entries.items() if of in (entry, entry.job)]
        return min((since for feed in feeds if (since := feed.stale_since()) is not None), default=None)

    def relabelled(self, of: Entry | str) -> Snapshot | None:
        """An entry's or a job's targets after the job's rules ran here; None: not known yet.

        Groups that did not change since the list before are not relabelled again.
        """
        job = self._jobs.get(of.job if isinstance(of, Entry) else of)
        feeds = [feed for entry, feed in self._entries.items() if of in (entry, entry.job)]
        if job is None or not feeds or any(feed.state() == "unknown" for feed in feeds):
            return None
        stamp = [feed.version for feed in feeds]
        done = self._relabelled.get(of)
        if done is None or done[0] != stamp:
            groups = [named for feed in feeds for named in feed.standing()]
            pieces = done[1] if done is not None else Pieces(relabelling(job))
            done = self._relabelled[of] = (stamp, pieces, Snapshot(lambda: pieces.of(groups), 0))
        return done[2]

    def status(self) -> Status:
        """How everything stands now."""
        first: dict[Feed, Entry] = {}
        entries = []
        for entry, feed in self._entries.items():
            entries.append(
                EntryStatus(
                    entry=entry,
                    kind=feed.config.kind,
                    state=feed.state(),
                    targets=feed.targets(),
                    changed_at=feed.changed_at,
                    restored_from=feed.restored_from,
                    held=feed.held_since is not None,
                    holds=feed.holds,
                    crashes=feed.crashes,
                    provider=feed.provider_status(),
                    stale_since=feed.stale_since(),
                    shared_with=first.setdefault(feed, entry),
                )
            )
        return Status(
            delivered=self._started and all(self._catalog.entries.get(one) for one in self._entries),
            entries=tuple(entries),
            deliveries=self._deliveries,
            delivery_failures=self._delivery_failures,
            store_failures=self._store_failures,
        )


def _of_config(config: SDConfig, feeds: Iterable[Feed]) -> Feed | None:
    return next((feed for feed in feeds if type(feed.config) is type(config) and feed.config == config), None)
