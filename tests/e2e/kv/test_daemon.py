"""``swarm-sd serve`` on real stores of three members: who registers is served, nobody is lost to trouble."""

import asyncio
import statistics
import time

import pytest

from swarm_sd.sim.clusters import example
from swarm_sd.sim.manager import Manager

from ..conftest import StartSwarmSD
from ..programs import becomes, until
from ..watch import always
from . import stores, swarms

pytestmark = pytest.mark.e2e

CLUSTERS = {
    "etcd": (stores.etcd_cluster, swarms.OnEtcd),
    "zookeeper": (stores.zookeeper_ensemble, swarms.OnZooKeeper),
}
A, B, C, D = (f"10.0.0.{number}:2375" for number in (11, 12, 13, 14))
"""The first three are what the simulated manager knows."""

CONFIG = """
scrape_configs:
- job_name: swarm
  swarm_sd_configs:
  - discovery: {url}
    metrics_port: 9100
"""


@pytest.fixture(params=CLUSTERS)
async def swarm(request, tmp_path):
    """A Swarm of two nodes on a store of three members."""
    cluster, kind = CLUSTERS[request.param]
    async with cluster(tmp_path) as members:
        swarm = kind(members)
        try:
            await swarm.join(A)
            await swarm.join(B)
            yield swarm
        finally:
            await swarm.close()


async def targets(sd, role):
    """The labels of the targets of a role, by ``instance``."""
    labels = [group["labels"] for group in await sd.served() if group["labels"]["__meta_swarm_role"] == role]
    return {one["instance"]: one for one in labels}


def instances(sd, role="node"):
    async def look():
        return set(await targets(sd, role))

    return look


async def test_nodes_and_leaders_come_and_go(swarm, swarm_sd: StartSwarmSD):
    sd = await swarm_sd(CONFIG.format(url=swarm.url))
    nodes = instances(sd)
    await becomes(nodes, {A, B})
    async with always(nodes, {A}):
        assert "__meta_swarm_node_in_info" not in (await targets(sd, "node"))[A]
        await swarm.join(C)
        await becomes(nodes, {A, B, C})
        await swarm.leave(B)
        await becomes(nodes, {A, C})
        await swarm.join_and_die(D)
        await becomes(nodes, {A, C, D})
        await becomes(nodes, {A, C})
        cluster = example()
        async with Manager(cluster) as one, Manager(cluster) as two:
            assert await instances(sd, "master")() == set()
            await swarm.elect(one.address)
            await becomes(instances(sd, "master"), {one.address})

            async def flags():
                return {
                    address: (
                        labels["__meta_swarm_node_registered"],
                        labels.get("__meta_swarm_node_in_info"),
                        labels.get("__meta_swarm_node_name"),
                    )
                    for address, labels in (await targets(sd, "node")).items()
                }

            known = {A: "node-a", B: "node-b", C: "node-c"}
            told = {address: ("true", "true", name) for address, name in known.items()}
            await becomes(flags, {**told, B: ("false", "true", "node-b")})
            assert await sd.metric("swarm_sd_swarm_nodes", registered="false", in_info="true") == 1
            asked = len(two.requests)
            async with always(nodes, {A, B, C}):
                await swarm.elect(two.address)
                await becomes(instances(sd, "master"), {two.address})

                async def asks_the_other():
                    return len(two.requests) > asked

                await becomes(asks_the_other, True)
                await swarm.join(B)
                await becomes(flags, told)
        # and now no manager answers any more: nothing is lost, and the labels stay
        await swarm.join(D)
        await becomes(flags, {**told, D: ("true", "false", None)})
        await swarm.leave(D)
        await becomes(flags, told)
        assert await sd.metric("swarm_sd_stale", job="swarm") == 0


async def test_heartbeats_change_no_byte(swarm, swarm_sd: StartSwarmSD):
    sd = await swarm_sd(CONFIG.format(url=swarm.url))
    await becomes(instances(sd), {A, B})

    async def deliveries():
        return await sd.metric("swarm_sd_deliveries_total")

    before, delivered = await sd.get("/sd/swarm"), await deliveries()
    for _ in range(20):
        await swarm.heartbeat(A)
        await swarm.heartbeat(B)
    await swarm.join(C)  # a heartbeat that counted would have been delivered before it
    await becomes(instances(sd), {A, B, C})
    assert await deliveries() == delivered + 1
    await swarm.leave(C)
    await becomes(instances(sd), {A, B})
    after = await sd.get("/sd/swarm")
    assert (after.body, after.headers["ETag"]) == (before.body, before.headers["ETag"])


async def test_any_member_may_die(swarm, swarm_sd: StartSwarmSD):
    sd = await swarm_sd(CONFIG.format(url=swarm.url))
    expected = {A, B}
    await becomes(instances(sd), expected)
    async with always(instances(sd), {A, B}):
        for number, member in enumerate(swarm.members):
            await member.kill9()
            expected = {*expected, f"10.0.1.{number}:2375"}
            await swarm.join_in_time(f"10.0.1.{number}:2375")
            await becomes(instances(sd), expected)
            await swarm.start([member])


async def test_nothing_is_lost_while_the_whole_store_is_away(swarm, swarm_sd: StartSwarmSD, tmp_path):
    sd = await swarm_sd(CONFIG.format(url=swarm.url), f"--storage.path={tmp_path / 'storage'}")
    await becomes(instances(sd), {A, B})
    async with always(instances(sd), {A, B}):
        for member in swarm.members:
            await member.kill9()

        async def stale():
            return await sd.metric("swarm_sd_stale", job="swarm")

        await becomes(stale, 1)
        assert await sd.stop() == 0  # and a restart in the middle of it
        await sd.start()
        await becomes(instances(sd), {A, B})
        await swarm.start(swarm.members)
        await swarm.join_in_time(C)
        await becomes(instances(sd), {A, B, C})
        await becomes(stale, 0)


async def test_a_registration_is_served_at_once(swarm, swarm_sd: StartSwarmSD, capsys):
    sd = await swarm_sd(CONFIG.format(url=swarm.url))
    await becomes(instances(sd), {A, B})

    async def settled():  # the first lists of a watch that begins
        before = await sd.metric("swarm_sd_refreshes_total")
        await asyncio.sleep(0.5)
        return await sd.metric("swarm_sd_refreshes_total") == before

    await until(settled, "the watches have begun")
    took = []
    for number in range(10):
        node = f"10.0.2.{number}:2375"
        began = time.monotonic()
        await swarm.join(node)
        while node.encode() not in (await sd.get("/sd/swarm")).body:
            assert time.monotonic() < began + 30
        took.append(time.monotonic() - began)
    with capsys.disabled():
        print(f"\n{swarm.scheme}: registration to answer, median: {statistics.median(took) * 1000:.0f} ms")
    assert statistics.median(took) < 5  # asking now and then would take a minute
