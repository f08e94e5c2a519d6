"""Asks a Docker API: one request, one time limit, fail-over inside; bytes in, errors named."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, overload

import msgspec

from swarm_sd.discovery.answers import ANSWERS
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.listed import Listed, ListReader
from swarm_sd.discovery.docker_api.silence import Owed, Pace, Silence
from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.http_session import Answer, Body, HTTPSession, HTTPStatusError, Request
from swarm_sd.discovery.rotation import Rotation
from swarm_sd.provider import DiscoveryError, HostStatus
from swarm_sd.scalars import Secret

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

MAX_BYTES = 2 * 1024 * 1024 * 1024
"""The largest answer taken: a /info of 5,000 nodes is about 4 MB, /tasks of 100,000 tasks 250 MB."""

ON_THE_LOOP = 256 * 1024
"""Answers of this many bytes or more are read in a thread: reading takes some 15 ms a MB."""

NEWEST_API = (1, 51)
"""The newest API version asked for; engines that know only older ones are asked for theirs."""


class Get(Protocol):
    """Asks one host: ``path`` starts with "/", ``read`` makes something of the body."""

    @overload
    def __call__(self, path: str, read: Callable[[Body], T], /) -> Awaitable[T]: ...
    @overload
    def __call__(self, path: str, read: ListReader[S], /) -> Awaitable[Listed[S]]: ...
    def __call__(self, path: str, read: Any, /) -> Awaitable[Any]:
        """What ``read`` gives. DiscoveryError names host, path and cause."""
        ...


class DockerAPI:
    """The API of a cluster that any of ``hosts`` can answer for. ``timeout``: seconds a request may take.

    ``negotiate``: ask for an API version that both sides know (engines and swarm mode); without it paths
    are sent as they are (classic Swarm takes any version and no version).
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        config: HTTPClientConfig,
        *,
        timeout: float = 10,
        max_bytes: int = MAX_BYTES,
        negotiate: bool = False,
    ) -> None:
        self.rotation = Rotation(hosts)
        self._hosts = tuple(hosts)
        self._answers = ANSWERS.get()
        self._config = config
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._negotiate = negotiate
        self._versions: dict[Host, str] = {}  # path prefix by host
        self._negotiating: dict[Host, asyncio.Lock] = {}
        self._sessions: dict[str | None, HTTPSession] = {}  # by unix socket; None is TCP

    async def get(self, path: str, read: Callable[[Body], T]) -> tuple[Host, T]:
        """(host, what ``read`` makes of its answer) for the first host that can tell.

        ``read`` raises DiscoveryError where an answer tells nothing; the next host is asked then, as on
        every failure of the network.
        """
        return await self.ask(lambda host, get: get(path, read))

    async def ask(
        self, question: Callable[[Host, Get], Awaitable[T]], *, pace: Pace | None = None
    ) -> tuple[Host, T]:
        """(host, answer) of the first host with which ``question``, which may get several paths, succeeds.

        ``pace`` is kept by who asks the same again and again: a host is given the time that it usually takes.
        """
        silence = Silence()
        answer = await self.rotation.ask(
            lambda host: self._one(host, question, silence),
            silence=silence,
            usual=pace.usual if pace is not None else 0.0,
        )
        if pace is not None:
            pace.usual = silence.longest
        return answer

    async def probe(self, host: Host, path: str, read: Callable[[Body], T] | ListReader[Any]) -> T | None:
        """What ``host`` answers, asked only to know how it fares; None where it cannot tell."""
        return await self.rotation.probe(host, lambda host: self._read(host, path, read, Owed(Silence())))

    async def _one(self, host: Host, question: Callable[[Host, Get], Awaitable[T]], silence: Silence) -> T:
        with silence.question(host) as owed:

            def get(path: str, read: Callable[[Body], Any] | ListReader[Any], /) -> Awaitable[Any]:
                return self._read(host, path, read, owed)

            try:
                return await question(host, get)
            except DiscoveryError:
                self._versions.pop(host, None)  # what comes back may be another engine
                raise

    async def _read(
        self, host: Host, path: str, read: Callable[[Body], Any] | ListReader[Any], owed: Owed
    ) -> Any:
        try:
            if self._answers is not None:
                # the managers of a swarm tell the same, those of a classic Swarm their own roles
                hosts = self._hosts if self._negotiate else (host,)
                whole = await self._answers.docker(hosts, path, lambda: self._whole(host, path, owed))
                return read.read(whole) if isinstance(read, ListReader) else read(whole)
            with owed.request() as heard:
                # that it can tell its version says nothing of whether it can tell what was asked
                path_ = (await self._version(host) if self._negotiate else "") + path
                if isinstance(read, ListReader):
                    reading = read.begin()
                    await self._receive(host, path_, _noting(heard, reading.feed))
                    return reading.done()
                body = bytearray()
                await self._receive(host, path_, _noting(heard, body.extend))
            return read(body) if len(body) < ON_THE_LOOP else await asyncio.to_thread(read, body)
        except DiscoveryError as err:
            raise DiscoveryError(_reason(err, path), f"{host}{path.partition('?')[0]}: {err}") from err

    async def _whole(self, host: Host, path: str, owed: Owed) -> Body:
        body = bytearray()
        with owed.request() as heard:
            path_ = (await self._version(host) if self._negotiate else "") + path
            await self._receive(host, path_, _noting(heard, body.extend))
        return body

    async def _version(self, host: Host) -> str:
        """``/v1.xx``: the newest version that both sides know. Source: how Docker's client negotiates."""
        async with self._negotiating.setdefault(host, asyncio.Lock()):
            if host not in self._versions:
                self._versions[host] = await self._negotiated(host)
            return self._versions[host]

    async def _negotiated(self, host: Host) -> str:
        try:
            body = bytearray()
            await self._receive(host, "/version", body.extend)
            told = msgspec.json.decode(body, type=_VersionAnswer)
        except msgspec.DecodeError as err:
            raise DiscoveryError("not_json", f"/version: no JSON object: {err}") from None
        newest = _number(told.api_version)
        if newest is None:
            raise DiscoveryError("not_docker", "does not answer /version as a Docker engine does")
        chosen = max(min(newest, NEWEST_API), _number(told.min_api_version) or (0, 0))
        return f"/v{chosen[0]}.{chosen[1]}"

    async def _receive(self, host: Host, path: str, take: Callable[[bytes], None]) -> None:
        session, url, auth = self._way_to(host, path)
        await session.receive(url, take, timeout=self._timeout, max_bytes=self._max_bytes, basic_auth=auth)

    async def stream(
        self,
        host: Host,
        path: str,
        take: Callable[[bytes], None],
        *,
        began: Callable[[], None],
        timeout: float,
        silence: float,
    ) -> None:
        """Hands what ``host`` answers to ``take`` until it ends; as ``HTTPSession.stream``."""
        if self._answers is not None:
            began()
            await asyncio.Event().wait()
        try:
            prefix = await self._version(host) if self._negotiate else ""
            session, url, auth = self._way_to(host, prefix + path)
            await session.stream(url, take, began=began, timeout=timeout, silence=silence, basic_auth=auth)
        except DiscoveryError as err:
            raise DiscoveryError(_reason(err, path), f"{host}{path.partition('?')[0]}: {err}") from err

    async def answer(self, host: Host, path: str, *, timeout: float) -> Answer:
        """What ``host`` answers at ``path`` as it is written, whatever the status: for who judges it."""
        session, url, auth = self._way_to(host, path)
        request = Request(also=frozenset(range(300, 600)))
        return await session.exchange(
            url, request, timeout=timeout, max_bytes=self._max_bytes, basic_auth=auth
        )

    def _way_to(self, host: Host, path: str) -> tuple[HTTPSession, str, tuple[str, Secret] | None]:
        """(session, URL, user and password of the URL)."""
        socket_path = host.path if host.scheme == "unix" else None
        session = self._sessions.get(socket_path)
        if session is None:
            session = self._sessions[socket_path] = HTTPSession(self._config, socket_path=socket_path)
        basic_auth = (host.username, host.password or Secret("")) if host.username is not None else None
        return session, self.base(host) + path, basic_auth

    def base(self, host: Host) -> str:
        """What stands before the path in the URLs of ``host``."""
        if host.scheme == "unix":
            return "http://localhost"
        secure = host.scheme == "https" or (host.scheme == "tcp" and self._config.tls_config is not None)
        # as Docker's own client: tcp:// without a port is 2375, with TLS 2376
        port = 2376 if secure and host.scheme == "tcp" and host.port is None else host.connect_port
        name = f"[{host.hostname}]" if ":" in host.hostname else host.hostname
        return f"{'https' if secure else 'http'}://{name}:{port}{host.path}"

    def status(self) -> tuple[HostStatus, ...]:
        """What is known of each host."""
        return self.rotation.status()

    async def close(self) -> None:
        """Closes every connection."""
        for session in self._sessions.values():
            await session.close()


class _VersionAnswer(
    msgspec.Struct, rename={"api_version": "ApiVersion", "min_api_version": "MinAPIVersion"}
):
    api_version: str = ""
    min_api_version: str = ""


def _noting(heard: Callable[[], None], take: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def noted(chunk: bytes) -> None:
        heard()
        take(chunk)

    return noted


def _number(version: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


_SAID = (
    ("not a swarm manager", "not_a_manager"),
    ("does not have a leader", "no_quorum"),
    ("swarm is encrypted", "locked"),
    ("needs to be unlocked", "locked"),
    ("too old", "api_version"),
    ("too new", "api_version"),
)

_INVALID_FILTER = re.compile(r"[Ii]nvalid \S+ filter")


def _reason(err: DiscoveryError, path: str) -> str:
    """A finer reason than "status" where an engine says what is the matter. Source: moby daemon/cluster."""
    if not isinstance(err, HTTPStatusError):
        return err.reason
    if found := next((reason for text, reason in _SAID if text in err.said), ""):
        return found
    # up to 20.10 a value that is not known ("Invalid role filter: 'boss'") is told as if the engine were ill
    refused = err.status in (400, 404) or (err.status == 500 and _INVALID_FILTER.search(err.said))
    return "refused_filter" if refused and "filters=" in path else err.reason
