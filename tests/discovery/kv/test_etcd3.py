"""etcd's v3 API through its JSON gateway: users, tokens, streams of every kind."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from tests.discovery.kv.servers import eventually, serving, watching

from swarm_sd.discovery.http_client import BasicAuth, HTTPClientConfig
from swarm_sd.discovery.kv import etcd3 as module
from swarm_sd.discovery.kv.backend import Registered
from swarm_sd.discovery.kv.locator import Discovery, DiscoveryOpts
from swarm_sd.discovery.kv.stores import backend
from swarm_sd.provider import DiscoveryError
from swarm_sd.scalars import FilePath, Secret

A, B = "10.99.0.11:2375", "10.99.0.12:2375"
NODES, LEADER = "/p/docker/swarm/nodes", "/p/docker/swarm/leader"


def b64(text):
    return base64.b64encode(text.encode()).decode()


def text(b64text):
    return base64.b64decode(b64text).decode()


class FakeEtcd3:
    """Keys, and streams that get what ``send`` is given."""

    def __init__(self):
        self.keys = {}
        self.revision = 7
        self.tokens = []  # those that are good
        self.account = None
        self.authentications = []
        self.created = []
        self.streams = []

    async def __call__(self, request):
        message = await request.json()
        if request.path == "/v3/auth/authenticate":
            self.authentications.append(message)
            if (message["name"], message["password"]) != self.account:
                return self.error(400, "authentication failed, invalid user ID or password")
            self.tokens.append(f"token{len(self.authentications)}")
            return web.json_response({"header": {}, "token": self.tokens[-1]})
        if self.account and request.headers.get("Authorization") not in self.tokens:
            return self.error(401, "etcdserver: invalid auth token")
        return await (self.range if request.path == "/v3/kv/range" else self.watch)(request, message)

    async def range(self, request, message):
        first, after = text(message["key"]), text(message["range_end"])
        kvs = [
            {"key": b64(key), "value": b64(value), "mod_revision": "3"}
            for key, value in self.keys.items()
            if first <= key < after
        ]
        answer = {"header": {"revision": str(self.revision)}}
        return web.json_response({**answer, "kvs": kvs, "count": str(len(kvs))} if kvs else answer)

    async def watch(self, request, message):
        self.created.append(message["create_request"])
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"result":{"header":{},"created":true}}\n')
        queue = asyncio.Queue()
        if text(message["create_request"]["key"]) == NODES:
            self.streams.append(queue)
        while (part := await queue.get()) is not None:
            await response.write(part)
        return response

    def send(self, part):
        self.streams[-1].put_nowait(part if isinstance(part, bytes | None) else line(part))

    @staticmethod
    def error(status, said):
        return web.json_response({"error": said, "message": said, "code": 1}, status=status)


def line(result):
    return json.dumps({"result": {"header": {}, **result}}).encode() + b"\n"


def put(key, value):
    return {"kv": {"key": b64(key), "value": b64(value), "mod_revision": "9"}}


def gone(key):
    return {"type": "DELETE", "kv": {"key": b64(key), "mod_revision": "9"}}


@asynccontextmanager
async def store(address, **http):
    made = backend(Discovery.from_yaml(f"etcd3://{address}/p"), DiscoveryOpts(), HTTPClientConfig(**http))
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def fake():
    made = FakeEtcd3()
    made.keys = {f"{NODES}/{A}": A, f"{NODES}0": "other", f"{NODES}-x/{B}": B, f"{NODES}/sub/{B}": B}
    async with serving(made) as made.address:
        yield made


async def test_nodes_and_leader(fake):
    fake.keys[LEADER] = "10.0.0.9:4000"
    async with store(fake.address) as etcd:
        found = await etcd.nodes()
        assert found == Registered((A,), "10.0.0.9:4000")
        assert await etcd.nodes() is found


async def test_no_key_at_all_is_believed_only_where_there_were_nodes(fake):
    before, fake.keys = fake.keys, {}
    async with store(fake.address) as etcd:
        with pytest.raises(DiscoveryError, match="is the prefix right"):
            await etcd.nodes()
        fake.keys = before
        await etcd.nodes()
        fake.keys = {}
        assert (await etcd.nodes()).nodes == ()


async def test_events_are_hints_and_heartbeats_are_not(fake):
    async with store(fake.address) as etcd, watching(etcd) as hints:
        await eventually(lambda: len(fake.created) == 2 and fake.streams)
        assert {one["start_revision"] for one in fake.created} == {"8"}
        fake.send({"events": [put(f"{NODES}/{A}", A)]})
        fake.send({"events": [put(f"{NODES}/sub/x", B), put("/elsewhere", B)]})
        fake.send({})
        whole = line({"events": [put(f"{NODES}/{B}", B)]})
        fake.send(whole[:30])
        fake.send(whole[30:] + line({"events": [gone(f"{NODES}/{A}")]}))
        await eventually(lambda: hints.count == 4)
        fake.send({"events": [put(f"{NODES}/x", B), gone(f"{NODES}/x")]})
        fake.send({"events": [gone(f"{NODES}/{B}")]})
        await eventually(lambda: hints.count == 5)


async def test_events_that_were_compacted_are_made_up_for_by_a_list(fake):
    async with store(fake.address) as etcd, watching(etcd) as hints:
        await eventually(lambda: fake.streams)
        fake.revision = 50
        fake.keys[f"{NODES}/{B}"] = B
        fake.send({"canceled": True, "compact_revision": "40"})
        await eventually(lambda: len(fake.streams) == 2)
        assert fake.created[-1]["start_revision"] == "51"
        assert hints.count == 3


@pytest.mark.parametrize(
    "part",
    [
        b"no JSON\n",
        b'{"error":{"grpc_code":14,"message":"etcdserver: no leader"}}\n',
        {"canceled": True, "cancel_reason": "etcdserver: permission denied"},
        None,
    ],
)
async def test_a_watch_that_breaks_is_a_hint_and_begins_anew(part, fake):
    async with store(fake.address) as etcd, watching(etcd) as hints:
        await eventually(lambda: fake.streams and hints.count == 2)
        fake.send(part)
        await eventually(lambda: len(fake.streams) == 2)
        assert hints.count == 4


async def test_after_a_while_the_list_is_compared(fake, monkeypatch):
    monkeypatch.setattr(module, "FOLLOW", 0.05)
    async with store(fake.address) as etcd, watching(etcd) as hints:
        await eventually(lambda: len(fake.streams) == 3)
        assert hints.count == 2
        fake.keys[f"{NODES}/{B}"] = B
        await eventually(lambda: hints.count == 3)


async def test_a_password_becomes_a_token_that_is_renewed_when_it_is_too_old(fake, tmp_path):
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    fake.account = ("root", "hunter2")
    account = BasicAuth(username="root", password_file=FilePath(file))
    async with store(fake.address, basic_auth=account) as etcd:
        assert (await etcd.nodes()).nodes == (A,)
        assert len(fake.authentications) == 1
        fake.tokens.clear()
        fake.account = ("root", "hunter3")
        file.write_text("hunter3\n")
        assert (await etcd.nodes()).nodes == (A,)
        assert len(fake.authentications) == 2
        async with watching(etcd):
            await eventually(lambda: fake.streams)


async def test_a_wrong_password_is_told_and_not_shown(fake):
    fake.account = ("root", "other")
    account = BasicAuth(username="root", password=Secret("hunter2"))
    async with store(fake.address, basic_auth=account) as etcd:
        with pytest.raises(DiscoveryError, match="authentication failed") as caught:
            await etcd.nodes()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("body", ["<html>", "{}", '{"header": {"revision": 5}}'])
async def test_what_is_no_etcd_is_told(body):
    async def handler(request):
        return web.Response(text=body)

    async with serving(handler) as address, store(address) as etcd:
        with pytest.raises(DiscoveryError, match="no answer of etcd's v3 API") as caught:
            await etcd.nodes()
        assert caught.value.reason == "not_etcd_v3"
