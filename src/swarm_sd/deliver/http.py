"""HTTP SD: answers ``/sd/<job>`` and ``/sd/<job>/<n>`` from bytes that are ready.

Source: Prometheus' contract for HTTP SD (docs/http_sd.md, discovery/http); docs/operate.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

import msgspec
from aiohttp import web

from swarm_sd.deliver.clients import Clients
from swarm_sd.deliver.names import job_path, sd_path
from swarm_sd.job import Entry
from swarm_sd.manager import Catalog, EntryStatus, Manager
from swarm_sd.snapshot import Snapshot

_JSON = "application/json; charset=utf-8"


class HTTPSD:
    """The lists as the last delivery left them; a request is a look-up. ``clients`` learns who asks."""

    def __init__(self, manager: Manager, clients: Clients | None = None) -> None:
        self._manager = manager
        self._clients = Clients() if clients is None else clients

    def routes(self) -> list[web.RouteDef]:
        """``/sd`` names what there is; below it are the lists."""
        return [web.get("/sd", self.index), web.get(r"/sd/{name:[\s\S]*}", self.targets)]

    async def index(self, request: web.Request) -> web.Response:
        """The jobs and where their lists are, as JSON."""
        catalog = self._manager.catalog()
        jobs = [
            {
                "job": job,
                "url": job_path(job),
                "entries": [sd_path(entry) for entry in catalog.entries if entry.job == job],
            }
            for job in catalog.jobs
        ]
        return web.Response(body=msgspec.json.encode(jobs), headers={"Content-Type": _JSON})

    async def targets(self, request: web.Request) -> web.StreamResponse:
        """The complete list of a job or an entry; 503 while it is not known, 404 for what is not ours."""
        catalog = self._manager.catalog()
        found = find(catalog, request.raw_path)
        relabel = _is_true(request.query.get("relabel", ""))
        answer = await self._list(request, catalog, found, relabel=relabel)
        self._clients.seen(
            address=request.remote or "",
            path=request.raw_path.partition("?")[0],
            job=found.job if isinstance(found, Entry) else found or "",
            relabel=relabel,
            headers=request.headers,
            status=answer.status,
        )
        return answer

    async def _list(
        self, request: web.Request, catalog: Catalog, found: Entry | str | None, *, relabel: bool
    ) -> web.Response:
        if found is None and not self._manager.status().deliveries:
            text = "starting: no job is known yet\n"
            return web.Response(status=503, text=text, headers={"Retry-After": "1"})
        if found is None:
            jobs = ", ".join(repr(job) for job in catalog.jobs) or "none"
            return web.Response(status=404, text=f"no such job or entry; the jobs here are: {jobs}\n")
        if relabel:
            snapshot = self._manager.relabelled(found)
        else:
            snapshot = catalog.entries[found] if isinstance(found, Entry) else catalog.jobs[found]
        if snapshot is None:
            text = _why_unknown(found, self._manager.status().entries)
            return web.Response(status=503, text=text, headers={"Retry-After": "1"})
        return await _answer(request, snapshot, _staleness(self._manager.stale_since(found)))


def find(catalog: Catalog, raw_path: str) -> Entry | str | None:
    """The entry or job that a path below ``/sd/`` names, as it came over the wire (job names are
    percent-encoded, so ``%2F`` is part of a name and ``/`` is not).
    """
    path = raw_path.partition("?")[0]
    if not path.startswith("/"):  # as proxies may write it: http://host/sd/...
        path = "/" + path.partition("://")[2].partition("/")[2]
    path = path.removeprefix("/sd/")
    head, _, tail = path.rpartition("/")
    # a job's name that came unencoded, slashes and all, is understood where nothing else is meant
    candidates: tuple[Entry | str, ...] = (unquote(path),)
    if head and tail.isascii() and tail.isdigit() and len(tail) < 10:
        entry = Entry(unquote(head), int(tail))
        candidates = (unquote(path), entry) if "/" in head else (entry, unquote(path))
    for candidate in candidates:
        if candidate in (catalog.entries if isinstance(candidate, Entry) else catalog.jobs):
            return candidate
    return None


def _is_true(text: str) -> bool:
    return text.lower() in ("1", "true", "yes", "on")


async def _answer(request: web.Request, snapshot: Snapshot, extra: Mapping[str, str]) -> web.Response:
    if not snapshot.ready():
        await asyncio.to_thread(snapshot.prepare)
    zipped = _takes_gzip(request.headers.get("Accept-Encoding", ""))
    # another coding is another representation: its strong ETag has to differ
    etag = f'{snapshot.etag[:-1]}-gzip"' if zipped else snapshot.etag
    headers = {"ETag": etag, "Vary": "Accept-Encoding", "Cache-Control": "no-cache", **extra}
    if _matches(request.headers.get("If-None-Match"), snapshot.etag):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = _JSON
    if not zipped:
        return web.Response(body=snapshot.body, headers=headers)
    if not snapshot.ready(gzipped=True):
        await asyncio.to_thread(lambda: snapshot.prepare(gzipped=True))
    headers["Content-Encoding"] = "gzip"
    return web.Response(body=snapshot.gzipped, headers=headers)


def _takes_gzip(accept_encoding: str) -> bool:
    weights = {}
    for item in accept_encoding.lower().split(","):
        coding, _, weight = item.partition(";")
        weights[coding.strip()] = weight.strip().removeprefix("q=").strip("0.") != "" or not weight
    return weights.get("gzip", weights.get("*", False))


def _matches(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    given = {item.strip().removeprefix("W/") for item in if_none_match.split(",")}
    return bool(given & {"*", etag, f'{etag[:-1]}-gzip"'})


def _staleness(since: float | None) -> dict[str, str]:
    """Headers that say so when targets are not confirmed: for people and proxies, no collector reads them."""
    if since is None:
        return {}
    return {"X-Swarm-SD-Stale": "true", "X-Swarm-SD-Age-Seconds": str(max(0, round(time.time() - since)))}


def _why_unknown(found: Entry | str, entries: Iterable[EntryStatus]) -> str:
    name = f"{found.job}/{found.index}" if isinstance(found, Entry) else found
    reasons = [
        f"entry {status.entry.index} ({status.kind}_sd_configs): "
        f"{status.provider.last_error or 'not heard from yet'}\n"
        for status in entries
        if status.state == "unknown" and found in (status.entry, status.entry.job)
    ]
    return f"the targets of {name!r} are not known yet:\n" + "".join(reasons)
