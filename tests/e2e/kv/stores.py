"""Real stores on loopback: clusters of three members, each ended by its own process id alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from tests.e2e.programs import Program, free_port, needs, until


class EtcdMember(Program):
    """One of the members of an etcd cluster; ``cluster`` is filled in before it starts."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.client_port, self.peer_port = free_port(), free_port()
        super().__init__(f"etcd-{self.client_port}", folder, self.client_port)
        self._program = needs("etcd")
        self._data = folder / f"etcd-data-{self.client_port}"
        self._flags = flags
        self.cluster = ""

    def command(self) -> Sequence[str | Path]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.client_port, self.peer_port))
        return [
            self._program, "--name", self.name, "--data-dir", self._data, "--enable-v2",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", self.cluster, "--heartbeat-interval", "50", "--election-timeout", "500",
            *self._flags,
        ]  # fmt: skip

    @property
    def as_peer(self) -> str:
        return f"{self.name}=http://127.0.0.1:{self.peer_port}"


class ZooKeeperServer(Program):
    """One of the servers of a ZooKeeper ensemble."""

    def __init__(self, folder: Path, number: int) -> None:
        self.client_port, self.quorum_port, self.election_port = free_port(), free_port(), free_port()
        super().__init__(f"zookeeper-{number}", folder, self.client_port)
        self._java = needs("java")
        self._data = folder / f"zookeeper-data-{self.client_port}"
        self._config = folder / f"zookeeper-{self.client_port}.cfg"
        self.number = number
        self.secure_port = free_port()

    def configure(
        self, servers: Sequence[ZooKeeperServer], tls: tuple[Path | str, Path | str] | None
    ) -> None:
        """Tells it of the others; ``tls``: its key with certificate, and whom it trusts."""
        self._data.mkdir()
        (self._data / "myid").write_text(str(self.number))
        quorum = [f"server.{one.number}=127.0.0.1:{one.quorum_port}:{one.election_port}" for one in servers]
        settings = [
            "tickTime=200", "initLimit=50", "syncLimit=20", "minSessionTimeout=1000",
            "maxSessionTimeout=60000", f"dataDir={self._data}", f"clientPort={self.client_port}",
            "clientPortAddress=127.0.0.1", "admin.enableServer=false", "4lw.commands.whitelist=*",
        ]  # fmt: skip
        if tls is not None:
            settings += [
                f"secureClientPort={self.secure_port}", "secureClientPortAddress=127.0.0.1",
                "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
                "ssl.keyStore.type=PEM", f"ssl.keyStore.location={tls[0]}",
                "ssl.trustStore.type=PEM", f"ssl.trustStore.location={tls[1]}",
            ]  # fmt: skip
        self._config.write_text("\n".join([*settings, *quorum]) + "\n")

    def command(self) -> Sequence[str | Path]:
        jars = Path("/usr/share/java")
        if not (jars / "zookeeper.jar").exists():
            needs("zookeeper's jar")
        found = [jars / "zookeeper.jar", *sorted(jars.glob("netty-*[a-z].jar")), jars / "slf4j-simple.jar"]
        return [
            self._java, "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-cp", ":".join(map(str, found)),
            "-Dlog4j.configuration=file:/etc/zookeeper/conf/log4j.properties",
            "-Dzookeeper.root.logger=WARN,CONSOLE",
            "org.apache.zookeeper.server.quorum.QuorumPeerMain", self._config,
        ]  # fmt: skip

    async def _answers(self, path: str) -> bool:
        del path
        if self.process.poll() is not None:
            pytest.fail(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        return b"Mode: " in await self.four_letters("srvr")

    async def four_letters(self, word: str) -> bytes:
        """What it answers to one of its four letter words."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.client_port)
        with contextlib.closing(writer):
            writer.write(word.encode())
            return await asyncio.wait_for(reader.read(), 5)


async def _start_together(members: Sequence[Program], answers: str) -> None:
    # a member answers only when most of them are there
    await asyncio.gather(*(member.start(answers) for member in members))


@contextlib.asynccontextmanager
async def etcd_cluster(folder: Path, *flags: str, size: int = 3) -> AsyncIterator[list[EtcdMember]]:
    """A running etcd cluster."""
    members = [EtcdMember(folder, *flags) for _ in range(size)]
    for member in members:
        member.cluster = ",".join(one.as_peer for one in members)
    try:
        await start_etcd(members)
        yield members
    finally:
        await end(members)


async def start_etcd(members: Sequence[EtcdMember]) -> None:
    """Starts them, and waits until they agree on a leader."""
    await _start_together(members, "/version")

    async def healthy() -> bool:
        return all([json.loads((await one.get("/health")).body).get("health") == "true" for one in members])

    await until(healthy, "etcd is healthy")


@contextlib.asynccontextmanager
async def zookeeper_ensemble(
    folder: Path, *, size: int = 3, tls: tuple[Path | str, Path | str] | None = None
) -> AsyncIterator[list[ZooKeeperServer]]:
    """A running ZooKeeper ensemble."""
    servers = [ZooKeeperServer(folder, number) for number in range(1, size + 1)]
    for server in servers:
        server.configure(servers, tls)
    try:
        await start_zookeeper(servers)
        yield servers
    finally:
        await end(servers)


async def start_zookeeper(servers: Sequence[ZooKeeperServer]) -> None:
    """Starts them, and waits until they serve."""
    await _start_together(servers, "")


async def end(members: Sequence[Program]) -> None:
    """Ends those that run."""
    for member in members:
        with contextlib.suppress(AssertionError):  # never started
            if member.process.poll() is None:
                await member.kill9()
        print(f"--- {member.name} said:\n{member.log()[-1500:]}")
