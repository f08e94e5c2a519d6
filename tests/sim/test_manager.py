from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import aiohttp
import pytest
import trustme

from swarm_sd.sim import __main__ as command
from swarm_sd.sim.cluster import Cluster
from swarm_sd.sim.clusters import example, large, on_loopback
from swarm_sd.sim.containers import containers_json
from swarm_sd.sim.faults import Encrypted, Plain
from swarm_sd.sim.manager import Manager
from swarm_sd.sim.tags import Tag

from .raw_client import LIMIT, ask, connected, everything, parsed, request
from .recordings import Recording, recordings

ALL = recordings()


async def test_info_over_tcp_lists_the_nodes() -> None:
    async with Manager(example()) as manager:
        answer = json.loads((await ask(manager)).body)
    assert ["Nodes", "3"] in answer["SystemStatus"]


async def test_info_over_a_unix_socket_lists_the_nodes(tmp_path: Path) -> None:
    where = tmp_path / "swarm.sock"
    async with Manager(example(), listen=f"unix://{where}") as manager:
        assert manager.url == f"unix://{where}"
        assert (await ask(manager)).status == 200
    assert not where.exists()


async def test_an_ordinary_client_is_satisfied_over_a_kept_connection() -> None:
    async with Manager(large(100)) as manager, aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.get(f"{manager.url}/info") as response:
                assert len((await response.json())["SystemStatus"]) > 100
        assert manager.connections == 1


def alike(recording: Recording) -> list[tuple[str, str | None]]:
    """Headers in their order; without values where these are of the moment."""
    volatile = {"Date", "Content-Length"}
    return [(key, None if key in volatile else value) for key, value in recording.headers]


SIMPLE = [
    r
    for r in ALL
    if r.scenario.startswith(("ping", "version", "probe", "info-healthy", "info-zero")) and r.tag != "v0.1.0"
]


@pytest.mark.parametrize("recording", SIMPLE, ids=str)
async def test_status_and_headers_are_those_of_a_real_manager(recording: Recording) -> None:
    cluster = Cluster() if "zero" in recording.scenario else example()
    method = "POST" if "post" in recording.scenario else "HEAD" if "head" in recording.scenario else "GET"
    async with Manager(cluster, tag=recording.tag) as manager:
        answer = await ask(manager, recording.path, method)
    assert answer.status == recording.status
    shown = [(key, None if key in {"Date", "Content-Length"} else value) for key, value in answer.headers]
    assert shown == alike(recording)
    if not recording.path.endswith(("/info", "/version")):
        assert answer.body == recording.body


@pytest.mark.parametrize(("tag", "path", "status"), [
    ("v1.0.1", "/v1/info", 200), ("v1.0.1", "/v1.2.3/info", 200), ("v1.1.0", "/v1.2.3/info", 404),
    ("v1.2.9", "/v1.40/info", 200), ("v1.2.9", "/vx/info", 404), ("v1.2.9", "/info/", 404),
    ("v1.2.9", "/info?all=1", 200), ("v0.4.0", "/v9.9/info", 200),
])  # fmt: skip
async def test_which_versions_in_a_path_are_taken(tag: str, path: str, status: int) -> None:
    async with Manager(example(), tag=tag) as manager:
        assert (await ask(manager, path)).status == status


async def test_requests_and_their_headers_are_kept_and_counted() -> None:
    async with Manager(example()) as manager:
        await ask(manager, "/v1.24/info")
        await ask(manager, "/_ping")
        await ask(manager, "/nosuch")
    assert (manager.count(), manager.count("/info"), manager.count("/_ping")) == (3, 1, 1)
    assert manager.requests[0].header("host") == "manager"
    assert manager.connections == 3


async def test_a_stopped_manager_refuses_and_comes_back_at_the_same_address() -> None:
    manager = Manager(example())
    async with manager:
        before = manager.url
    with pytest.raises(ConnectionRefusedError):
        await ask(manager)
    async with manager:
        assert manager.url == before
        assert (await ask(manager)).status == 200


async def test_stopping_ends_open_connections_and_leaves_no_task() -> None:
    tasks = len(asyncio.all_tasks())
    async with Manager(example()) as manager, connected(manager) as (reader, writer):
        writer.write(b"GET /_ping HTTP/1.1\r\nHost: m\r\n\r\n")
        assert b"200 OK" in await reader.readline()
        await manager.stop()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(100_000)
    assert len(asyncio.all_tasks()) == tasks


# -- several managers ------------------------------------------------------------------------------------


async def test_a_replica_answers_info_itself_and_hands_on_the_rest() -> None:
    cluster = example()
    async with (
        Manager(cluster, replication=True) as first,
        Manager(cluster, replication=True) as second,
    ):
        cluster.elect(first.advertise)
        assert json.loads((await ask(first)).body)["SystemStatus"][0] == ["Role", "primary"]
        replica = json.loads((await ask(second)).body)["SystemStatus"]
        assert replica[:2] == [["Role", "replica"], ["Primary", first.address]]
        assert b"swarm/1.2.9" in (await ask(second, "/version")).body
        assert (await ask(second, "/containers/json")).status == 200
        assert (first.count("/version"), first.count("/containers/json")) == (1, 1)
        assert (await ask(second, "/_ping")).body == b"OK"
        cluster.elect(second.advertise)
        assert json.loads((await ask(first)).body)["SystemStatus"][1] == ["Primary", second.address]


async def test_without_its_primary_a_replica_answers_info_and_500_to_the_rest() -> None:
    cluster = example()
    async with Manager(cluster, tag="v1.2.3", replication=True) as replica:
        async with Manager(cluster, tag="v1.2.3", replication=True) as primary:
            cluster.elect(primary.advertise)
        assert (await ask(replica)).status == 200
        answer = await ask(replica, "/version")
    recorded = next(r for r in ALL if r.file == "v1.2.3/ha-killed-version-replica1.json")
    assert answer.status == recorded.status
    assert answer.body.decode() == recorded.body.decode().replace("10.99.0.2:21213", primary.address)
    assert [key for key, _ in answer.headers] == [key for key, _ in recorded.headers]


async def test_a_manager_that_never_saw_the_store_knows_no_primary() -> None:
    recorded = next(r for r in ALL if r.file == "v1.2.3/ha-nostore-version.json")
    async with Manager(Cluster(), tag="v1.2.3", replication=True) as manager:
        assert json.loads((await ask(manager)).body)["SystemStatus"][1] == ["Primary", ""]
        answer = await ask(manager, "/version")
        assert (answer.status, answer.body) == (500, recorded.body)


async def test_v1_2_9_without_a_primary_does_not_answer_at_all() -> None:
    async with (
        Manager(Cluster(), replication=True) as manager,
        connected(manager) as (reader, writer),
    ):
        writer.write(request("/version"))
        reading = asyncio.create_task(reader.read(1))
        async with asyncio.timeout(LIMIT):
            while manager.count("/version") == 0:
                await asyncio.sleep(0)
        assert (await ask(manager)).status == 200
        assert not reading.done()
        reading.cancel()


# -- containers -----------------------------------------------------------------------------------------


async def test_containers_of_a_dead_node_are_listed_only_with_all() -> None:
    cluster = example()
    cluster.fail("node-a")
    async with Manager(cluster) as manager:
        some = json.loads((await ask(manager, "/containers/json")).body)
        everyone = json.loads((await ask(manager, "/v1.24/containers/json?all=1")).body)
    assert not [c for c in some if c["Names"][0].startswith("/node-a/")]
    dead = [c for c in everyone if c["Names"][0].startswith("/node-a/")]
    assert dead
    assert {c["Status"] for c in dead} == {"Host Down"}


# -- TLS ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def client_tls(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    with ca.issue_cert("client@example.org").private_key_and_cert_chain_pem.tempfile() as pem:
        context.load_cert_chain(pem)
    return context


async def test_tlsverify_lets_in_a_client_with_a_certificate(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with Manager(example(), tls=server_tls) as manager:
        assert manager.url.startswith("https://")
        assert parsed(await everything(manager, tls=client_tls)).status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tlsverify_refuses_a_client_without_a_certificate(
    server_tls: ssl.SSLContext, ca: trustme.CA, version: ssl.TLSVersion
) -> None:
    stranger = ssl.create_default_context()
    ca.configure_trust(stranger)
    stranger.maximum_version = version
    async with Manager(example(), tls=server_tls) as manager:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert|certificate"):
            await everything(manager, tls=stranger)
        assert manager.count() == 0


async def test_plain_http_on_a_tls_port_is_told_so(server_tls: ssl.SSLContext) -> None:
    recorded = next(r for r in ALL if r.file == "v1.2.9/tls-no-tls-plain-http.json")
    async with Manager(example(), tls=server_tls) as manager:
        answer = await ask(manager)
    assert (answer.status, answer.body) == (recorded.status, recorded.body)


async def test_tls_on_a_plain_port_fails_the_handshake(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with Manager(example()) as manager:
        with pytest.raises(ssl.SSLError):
            await everything(manager, tls=client_tls)
    async with Manager(example(), tls=server_tls) as manager:
        manager.inject(Plain())
        with pytest.raises(ssl.SSLError):
            await everything(manager, tls=client_tls)
        assert (await ask(manager)).status == 200


async def test_a_manager_can_turn_to_tls_while_it_runs(server_tls: ssl.SSLContext) -> None:
    async with Manager(example()) as manager:
        manager.inject(Encrypted(server_tls))
        assert (await ask(manager)).status == 400
        manager.mend()
        assert (await ask(manager)).status == 200


# -- the command ----------------------------------------------------------------------------------------


async def test_the_command_tells_where_it_is_and_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--managers", "2", "--nodes", "2", "--churn", "0.01", "--seed", "3", "--duration", "0.3"]
    await command.run(command.arguments(options))
    told = capsys.readouterr().out
    assert "manager v1.2.9 at http://127.0.0.1:" in told
    assert "replica" in told
    assert "2 nodes with /metrics on port" in told
    assert told.rstrip().endswith("the end")
    assert len(told.splitlines()) > 6


def test_every_node_of_the_command_has_a_container_that_answers() -> None:
    cluster = on_loopback(2)
    command._run_containers(cluster, 8060)
    listed = json.loads(containers_json(cluster, Tag("v1.2.9"), everything=False))
    named = [one for one in listed if one["Ports"]]
    assert [one["Names"] for one in named] == [["/node-0/web-0"], ["/node-1/web-1"]]
    for number, one in enumerate(named, 1):
        assert one["NetworkSettings"]["Networks"]["monitoring"]["IPAddress"] == f"127.77.0.{number}"
        assert [port["PrivatePort"] for port in one["Ports"]] == [8060]
