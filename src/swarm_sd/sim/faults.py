"""What can go wrong between a manager and its client, to be switched on while it runs.

``manager.inject(Hang())`` ... ``manager.mend()``. A fault changes one step of answering: whether anybody
listens, what becomes of a fresh connection, what is listed, what goes over the wire.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from swarm_sd.sim.cluster import Engine, Status
from swarm_sd.sim.engine_info import DOCKER_ENGINE, SWARM_MODE_ENGINE
from swarm_sd.sim.info import Form, form_of
from swarm_sd.sim.moby.answers import Json, refusal
from swarm_sd.sim.moby.standing import Standing
from swarm_sd.sim.tags import Tag
from swarm_sd.sim.wire import Connection, Request, Response, chunk, error, linger_zero

Lists = Mapping[str, list[Json]]


class Fault:
    """No fault; every kind of fault changes some of these steps."""

    listening: bool = True
    drops_connections: bool = False
    events: int | None = None  # after so many a stream of events ends; None: never

    @property
    def spoils_answers(self) -> bool:
        """Whether ``answer`` does anything but send the honest one."""
        return type(self).answer is not Fault.answer

    async def accepted(self, _sock: socket.socket, /) -> bool:
        """Whether it dealt with a fresh connection, which then goes no further."""
        return False

    def server_tls(self, own: ssl.SSLContext | None, /) -> ssl.SSLContext | None:
        """What the manager speaks on a fresh connection; None: plain HTTP."""
        return own

    def engines(self, listed: list[Engine], /) -> list[Engine]:
        """The engines that the manager lists."""
        return listed

    def form(self, _tag: Tag, _path: str, /) -> Form | None:
        """The list that ``/info`` uses; None: the one that belongs to the path."""
        return None

    def standing(self, own: Standing, /) -> Standing:
        """How a Docker engine stands towards its swarm."""
        return own

    def lists(self, own: Lists, /) -> Lists:
        """What a manager of a swarm mode cluster lists."""
        return own

    async def answer(self, connection: Connection, request: Request, honest: Response, /) -> bool:
        """Sends the answer; whether the connection may be used again."""
        close = (request.header("Connection") or "").lower() == "close"
        await connection.respond(honest, close=close, without_body=request.method == "HEAD")
        return True


# -- nobody there, or nobody who answers ---------------------------------------------------------------


class Refuse(Fault):
    """Nobody listens: connections are refused, open ones are closed."""

    listening = False
    drops_connections = True


class Reset(Fault):
    """Every connection is reset at once."""

    async def accepted(self, sock: socket.socket, /) -> bool:
        """Resets it."""
        linger_zero(sock)
        sock.close()
        return True

    async def answer(self, connection: Connection, request: Request, honest: Response, /) -> bool:
        """Resets a connection that was open before."""
        connection.reset()
        return False


@dataclass(frozen=True)
class ResetMidBody(Fault):
    """The connection is reset after ``after`` bytes of the body."""

    after: int = 100

    async def answer(self, connection: Connection, request: Request, honest: Response, /) -> bool:
        """Sends the beginning, then RST."""
        await connection.send(honest.head() + honest.payload()[: self.after])
        # a reset discards what the client has not read yet: give the kernel the chance to hand it over
        await asyncio.sleep(0)
        connection.reset()
        return False


class Hang(Fault):
    """Accepts, takes the request and never answers."""

    async def answer(self, connection: Connection, request: Request, honest: Response, /) -> bool:
        """Waits for the client to give up."""
        await connection.wait_until_client_leaves()
        return False


@dataclass(frozen=True)
class HangMidBody(Fault):
    """Sends headers and ``after`` bytes of the body, then nothing more."""

    after: int = 100

    async def answer(self, connection: Connection, request: Request, honest: Response, /) -> bool:
        """Sends the beginning and waits for the client to give up."""
        await connection.send(honest.head() + honest.payload()[: self.after])
        await connection.wait_until_client_leaves()
        return False


@dataclass(frozen=True)
class Slow(Fault):
    """Drips the answer: ``step`` bytes, a pause of ``pause`` seconds, and so on."""

    step: int = 64
    pause: float = 0.05

    async def answer(self, connection: Connection, request: Request, honest: Response, /) -> bool:
        """Sends everything, slowly."""
        data = honest.head() + honest.payload()
        for start in range(0, len(data), self.step):
            await connection.send(data[start : start + self.step])
            await asyncio.sleep(self.pause)
        return True


@dataclass(frozen=True)
class Truncated(Fault):
    """The body ends too early: short of its Content-Length, or ``chunked`` without a last chunk."""

    chunked: bool = False
    keep: float = 0.5  # which part of the body still comes

    async def answer(self, connection: Connection, request: Request, honest: Response, /) -> bool:
        """Sends a part and closes in good order."""
        part = honest.body[: int(len(honest.body) * self.keep)]
        if self.chunked:
            await connection.send(replace(honest, chunked=True).head() + chunk(part))
        else:
            await connection.send(honest.head(length=len(honest.body)) + part)
        return False


@dataclass(frozen=True)
class Endless(Fault):
    """A body that does not end: JSON that goes on with white space, for at most ``limit`` bytes."""

    limit: int = 1 << 30

    async def answer(self, connection: Connection, request: Request, honest: Response, /) -> bool:
        """Sends on and on."""
        await connection.send(replace(honest, chunked=True).head() + chunk(b'{"ID":'))
        blank = chunk(b" " * 65536)
        for _ in range(self.limit // 65536):
            await connection.send(blank)
        return False


@dataclass(frozen=True)
class EventsEnd(Fault):
    """A stream of events ends in good order, status 200, after ``events``.

    At once and empty is how managers of v1.0.0 to v1.2.6 now and then answer: a race in their
    eventsHandler.Wait. A silent stream is ``HangMidBody(after=0)``; one is cut by ``drop_connections()``.
    """

    events: int | None = 0


# -- another answer than it should be -------------------------------------------------------------------


@dataclass(frozen=True)
class Instead(Fault):
    """Another response in place of the honest one; made from the request by ``make``."""

    make: Callable[[Request], Response]

    async def answer(self, connection: Connection, request: Request, honest: Response, /) -> bool:
        """Sends the other one."""
        return await super().answer(connection, request, self.make(request))


def status(code: int, text: str = "") -> Instead:
    """An error ``code`` with a line of text, as a manager or a proxy before it gives."""
    return Instead(lambda _request: error(code, text or f"simulated error {code}"))


def api_error(code: int, message: str = "") -> Instead:
    """An error ``code`` of a Docker engine; with ``path="/networks"`` that list alone is broken."""
    return Instead(lambda _request: refusal(code, message or f"simulated error {code}"))


def redirect(to: str, code: int = 301) -> Instead:
    """A redirect of every path to ``to`` + that path."""
    return Instead(lambda request: Response(code, b"", (("Location", f"{to}{request.target}"),)))


def html() -> Instead:
    """A page with status 200, as captive portals and login proxies give."""
    body = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in to go on</body></html>\n"
    return Instead(lambda _request: Response(200, body, (("Content-Type", "text/html; charset=utf-8"),)))


def body(data: bytes, content_type: str = "application/json") -> Instead:
    """Status 200 with ``data`` as the body; ``b""`` is the empty answer."""
    return Instead(lambda _request: Response(200, data, (("Content-Type", content_type),)))


def json_value(value: object) -> Instead:
    """Status 200 with JSON of another shape: a list, a text, a number, None."""
    return body(json.dumps(value).encode() + b"\n")


def docker_engine() -> Instead:
    """The ``/info`` of a plain Docker engine 20.10, not a Swarm manager."""
    return json_value(DOCKER_ENGINE)


def swarm_mode_engine() -> Instead:
    """The ``/info`` of an engine that is in swarm mode, which is another Swarm."""
    return json_value(SWARM_MODE_ENGINE)


@dataclass(frozen=True)
class GzipLie(Fault):
    """A lie about compression.

    ``kind``: "plain" says gzip and sends the body as it is; "cut" sends half of a gzip stream;
    "unsaid" sends gzip without saying so.
    """

    kind: str = "plain"

    async def answer(self, connection: Connection, request: Request, honest: Response, /) -> bool:
        """Sends the lie, its framing in order."""
        packed = gzip.compress(honest.body)
        data = {"plain": honest.body, "cut": packed[: len(packed) // 2], "unsaid": packed}[self.kind]
        said = () if self.kind == "unsaid" else (("Content-Encoding", "gzip"),)
        lie = replace(honest, body=data, headers=(*honest.headers, *said))
        return await super().answer(connection, request, lie)


@dataclass(frozen=True)
class Garbage(Fault):
    """Bytes that are not HTTP."""

    data: bytes = b"\x00\x01\x02SSH-2.0-OpenSSH_9.2\r\n\r\n"

    async def answer(self, connection: Connection, request: Request, honest: Response, /) -> bool:
        """Sends them and closes."""
        await connection.send(self.data)
        return False


class Plain(Fault):
    """Plain HTTP where TLS is expected."""

    drops_connections = True

    def server_tls(self, own: ssl.SSLContext | None, /) -> None:
        """None, whatever the manager has."""
        return


@dataclass(frozen=True)
class Encrypted(Fault):
    """TLS where plain HTTP is expected."""

    tls: ssl.SSLContext
    drops_connections = True

    def server_tls(self, own: ssl.SSLContext | None, /) -> ssl.SSLContext:
        """The given context."""
        return self.tls


# -- an answer of the right shape that is not the truth --------------------------------------------------


class OtherForm(Fault):
    """The list in the other key than the path asks for: the race of v1.1.0 to v1.2.8.

    Source: api/primary.go keeps the asked version in one variable for all requests.
    """

    def form(self, tag: Tag, path: str, /) -> Form | None:
        """The other form, where that release can have it."""
        if not tag.since("v1.1.0") or tag.since("v1.2.9"):
            return None
        return "SystemStatus" if form_of(tag, path) == "DriverStatus" else "DriverStatus"


@dataclass
class Restarted(Fault):
    """A manager that has just started: ``empty`` answers without nodes, then ``pending`` with all Pending."""

    empty: int = 1
    pending: int = 1
    asked: int = field(default=0, init=False)

    def engines(self, listed: list[Engine], /) -> list[Engine]:
        """What it has found so far."""
        self.asked += 1
        if self.asked <= self.empty:
            return []
        return _unreached(listed) if self.asked <= self.empty + self.pending else listed

    def lists(self, own: Lists, /) -> Lists:
        """A leader in swarm mode that has just started: nothing, then nodes it has not heard of yet."""
        self.asked += 1
        if self.asked <= self.empty:
            return {kind: [] for kind in own}
        return {**own, "nodes": _unheard(own["nodes"])} if self.asked <= self.empty + self.pending else own


class ZeroNodes(Fault):
    """A manager that lists no node for as long as it lasts; in swarm mode nothing at all."""

    def lists(self, own: Lists, /) -> Lists:
        """Nothing."""
        return {kind: [] for kind in own}

    def engines(self, listed: list[Engine], /) -> list[Engine]:
        """None."""
        return []


def _unreached(listed: Sequence[Engine]) -> list[Engine]:
    return [Engine(address=e.address, status=Status.PENDING, updated_at=e.updated_at) for e in listed]


def _unheard(nodes: Sequence[Json]) -> list[Json]:
    return [{**node, "Status": {**node["Status"], "State": "unknown"}} for node in nodes]


# -- swarm mode ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stands(Fault):
    """An engine that stands differently towards its swarm than it should."""

    other: Standing

    def standing(self, own: Standing, /) -> Standing:
        """The other one."""
        return self.other


def not_a_manager() -> Stands:
    """A manager that was demoted: 503 on everything of the swarm."""
    return Stands(Standing.WORKER)


def no_leader() -> Stands:
    """A manager that is cut off from the others: 500 on everything of the swarm."""
    return Stands(Standing.NO_LEADER)


def locked() -> Stands:
    """A manager that waits to be unlocked: 503 on everything of the swarm."""
    return Stands(Standing.LOCKED)


def left_the_swarm() -> Stands:
    """An engine that is in no swarm any more."""
    return Stands(Standing.ALONE)


@dataclass(frozen=True)
class OlderState(Fault):
    """A manager that lags behind: it answers ``older``, which ``Swarm.snapshot`` gave some time before."""

    older: Lists

    def lists(self, own: Lists, /) -> Lists:
        """The older ones."""
        return self.older
