"""The whole examination: each host and store once, then each entry, then entries together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from swarm_sd.config import Config
from swarm_sd.discovery.docker.provider import DockerSDConfig
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.lists import CONTAINERS, NETWORKS, NODES, SERVICES, TASKS
from swarm_sd.discovery.docker_api.sd_config import DockerAPIConfig
from swarm_sd.discovery.dockerswarm.provider import DockerSwarmSDConfig
from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.swarm.provider import SwarmSDConfig
from swarm_sd.doctor import configuration, docker_hosts, engines, entries, masters, shared_networks, stores
from swarm_sd.doctor.docker_hosts import HostSeen
from swarm_sd.doctor.findings import FOLLOWS, Finding, Kind, Report, Section, is_ill, problem, reported
from swarm_sd.doctor.look import Looked, look
from swarm_sd.doctor.surroundings import Surroundings, surroundings
from swarm_sd.job import Job
from swarm_sd.provider import SDConfig

Name: TypeAlias = tuple[str, int]
"""A job's name, and the number of its entry."""

_PATHS: Mapping[str, frozenset[str]] = {
    "nodes": frozenset({NODES}),
    "services": frozenset({SERVICES, NETWORKS}),
    "tasks": frozenset({TASKS, SERVICES, NODES, NETWORKS}),
    "endpoints": frozenset({TASKS, SERVICES, NODES, NETWORKS}),
}
"""The lists that a role is made of."""


@dataclass(slots=True)
class _Asked:
    """A host, or a store, as entries with the same options ask it."""

    kind: Kind
    name: str
    what: str
    config: Any
    host: Host | None = None
    paths: frozenset[str] = frozenset()
    entries: list[Name] = field(default_factory=list)
    seen: HostSeen = field(default_factory=lambda: HostSeen(()))

    def is_for(self, config: SDConfig, name: str) -> bool:
        same = self.name == name and type(self.config) is type(config)
        return same and _options(self.config) == _options(config)


async def examine(config: Config, *, timeout: float, converts: bool = True) -> Report:
    """Everything about ``config``; ``timeout`` in seconds bounds the discovery of each entry.

    ``converts``: whether it is a file that Prometheus may have been given.
    """
    text = await asyncio.to_thread(configuration.text_of, config.path)
    readers = await asyncio.to_thread(configuration.given_to_prometheus, config.path) if converts else ()
    whole = configuration.judged(config, converts=converts, text=text, readers=readers)
    every = {(job.name, index): (job, one) for job in config.jobs for index, one in enumerate(job.sd_configs)}
    asked = _asked(every)
    await asyncio.gather(*(_ask(one, timeout) for one in asked))
    of_entries = await _entries(every, asked, timeout)
    return reported(
        str(config.path),
        [
            Section("configuration", str(config.path), "", tuple(whole)),
            *(Section(one.kind, one.name, _shown(one), one.seen.findings) for one in asked),
            *of_entries,
        ],
    )


def _shown(one: _Asked) -> str:
    return f"{one.what} of {', '.join(f'{job}/{index}' for job, index in one.entries)}"


# -- who is asked -------------------------------------------------------------------------------------------


def _asked(every: Mapping[Name, tuple[Job, SDConfig]]) -> list[_Asked]:
    """Each host and store once for all entries that ask it in the same way."""
    found: list[_Asked] = []
    for name, (_, config) in every.items():
        for one in _of(config):
            known = next((other for other in found if other.is_for(config, one.name)), None)
            if known is None:
                found.append(known := one)
            known.paths |= one.paths
            known.entries.append(name)
    return found


def _of(config: SDConfig) -> Iterator[_Asked]:
    if isinstance(config, DockerSwarmSDConfig | DockerSDConfig):
        what, paths = "engine", frozenset({CONTAINERS, NETWORKS})
        if isinstance(config, DockerSwarmSDConfig):
            what, paths = "manager", _PATHS[config.role]
        for host in config.all_hosts():
            yield _Asked("host", str(host), what, config, host, paths)
    elif isinstance(config, SwarmSDConfig):
        for host in config.masters:
            yield _Asked("host", str(host), "master", config, host)
        if config.discovery is not None:
            yield _Asked("store", str(config.discovery), "discovery", config)


def _options(config: SDConfig) -> object:
    """What decides how a host is asked."""
    if not isinstance(config, HTTPClientConfig):
        return config
    options = [getattr(config, name) for name in HTTPClientConfig.__struct_fields__]
    users = [(one.username, one.password) for one in _hosts(config)]
    return options, users, getattr(config, "discovery_opts", None)


def _hosts(config: SDConfig) -> Sequence[Host]:
    if isinstance(config, DockerAPIConfig):
        return config.all_hosts()
    return config.masters if isinstance(config, SwarmSDConfig) else ()


async def _ask(one: _Asked, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            one.seen = await _seen(one)
    except TimeoutError:
        what = f"its examination took longer than {timeout:g} s"
        one.seen = HostSeen((problem("no-answer", what, "it answers too slowly", "give a longer --timeout"),))


def _seen(one: _Asked) -> Awaitable[HostSeen]:
    if one.host is None:
        return _store(one.config)
    if isinstance(one.config, DockerAPIConfig):
        return docker_hosts.seen(one.host, one.config, one.paths)
    return masters.seen(one.host, one.config)


async def _store(config: SwarmSDConfig) -> HostSeen:
    found = await stores.seen(config.discovery, config.discovery_opts, config) if config.discovery else []
    return HostSeen(tuple(found))


# -- the entries --------------------------------------------------------------------------------------------


async def _entries(
    every: Mapping[Name, tuple[Job, SDConfig]], asked: Sequence[_Asked], timeout: float
) -> list[Section]:
    by_entry = {name: [one for one in asked if name in one.entries] for name in every}
    usable = {
        name: found for name, found in every.items() if not by_entry[name] or _is_usable(by_entry[name])
    }
    looked = dict(
        zip(
            usable,
            await asyncio.gather(*(look(job, config, timeout=timeout) for job, config in usable.values())),
            strict=True,
        )
    )
    around = await _all_around(usable, by_entry)
    twice = entries.same_targets(looked, {name: _swarms(by_entry[name]).values() for name in looked})
    sections = []
    for name, (job, config) in every.items():
        found = _judged(name, job, config, by_entry[name], looked, around)
        what = f"{config.kind}{f', role {role}' if (role := getattr(config, 'role', None)) else ''}"
        sections.append(Section("entry", f"{name[0]}/{name[1]}", what, (*found, *twice.get(name, ()))))
    return sections


def _is_usable(asked: Sequence[_Asked]) -> bool:
    """Whether any host works, and the store, where there is one."""
    hosts = [one.seen.works for one in asked if one.kind == "host"]
    return (any(hosts) or not hosts) and all(one.seen.works for one in asked if one.kind == "store")


def _swarms(asked: Sequence[_Asked]) -> dict[str, str]:
    return {one.name: one.seen.swarm for one in asked if one.seen.swarm}


async def _all_around(
    usable: Mapping[Name, tuple[Job, SDConfig]], by_entry: Mapping[Name, Sequence[_Asked]]
) -> dict[Name, Surroundings]:
    """The surroundings of each entry; of those that ask the same hosts once."""
    asking: dict[tuple[int, ...], asyncio.Task[Surroundings]] = {}
    found: dict[Name, asyncio.Task[Surroundings]] = {}
    for name, (_, config) in usable.items():
        working = [one for one in by_entry[name] if one.host is not None and one.seen.works]
        if isinstance(config, DockerAPIConfig) and working:
            key = tuple(id(one) for one in working)
            hosts = [one.host for one in working if one.host is not None]
            if key not in asking:
                asking[key] = asyncio.create_task(surroundings(hosts, config, timeout=docker_hosts.WITHIN))
            found[name] = asking[key]
    await asyncio.gather(*asking.values())
    return {name: found[name].result() if name in found else Surroundings() for name in usable}


def _judged(
    name: Name,
    job: Job,
    config: SDConfig,
    asked: Sequence[_Asked],
    looked: Mapping[Name, Looked],
    around: Mapping[Name, Surroundings],
) -> list[Finding]:
    if name not in looked:
        ill = ", ".join(one.name for one in asked if not one.seen.works)
        return [problem(FOLLOWS, f"nothing is discovered: see {ill} above")]
    found = entries.judged(job, config, looked[name], around[name].owners)
    if isinstance(config, DockerSwarmSDConfig):
        found += _in_swarm_mode(config, looked[name], around[name])
        if (apart := engines.different_swarms(_swarms(asked))) is not None:
            found.append(apart)
    if looked[name].failure and is_ill(found[1:]):
        return found[1:]  # the true cause is among the others
    return found


def _in_swarm_mode(config: DockerSwarmSDConfig, looked: Looked, around: Surroundings) -> list[Finding]:
    found = [] if around.networks is None else shared_networks.unknown(config.networks, around.networks)
    if config.role in ("tasks", "endpoints"):
        apart = shared_networks.apart(looked.kept, around.own)
        found += [apart] if apart is not None else []
    return found
