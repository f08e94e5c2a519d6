"""The lists of one refresh: which were asked for, whom they serve, and what a part of them changes. Pure."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from operator import is_
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from swarm_sd.discovery.docker_api import wire
from swarm_sd.discovery.docker_api.filters import Filters
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.listed import Listed
from swarm_sd.discovery.docker_api.wire import Task
from swarm_sd.provider import DiscoveryError

NODES, SERVICES, TASKS, NETWORKS, CONTAINERS = (
    "/nodes",
    "/services",
    "/tasks",
    "/networks",
    "/containers/json",
)

KINDS: Mapping[str, type[msgspec.Struct]] = {
    NODES: wire.Node,
    SERVICES: wire.Service,
    TASKS: wire.Task,
    NETWORKS: wire.Network,
    CONTAINERS: wire.Container,
}


class Wanted(NamedTuple):
    """A list that somebody wants: where it is, and which of its objects (None: all)."""

    path: str
    filters: Filters | None = None

    @property
    def parameter(self) -> str:
        """The filters as Docker's query takes them; "" for none."""
        return self.filters.parameter if self.filters is not None else ""


class Asked(NamedTuple):
    """A list that is asked for: its path and the filters that Docker is to apply ("" for none)."""

    path: str
    parameter: str = ""

    def url(self) -> str:
        """Path and query."""
        # limit=0, "all of them", is what Docker's client writes; some proxies let through just that
        query = ["limit=0"] if self.path == CONTAINERS else []
        if self.parameter:
            query.append(f"filters={quote(self.parameter)}")
        return f"{self.path}?{'&'.join(query)}" if query else self.path

    def narrowed(self, name: str, values: Iterable[str]) -> str | None:
        """Path and query for those objects of the list alone whose ``name`` is one of ``values``.

        None where the list is filtered by ``name`` already: Docker would take either for good.
        """
        filters: dict[str, Any] = msgspec.json.decode(self.parameter) if self.parameter else {}
        if name in filters:
            return None
        narrow = {**filters, name: dict.fromkeys(values, True)}
        return Asked(self.path, msgspec.json.encode(narrow).decode()).url()


def asked_for(wanted: Sequence[Wanted]) -> dict[tuple[str, str], Asked]:
    """Which list serves which want, by (path, parameter).

    Docker applies filters where all who want the path want the same ones: that saves most. Where they
    differ, those that we can judge ourselves share the whole list; the others need one of their own.
    """
    asked: dict[tuple[str, str], Asked] = {}
    for path in dict.fromkeys(one.path for one in wanted):
        here = {one.parameter: one for one in wanted if one.path == path}
        for parameter, one in here.items():
            shares = len(here) > 1 and (one.filters is None or one.filters.exact)
            asked[path, parameter] = Asked(path, "" if shares else parameter)
    return asked


class Lists:
    """The lists of one refresh, and why a list could not be had while others could."""

    def __init__(
        self,
        host: Host,
        asked: Mapping[tuple[str, str], Asked],
        lists: Mapping[Asked, Listed[Any]],
        errors: Mapping[Asked, DiscoveryError],
    ) -> None:
        self.host = host
        self._asked = asked
        self._lists = lists
        self._errors = errors
        self._selected: dict[tuple[str, str], Sequence[Any]] = {}
        self._selecting = threading.Lock()

    def has(self, wanted: Wanted) -> bool:
        """Whether the list was asked for."""
        return (wanted.path, wanted.parameter) in self._asked

    def get(self, wanted: Wanted) -> Sequence[Any] | None:
        """The objects; None where ``/networks`` was never had, without which only names are missing.

        DiscoveryError where Docker refuses the filters. Filtering a large list here takes its time.
        """
        asked = self._asked[wanted.path, wanted.parameter]
        if asked in self._errors and asked.path != NETWORKS:
            raise self._errors[asked]
        listed = self._lists.get(asked)
        if listed is None or wanted.filters is None or asked.parameter == wanted.parameter:
            return listed
        with self._selecting:
            key = (wanted.path, wanted.parameter)
            if key not in self._selected:
                services, nodes = self._lists.get(Asked(SERVICES), ()), self._lists.get(Asked(NODES), ())
                self._selected[key] = wanted.filters.select(listed, services, nodes)
            return self._selected[key]

    def listed(self, asked: Asked) -> Listed[Any] | None:
        """The list as it came, or None."""
        return self._lists.get(asked)

    def skipped(self, wanted: Wanted) -> Mapping[str, int]:
        """By reason, objects of the list that could not be read."""
        listed = self._lists.get(self._asked[wanted.path, wanted.parameter])
        return listed.skipped if listed is not None else {}

    def same_as(self, other: Lists | None, wanted: Sequence[Wanted]) -> bool:
        """Whether these lists are the very ones of ``other``: then there is nothing new to map."""
        return other is not None and all(
            other.has(one) and self.listed(self.asked(one)) is other.listed(other.asked(one))
            for one in wanted
        )

    def asked(self, wanted: Wanted) -> Asked:
        """What was asked for ``wanted``."""
        return self._asked[wanted.path, wanted.parameter]

    def any(self, path: str) -> Sequence[Any]:
        """The objects of the longest list of that path; none where there is no such list."""
        return max(self.of(path), key=len, default=())

    def length(self) -> int:
        """How many objects there are in all lists: a measure of the work they make."""
        return sum(len(listed) for listed in self._lists.values())

    def with_(self, lists: Mapping[Asked, Listed[Any]]) -> Lists:
        """These lists, but for some."""
        return Lists(self.host, self._asked, {**self._lists, **lists}, self._errors)

    def all_asked(self) -> Collection[Asked]:
        """What was asked for and is there, each once."""
        return self._lists.keys()

    def tasks_of(self, service: str) -> Iterable[Task]:
        """The tasks of a service in all lists of tasks; those that two lists have come twice."""
        return chain.from_iterable(by_service(tasks).get(service, ()) for tasks in self.of(TASKS))

    def of(self, path: str) -> list[Listed[Any]]:
        """Every list of that path, however filtered."""
        return [listed for asked, listed in self._lists.items() if asked.path == path]


def by_service(tasks: Iterable[Task]) -> Mapping[str, Sequence[Task]]:
    """The tasks by service. Worked out once for each list."""
    known = tasks.groups if isinstance(tasks, Listed) else None
    if known is not None:
        return known
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.service_id, []).append(task)
    if isinstance(tasks, Listed):
        tasks.groups = groups
    return groups


def with_tasks(tasks: Listed[Task], services: Collection[str], fresh: Iterable[Task]) -> Listed[Task]:
    """``tasks``, but those of ``services`` are ``fresh``; the same object where nothing changed."""
    before, told = by_service(tasks), by_service(fresh)
    groups = dict(before)
    for service in services:
        now = told.get(service, ())
        if not now:
            groups.pop(service, None)
        elif not _same(before.get(service, ()), now):
            groups[service] = now
    if groups.keys() == before.keys() and all(
        groups[name] is before[name] for name in services if name in groups
    ):
        return tasks
    made = Listed(chain.from_iterable(groups.values()), tasks.skipped)
    made.groups = groups
    return made


def _same(before: Sequence[Task], now: Sequence[Task]) -> bool:
    return len(before) == len(now) and {task.id: task for task in before} == {task.id: task for task in now}


def by_id(listed: Listed[Any]) -> Mapping[str, Any]:
    """The objects by ID; of two with one ID, the last. Worked out once for each list."""
    if listed.ids is None:
        listed.ids = {one.id: one for one in listed}
    return listed.ids


def with_objects(listed: Listed[Any], ids: Collection[str], fresh: Iterable[Any]) -> Listed[Any]:
    """``listed``, but the objects of these IDs are ``fresh``; the same object where nothing changed."""
    known = by_id(listed)
    before = {name: known[name] for name in ids if name in known}
    now = {one.id: one for one in fresh if one.id in ids}  # a proxy may let through no filters
    if before == now:
        return listed
    kept = {name: one for name, one in known.items() if name not in before or name in now} | now
    made = Listed(kept.values(), listed.skipped)
    made.ids = kept
    return made


def changed_services(before: Lists | None, after: Lists) -> set[str]:
    """The services that have other tasks than before, in any of the lists; none where there was no before."""
    changed: set[str] = set()
    for asked in after.all_asked():
        old = before.listed(asked) if before is not None and asked.path == TASKS else None
        if old is not None and (new := after.listed(asked)) is not None and new is not old:
            was, now = by_service(old), by_service(new)
            changed |= was.keys() ^ now.keys()
            changed |= {name for name, tasks in now.items() if not _identical(was.get(name, ()), tasks)}
    return changed


def _identical(before: Sequence[Task], now: Sequence[Task]) -> bool:
    return before is now or (len(before) == len(now) and all(map(is_, before, now))) or _same(before, now)


def changed_objects(before: Lists | None, after: Lists) -> set[str]:
    """The IDs of nodes, services and containers that are new, gone or another than before."""
    changed: set[str] = set()
    for asked in after.all_asked():
        old = (
            before.listed(asked)
            if before is not None and asked.path in (NODES, SERVICES, CONTAINERS)
            else None
        )
        if old is not None and (new := after.listed(asked)) is not None and new is not old:
            was, now = by_id(old), by_id(new)
            changed |= was.keys() ^ now.keys()
            changed |= {
                name for name, one in now.items() if name in was and was[name] is not one and was[name] != one
            }
    return changed
