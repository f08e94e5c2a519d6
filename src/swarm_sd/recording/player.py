"""Answers with what was recorded. No network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any

import msgspec

from swarm_sd.discovery.docker_api.filters import Filters, Role, filters
from swarm_sd.discovery.docker_api.listed import Listed, ListReader
from swarm_sd.discovery.docker_api.lists import CONTAINERS, KINDS, NODES, SERVICES, TASKS
from swarm_sd.discovery.docker_api.sd_config import FilterConfig
from swarm_sd.discovery.http_session import Body
from swarm_sd.discovery.kv.backend import Registered
from swarm_sd.provider import DiscoveryError
from swarm_sd.recording.document import Cluster, Recording
from swarm_sd.recording.reduced import named

_ROLES: Mapping[str, Role] = {
    NODES: "nodes",
    SERVICES: "services",
    TASKS: "tasks",
    CONTAINERS: "containers",
}
_FILTERS = "filters="


class Player:
    """``Answers`` out of a recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    async def docker(self, hosts: Sequence[str], url: str, ask: Callable[[], Awaitable[Body]], /) -> Body:
        """What was answered; filters that were not recorded are applied to the whole list."""
        name = named(url)
        answers = self._of(hosts)
        if name in answers:
            return bytes(answers[name])
        path, filters_ = _filtered(name)
        if filters_ is not None and path in answers:
            return msgspec.json.encode(_selected(path, filters_, answers))
        raise DiscoveryError("not_recorded", f"the snapshot has no answer to {name}; record it anew")

    def _of(self, hosts: Sequence[str]) -> Mapping[str, msgspec.Raw]:
        """The answers of those that are asked: their own before those of clusters that they are part of."""
        asked = set(map(str, hosts))
        fits = [one for one in self._recording.clusters if not one.hosts or asked & set(one.hosts)]
        if not fits:
            there = ", ".join(sorted({host for one in self._recording.clusters for host in one.hosts}))
            raise DiscoveryError(
                "not_recorded", f"the snapshot knows nothing of this host, only of {there or 'none'}"
            )
        found: dict[str, msgspec.Raw] = {}
        for one in sorted(fits, key=lambda one: _is_exactly(one, asked)):
            found |= one.answers
        return found

    async def registered(self, discovery: str, ask: Callable[[], Awaitable[Registered]], /) -> Registered:
        """Who was registered."""
        for store in self._recording.stores:
            if store.discovery == discovery:
                return Registered(tuple(store.nodes), store.leader)
        raise DiscoveryError("not_recorded", f"{discovery}: the snapshot knows nothing of it; record it anew")

    def own_container(self, look: Callable[[], str], /) -> str:
        """The container in which it was recorded; "" for none."""
        return self._recording.own_container


def _is_exactly(cluster: Cluster, hosts: set[str]) -> bool:
    return set(cluster.hosts) == hosts


def _filtered(name: str) -> tuple[str, Filters | None]:
    """(path, filters) of an answer; None where it is not filtered."""
    path, _, query = name.partition("?")
    if path not in _ROLES or not query.startswith(_FILTERS):
        return path, None
    given = msgspec.json.decode(query.removeprefix(_FILTERS), type=dict[str, dict[str, bool]])
    configs = (FilterConfig(name=name, values=tuple(values)) for name, values in given.items())
    return path, filters(_ROLES[path], configs)


def applies(name: str, answers: Container[str]) -> bool:
    """Whether an answer of that name can be made of another one: its filters applied to the whole list."""
    path, filters_ = _filtered(name)
    return filters_ is not None and filters_.exact and path in answers


def _selected(path: str, wanted: Filters, answers: Mapping[str, msgspec.Raw]) -> Sequence[msgspec.Struct]:
    if wanted.problems:  # as Docker
        raise DiscoveryError("refused_filter", "; ".join(wanted.problems))
    if not wanted.exact:
        what = f"only Docker can apply the filters {wanted.parameter}: record it anew with them"
        raise DiscoveryError("not_recorded", what)
    return wanted.select(_read(path, answers), _read(SERVICES, answers), _read(NODES, answers))


def _read(path: str, answers: Mapping[str, msgspec.Raw]) -> Listed[Any]:
    return ListReader(KINDS[path]).read(bytes(answers[path])) if path in answers else Listed()
