"""Masters behind TLS, a unix socket, a password or a proxy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from swarm_sd.sim.faults import Fault
from swarm_sd.sim.manager import Manager
from swarm_sd.sim.wire import Connection, Request, Response, error, read_request

from .conftest import StartSwarmSD
from .programs import becomes, until
from .swarm import Swarm

pytestmark = pytest.mark.e2e


@pytest.fixture
async def swarm() -> AsyncIterator[Swarm]:
    """One manager, so that no other can answer in its place."""
    async with Swarm(managers=1) as running:
        yield running


# -- TLS with client certificates ---------------------------------------------------------------------


def server_side(authority: trustme.CA, host: str) -> ssl.SSLContext:
    """A server of ``authority`` at ``host`` that lets nobody in without a certificate of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def write_client_side(authority: trustme.CA, folder: Path) -> None:
    """What a client needs, as files in ``folder``."""
    own = authority.issue_cert("swarm-sd.example")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    own.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    own.private_key_pem.write_to_path(folder / "key.pem")


TLS = "tls_config: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}"


async def test_certificates_that_are_replaced_on_disk_are_used_without_a_restart(
    swarm: Swarm, swarm_sd: StartSwarmSD, tmp_path: Path
) -> None:
    manager, old, new = swarm.managers[0], trustme.CA(), trustme.CA()
    manager.tls = server_side(old, "127.88.0.1")
    write_client_side(old, tmp_path)
    sd = await swarm_sd(swarm.config("swarm", TLS))
    await becomes(sd.addresses, swarm.targets())
    manager.tls = server_side(new, "127.88.0.1")
    await asyncio.gather(*manager.drop_connections(), return_exceptions=True)
    await until(lambda: sd.metric("swarm_sd_stale"), "a refresh that fails")
    assert await sd.addresses() == swarm.targets()
    write_client_side(new, tmp_path)
    await becomes(lambda: sd.metric("swarm_sd_stale"), 0.0)
    await swarm.join()
    await becomes(sd.addresses, swarm.targets())


async def test_without_a_certificate_the_log_says_what_is_missing(
    swarm: Swarm, swarm_sd: StartSwarmSD, tmp_path: Path
) -> None:
    authority = trustme.CA()
    swarm.managers[0].tls = server_side(authority, "127.88.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    sd = await swarm_sd(swarm.config("swarm", "tls_config: {ca_file: ca.pem}"))
    await sd.said("wants a client certificate")
    assert (await sd.get("/sd/swarm")).status == 503


# -- a socket -------------------------------------------------------------------------------------------


async def test_a_master_behind_a_unix_socket(swarm: Swarm, swarm_sd: StartSwarmSD) -> None:
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's path has at most 107 bytes
        async with Manager(swarm.cluster, listen=f"unix://{folder}/s.sock") as manager:
            sd = await swarm_sd(swarm.config(masters=[manager.url]))
            expected = swarm.nodes() | {f"localhost:{swarm.port}"}
            await becomes(sd.addresses, expected)
            assert manager.count("/info") > 0
        await until(lambda: sd.metric("swarm_sd_stale"), "a refresh that fails")
        assert await sd.addresses() == expected


# -- a password -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Guarded(Fault):
    """Lets in only who brings the right user and password."""

    user: str
    password: str

    async def answer(self, connection: Connection, request: Request, honest: Response, /) -> bool:
        """The honest answer, or 401."""
        right = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if request.header("Authorization") == f"Basic {right}":
            return await super().answer(connection, request, honest)
        return await super().answer(connection, request, error(401, "who are you?"))


async def test_a_password_file_that_changes_is_used_and_never_shown(
    swarm: Swarm, swarm_sd: StartSwarmSD, tmp_path: Path
) -> None:
    manager, file = swarm.managers[0], tmp_path / "password"
    manager.inject(Guarded("prom", "s3cret-one"))
    file.write_text("s3cret-one\n")
    sd = await swarm_sd(swarm.config("swarm", "basic_auth: {username: prom, password_file: password}"))
    await becomes(sd.addresses, swarm.targets())
    manager.inject(Guarded("prom", "s3cret-two"))
    await until(lambda: sd.metric("swarm_sd_stale"), "a refresh that fails")
    file.write_text("s3cret-two\n")
    await swarm.join()
    await becomes(sd.addresses, swarm.targets())
    shown = sd.log() + "".join([(await sd.get(path)).body.decode() for path in ("/", "/metrics", "/sd")])
    assert "s3cret" not in shown
    assert "401" in sd.log()


async def test_user_and_password_in_the_masters_url(swarm: Swarm, swarm_sd: StartSwarmSD) -> None:
    manager = swarm.managers[0]
    manager.inject(Guarded("prom", "p@ss/word"))
    url = manager.url.replace("http://", "http://prom:p%40ss%2Fword@")
    sd = await swarm_sd(swarm.config(masters=[url]))
    await becomes(sd.addresses, swarm.targets())
    shown = sd.log() + "".join(
        [(await sd.get(path)).body.decode() for path in ("/", "/metrics", "/sd/swarm")]
    )
    assert "ss%2Fword" not in shown
    assert "p@ss" not in shown


# -- a proxy --------------------------------------------------------------------------------------------


class Proxy:
    """A forward proxy for plain HTTP; ``asked`` are the URLs that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Listens while inside; its URL."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        if request is not None:
            self.asked.append(request.target)
            authority, _, path = request.target.removeprefix("http://").partition("/")
            host, _, port = authority.partition(":")
            there, back = await asyncio.open_connection(host, int(port))
            back.write(f"GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
            await self._pass_on(reader, there, writer)
            back.close()
            await back.wait_closed()
        writer.close()
        await writer.wait_closed()

    @staticmethod
    async def _pass_on(
        reader: asyncio.StreamReader, there: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Each piece as it comes, until one of both sides leaves."""
        leaving = asyncio.create_task(reader.read())
        while True:
            piece = asyncio.create_task(there.read(65536))
            await asyncio.wait((piece, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not piece.done() or not piece.result():
                piece.cancel()
                leaving.cancel()
                return
            writer.write(piece.result())


async def test_a_master_is_asked_through_the_proxy(swarm: Swarm, swarm_sd: StartSwarmSD) -> None:
    proxy = Proxy()
    async with proxy.listening() as url:
        sd = await swarm_sd(swarm.config("swarm", f"proxy_url: {url}"))
        await becomes(sd.addresses, swarm.targets())
        assert set(proxy.asked) == {f"{swarm.urls[0]}/info", f"{swarm.urls[0]}/events"}
        await sd.stop()


async def test_no_proxy_is_asked_for_those_that_no_proxy_names(swarm: Swarm, swarm_sd: StartSwarmSD) -> None:
    proxy = Proxy()
    async with proxy.listening() as url:
        sd = await swarm_sd(swarm.config("swarm", f"proxy_url: {url}", "no_proxy: 127.88.0.0/16"))
        await becomes(sd.addresses, swarm.targets())
    assert proxy.asked == []
