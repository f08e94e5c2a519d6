"""The lists of one cluster, fetched once for all who ask the same hosts as the same user.

However many jobs, roles and filters there are: a list is asked for once in a refresh. All lists of one
refresh come from one host, so that they fit together.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple
from weakref import WeakValueDictionary

import msgspec

from swarm_sd.discovery.docker_api import wire
from swarm_sd.discovery.docker_api.changes import Changes, in_flight
from swarm_sd.discovery.docker_api.client import DockerAPI, Get
from swarm_sd.discovery.docker_api.events import Events, parameter
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.listed import Listed, ListReader
from swarm_sd.discovery.docker_api.lists import (
    KINDS,
    NETWORKS,
    NODES,
    SERVICES,
    TASKS,
    Asked,
    Lists,
    Wanted,
    asked_for,
    by_id,
    changed_objects,
    changed_services,
)
from swarm_sd.discovery.docker_api.part import asked_again, kept
from swarm_sd.discovery.docker_api.silence import Pace
from swarm_sd.discovery.docker_api.watch import Watch
from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.provider import DiscoveryError, EventsStatus, HostStatus, Prompt
from swarm_sd.scalars import Secret

_SOONEST, _WATCHED = 0.75, 1.5
"""Parts of the asker's interval: an answer that is younger serves it too. The second of a cluster that is
watched, which is fetched again by itself.
"""

ON_THE_LOOP = 2000
"""Lists with this many objects or more are compared in a thread."""

_PART_WITHIN = 10.0
"""Seconds that asking for a part may take, however many managers are silent."""

_STREAM_FIRST = 0.5
"""Seconds for which the first fetch waits for the event stream to begin."""

PROBE_AFTER = 30.0
"""Seconds after which a manager that is not the active one is asked how it fares."""

_FAILED_FOR = 5.0
"""Seconds at the most for which a failure is told again instead of asking again."""

SWARM_EVENTS = parameter(
    types=("service", "node", "network", "container"), actions=("create", "update", "remove", "start", "die")
)
"""Without the rest of what containers tell: every health check of each is two events."""

ENGINE_EVENTS = parameter(
    types=("container", "network"),
    actions=(
        *("create", "start", "die", "destroy", "rename", "pause", "unpause", "update"),
        *("remove", "connect", "disconnect"),
    ),
)


class _Wanting(NamedTuple):
    """Somebody who wants lists: which, how old they may be, and who is told when they changed."""

    wanted: Sequence[Wanted]
    interval: float
    changed: Callable[[], None] | None


class Cluster:
    """One cluster as one user sees it. Use ``Cluster.of`` to share it, ``release`` when done."""

    _shared: ClassVar[WeakValueDictionary[object, Cluster]] = WeakValueDictionary()

    def __init__(self, hosts: Sequence[Host], config: HTTPClientConfig, *, timeout: float) -> None:
        self._api = DockerAPI(hosts, config, timeout=timeout, negotiate=True)
        self._wanting: dict[int, _Wanting] = {}  # by who wants it
        self._fetching: asyncio.Task[Lists] | None = None
        self._asking = asyncio.Lock()  # what stands is changed by one answer at a time
        self._last: Lists | None = None
        self._error: DiscoveryError | None = None
        self._began = float("-inf")  # monotonic: the start of the last fetch
        self._took = 0.0  # seconds, the last one that succeeded
        self._good = float("-inf")  # monotonic: the start of that one
        self.confirmed = 0.0  # the same in seconds since the epoch, and good for those who only look
        self._parts = Changes()  # what was asked for while a fetch goes on
        self._versions: dict[str, tuple[int, Host]] = {}  # object -> version, as last seen, and who told it
        self._readers: dict[Asked, ListReader[Any]] = {}
        self._pace = Pace()
        self._learns = False
        self._key: object = None  # under which it is shared
        self._watch: Watch | None = None
        self._watching: list[asyncio.Task[None]] = []
        self._probing: asyncio.Task[Any] | None = None
        self.prompt: Prompt = "start"  # what led to the change that was told last
        self.fetches = 0

    @classmethod
    def of(cls, kind: str, hosts: Sequence[Host], config: HTTPClientConfig, *, timeout: float) -> Cluster:
        """The cluster at these hosts under these HTTP options; all of one kind in this event loop share it.

        Not those of other kinds: an engine that is no manager can list its containers, but no tasks.
        """
        options = {name: getattr(config, name) for name in HTTPClientConfig.__struct_fields__}
        who = [(str(host), host.username, host.password and host.password.reveal()) for host in hosts]
        key = (id(asyncio.get_running_loop()), kind, repr(who), repr(_revealed(options)))
        found = cls._shared.get(key)
        if found is None:
            found = cls._shared[key] = cls(hosts, config, timeout=timeout)
            found._key = key
        return found

    def want(
        self,
        who: object,
        wanted: Sequence[Wanted],
        *,
        interval: float = 60,
        changed: Callable[[], None] | None = None,
    ) -> None:
        """From now on every refresh fetches these lists too, until ``release``.

        ``changed`` is called when they have become others in between, which is found out by events and by
        asking as often as is cheap; nothing is while nobody gives it.
        """
        self._wanting[id(who)] = _Wanting(wanted, interval, changed)
        if changed is not None and self._watch is None:
            self._start_watching()

    def _start_watching(self) -> None:
        self._watch = watch = Watch(self, complete=self._events_tell_all, interval=self._interval)
        swarm = any(one.path in (NODES, SERVICES, TASKS) for one in self._wants())
        watch.events = Events(
            self._api,
            filters=SWARM_EVENTS if swarm else ENGINE_EVENTS,
            heard=watch.heard if swarm else watch.heard_of_anything,
            connected=watch.connected,
            lost=watch.lost,
        )
        self._watching = [asyncio.create_task(one) for one in (watch.events.run(), watch.run())]

    async def release(self, who: object) -> None:
        """Takes ``want`` back. The last one closes the connections."""
        self._wanting.pop(id(who), None)
        if self._wanting:
            return
        self._shared.pop(self._key, None)  # who comes next begins anew
        tasks = [task for task in (*self._watching, self._fetching, self._probing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._api.close()

    def learn_managers(self) -> None:
        """From now on managers that ``/nodes`` tells of are asked too, when the configured ones fail."""
        self._learns = True

    def _wants(self) -> list[Wanted]:
        return [one for wanting in self._wanting.values() for one in wanting.wanted]

    def _interval(self) -> float:
        return min((wanting.interval for wanting in self._wanting.values()), default=60.0)

    def _events_tell_all(self) -> bool:
        """Whether events tell of every change: of all but of what tasks do."""
        return all(one.path != TASKS for one in self._wants())

    async def lists(self, wanted: Sequence[Wanted], interval: float) -> Lists:
        """The lists as they are known, whole ones not much older than ``interval`` seconds.

        DiscoveryError while no host can tell.
        """
        now, good = time.monotonic(), self._error is None and self._has(wanted)
        # while it is watched, the watch sees to it that they are fetched again, and nobody waits for it
        longest = interval * (_WATCHED if self._watch is not None else _SOONEST)
        if self._last is not None and good and now - self._good < longest:
            return self._last
        failed_for = now - self._began
        if (
            self._error is not None
            and self._fetching is None
            and failed_for < min(interval * _SOONEST, _FAILED_FOR)
        ):
            raise self._error
        lists = await self._everything()
        if not all(lists.has(one) for one in wanted):
            lists = await self._everything()  # that fetch had begun before these were wanted
        return lists

    def standing(self) -> Lists | None:
        """The lists that stand, however old they are; None before the first."""
        return self._last

    def _has(self, wanted: Sequence[Wanted]) -> bool:
        return self._last is not None and all(self._last.has(one) for one in wanted)

    async def _everything(self) -> Lists:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        return await asyncio.shield(self._fetching)

    def _fetched(self, task: asyncio.Task[Lists]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # told to whoever waits, if anybody still does

    def _probe_another(self) -> None:
        """Now and then asks a manager that is not the active one how it fares: for its state alone."""
        host = self._api.rotation.idle(PROBE_AFTER)
        path = next((one.path for one in self._wants() if one.path in (NODES, SERVICES, TASKS)), None)
        if host is None or path is None or (self._probing is not None and not self._probing.done()):
            return
        question = Asked(path).narrowed("id", ["none"]) or path  # only a manager in a quorum can tell
        self._probing = asyncio.create_task(self._api.probe(host, question, ListReader(KINDS[path])))

    # --- what the watch asks for

    async def refresh(self) -> None:
        """Fetches every list now; those who want them are told if any is another one."""
        await self._everything()

    async def ask_for(self, changes: Changes) -> Collection[str]:
        """Fetches what may have changed; the services whose tasks did."""
        prompt = self._prompt()
        if (self._last is None or self._error is not None) and self._fetching is not None:
            await asyncio.wait([self._fetching])  # its lists may be older than what the changes are about
        async with self._asking:
            before = self._last
            if before is None or self._error is not None:
                return ()  # there is nothing yet that it could be a part of
            self._last, asked = await self._part(before, changes)
            self._parts.add(asked)
        self._tell([one for one in self._wants() if self._differs(one, before)], prompt)
        return changed_services(before, self._last)

    async def _part(self, last: Lists, changes: Changes) -> tuple[Lists, Changes]:
        async def question(host: Host, get: Get) -> tuple[Lists, Changes] | None:
            for _ in range(2):
                try:
                    lists, asked = await asked_again(get, last, changes)
                except DiscoveryError as err:
                    if err.reason != "refused_filter":
                        raise
                    # a service that it names has gone between two requests, which is no fault of the host
                else:
                    self._check_versions(host, lists, asked)
                    return lists, asked
            return None

        try:
            async with asyncio.timeout(_PART_WITHIN):
                _, answer = await self._api.ask(question)
        except TimeoutError:
            raise self._too_old("timeout", f"no answer to a small question in {_PART_WITHIN:g} s") from None
        except DiscoveryError as err:
            raise self._too_old(err.reason, str(err)) from err
        if answer is None:
            raise self._too_old("refused_filter", "an object of the swarm has gone while it was asked for")
        return answer

    def _too_old(self, reason: str, message: str) -> DiscoveryError:
        """What stands is older than an event: nobody is served with it."""
        self._good = float("-inf")
        return DiscoveryError(reason, message)

    def _differs(self, wanted: Wanted, before: Lists | None) -> bool:
        now = self._last
        return now is not None and now.has(wanted) and not now.same_as(before, (wanted,))

    def _prompt(self) -> Prompt:
        """What led to the question that begins now; others may begin before it is answered."""
        return self._watch.prompt if self._watch is not None else "poll"

    def _tell(self, changed: Sequence[Wanted], prompt: Prompt) -> None:
        self.prompt = prompt
        for wanting in self._wanting.values():
            if wanting.changed is not None and any(one in changed for one in wanting.wanted):
                wanting.changed()

    def moving(self, services: Collection[str]) -> set[str]:
        """Those of the services that have a task on its way to another state."""
        if self._last is None or not services:
            return set()
        every: Mapping[str, wire.Node] = max(
            (by_id(one) for one in self._last.of(NODES)), key=len, default={}
        )
        return {one for one in services if in_flight(self._last.tasks_of(one), every)}

    def last_refresh(self) -> tuple[float, float]:
        """(when the last fetch of every list began, monotonic; how many seconds the last good one took)."""
        return self._began, self._took

    # --- every list

    async def _fetch(self) -> Lists:
        if self._watch is not None:
            if self._watch.events is not None:
                # what happens from the beginning of the stream on is told: then the list, and not twice
                await self._watch.events.tried(_STREAM_FIRST)
            self._watch.begins()
        prompt = self._prompt()
        began = self._began = time.monotonic()
        self._parts = Changes()
        try:
            lists = await self._round()
        except Exception as err:
            first = self._error is None
            self._error = err if isinstance(err, DiscoveryError) else None
            if self._watch is not None:
                self._watch.failed()
            if first:
                self._tell(self._wants(), prompt)
            raise
        self._took = time.monotonic() - began
        async with self._asking:
            before, failed = self._last, self._error is not None
            if before is not None and self._parts:
                lists = kept(lists, before, self._parts)
            self._last, self._error = lists, None
            self._good = began
            self.confirmed = time.time() - (time.monotonic() - began)
            await self._compare(before, lists)
        if before is not None:  # the first lists are for those who asked for them
            self._tell([one for one in self._wants() if failed or self._differs(one, before)], prompt)
        return lists

    async def _round(self) -> Lists:
        self.fetches += 1
        asked = asked_for(self._wants())
        self._readers = {one: reader for one, reader in self._readers.items() if one in asked.values()}
        _, lists = await self._api.ask(lambda host, get: self._ask(host, get, asked), pace=self._pace)
        self._probe_another()
        return lists

    async def _compare(self, before: Lists | None, now: Lists) -> None:
        """Tells the watch what changed."""
        if self._watch is None:
            return
        if now.length() < ON_THE_LOOP:
            changed = _changed(before, now)
        else:
            changed = await asyncio.to_thread(_changed, before, now)
        self._watch.refreshed(*changed)
        if self._watch.events is not None:
            self._watch.events.follow()

    async def _ask(self, host: Host, get: Get, asked: Mapping[tuple[str, str], Asked]) -> Lists:
        once = tuple(dict.fromkeys(asked.values()))
        answers = await asyncio.gather(
            *(get(one.url(), self._readers.setdefault(one, ListReader(KINDS[one.path]))) for one in once),
            return_exceptions=True,
        )
        lists: dict[Asked, Listed[Any]] = {}
        errors: dict[Asked, DiscoveryError] = {}
        for one, answer in zip(once, answers, strict=True):
            if not isinstance(answer, BaseException):
                lists[one] = answer
            elif isinstance(answer, DiscoveryError) and _concerns_only(one, answer) and len(once) > 1:
                errors[one] = answer
                if one.path == NETWORKS and self._last is not None and (known := self._last.listed(one)):
                    lists[one] = known  # networks seldom change: their names of before are good
            else:
                raise answer
        made = Lists(host, asked, lists, errors)
        self._check_versions(host, made)
        if self._learns and host.scheme != "unix":  # a socket tells nothing of how to reach the others
            await self._learn(host, get, lists)
        return made

    async def _learn(self, host: Host, get: Get, lists: Mapping[Asked, Listed[Any]]) -> None:
        # a proxy may forbid /info: the lists are good all the same, and so are those learned before
        with contextlib.suppress(DiscoveryError):
            self._api.rotation.learn(_at(host, await self._told_of(get, lists)))

    async def _told_of(self, get: Get, lists: Mapping[Asked, Listed[Any]]) -> list[str]:
        """The addresses of the managers that can be reached, from ``/nodes`` or else ``/info``."""
        nodes = lists.get(Asked(NODES))
        if nodes is None:
            return await get("/info", wire.decode_managers)
        statuses = [node.manager_status for node in nodes if node.manager_status is not None]
        return [status.addr for status in statuses if status.reachability == "reachable"]

    def _check_versions(self, host: Host, lists: Lists, part: Changes | None = None) -> None:
        """Refuses an answer older than one already seen from another host: objects went back in version.

        From the same host it is believed: a swarm that was restored from a backup begins again. ``part``:
        what alone was asked for.
        """
        seen = {
            name: (listed[name].version.index, host)
            for listed in map(by_id, (*lists.of(NODES), *lists.of(SERVICES)))
            for name in (listed if part is None else listed.keys() & (part.nodes | part.services))
        }
        if self._last is not None:
            known = self._versions
            back = (name for name, (index, _) in seen.items() if name in known and index < known[name][0])
            if (name := next((name for name in back if known[name][1] != host), None)) is not None:
                raise DiscoveryError("stale", f"{host}: its answer is older than one already seen ({name})")
        self._versions = seen if part is None else {**self._versions, **seen}

    def announced(self, name: str) -> bool:
        """Whether events have told of the object of that ID just now."""
        return self._watch is not None and self._watch.announced(name)

    def events(self) -> tuple[EventsStatus, ...]:
        """How the event stream fares."""
        watch = self._watch
        return (watch.events.status(watch.missed),) if watch is not None and watch.events is not None else ()

    def status(self) -> tuple[HostStatus, ...]:
        """What is known of each host."""
        return self._api.status()


def _changed(before: Lists | None, now: Lists) -> tuple[set[str], set[str]]:
    return changed_services(before, now), changed_objects(before, now)


def _concerns_only(asked: Asked, error: DiscoveryError) -> bool:
    """Whether others need not suffer: a filter that Docker refuses, or networks' names that are missing."""
    return asked.path == NETWORKS or (bool(asked.parameter) and error.reason == "refused_filter")


def _at(host: Host, addresses: Iterable[str]) -> list[Host]:
    """The APIs of managers at ``ip:2377``: at the scheme, port and user of the one that told of them."""
    ips = [address.rpartition(":")[0].strip("[]") for address in addresses]
    return [host.at(ip) for ip in ips if ip and ip not in ("0.0.0.0", "127.0.0.1")]  # noqa: S104 - no listening


def _revealed(value: object) -> object:
    """``value`` with its secrets as they are: who differs in a secret must not share."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, msgspec.Struct):
        return [(name, _revealed(getattr(value, name))) for name in value.__struct_fields__]
    if isinstance(value, Mapping):
        return [(name, _revealed(inner)) for name, inner in value.items()]
    return [_revealed(inner) for inner in value] if isinstance(value, tuple) else value
