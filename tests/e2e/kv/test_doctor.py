"""What the doctor says of real stores that are wrongly set up, or cannot tell."""

import asyncio
import signal

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl
from tests.doctor.worlds import config, entry, examined, names, told
from tests.e2e.kv import stores, swarms
from tests.e2e.kv.test_access import ask

pytestmark = pytest.mark.e2e

A = "10.0.0.1:2375"


def of(url):
    return config(entry("swarm", f"discovery: {url}", "role: nodes"))


def problems(report):
    """Those of the store alone: nobody is at the address that is registered."""
    (store,) = [section for section in report.sections if section.kind == "store"]
    return [one.check for one in store.findings if one.state == "problem"]


async def test_etcd(tmp_path):
    async with stores.etcd_cluster(tmp_path, size=1) as members:
        address = f"127.0.0.1:{members[0].client_port}"
        empty = told(await examined(tmp_path, of(f"etcd://{address}/demo")), "nobody-registered")
        assert "the store is empty" in empty.cause
        swarm = swarms.OnEtcd(members)
        await swarm.join(A)
        healthy = await examined(tmp_path, of(swarm.url))
        assert "1 node registered at /demo/docker/swarm/nodes" in told(healthy, "registered").message
        assert problems(healthy) == []
        wrong = told(await examined(tmp_path, of(f"etcd://{address}/dmeo")), "wrong-prefix")
        assert wrong.way_out == f"discovery: etcd://{address}/demo"
        other = told(await examined(tmp_path, of(f"etcd3://{address}/demo")), "other-etcd")
        assert other.way_out == f"discovery: etcd://{address}/demo"


async def test_etcd_to_whose_v3_api_nodes_are_written(tmp_path):
    async with stores.etcd_cluster(tmp_path, size=1) as members:
        swarm = swarms.OnEtcd3(members)
        await swarm.join(A)
        assert problems(await examined(tmp_path, of(swarm.url))) == []
        address = f"127.0.0.1:{members[0].client_port}"
        wrong = told(await examined(tmp_path, of(f"etcd3://{address}")), "wrong-prefix")
        assert wrong.way_out == f"discovery: etcd3://{address}/demo"
        other = told(await examined(tmp_path, of(f"etcd://{address}/demo")), "other-etcd")
        assert other.way_out == f"discovery: etcd3://{address}/demo"


async def test_etcd_without_its_v2_api(tmp_path):
    async with stores.etcd_cluster(tmp_path, "--enable-v2=false", size=1) as members:
        found = told(
            await examined(tmp_path, of(f"etcd://127.0.0.1:{members[0].client_port}/demo")), "etcd-v2"
        )
        assert "--enable-v2" in found.way_out


async def test_etcd_that_has_lost_its_quorum(tmp_path):
    async with stores.etcd_cluster(tmp_path) as members:
        await swarms.OnEtcd(members).join(A)
        left, *others = members
        for member in others:
            await member.kill9()
        report = await examined(tmp_path, of(f"etcd://127.0.0.1:{left.client_port}/demo"))
        assert problems(report) == ["store-no-leader"], report.sections[1]


async def test_etcd_with_users(tmp_path):
    async with stores.etcd_cluster(tmp_path, size=1) as members:
        swarm = swarms.OnEtcd3(members)
        await swarm.join(A)
        await ask(
            members[0].url,
            ("POST", "/v3/auth/user/add", {"name": "root", "password": "hunter2"}),
            ("POST", "/v3/auth/user/grant", {"user": "root", "role": "root"}),
            ("POST", "/v3/auth/enable", {}),
        )
        assert "basic_auth" in told(await examined(tmp_path, of(swarm.url)), "store-refuses").way_out


async def test_zookeeper(tmp_path):
    async with stores.zookeeper_ensemble(tmp_path, size=1) as servers:
        swarm = swarms.OnZooKeeper(servers)
        await swarm.join(A)
        try:
            assert problems(await examined(tmp_path, of(swarm.url))) == []
            address = f"127.0.0.1:{servers[0].client_port}"
            wrong = told(await examined(tmp_path, of(f"zk://{address}/dmeo")), "wrong-prefix")
            assert wrong.way_out == f"discovery: zk://{address}/demo"
        finally:
            await swarm.close()
        await asyncio.to_thread(lock_up, address)
        refused = told(await examined(tmp_path, of(f"zk://{address}/locked")), "store-refuses")
        assert "basic_auth" in refused.way_out


def lock_up(address):
    """A Swarm that only its own user may read."""
    client = KazooClient(address)
    client.start()
    client.add_auth("digest", "root:hunter2")
    client.ensure_path("/locked/docker/swarm/nodes", acl=[make_digest_acl("root", "hunter2", all=True)])
    client.stop()
    client.close()


async def test_zookeeper_that_is_away_or_serves_nobody(tmp_path):
    async with stores.zookeeper_ensemble(tmp_path) as servers:
        left, *others = servers
        for server in others:
            await server.kill9()
        report = await examined(tmp_path, of(f"zk://127.0.0.1:{left.client_port}/demo"))
        assert names(report, "problem") == ["store-no-leader"]
        assert "too few servers" in told(report, "store-no-leader").way_out or "serving" in str(report)
        left.process.send_signal(signal.SIGKILL)
        report = await examined(tmp_path, of(f"zk://127.0.0.1:{others[0].client_port}/demo"))
        assert problems(report) == ["refused"]
