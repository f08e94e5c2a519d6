"""Discovery from Consul, against a simulator of its key/value store."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from tests.discovery.kv.servers import eventually, serving, watching

from swarm_sd.discovery.http_client import Authorization, HTTPClientConfig, HTTPHeader
from swarm_sd.discovery.kv import consul as module
from swarm_sd.discovery.kv.backend import Registered
from swarm_sd.discovery.kv.locator import Discovery, DiscoveryOpts
from swarm_sd.discovery.kv.stores import backend
from swarm_sd.provider import DiscoveryError
from swarm_sd.scalars import Secret
from swarm_sd.sim.consul import Consul

A, B, C = "10.99.0.11:2375", "10.99.0.12:2375", "10.99.0.13:2375"
NODES, LEADER = "p/docker/swarm/nodes", "p/docker/swarm/leader"


class Swarm:
    """What ``swarm join`` and ``swarm manage`` do to Consul. Source: libkv's store/consul/consul.go."""

    LOCK_FLAG = 0x2DDCCBC058A50C18

    def __init__(self, consul):
        self.consul = consul
        consul.put(NODES, "")  # a manager makes the directory
        self.sessions = {}

    def join(self, node, ttl=60):
        session = self.sessions.get(node)
        if session is None or not self.consul.renew(session):
            session = self.sessions[node] = self.consul.session(ttl, "delete")
        assert self.consul.put(f"{NODES}/{node}", node, flags=self.LOCK_FLAG, session=session)

    def leave(self, node):
        self.consul.destroy(self.sessions.pop(node))

    def elect(self, manager):
        if (session := self.sessions.pop("leader", None)) is not None:
            self.consul.destroy(session)
        session = self.sessions["leader"] = self.consul.session(20)
        assert self.consul.put(LEADER, manager, flags=self.LOCK_FLAG, session=session)


@pytest.fixture
async def consul():
    async with Consul() as running:
        yield running


@pytest.fixture
def swarm(consul):
    made = Swarm(consul)
    made.join(A)
    made.join(B)
    return made


@pytest.fixture(autouse=True)
def no_breath(monkeypatch):
    monkeypatch.setattr(module, "BREATH", 0.01)


@asynccontextmanager
async def store(*addresses, **http):
    url = Discovery.from_yaml(f"consul://{','.join(addresses)}/p")
    made = backend(url, DiscoveryOpts(), HTTPClientConfig(**http))
    try:
        yield made
    finally:
        await made.close()


async def test_nodes_and_leader_come_and_go(consul, swarm):
    async with store(consul.address) as backend_, watching(backend_) as hints:
        assert await backend_.nodes() == Registered((A, B))
        swarm.join(C)
        swarm.elect("10.0.0.9:4000")
        await eventually(lambda: hints.count >= 4)
        assert await backend_.nodes() == Registered((A, B, C), "10.0.0.9:4000")
        swarm.leave(C)
        await eventually(lambda: hints.count >= 5)
        found = await backend_.nodes()
        assert found == Registered((A, B), "10.0.0.9:4000")
        assert await backend_.nodes() is found


async def test_a_session_that_is_not_renewed_takes_its_node_with_it(consul, swarm):
    swarm.join(C, ttl=0.2)
    async with store(consul.address) as backend_, watching(backend_) as hints:
        assert (await backend_.nodes()).nodes == (A, B, C)
        await eventually(lambda: hints.count == 3)
        assert (await backend_.nodes()).nodes == (A, B)


async def test_a_leader_that_lost_its_lock_is_none_although_its_address_stays(consul, swarm):
    swarm.elect("10.0.0.9:4000")
    async with store(consul.address) as backend_:
        assert (await backend_.nodes()).leader == "10.0.0.9:4000"
        consul.destroy(swarm.sessions["leader"])
        assert (await backend_.nodes()).leader is None


async def test_keys_that_only_begin_alike_are_no_nodes(consul, swarm):
    consul.put(f"{NODES}-of-others/x", C)
    consul.put(f"{NODES}/deeper/x", C)
    consul.put(f"{NODES}/", "")
    async with store(consul.address) as backend_:
        assert await backend_.nodes() == Registered((A, B))


async def test_a_value_that_is_no_address_is_counted(consul, swarm):
    consul.put(f"{NODES}/x", "nonsense")
    async with store(consul.address) as backend_:
        assert await backend_.nodes() == Registered((A, B), None, {"invalid_address": 1})


async def test_heartbeats_and_answers_without_a_change_are_no_hints(consul, swarm):
    async with store(consul.address) as backend_, watching(backend_) as hints:
        await eventually(lambda: hints.count == 2)
        for _ in range(5):
            asked = len(consul.queries)
            swarm.join(A)
            swarm.join(B)
            consul.wake()
            await eventually(lambda asked=asked: len(consul.queries) >= asked + 2)
        assert hints.count == 2


async def test_questions_wait_for_the_index_that_was_told(consul, swarm):
    async with store(consul.address) as backend_, watching(backend_) as hints:
        await eventually(lambda: hints.count == 2)
        before = consul.index
        swarm.join(C)
        await eventually(lambda: any(f"index={consul.index}&wait=15s" in query for query in consul.queries))
        waited = [query for query in consul.queries if NODES in query and "index=" in query]
        assert int(waited[0].partition("index=")[2].partition("&")[0]) <= before
        assert not any("index=0" in query for query in consul.queries)


async def test_an_index_that_goes_back_is_begun_anew_from(consul, swarm):
    async with store(consul.address) as backend_, watching(backend_) as hints:
        await eventually(lambda: hints.count == 2 and any("index=" in query for query in consul.queries))
        consul.restore(index=5)
        await eventually(lambda: any("index=5&" in query for query in consul.queries))
        swarm.join(C)
        await eventually(lambda: hints.count == 3)
        assert (await backend_.nodes()).nodes == (A, B, C)


async def test_a_wait_that_ends_with_nothing_new_goes_on(consul, swarm, monkeypatch):
    monkeypatch.setattr(module, "FOLLOW", 1.0)
    async with store(consul.address) as backend_, watching(backend_) as hints:

        def waits():
            return sum("index=" in query for query in consul.queries)

        await eventually(lambda: waits() >= 6)  # two watches, three seconds
        assert hints.count == 2


async def test_trouble_is_an_error_and_nothing_is_lost(consul, swarm):
    async with store(consul.address) as backend_, watching(backend_) as hints:
        assert (await backend_.nodes()).nodes == (A, B)
        await eventually(lambda: hints.count == 2)
        consul.refuse("No cluster leader")
        with pytest.raises(DiscoveryError, match="500 Internal Server Error: No cluster leader"):
            await backend_.nodes()
        await eventually(lambda: hints.count >= 3)  # the watch breaks, too
        swarm.join(C)
        consul.mend()
        before = hints.count
        await eventually(lambda: hints.count > before)
        assert (await backend_.nodes()).nodes == (A, B, C)
        await consul.stop()
        with pytest.raises(DiscoveryError, match="refused"):
            await backend_.nodes()
        await consul.start()
        assert (await backend_.nodes()).nodes == (A, B, C)


async def test_another_agent_is_asked_when_one_does_not_answer(consul, swarm):
    async with store("127.0.0.1:1", consul.address) as backend_:
        assert (await backend_.nodes()).nodes == (A, B)


async def test_nothing_below_the_prefix_is_an_error_even_when_there_was_something(consul, swarm):
    async with store(consul.address) as backend_:
        assert (await backend_.nodes()).nodes == (A, B)
        for node in (A, B):
            swarm.leave(node)
        assert (await backend_.nodes()).nodes == ()  # the directory is there
        consul.delete(NODES)
        with pytest.raises(DiscoveryError, match="is the prefix right"):
            await backend_.nodes()


@pytest.mark.parametrize(
    "http",
    [
        {"authorization": Authorization(credentials=Secret("hunter2"))},
        {"http_headers": {"X-Consul-Token": HTTPHeader(secrets=(Secret("hunter2"),))}},
    ],
)
async def test_a_token_is_shown_and_without_it_hidden_keys_are_an_error(http, consul, swarm):
    consul.token = "hunter2"
    async with store(consul.address, **http) as backend_:
        assert (await backend_.nodes()).nodes == (A, B)
    async with store(consul.address) as backend_:
        with pytest.raises(DiscoveryError, match="the token may not read all of it") as caught:
            await backend_.nodes()
        assert caught.value.reason == "acl"


@pytest.mark.parametrize("headers", [{}, {"X-Consul-Index": "1"}])
async def test_what_is_no_consul_is_told(headers):
    async def handler(request):
        return web.Response(text="<html>", headers=headers)

    async with serving(handler) as address, store(address) as backend_:
        with pytest.raises(DiscoveryError, match="of Consul's /v1/kv") as caught:
            await backend_.nodes()
        assert caught.value.reason == "not_consul"


async def test_many_answers_in_a_row_are_not_asked_for_without_a_breath(consul, swarm, monkeypatch):
    monkeypatch.setattr(module, "BREATH", 0.3)
    async with store(consul.address) as backend_, watching(backend_) as hints:
        await eventually(lambda: hints.count == 2 and len(consul.queries) == 4)
        for number in range(20):
            consul.put(f"{NODES}/{number}", f"10.0.0.{number}:1")
            await asyncio.sleep(0)
        await eventually(lambda: hints.count >= 3)
        assert len(consul.queries) <= 6
        assert len((await backend_.nodes()).nodes) == 22
