"""One manager (``swarm manage``) on a real socket: answers, leads or follows, counts what it is asked.

``async with Manager(cluster) as manager`` listens at ``manager.url``. Stopped and started again it has
the same address. Several managers on one ``Cluster`` see the same engines.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable
from dataclasses import replace

from swarm_sd.sim.cluster import Cluster, Happening
from swarm_sd.sim.containers import containers_json, inspected
from swarm_sd.sim.events import event
from swarm_sd.sim.faults import Fault
from swarm_sd.sim.info import Teller, info, version
from swarm_sd.sim.server import TIME_LIMIT, Server
from swarm_sd.sim.tags import Tag
from swarm_sd.sim.wire import (
    Connection,
    Header,
    Request,
    Response,
    chunk,
    error,
    json_answer,
)


class Manager(Server):
    """A manager of release ``tag`` for ``cluster``.

    ``listen``: ``tcp://host:port`` (port 0: a free one, kept from then on) or ``unix:///path``. ``tls``
    is the server's context; with ``verify_mode = CERT_REQUIRED`` it is ``--tlsverify``. ``replication``
    makes it one of several: it leads while ``cluster.primary`` is its ``advertise`` address, and is a
    replica otherwise. ``proxy_tls`` is what a replica speaks to the primary.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        tag: str = "v1.2.9",
        listen: str = "tcp://127.0.0.1:0",
        tls: ssl.SSLContext | None = None,
        replication: bool = False,
        advertise: str = "",
        proxy_tls: ssl.SSLContext | None = None,
        hostname: str = "swarm-manager",
    ) -> None:
        super().__init__(listen=listen, tls=tls)
        self.cluster = cluster
        self.replication = replication
        self.proxy_tls = proxy_tls
        self._teller = Teller(tag=Tag(tag), hostname=hostname)
        self._advertise = advertise

    @property
    def tag(self) -> Tag:
        """Its release."""
        return self._teller.tag

    @property
    def advertise(self) -> str:
        """The address by which other managers know it."""
        return self._advertise or self.address

    @property
    def leads(self) -> bool:
        """Whether it says that it is the primary; a manager without replication always does."""
        return not self.replication or self.cluster.primary == self.advertise

    async def _answer(self, connection: Connection, request: Request) -> bool:
        fault = self._fault_for(request)
        if self.replication and not self.leads and not _answered_by_replica(request.path, self.tag):
            await self._proxy(connection, request)
            return False
        response = self._response(request, fault)
        close = (request.header("Connection") or "").lower() == "close"
        if request.method == "HEAD":
            await connection.respond(response, close=close, without_body=True)
            return not close
        if self._is_events(request) and not fault.spoils_answers:
            await self._stream(connection, response, fault)
            return False
        return await fault.answer(connection, request, response) and not close

    # -- events ---------------------------------------------------------------------------------------

    def _is_events(self, request: Request) -> bool:
        return request.method == "GET" and self._route(request) == "/events"

    async def _stream(self, connection: Connection, opening: Response, fault: Fault) -> None:
        """Tells what happens until the client leaves, or for as many events as the fault leaves it.

        Filters are not applied, as real managers do not.
        """
        told: asyncio.Queue[bytes] = asyncio.Queue()

        def watch(happening: Happening) -> None:
            if text := event(happening, self.tag, self.cluster.clock()):
                told.put_nowait(text)

        self.cluster.watchers.add(watch)
        try:
            await connection.send(opening.head())
            leaving = asyncio.create_task(connection.wait_until_client_leaves())
            try:
                await _tell(connection, told, leaving, fault.events)
            finally:
                leaving.cancel()
        finally:
            self.cluster.watchers.discard(watch)

    # -- answers --------------------------------------------------------------------------------------

    def _response(self, request: Request, fault: Fault) -> Response:
        handler = self._handler(request)
        if handler is None:
            return error(404, "404 page not found")
        api: tuple[Header, ...] = (("Api-Version", "1.30"),) if self.tag.since("v1.2.9") else ()
        response = handler(request, fault)
        return replace(response, headers=(*api, *response.headers))

    def _handler(self, request: Request) -> Callable[[Request, Fault], Response] | None:
        """Routes are for GET alone: HEAD finds none. Source: api/primary.go, setupPrimaryRouter."""
        path = self._route(request)
        routes = {
            "/info": self._info,
            "/version": lambda _request, _fault: json_answer(version(self._teller)),
            "/_ping": lambda _request, _fault: Response(200, b"OK", sniffed="text/plain; charset=utf-8"),
            "/containers/json": self._containers,
            "/containers/ps": self._containers,
            "/events": lambda _request, _fault: replace(json_answer(b""), chunked=True),
        }
        if request.method != "GET":
            return None
        which = re.fullmatch(r"/containers/(.+)/json", path)
        return self._one_container(which[1]) if which else routes.get(path)

    def _route(self, request: Request) -> str:
        """The path without the version of the API; "" where no route begins so."""
        version_part = r"/v[0-9]+.[0-9]+" if self.tag.since("v1.1.0") else r"/v[0-9.]+"
        found = re.fullmatch(rf"(?:{version_part})?(/[^/].*)", request.path)
        return found[1] if found else ""

    def _one_container(self, which: str) -> Callable[[Request, Fault], Response]:
        return lambda _request, _fault: inspected(self.cluster, self.tag, which)

    def _info(self, request: Request, fault: Fault) -> Response:
        teller = replace(
            self._teller,
            role="primary" if self.leads else "replica",
            primary=self.cluster.primary,
            form=fault.form(self.tag, request.path),
        )
        listed = fault.engines(self.cluster.listed(self.tag))
        return json_answer(info(self.cluster, teller, request.path, engines=listed))

    def _containers(self, request: Request, fault: Fault) -> Response:
        everything = re.search(r"[?&]all=(1|true)(&|$)", request.target) is not None
        return json_answer(containers_json(self.cluster, self.tag, everything=everything, only=fault.engines))

    async def _proxy(self, connection: Connection, request: Request) -> None:
        """A replica hands the request on, byte by byte. Source: api/replica.go, ServeHTTP."""
        primary = self.cluster.primary
        if not primary:
            if self.tag.since("v1.2.9"):  # waits for a leader, for ever if need be
                await connection.wait_until_client_leaves()
            else:
                await connection.respond(error(500, "No elected primary cluster manager"), close=True)
            return
        host, _, port = primary.rpartition(":")
        try:
            dialled = asyncio.open_connection(host.strip("[]"), int(port), ssl=self.proxy_tls)
            reader, writer = await asyncio.wait_for(dialled, TIME_LIMIT)
        except OSError as err:
            why = f"dial tcp {primary}: connect: {_go_cause(err)}"
            text = f"Unable to reach primary cluster manager ({why}): {primary}"
            await connection.respond(error(500, text), close=True)
            return
        await _hand_over(Connection(reader, writer), connection, request)


async def _tell(
    connection: Connection, told: asyncio.Queue[bytes], leaving: asyncio.Task[None], most: int | None
) -> None:
    """Hands on what is ``told``, at most ``most`` events, and ends the body; or until the client leaves."""
    while most is None or most > 0:
        waiting = asyncio.create_task(told.get())
        try:
            done, _ = await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if waiting not in done:
            return
        await connection.send(chunk(waiting.result()))
        most = None if most is None else most - 1
    await connection.send(chunk(b""))


def _answered_by_replica(path: str, tag: Tag) -> bool:
    """Source: api/replica.go, localRoutes: the end of the path alone decides."""
    local = ("/info", "/_ping", "/debug") if tag.since("v1.1.0") else ("/info", "/_ping")
    return path.endswith(local)


def _go_cause(err: OSError) -> str:
    return (
        "connection refused"
        if isinstance(err, ConnectionRefusedError)
        else (err.strerror or str(err)).lower()
    )


async def _hand_over(primary: Connection, client: Connection, request: Request) -> None:
    try:
        await primary.send(
            re.sub(rb"(?i)\r\nConnection:[^\r]*", b"", request.raw[:-2]) + b"Connection: close\r\n\r\n"
        )
        while data := await primary.reader.read(65536):
            await client.send(data)
    finally:
        primary.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await primary.writer.wait_closed()
