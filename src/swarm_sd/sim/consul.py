"""A Consul agent as far as Swarm's discovery needs it: the key/value store, sessions, blocking queries.

Source: Consul's documentation of /v1/kv, /v1/session and of blocking queries.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

DEFAULT_WAIT, LONGEST_WAIT = 300.0, 600.0  # seconds a blocking query is held
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(slots=True)
class _Entry:
    value: bytes
    flags: int
    created: int
    modified: int
    locks: int = 0
    session: str = ""

    def answer(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "LockIndex": self.locks,
            "Key": key,
            "Flags": self.flags,
            "Value": base64.b64encode(self.value).decode() if self.value else None,
            "CreateIndex": self.created,
            "ModifyIndex": self.modified,
        }
        return {**found, "Session": self.session} if self.session else found


@dataclass(slots=True)
class _Session:
    ttl: float
    behavior: str
    ends: float = field(default=float("inf"))  # monotonic


class Consul:
    """Listens at ``port`` (0: a free one, kept from then on); what happens to it is a method each.

    ``token``: who does not show it sees nothing, as with Consul's filtering ACLs. ``late``: how many times
    its TTL a session lives without being renewed; Consul promises between one and two.
    """

    def __init__(self, *, port: int = 0, token: str = "", late: float = 1.0) -> None:
        self.port = port
        self.token = token
        self.index = 10  # other tables have had writes
        self.queries: list[str] = []
        self._late = late
        self._entries: dict[str, _Entry] = {}
        self._graves: dict[str, int] = {}  # index by deleted key
        self._sessions: dict[str, _Session] = {}
        self._written = asyncio.Event()
        self._woken = 0
        self._refusal = ""
        self._answers = asyncio.Event()
        self._answers.set()
        self._runner: web.AppRunner | None = None
        self._reaper: asyncio.Task[None] | None = None

    # -- life ---------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listens; what it knew it still knows."""
        app = web.Application()
        app.router.add_route("GET", "/v1/kv/{key:.*}", self._get)
        app.router.add_route("PUT", "/v1/kv/{key:.*}", self._put)
        app.router.add_route("DELETE", "/v1/kv/{key:.*}", self._delete)
        app.router.add_route("PUT", "/v1/session/create", self._create)
        app.router.add_route("PUT", "/v1/session/renew/{id}", self._renew)
        app.router.add_route("PUT", "/v1/session/destroy/{id}", self._destroy)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._reaper = asyncio.create_task(self._reap())

    async def stop(self) -> None:
        """Ends it with every connection."""
        if self._reaper is not None:
            self._reaper.cancel()
            await asyncio.gather(self._reaper, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    # -- what happens to it -------------------------------------------------------------------------

    def refuse(self, why: str = "No cluster leader") -> None:
        """Answers 500 to everything until ``mend``; queries that are held are let go."""
        self._refusal = why
        self._wake()

    def hang(self) -> None:
        """Answers nothing until ``mend``."""
        self._answers.clear()
        self._wake()

    def mend(self) -> None:
        """Answers again."""
        self._refusal = ""
        self._answers.set()

    def restore(self, index: int = 5) -> None:
        """A snapshot is put in its place: here with the same keys, but the index goes back."""
        self.index = index
        self._graves.clear()
        for entry in self._entries.values():
            entry.modified = entry.created = index
        self.wake()

    def wake(self) -> None:
        """Answers the queries that are held although nothing changed, which it may do at any time."""
        self._woken += 1
        self._wake()

    # -- keys ---------------------------------------------------------------------------------------

    def put(self, key: str, value: str, *, flags: int = 0, session: str = "") -> bool:
        """Writes; with ``session`` only where no other one holds the key. Writing the same is no change."""
        before = self._entries.get(key)
        if session and (session not in self._sessions or (before and before.session not in ("", session))):
            return False
        holder = session or (before.session if before else "")
        if before and (before.value, before.flags, before.session) == (value.encode(), flags, holder):
            return True
        self.index += 1
        self._entries[key] = _Entry(
            value.encode(),
            flags,
            before.created if before else self.index,
            self.index,
            (before.locks if before else 0) + bool(session and not (before and before.session)),
            holder,
        )
        self._graves.pop(key, None)
        self._wake()
        return True

    def delete(self, key: str) -> None:
        """Takes a key away."""
        if self._entries.pop(key, None) is not None:
            self.index += 1
            self._graves[key] = self.index
            self._wake()

    def session(self, ttl: float = 15, behavior: str = "release") -> str:
        """A new session; ``ttl`` in seconds, not the 10 that Consul demands at least: tests have no time."""
        name = str(uuid.uuid4())
        self._sessions[name] = _Session(ttl, behavior, time.monotonic() + ttl * self._late)
        self.index += 1
        return name

    def renew(self, session: str) -> bool:
        """Gives a session its time again; False where it is over."""
        found = self._sessions.get(session)
        if found is not None:
            found.ends = time.monotonic() + found.ttl * self._late
        return found is not None

    def destroy(self, session: str) -> None:
        """Ends a session: its keys are deleted or only not held any more, as it was asked for."""
        found = self._sessions.pop(session, None)
        for key, entry in list(self._entries.items()):
            if found is not None and entry.session == session:
                if found.behavior == "delete":
                    self.delete(key)
                else:
                    self.index += 1
                    entry.session, entry.modified = "", self.index
        self._wake()

    def _wake(self) -> None:
        self._written.set()
        self._written = asyncio.Event()

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            for name in [name for name, one in self._sessions.items() if one.ends < time.monotonic()]:
                self.destroy(name)

    # -- HTTP ---------------------------------------------------------------------------------------

    async def _get(self, request: web.Request) -> web.Response:
        self.queries.append(request.raw_path)
        key, query = request.match_info["key"], request.query
        asked = int(query.get("index", "0"))
        if asked:
            await self._held(lambda: self._index_of(key, "recurse" in query) > asked, _seconds(query))
        await self._answers.wait()
        if self._refusal:
            return web.Response(status=500, text=self._refusal)
        found = self._matching(key, "recurse" in query) if self._may(request) else {}
        headers = {
            "X-Consul-Index": str(self._index_of(key, "recurse" in query)),
            "X-Consul-KnownLeader": "true",
            "X-Consul-LastContact": "0",
        }
        if not self._may(request):
            headers["X-Consul-Results-Filtered-By-ACLs"] = "true"
        if "keys" in query and self._may(request):
            return web.json_response(sorted(self._matching(key, recurse=True)), headers=headers)
        if not found:
            return web.Response(status=404, headers=headers)
        answer = [entry.answer(name) for name, entry in sorted(found.items())]
        return web.json_response(answer, headers=headers)

    async def _held(self, passed: Callable[[], bool], wait: float) -> None:
        """Waits until ``passed``, and with up to a sixteenth more, that not all come back at once."""
        woken = self._woken
        ends = time.monotonic() + wait + random.uniform(0, wait / 16)
        while not passed() and self._is_well() and woken == self._woken:
            written = self._written
            try:
                async with asyncio.timeout(ends - time.monotonic()):
                    await written.wait()
            except TimeoutError:
                return

    def _is_well(self) -> bool:
        return not self._refusal and self._answers.is_set()

    def _matching(self, key: str, recurse: bool) -> dict[str, _Entry]:
        def fits(name: str) -> bool:
            return name.startswith(key) if recurse else name == key

        return {name: entry for name, entry in self._entries.items() if fits(name)}

    def _index_of(self, key: str, recurse: bool) -> int:
        """The index that an answer tells: of what it is about; of everything where there is nothing."""
        indexes = [entry.modified for entry in self._matching(key, recurse).values()]
        indexes += [
            index
            for name, index in self._graves.items()
            if (name.startswith(key) if recurse else name == key)
        ]
        return max(indexes, default=self.index)

    def _may(self, request: web.Request) -> bool:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return self.token in (bearer, request.headers.get("X-Consul-Token", ""), "")

    async def _put(self, request: web.Request) -> web.Response:
        key, query = request.match_info["key"], request.query
        if "release" in query:
            entry = self._entries.get(key)
            if entry is None or entry.session != query["release"]:
                return web.json_response(False)
            self.index += 1
            entry.session, entry.modified = "", self.index
            self._wake()
            return web.json_response(True)
        done = self.put(
            key, (await request.text()), flags=int(query.get("flags", "0")), session=query.get("acquire", "")
        )
        return web.json_response(done)

    async def _delete(self, request: web.Request) -> web.Response:
        for key in self._matching(request.match_info["key"], "recurse" in request.query):
            self.delete(key)
        return web.json_response(True)

    async def _create(self, request: web.Request) -> web.Response:
        wanted = json.loads(await request.text() or "{}")
        name = self.session(_duration(wanted.get("TTL", "24h")), wanted.get("Behavior", "release"))
        return web.json_response({"ID": name})

    async def _renew(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if not self.renew(name):
            return web.Response(status=404, text=f"Session id '{name}' not found")
        return web.json_response([{"ID": name}])

    async def _destroy(self, request: web.Request) -> web.Response:
        self.destroy(request.match_info["id"])
        return web.json_response(True)


def _seconds(query: Any) -> float:
    return min(_duration(query["wait"]), LONGEST_WAIT) if "wait" in query else DEFAULT_WAIT


def _duration(text: str) -> float:
    """Seconds of a Go duration with one unit."""
    found = re.fullmatch(r"([0-9.]+)(ms|s|m|h)", text)
    if found is None:
        raise web.HTTPBadRequest(text="Invalid wait time")
    return float(found[1]) * _UNITS[found[2]]
