"""Real stores that do not let everybody in, and members that hang."""

import asyncio
import signal

import aiohttp
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl
from tests.e2e.kv import stores, swarms
from tests.e2e.kv.follower import Follower
from tests.e2e.programs import becomes

from swarm_sd.discovery.http_client import BasicAuth, HTTPClientConfig, TLSConfig
from swarm_sd.discovery.kv import etcd, etcd3, zookeeper
from swarm_sd.discovery.kv.locator import DiscoveryOpts
from swarm_sd.scalars import FilePath, Secret

pytestmark = pytest.mark.e2e

A, B = "10.0.0.1:2375", "10.0.0.2:2375"
ACCOUNT = HTTPClientConfig(basic_auth=BasicAuth(username="root", password=Secret("hunter2")))


async def ask(url, *steps):
    """Each step is (method, path, JSON)."""
    async with aiohttp.ClientSession() as session:
        for method, path, message in steps:
            async with session.request(method, url + path, json=message) as answer:
                assert answer.status in (200, 201), (path, await answer.text())


async def refused(swarm, match):
    async with Follower(swarm.url) as stranger:

        async def failing():
            return bool(stranger.errors)

        await becomes(failing, True)
        assert match in str(stranger.errors[0])
        assert stranger.registered is None


async def let_in(url, http, join, opts=None):
    async with Follower(url, opts, http) as follower:

        async def nodes():
            return follower.nodes

        await becomes(nodes, frozenset({A}))
        hints = follower.hints
        await join()
        await becomes(nodes, frozenset({A, B}))
        assert follower.hints > hints
        assert not follower.errors


async def test_etcd_with_users(tmp_path):
    async with stores.etcd_cluster(tmp_path, size=1) as members:
        swarm = swarms.OnEtcd(members)
        await swarm.join(A)
        await ask(
            members[0].url,
            ("PUT", "/v2/auth/users/root", {"user": "root", "password": "hunter2"}),
            ("PUT", "/v2/auth/enable", None),
        )
        guest = {"role": "guest", "revoke": {"kv": {"read": ["/*"], "write": []}}}
        root = {"Authorization": aiohttp.encode_basic_auth("root", "hunter2")}
        async with aiohttp.ClientSession(headers=root) as session:
            async with session.put(f"{members[0].url}/v2/auth/roles/guest", json=guest) as answer:
                assert answer.status == 200, await answer.text()
        await refused(swarm, "401 Unauthorized: The request requires user authentication")
        await let_in(swarm.url, ACCOUNT, lambda: swarm.join(B))  # guests still may write


async def test_etcd3_with_users(tmp_path):
    async with stores.etcd_cluster(tmp_path, "--auth-token-ttl", "1", size=1) as members:
        swarm = swarms.OnEtcd3(members)
        await swarm.join(A)
        await ask(
            members[0].url,
            ("POST", "/v3/auth/user/add", {"name": "root", "password": "hunter2"}),
            ("POST", "/v3/auth/user/grant", {"user": "root", "role": "root"}),
            ("POST", "/v3/auth/enable", {}),
        )
        await refused(swarm, "user name is empty")

        async def join():
            await asyncio.sleep(2.5)  # the token is too old by now
            login = {"name": "root", "password": "hunter2"}
            async with aiohttp.ClientSession() as session:
                async with session.post(f"{members[0].url}/v3/auth/authenticate", json=login) as answer:
                    token = (await answer.json())["token"]
                put = {"key": swarms._base64(f"/{swarms.NODES}/{B}"), "value": swarms._base64(B)}
                headers = {"Authorization": token}
                async with session.post(f"{members[0].url}/v3/kv/put", json=put, headers=headers) as answer:
                    assert answer.status == 200, await answer.text()

        await let_in(swarm.url, ACCOUNT, join)


async def test_zookeeper_with_users(tmp_path):
    async with stores.zookeeper_ensemble(tmp_path, size=1) as servers:
        swarm = swarms.OnZooKeeper(servers)
        acl = [make_digest_acl("root", "hunter2", all=True)]

        def join(node):
            client = KazooClient(f"127.0.0.1:{servers[0].client_port}")
            client.start()
            client.add_auth("digest", "root:hunter2")
            client.ensure_path(f"/{swarms.NODES}", acl=acl)
            client.create(f"/{swarms.NODES}/{node}", node.encode(), acl=acl)
            client.stop()
            client.close()

        await asyncio.to_thread(join, A)
        await refused(swarm, "does not let us read; give basic_auth")
        await let_in(swarm.url, ACCOUNT, lambda: asyncio.to_thread(join, B))


async def test_zookeeper_over_tls(tmp_path, monkeypatch):
    ca = trustme.CA()
    server, client = ca.issue_cert("127.0.0.1"), ca.issue_cert("swarm-sd")
    files = {name: FilePath(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key", "server")}
    ca.cert_pem.write_to_path(files["ca"])
    client.cert_chain_pems[0].write_to_path(files["cert"])
    client.private_key_pem.write_to_path(files["key"])
    (tmp_path / "server.pem").write_bytes(pkcs8(server.private_key_pem) + server.cert_chain_pems[0].bytes())
    async with stores.zookeeper_ensemble(tmp_path, size=1, tls=(files["server"], files["ca"])) as servers:
        swarm = swarms.OnZooKeeper(servers)
        await swarm.join(A)
        url = f"zk://127.0.0.1:{servers[0].secure_port}/demo"
        opts = DiscoveryOpts(ca_file=files["ca"], cert_file=files["cert"], key_file=files["key"])
        await let_in(url, HTTPClientConfig(), lambda: swarm.join(B), opts)
        monkeypatch.setattr(zookeeper, "WITHIN", 2.0)
        untrusting = HTTPClientConfig(tls_config=TLSConfig(ca_file=files["cert"]))
        async with Follower(url, None, untrusting) as stranger:

            async def failing():
                return bool(stranger.errors)

            await becomes(failing, True)
            assert "CERTIFICATE_VERIFY_FAILED" in str(stranger.errors[0])
        await swarm.close()


def pkcs8(blob):
    """A key as Java reads it."""
    key = serialization.load_pem_private_key(blob.bytes(), None)
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())


@pytest.fixture
def impatient(monkeypatch):
    """A watch that is silent is left after 3 seconds, not 15."""
    for module in (etcd, etcd3):
        monkeypatch.setattr(module, "FOLLOW", 3.0)


@pytest.mark.parametrize("kind", [swarms.OnEtcd, swarms.OnEtcd3])
async def test_a_member_that_hangs_is_left_for_another(kind, tmp_path, impatient):
    async with stores.etcd_cluster(tmp_path) as members:
        swarm = kind(members)
        await swarm.join(A)
        async with Follower(swarm.url) as follower:

            async def nodes():
                return follower.nodes

            await becomes(nodes, frozenset({A}))
            [active] = [host.name for host in follower.backend.hosts() if host.active]
            [hanging] = [one for one in members if active.endswith(f":{one.client_port}")]
            hanging.process.send_signal(signal.SIGSTOP)
            try:
                swarm.avoid = hanging
                await swarm.join_in_time(B)
                await becomes(nodes, frozenset({A, B}), seconds=40)
            finally:
                hanging.process.send_signal(signal.SIGCONT)
            assert follower.lists == [frozenset({A}), frozenset({A, B})]


@pytest.mark.parametrize("kind", [swarms.OnEtcd, swarms.OnEtcd3])
async def test_a_member_without_a_leader_is_not_believed(kind, tmp_path, impatient):
    async with stores.etcd_cluster(tmp_path) as members:
        swarm = kind(members)
        await swarm.join(A)
        async with Follower(swarm.url) as follower:

            async def nodes():
                return follower.nodes

            await becomes(nodes, frozenset({A}))
            others = members[1:]
            for member in others:
                member.process.send_signal(signal.SIGSTOP)
            try:

                async def failing():
                    return bool(follower.errors)

                await becomes(failing, True, seconds=60)
                assert follower.nodes == {A}
            finally:
                for member in others:
                    member.process.send_signal(signal.SIGCONT)
            await swarm.join_in_time(B)
            await becomes(nodes, frozenset({A, B}), seconds=40)
