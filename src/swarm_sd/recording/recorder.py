"""Asks once everything that the entries of a configuration need, and takes down what was answered."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from swarm_sd.discovery.answers import ANSWERS
from swarm_sd.discovery.docker.provider import DockerSDConfig
from swarm_sd.discovery.dockerswarm.own_networks import AUTO, own_container
from swarm_sd.discovery.dockerswarm.provider import DockerSwarmSDConfig
from swarm_sd.discovery.http_session import Body
from swarm_sd.discovery.kv.backend import Registered
from swarm_sd.discovery.swarm.provider import SwarmSDConfig
from swarm_sd.job import Entry, Job
from swarm_sd.model import ADDRESS
from swarm_sd.once import Discovered, discover
from swarm_sd.provider import SDConfig
from swarm_sd.recording.document import Cluster, Group, Recording, Store, Told
from swarm_sd.recording.masks import Masks
from swarm_sd.recording.player import applies
from swarm_sd.recording.reduced import named, reduced
from swarm_sd.target import Populated

ANSWERED = (DockerSwarmSDConfig, DockerSDConfig, SwarmSDConfig)
"""The kinds whose answers are taken down; of others, their targets."""

_MORE = "more"
"""The job of what nobody asks for now, but would with another role or without a filter."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """``failures``: (entry, why) of what could not be asked. ``masked``: by key, how many labels were."""

    recording: Recording
    failures: tuple[tuple[Entry, str], ...]
    masked: Mapping[str, int]


async def record(jobs: Iterable[Job], *, timeout: float) -> Recorded:
    """Runs the discovery of these jobs once, for ``timeout`` seconds at most.

    Lists that no entry needs now are taken down too where they can be had.
    """
    in_container = bool(await asyncio.to_thread(own_container))
    entries = {
        entry: config if in_container else _elsewhere(config)
        for job in jobs
        for entry, config in zip(job.entries(), job.sd_configs, strict=True)
    }
    more = tuple(other for config in entries.values() for other in _others(config))
    recorder, found = await _recorded(entries, more, timeout)
    if more and any(job != _MORE for job, _, _ in found.failures):
        # where tasks may not be listed, nothing of that cluster can be had together with them
        recorder, found = await _recorded(entries, (), timeout)
    return recorder.made(entries, found)


def _elsewhere(config: SDConfig) -> SDConfig:
    """``config`` without its own networks, which are found in a container alone: the lists are the same."""
    if isinstance(config, DockerSwarmSDConfig) and AUTO in config.networks:
        return msgspec.structs.replace(config, networks=())
    return config


def _others(config: SDConfig) -> Iterator[SDConfig]:
    """What asks for everything else that the cluster could tell."""
    replace = msgspec.structs.replace
    if isinstance(config, DockerSwarmSDConfig):
        roles: tuple[Literal["nodes", "services", "tasks"], ...] = ("nodes", "services", "tasks")
        for role in roles:
            yield replace(config, role=role, filters=(), networks=(), learn_managers=False)
    elif isinstance(config, DockerSDConfig):
        yield replace(config, filters=())
    elif isinstance(config, SwarmSDConfig):
        yield replace(config, role=None)
        if not (config.masters and config.discovery):
            yield replace(config, role="containers")


async def _recorded(
    entries: Mapping[Entry, SDConfig], more: tuple[SDConfig, ...], timeout: float
) -> tuple[_Recorder, Discovered]:
    recorder = _Recorder()
    jobs = [*(Job(_name(entry), (config,)) for entry, config in entries.items()), Job(_MORE, more)]
    token = ANSWERS.set(recorder)
    try:
        return recorder, await discover([job for job in jobs if job.sd_configs], timeout=timeout)
    finally:
        ANSWERS.reset(token)


def _name(entry: Entry) -> str:
    return f"{entry.job}/{entry.index}"


class _Recorder:
    """``Answers`` that lets everything through and remembers it."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, ...], dict[str, bytes]] = defaultdict(dict)  # by hosts
        self._stores: dict[str, Registered] = {}
        self._own_container = ""

    async def docker(self, hosts: Sequence[str], url: str, ask: Callable[[], Awaitable[Body]], /) -> Body:
        """What those say who are asked."""
        body = await ask()
        self._answers[tuple(sorted(map(str, hosts)))][named(url)] = bytes(body)
        return body

    async def registered(self, discovery: str, ask: Callable[[], Awaitable[Registered]], /) -> Registered:
        """What the store says."""
        self._stores[discovery] = await ask()
        return self._stores[discovery]

    def own_container(self, look: Callable[[], str], /) -> str:
        """The real one."""
        self._own_container = look()
        return self._own_container

    def made(self, entries: Mapping[Entry, SDConfig], found: Discovered) -> Recorded:
        """All that was answered, reduced and masked."""
        masks = Masks()
        clusters = [
            Cluster(hosts=[*hosts], answers=answers)
            for hosts, taken in sorted(self._answers.items())
            if (answers := _kept(taken, masks))
        ]
        stores = [Store(url, [*one.nodes], one.leader) for url, one in sorted(self._stores.items())]
        told = [
            Told(entry.job, entry.index, _groups(found.targets[_name(entry)], masks))
            for entry, config in entries.items()
            if not isinstance(config, ANSWERED)
        ]
        by_name = {_name(entry): entry for entry in entries}
        failures = tuple((by_name[job], why) for job, _, why in found.failures if job in by_name)
        return Recorded(Recording(1, self._own_container, clusters, stores, told), failures, masks.masked)


def _kept(answers: Mapping[str, bytes], masks: Masks) -> dict[str, msgspec.Raw]:
    """By name, what is kept of the answers; not of a filtered list that the whole one holds."""
    found = {}
    for name, answer in sorted(answers.items()):
        if not applies(name, answers) and (data := reduced(name, answer)) is not None:
            found[name] = msgspec.Raw(msgspec.json.encode(masks.answer(data)))
    return found


def _groups(targets: Iterable[Populated], masks: Masks) -> list[Group]:
    """The targets as discovered, those with the same labels together."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = defaultdict(list)
    for target in targets:
        labels = {name: value for name, value in target.discovered.items() if name != ADDRESS}
        groups[tuple(sorted(masks.labels(labels).items()))].append(target.discovered[ADDRESS])
    made = [Group(tuple(sorted(addresses)), dict(labels)) for labels, addresses in groups.items()]
    return sorted(made, key=lambda group: (group.targets, sorted(group.labels.items())))
