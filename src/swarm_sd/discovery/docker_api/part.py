"""Asks for the part of a swarm's lists that may have changed: at a cost that does not grow with the swarm."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from swarm_sd.discovery.docker_api.changes import Changes, affected
from swarm_sd.discovery.docker_api.client import Get
from swarm_sd.discovery.docker_api.listed import Listed, ListReader
from swarm_sd.discovery.docker_api.lists import (
    KINDS,
    NETWORKS,
    NODES,
    SERVICES,
    TASKS,
    Asked,
    Lists,
    by_id,
    by_service,
    with_objects,
    with_tasks,
)

IN_ONE = 100
"""IDs in one request: a proxy before Docker may refuse a line of more than 8 kB."""


async def asked_again(get: Get, last: Lists, changes: Changes) -> tuple[Lists, Changes]:
    """(``last`` with what ``changes`` speaks of as it is now, all that was asked for).

    DiscoveryError where it cannot be told. Services before their tasks: tasks of a service that is gone can
    only be asked for by their own IDs.
    """
    services = changes.services | _with_nodes(last, changes.nodes)
    fresh: dict[Asked, Listed[Any]] = {}
    one_by_one = [_objects(get, last, asked, services) for asked in _of(last, SERVICES)]
    one_by_one += [_objects(get, last, asked, changes.nodes) for asked in _of(last, NODES)]
    if changes.networks:
        one_by_one += [_whole(get, asked) for asked in _of(last, NETWORKS)]
    fresh.update(await _gathered(one_by_one))
    now = last.with_(fresh)
    there = _there(now, services)
    fresh.update(await _gathered(_tasks(get, last, asked, services, there) for asked in _of(last, TASKS)))
    other = {asked: listed for asked, listed in fresh.items() if listed is not last.listed(asked)}
    return last.with_(other), Changes(services, changes.nodes, changes.networks)


def kept(lists: Lists, parts: Lists, changes: Changes) -> Lists:
    """``lists``, but what ``changes`` speaks of as it is in ``parts``, which were asked for meanwhile."""
    other: dict[Asked, Listed[Any]] = {}
    for asked in lists.all_asked():
        listed, newer = lists.listed(asked), parts.listed(asked)
        if listed is None or newer is None:
            continue
        if asked.path == TASKS and changes.services:
            tasks = [task for name in changes.services for task in by_service(newer).get(name, ())]
            other[asked] = with_tasks(listed, changes.services, tasks)
        elif asked.path == NETWORKS and changes.networks:
            other[asked] = newer
        elif asked.path in (SERVICES, NODES):
            ids = changes.services if asked.path == SERVICES else changes.nodes
            known = by_id(newer)
            other[asked] = with_objects(listed, ids, [known[name] for name in ids if name in known])
    return lists.with_(other)


def _of(last: Lists, path: str) -> list[Asked]:
    return [asked for asked in last.all_asked() if asked.path == path]


def _with_nodes(last: Lists, nodes: Collection[str]) -> set[str]:
    """The services that the nodes' changes may reach."""
    return affected(nodes, chain(*last.of(SERVICES)), chain(*last.of(TASKS)))


def _there(now: Lists, services: set[str]) -> set[str]:
    """Those of the services that exist. Where no list tells of all services: all, and Docker may refuse."""
    every = now.listed(Asked(SERVICES))
    return services if every is None else services & by_id(every).keys()


async def _gathered(questions: Iterable[Any]) -> list[tuple[Asked, Listed[Any]]]:
    return list(await asyncio.gather(*questions))


async def _whole(get: Get, asked: Asked) -> tuple[Asked, Listed[Any]]:
    return asked, await get(asked.url(), ListReader(KINDS[asked.path]))


async def _objects(get: Get, last: Lists, asked: Asked, ids: Collection[str]) -> tuple[Asked, Listed[Any]]:
    listed = last.listed(asked) or Listed()
    if not ids:
        return asked, listed
    found = await _narrowed(get, asked, "id", ids)
    return await _whole(get, asked) if found is None else (asked, with_objects(listed, ids, found))


async def _tasks(
    get: Get, last: Lists, asked: Asked, services: set[str], there: set[str]
) -> tuple[Asked, Listed[Any]]:
    listed = last.listed(asked) or Listed()
    if not services:
        return asked, listed
    known = by_service(listed)
    left = [task.id for service in services - there for task in known.get(service, ())]
    of_services, of_gone = await asyncio.gather(
        _narrowed(get, asked, "service", there), _narrowed(get, asked, "id", left)
    )
    if of_services is None or of_gone is None:
        return await _whole(get, asked)
    return asked, with_tasks(listed, services, [*of_services, *of_gone])


async def _narrowed(get: Get, asked: Asked, name: str, values: Collection[str]) -> list[Any] | None:
    """The objects of the list whose ``name`` is one of the values; None where that cannot be asked."""
    paths = [asked.narrowed(name, chunk) for chunk in _chunks(sorted(values))]
    if None in paths:
        return None
    answers = await asyncio.gather(*(get(path, ListReader(KINDS[asked.path])) for path in paths if path))
    return [one for answer in answers for one in answer]


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), IN_ONE):
        yield values[start : start + IN_ONE]
