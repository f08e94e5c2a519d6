"""Discovery from real stores of three members, each killed and started again."""

import asyncio
import statistics
import time

import pytest
from tests.e2e.kv import stores, swarms
from tests.e2e.kv.follower import Follower
from tests.e2e.programs import becomes

pytestmark = pytest.mark.e2e

A, B, C, D = (f"10.0.0.{number}:2375" for number in range(1, 5))

CLUSTERS = {
    "etcd": (stores.etcd_cluster, swarms.OnEtcd),
    "etcd3": (stores.etcd_cluster, swarms.OnEtcd3),
    "zookeeper": (stores.zookeeper_ensemble, swarms.OnZooKeeper),
}


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


async def nodes_are(follower, *nodes, seconds=30):
    async def look():
        return follower.nodes

    await becomes(look, frozenset(nodes), seconds=seconds)


async def leader_is(follower, leader):
    async def look():
        return follower.leader

    await becomes(look, leader)


async def settled(follower):
    """Waits until the watches that tell at their beginning have begun."""

    async def quiet():
        before = follower.hints
        await asyncio.sleep(0.7)
        return follower.hints == before

    await becomes(quiet, True)


async def test_nodes_and_leaders_come_and_go(swarm):
    async with Follower(swarm.url) as follower:
        await nodes_are(follower, A, B)
        assert follower.leader is None
        await swarm.join(C)
        await nodes_are(follower, A, B, C)
        await swarm.leave(B)
        await nodes_are(follower, A, C)
        await swarm.join_and_die(D)
        await nodes_are(follower, A, C, D)
        await nodes_are(follower, A, C)
        await swarm.elect("10.0.0.9:4000")
        await leader_is(follower, "10.0.0.9:4000")
        await swarm.elect("10.0.0.8:4000")
        await leader_is(follower, "10.0.0.8:4000")
        assert not follower.errors


async def test_heartbeats_are_no_changes(swarm):
    async with Follower(swarm.url) as follower:
        await nodes_are(follower, A, B)
        await settled(follower)
        before, registered = follower.hints, follower.registered
        for _ in range(20):
            await swarm.heartbeat(A)
            await swarm.heartbeat(B)
        await swarm.join(C)  # a heartbeat that counted would have been told before it
        await nodes_are(follower, A, B, C)
        assert follower.hints == before + 1
        await swarm.leave(C)
        await nodes_are(follower, A, B)
        assert follower.registered == registered
        assert await follower.backend.nodes() is follower.registered


async def test_events_that_the_store_forgot_are_made_up_for_by_a_list(swarm):
    async with Follower(swarm.url) as follower:
        await nodes_are(follower, A, B)
        await swarm.disturb()
        await swarm.join(C)
        await nodes_are(follower, A, B, C)
        assert not follower.errors


async def test_any_member_may_die(swarm):
    async with Follower(swarm.url) as follower:
        await nodes_are(follower, A, B)
        expected = [A, B]
        for number, member in enumerate(swarm.members):
            await member.kill9()
            node = f"10.0.1.{number}:2375"
            await swarm.join_in_time(node)
            expected.append(node)
            await nodes_are(follower, *expected)
            await swarm.start([member])
        assert all({A, B} <= seen for seen in follower.lists), follower.lists


async def test_nothing_is_lost_while_the_whole_store_is_away(swarm):
    async with Follower(swarm.url) as follower:
        await nodes_are(follower, A, B)
        for member in swarm.members:
            await member.kill9()

        async def failing():
            return bool(follower.errors)

        await becomes(failing, True)
        assert "127.0.0.1" in str(follower.errors[-1])
        await swarm.start(swarm.members)
        await swarm.join_in_time(C)
        await nodes_are(follower, A, B, C)
        assert all({A, B} <= seen for seen in follower.lists), follower.lists


async def test_a_change_is_told_at_once(swarm, capsys):
    took = []
    async with Follower(swarm.url) as follower:
        await nodes_are(follower, A, B)
        await settled(follower)
        for number in range(20):
            began, hints = time.monotonic(), follower.hints
            await swarm.join(f"10.0.2.{number}:2375")
            while follower.hints == hints:
                await asyncio.sleep(0.001)
            took.append(follower.hinted_at - began)
    with capsys.disabled():
        print(
            f"\n{swarm.scheme}: registration to hint, median of 20: {statistics.median(took) * 1000:.1f} ms"
        )
    assert statistics.median(took) < 0.5
