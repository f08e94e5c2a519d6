"""The views of the page: what each shows, and how it is answered."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from aiohttp import web

from swarm_sd.deliver.clients import Clients
from swarm_sd.deliver.names import job_path, sd_path
from swarm_sd.history import Generation
from swarm_sd.insight import Insight, JobCounts
from swarm_sd.inventory import STATES, Place, Query
from swarm_sd.manager import EntryStatus, Status
from swarm_sd.web.about import About
from swarm_sd.web.api.live import fingerprint
from swarm_sd.web.page import static_files, words
from swarm_sd.web.page.links import PAGE_SIZE, Asked, Paging, link
from swarm_sd.web.page.matrix import NODES, matrix
from swarm_sd.web.page.origin import origin
from swarm_sd.web.page.rendering import rendered

_RECENT: Final = 6  # changes on the overview
_MOST_CLIENTS: Final = 200
_API: Final = "/api/v1"


class Shown(NamedTuple):
    """A view with its data; ``twin``: the URL of the same as JSON."""

    template: str
    title: str
    data: Mapping[str, object]
    twin: str = ""
    status: int = 200


class Page:
    """Everything below ``/`` that is for people."""

    def __init__(
        self, status: Callable[[], Status], insight: Insight, about: Callable[[], About], clients: Clients
    ) -> None:
        self._status = status
        self._insight = insight
        self._about = about
        self._clients = clients

    def routes(self) -> list[web.RouteDef]:
        """One for each view."""
        views: Mapping[str, Callable[[Asked], Awaitable[Shown]]] = {
            "/": self._overview,
            "/targets": self._targets,
            "/targets/why": self._why,
            "/passed-over": self._passed_over,
            "/cluster": self._cluster,
            "/cluster/matrix": self._matrix,
            "/history": self._history,
            "/configuration": self._configuration,
        }
        return [
            *(web.get(path, self._answering(view)) for path, view in views.items()),
            web.get("/static/{name}", static_files.answer),
        ]

    def _answering(
        self, view: Callable[[Asked], Awaitable[Shown]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            asked, news = Asked.of(request.query), await self._news()  # before it, so that none is missed
            try:
                shown = await view(asked)
            except KeyError:
                if asked.job in self._insight.jobs():
                    raise  # a mistake of ours
                shown = self._no_job(asked)
            return await self._response(request, asked, shown, news)

        return answer

    async def _response(self, request: web.Request, asked: Asked, shown: Shown, news: str) -> web.Response:
        data = {
            "news": news,
            "title": shown.title,
            "path": request.path,
            "twin": shown.twin,
            "asked": asked,
            "jobs": self._insight.jobs(),
            "troubles": [*words.refused(self._about().reload), *words.troubles(self._status())],
            **shown.data,
        }
        zipped = "gzip" in request.headers.get("Accept-Encoding", "").lower()

        def made() -> bytes:
            body = rendered(shown.template, data)
            return gzip.compress(body, 5) if zipped else body

        headers = {"Content-Type": "text/html; charset=utf-8", "Vary": "Accept-Encoding"}
        headers["Cache-Control"] = "no-cache"
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=await asyncio.to_thread(made), status=shown.status, headers=headers)

    async def _news(self) -> str:
        """What ``/api/v1/live`` would tell now: the script loads the view again when that tells otherwise."""
        generations = await self._insight.generations()
        number = generations[0].number if generations else 0
        return f"{number}/{fingerprint(self._status(), self._about().reload.at)}"

    def _no_job(self, asked: Asked) -> Shown:
        return Shown("no_job.html", "No such job", {}, status=404)

    async def _overview(self, asked: Asked) -> Shown:
        counts = await self._insight.counts()
        generations = await self._insight.generations()
        entries = self._status().entries
        data = {
            "counts": counts,
            "entries": _by_job(entries),
            "standing": words.standing,
            "paths": {one.job: job_path(one.job) for one in counts},
            "hosts": _hosts(entries),
            "generations": generations[:_RECENT],
        }
        return Shown("overview.html", "Overview", data, f"{_API}/jobs")

    async def _targets(self, asked: Asked) -> Shown:
        jobs = self._insight.jobs()
        if not asked.job and len(jobs) != 1:
            return await self._all_targets(asked)
        job = asked.job or jobs[0]
        query = Query.of(asked.search, asked.state, asked.reason)
        found = await self._insight.targets(job, query, offset=asked.offset, limit=PAGE_SIZE)
        entries = _by_job(self._status().entries).get(job, [])
        data = {
            "asked": asked._replace(job=job),
            "counts": await self._counts_of(job),
            "paging": Paging(found.total, asked.offset, len(found.rows)),
            "rows": [(row, origin(row)) for row in found.rows],
            "clusters": {entry.entry.index: _cluster_of(entry) for entry in entries},
            "states": STATES,
            "standing": words.standing(entries),
        }
        twin = link(
            f"{_API}/targets",
            job=job,
            search=asked.search,
            state=asked.state,
            reason=asked.reason,
            offset=asked.offset,
            limit=PAGE_SIZE,
        )
        return Shown("targets.html", f"Targets of {job}", data, twin)

    async def _all_targets(self, asked: Asked) -> Shown:
        query = Query.of(asked.search, asked.state, asked.reason)
        counts = await self._insight.counts()
        totals = {
            one.job: (await self._insight.targets(one.job, query, offset=0, limit=0)).total for one in counts
        }
        data = {"counts": counts, "totals": totals, "states": STATES}
        return Shown("all_targets.html", "Targets", data, f"{_API}/jobs")

    async def _counts_of(self, job: str) -> JobCounts:
        return next(one for one in await self._insight.counts() if one.job == job)

    async def _why(self, asked: Asked) -> Shown:
        place = Place(asked.source, asked.address, asked.nth)
        twin = link(
            f"{_API}/targets/explanation",
            job=asked.job,
            source=asked.source,
            address=asked.address,
            nth=asked.nth,
        )
        found = await self._insight.explanation(asked.job, place)
        if found is None:
            return Shown("gone.html", f"Target {asked.address} is not there", {}, twin, 404)
        row, explanation = found
        entries = [one for one in self._status().entries if one.entry.job == asked.job]
        data = {
            "row": row,
            "origin": origin(row),
            "explanation": explanation,
            "cluster": next((_cluster_of(one) for one in entries if one.entry.index == row.entry), ""),
            "names": sorted({*explanation.discovered, *(explanation.labels or {})}, key=_own_first),
        }
        return Shown("why.html", f"Why {asked.address}", data, twin)

    async def _passed_over(self, asked: Asked) -> Shown:
        jobs = self._insight.jobs()
        if not asked.job and len(jobs) != 1:
            counts = {"counts": await self._insight.counts()}
            return Shown("all_passed_over.html", "Without a target", counts, f"{_API}/jobs")
        job = asked.job or jobs[0]
        query = Query.of(asked.search, reason=asked.reason)
        found = await self._insight.passed_over(job, query, offset=asked.offset, limit=PAGE_SIZE)
        data = {
            "asked": asked._replace(job=job),
            "found": found,
            "paging": Paging(found.total, asked.offset, len(found.rows)),
        }
        twin = link(
            f"{_API}/passed_over",
            job=job,
            search=asked.search,
            reason=asked.reason,
            offset=asked.offset,
            limit=PAGE_SIZE,
        )
        return Shown("passed_over.html", f"Without a target: {job}", data, twin)

    async def _cluster(self, asked: Asked) -> Shown:
        entries = self._status().entries
        if asked.job and asked.job not in self._insight.jobs():
            return self._no_job(asked)
        shared = [one for one in entries if one.shared_with == one.entry]
        users = {
            one.entry: [other.entry for other in entries if other.shared_with == one.entry] for one in shared
        }
        data = {
            "shared": [one for one in shared if asked.job in ("", *(user.job for user in users[one.entry]))],
            "users": users,
            "standing": words.standing,
            "sd_path": sd_path,
            "host_class": _HOST_CLASS,
        }
        return Shown("cluster.html", "Cluster", data, f"{_API}/clusters")

    async def _matrix(self, asked: Asked) -> Shown:
        jobs = self._insight.jobs()
        if not asked.job and not jobs:
            return self._no_job(asked)
        job = asked.job or jobs[0]
        spots = await self._insight.spots(job)
        made = await asyncio.to_thread(matrix, spots, asked.service, asked.offset)
        data = {"asked": asked._replace(job=job), "matrix": made, "paging": made.paging}
        twin = link(f"{_API}/matrix", job=job, service=asked.service, offset=asked.offset, limit=NODES)
        return Shown("matrix.html", f"Nodes and services of {job}", data, twin)

    async def _history(self, asked: Asked) -> Shown:
        everything = await self._insight.generations()
        found = [one for one in everything if _is_asked_for(one, asked)]
        rows = found[asked.offset : asked.offset + PAGE_SIZE]
        data = {
            "kept": len(everything),
            "paging": Paging(len(found), asked.offset, len(rows)),
            "rows": rows,
            "whys": sorted({one.why for one in everything}),
        }
        return Shown("history.html", "History", data, link(f"{_API}/history", job=asked.job))

    async def _configuration(self, asked: Asked) -> Shown:
        about = self._about()
        data = {
            "about": about,
            "config": await asyncio.to_thread(about.config),
            "clients": self._clients.all(),
            "most_clients": _MOST_CLIENTS,
            "status": self._status(),
        }
        return Shown("configuration.html", "Configuration", data, f"{_API}/status/config")


_HOST_CLASS: Final = {"up": "ok", "down": "bad", "unknown": "plain"}


def _is_asked_for(one: Generation, asked: Asked) -> bool:
    if asked.number:
        return one.number == asked.number
    return asked.job in ("", *one.jobs) and asked.why in ("", one.why)


def _by_job(entries: Sequence[EntryStatus]) -> dict[str, list[EntryStatus]]:
    found: dict[str, list[EntryStatus]] = {}
    for entry in entries:
        found.setdefault(entry.entry.job, []).append(entry)
    return found


def _hosts(entries: Sequence[EntryStatus]) -> Mapping[str, int]:
    """By state, the managers and engines that are asked; one that several entries ask is one."""
    states = {host.name: host.state for entry in entries for host in entry.provider.hosts}
    return {state: sum(one == state for one in states.values()) for state in ("up", "down", "unknown")}


def _cluster_of(entry: EntryStatus) -> str:
    """What the entry's cluster is called: its first manager, as in the metrics."""
    return entry.provider.hosts[0].name if entry.provider.hosts else ""


def _own_first(name: str) -> tuple[bool, bool, str]:
    return name.startswith("__"), name.startswith("__meta_"), name
