"""Asks a Docker engine or manager everything that its entries need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import quote

from swarm_sd.discovery.docker_api.client import DockerAPI
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.lists import CONTAINERS, NETWORKS, NODES, SERVICES, TASKS
from swarm_sd.discovery.docker_api.sd_config import DockerAPIConfig
from swarm_sd.discovery.http_session import Answer
from swarm_sd.doctor import engines
from swarm_sd.doctor.engines import Info, Version
from swarm_sd.doctor.event_check import events_arrive
from swarm_sd.doctor.findings import Finding, counted, is_ill, listed, ok, problem
from swarm_sd.doctor.reach import Place, unreachable
from swarm_sd.provider import DiscoveryError

WITHIN = 5.0
"""Seconds for one small request."""

_NOBODY = quote('{"id":{"none":true}}')  # only a manager in a quorum can tell that there is no such object
_SWARM = frozenset({NODES, SERVICES, TASKS})


@dataclass(frozen=True, slots=True)
class HostSeen:
    """What became of asking a host. ``swarm``: the ID of the swarm that it is a manager of, or ""."""

    findings: tuple[Finding, ...]
    swarm: str = ""

    @property
    def works(self) -> bool:
        """Whether lists can be had from it."""
        return not is_ill(self.findings)


async def seen(host: Host, config: DockerAPIConfig, paths: Collection[str]) -> HostSeen:
    """What ``host`` answers to what entries that need the lists at ``paths`` ask of it."""
    api = DockerAPI((host,), config, timeout=WITHIN, negotiate=True)
    place = Place.of(api.base(host), config, host.path if host.scheme == "unix" else "")
    try:
        return await _Asking(host, api, paths).seen()
    except DiscoveryError as err:
        return HostSeen((await unreachable(place, err),))
    finally:
        await api.close()


class _Asking:
    """The questions to one host."""

    def __init__(self, host: Host, api: DockerAPI, paths: Collection[str]) -> None:
        self._host, self._api, self._paths = host, api, paths
        self._prefix = ""

    async def _get(self, path: str) -> Answer:
        return await self._api.answer(self._host, self._prefix + path, timeout=WITHIN)

    async def seen(self) -> HostSeen:
        """Everything. DiscoveryError where it does not answer."""
        answer = await self._get("/version")
        if answer.status == 403:
            return HostSeen((engines.forbidden(["/version"], 403),))
        if not answer.status < 300:
            return HostSeen((engines.refusal("/version", answer, None),))
        told = engines.decoded(answer.body, Version)
        if told is None:
            return HostSeen((engines.not_docker("/version", f"no JSON object: {engines.said(answer)}"),))
        version = engines.version_judged(told, swarm_mode=bool(_SWARM & {*self._paths}))
        if version is not None and version.state == "problem":
            return HostSeen((version,))
        self._prefix = engines.api_prefix(told)
        info = await self._info()
        lists = await self._lists(info)
        found = [
            one for one in (version, engines.clock(answer.headers, time.time()), *lists) if one is not None
        ]
        if not is_ill(lists):
            found.insert(0, ok("docker", self._described(told, info)))
            found.append(await self._events())
        swarm = info.swarm.cluster if info is not None else None
        return HostSeen(tuple(found), swarm.id if swarm is not None else "")

    async def _info(self) -> Info | None:
        try:
            answer = await self._get("/info")
        except DiscoveryError:
            return None  # it is asked for more than is needed here; a proxy may forbid it, too
        return engines.decoded(answer.body, Info) if answer.status < 300 else None

    async def _lists(self, info: Info | None) -> list[Finding]:
        """What is wrong with the lists; each fault once, however many lists have it."""
        paths = sorted(self._paths)
        answers = await asyncio.gather(*(self._list(path) for path in paths), return_exceptions=True)
        found: dict[str, Finding] = {}
        refused: list[str] = []
        for path, answer in zip(paths, answers, strict=True):
            if isinstance(answer, DiscoveryError):
                one = problem("no-answer", f"{path}: {answer}", "it answers /version, but not this in time")
                found.setdefault(one.check, one)
            elif isinstance(answer, BaseException):
                raise answer
            elif answer.status == 403:
                refused.append(path)
            elif answer.status >= 300:
                one = engines.refusal(path, answer, info)
                found.setdefault(one.check, one)
            elif engines.decoded(answer.body, list) is None:
                found.setdefault("not-json", _not_json(path, answer))
        if refused:
            found["forbidden"] = engines.forbidden(refused, 403)
        return list(found.values())

    async def _list(self, path: str) -> Answer:
        more = "limit=0&" if path == CONTAINERS else ""
        # containers are asked for by a name that none has: to an ID that it does not know Docker says 404
        nobody = quote('{"name":{"^/no such name$":true}}') if path == CONTAINERS else _NOBODY
        return await self._get(f"{path}?{more}filters={nobody}")

    async def _events(self) -> Finding:
        return await events_arrive(
            lambda path: self._api.answer(self._host, self._prefix + path, timeout=WITHIN),
            lambda path, take, began: self._api.stream(
                self._host, path, take, began=began, timeout=WITHIN, silence=4 * WITHIN
            ),
        )

    def _described(self, told: Version, info: Info | None) -> str:
        what = f"Docker {told.version}, API {self._prefix[2:]}"
        lists = listed((one for one in sorted(self._paths)), at_most=9)
        if info is None:
            return f"{what}; lets us read {lists}"
        if NETWORKS in self._paths and not _SWARM & {*self._paths}:
            return f"{what}, {info.name}; lets us read {lists}"
        managers = f"manager of {counted(info.swarm.nodes, 'node')}"
        return f"{what}, {info.name}, {managers}; lets us read {lists}"


def _not_json(path: str, answer: Answer) -> Finding:
    kind = answer.headers.get("Content-Type", "")
    return problem(
        "not-json",
        f"{path}: answers with something else than a JSON list ({kind or 'no type'}): {engines.said(answer)}",
        "a proxy answers in Docker's place",
        "let the proxy hand on what Docker answers, as it is",
    )
