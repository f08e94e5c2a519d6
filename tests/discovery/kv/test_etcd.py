"""etcd's v2 API: what real Swarms wrote there, and answers of every kind."""

import asyncio
import json
import ssl
from collections import deque
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from tests.discovery.kv.servers import eventually, serving, watching

from swarm_sd.discovery.http_client import BasicAuth, HTTPClientConfig, TLSConfig
from swarm_sd.discovery.kv import etcd
from swarm_sd.discovery.kv.backend import Registered
from swarm_sd.discovery.kv.locator import Discovery, DiscoveryOpts, KeyPath
from swarm_sd.discovery.kv.stores import backend
from swarm_sd.provider import DiscoveryError
from swarm_sd.scalars import FilePath, Secret

RECORDED = Path(__file__).parents[2] / "fixtures/kv"
A, B, C = "10.99.0.11:2375", "10.99.0.12:2375", "10.99.0.13:2375"
NODES, LEADER = "p/docker/swarm/nodes", "p/docker/swarm/leader"
PAGE_NOT_FOUND = "404 page not found\n"


def event(action, node, index, **more):
    path = f"/{NODES}/{node}"
    return {"action": action, "node": {"key": path, "modifiedIndex": index, "createdIndex": index, **more}}


class FakeEtcd:
    """Keys as JSON by path; ``events``: what waits for the nodes are answered with, in turn; then silence."""

    def __init__(self, index=150):
        self.index = index
        self.keys = {}
        self.events = deque()
        self.requests = []

    def set(self, *nodes, leader=None):
        below = [{"key": f"/{NODES}/{node}", "value": node} for node in nodes]
        self.keys[NODES] = {"action": "get", "node": {"key": f"/{NODES}", "dir": True, "nodes": below}}
        if leader:
            self.keys[LEADER] = {"action": "get", "node": {"key": f"/{LEADER}", "value": leader}}

    async def __call__(self, request):
        self.requests.append(request)
        key = request.path.removeprefix("/v2/keys/")
        if "wait" in request.query:
            if key != NODES or not self.events:
                await asyncio.Event().wait()
            answer = self.events.popleft()
            return self.answer(answer, 400 if "errorCode" in (answer or "") else 200)
        assert request.query["quorum"] == "true"
        missing = {"errorCode": 100, "message": "Key not found", "cause": f"/{key}", "index": self.index}
        return self.answer(self.keys.get(key, missing), 200 if key in self.keys else 404)

    def answer(self, document, status):
        text = document if isinstance(document, str) else json.dumps(document)
        return web.Response(text=text, status=status, headers={"X-Etcd-Index": str(self.index)})

    def waits(self):
        return [
            request.query["waitIndex"]
            for request in self.requests
            if "wait" in request.query and NODES in request.path
        ]


@asynccontextmanager
async def store(*servers, prefix="p", path="docker/swarm/nodes", **http):
    url = Discovery.from_yaml(f"etcd://{','.join(servers)}/{prefix}")
    made = backend(url, DiscoveryOpts(path=KeyPath.from_yaml(path)), HTTPClientConfig(**http))
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def fake():
    made = FakeEtcd()
    async with serving(made) as made.address:
        yield made


@pytest.mark.parametrize("tag", ["v0.2.0", "v0.3.0", "v1.0.0", "v1.1.0", "v1.2.3", "v1.2.9"])
async def test_nodes_and_leader_of_real_swarms(tag, fake):
    for file in ("etcd-nodes-dir", "etcd-leader"):
        if (recorded := RECORDED / tag / f"{file}.json").exists():
            document = json.loads(recorded.read_text())
            fake.keys[document["node"]["key"].strip("/")] = document
    path = "." if tag == "v0.2.0" else "docker/swarm/nodes"
    async with store(fake.address, prefix=f"ha-{tag}", path=path) as etcd:
        found = await etcd.nodes()
    assert found.nodes == (A, B)
    # v0.2.0 has no leaders, v0.3.0 leaves the prefix out
    assert (found.leader is None) == (tag in ("v0.2.0", "v0.3.0"))
    assert found.leader is None or found.leader.startswith("10.99.0.2:")


async def test_the_same_nodes_are_the_same_object(fake):
    fake.set(A, B, leader="10.0.0.9:4000")
    async with store(fake.address) as etcd:
        found = await etcd.nodes()
        assert found == Registered((A, B), "10.0.0.9:4000")
        assert await etcd.nodes() is found
        fake.set(B, A)
        assert await etcd.nodes() is found
        fake.set(A)
        assert (await etcd.nodes()).nodes == (A,)


async def test_an_entry_that_is_no_address_is_counted_and_the_others_stay(fake):
    fake.set(A, "nonsense", "")
    async with store(fake.address) as etcd:
        assert await etcd.nodes() == Registered((A,), None, {"invalid_address": 1})


async def test_directories_and_the_leader_are_no_nodes(fake):
    fake.set(A, leader=B)
    nodes = fake.keys[NODES]["node"]["nodes"]
    nodes += [{"key": f"/{NODES}/sub", "dir": True}, {"key": f"/{LEADER}", "value": B}]
    fake.keys["p/docker/swarm"] = {"node": {"key": "/p/docker/swarm", "dir": True, "nodes": nodes}}
    async with store(fake.address, path="docker/swarm") as etcd:
        assert await etcd.nodes() == Registered((A,), B)


async def test_an_empty_directory_has_no_nodes(fake):
    fake.set()
    async with store(fake.address) as etcd:
        assert (await etcd.nodes()).nodes == ()


async def test_a_directory_that_is_not_there_is_an_error_that_asks_for_the_prefix(fake):
    async with store(fake.address) as etcd:
        with pytest.raises(
            DiscoveryError, match=f"{fake.address}/{NODES}: no Swarm .* is the prefix right"
        ) as caught:
            await etcd.nodes()
    assert caught.value.reason == "no_directory"


@pytest.mark.parametrize(
    ("body", "status", "reason", "message"),
    [
        (PAGE_NOT_FOUND, 404, "not_etcd_v2", "--enable-v2"),
        ("{}", 200, "status", "no node in it"),
        ('{"errorCode": 300, "message": "Raft Internal Error"}', 500, "status", "Raft Internal Error"),
        ('{"errorCode": 209, "message": "Invalid field"}', 400, "status", "error 209: Invalid field"),
        (
            '{"message": "Insufficient credentials"}',
            401,
            "status",
            "401 Unauthorized: Insufficient credentials",
        ),
    ],
)
async def test_an_answer_that_tells_nothing_is_an_error(body, status, reason, message, fake):
    async def handler(request):
        return fake.answer(body, status)

    async with serving(handler) as address, store(address) as etcd:
        with pytest.raises(DiscoveryError, match=message) as caught:
            await etcd.nodes()
    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"etcd://{address}/{NODES}: ")


async def test_the_next_address_is_asked_when_one_cannot_tell(fake):
    fake.set(A)

    async def ill(request):
        return web.Response(status=500, text='{"errorCode": 300, "message": "no leader"}')

    async with serving(ill) as first, store("127.0.0.1:1", first, fake.address) as etcd:
        assert (await etcd.nodes()).nodes == (A,)
        states = {host.name: host.state for host in etcd.hosts()}
        assert states == {"127.0.0.1:1": "down", first: "down", fake.address: "up"}
        async with watching(etcd) as hints:
            await hints.next()
            await eventually(fake.waits)


async def test_while_no_address_answers_it_is_an_error_and_never_an_empty_list():
    async with store("127.0.0.1:1", "127.0.0.1:2") as etcd:
        with pytest.raises(DiscoveryError, match=r"127.0.0.1:1.*refused.*127.0.0.1:2.*refused") as caught:
            await etcd.nodes()
        assert caught.value.reason == "refused"


async def test_every_event_but_a_heartbeat_is_a_hint(fake):
    fake.set(A)
    fake.events += [
        event("set", A, 151, value=A),
        event("set", B, 160, value=B),
        event("set", B, 161, value=B),
        event("expire", A, 175),
        event("delete", A, 180),
        event("compareAndDelete", B, 190, value=""),
    ]
    async with store(fake.address) as etcd, watching(etcd) as hints:
        await eventually(lambda: len(fake.waits()) == 7)
        # nodes and leader each tell at their beginning; then B came, A went, B went
        assert hints.count == 2 + 3
    assert fake.waits() == ["151", "152", "161", "162", "176", "181", "191"]


async def test_the_events_of_a_real_swarm_are_understood(fake):
    fake.set(A)
    recorded = [RECORDED / f"v1.2.9/etcd-wait-{name}.json" for name in ("join", "heartbeat", "expire")]
    texts = [file.read_text().replace("/ha-v1.2.9/", "/p/") for file in recorded]
    fake.events += texts
    async with store(fake.address) as etcd, watching(etcd) as hints:
        await eventually(lambda: len(fake.waits()) == 4)
        assert hints.count == 2 + 2


@pytest.mark.parametrize(
    "odd",
    [
        {"errorCode": 401, "message": "The event in requested index is outdated and cleared", "index": 999},
        "",  # how etcd ends a wait of five minutes
        {"action": "delete", "node": {"key": "/p/docker", "dir": True, "modifiedIndex": 155}},
        event("set", "sub/a:1", 156, value="a:1"),
    ],
)
async def test_where_events_were_missed_or_say_too_little_the_list_is_compared(odd, fake):
    fake.set(A)
    fake.events.append(odd)
    async with store(fake.address) as etcd, watching(etcd) as hints:
        await eventually(lambda: fake.waits() == ["151"])
        fake.set(A, B)
        fake.index = 999
        await eventually(lambda: fake.waits() == ["151", "1000"])
        assert hints.count == 2 + 1


async def test_after_a_silence_the_list_is_compared_and_the_same_is_no_hint(fake, monkeypatch):
    monkeypatch.setattr(etcd, "FOLLOW", 0.05)
    fake.set(A)
    async with store(fake.address) as store_, watching(store_) as hints:
        await eventually(lambda: len(fake.waits()) == 3)
        assert hints.count == 2
        fake.set(B)
        await eventually(lambda: hints.count == 3)


async def test_a_watch_that_breaks_is_a_hint_and_begins_anew(fake):
    fake.set(A)
    fake.events += ["no JSON"]
    async with store(fake.address) as etcd, watching(etcd) as hints:
        await eventually(lambda: len(fake.waits()) == 2)
        # the two beginnings, the break, and what may have been missed meanwhile
        assert hints.count == 4


async def test_a_directory_that_comes_is_a_hint(fake):
    fake.events.append(event("set", A, 151, value=A))
    async with store(fake.address) as etcd, watching(etcd) as hints:
        await eventually(lambda: hints.count == 3)


async def test_user_and_password_are_sent_and_not_shown(fake):
    fake.set(A)
    account = BasicAuth(username="root", password=Secret("hunter2"))
    async with store(fake.address, "127.0.0.1:1", basic_auth=account) as etcd:
        await etcd.nodes()
        fake.keys.clear()
        with pytest.raises(DiscoveryError) as caught:
            await etcd.nodes()
    assert fake.requests[0].headers["Authorization"].startswith("Basic ")
    assert "hunter2" not in f"{caught.value}{etcd.hosts()}"


async def test_swarms_tls_options_and_prometheus_are_the_same(fake, tmp_path):
    ca = trustme.CA()
    server, client = ca.issue_cert("127.0.0.1"), ca.issue_cert("swarm-sd")
    for name, blob in {
        "ca": ca.cert_pem, "cert": client.cert_chain_pems[0], "key": client.private_key_pem,
    }.items():  # fmt: skip
        blob.write_to_path(tmp_path / name)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    server.configure_cert(context)
    ca_file, cert_file, key_file = (FilePath(tmp_path / name) for name in ("ca", "cert", "key"))
    fake.set(A)
    async with serving(fake, ssl_context=context) as address:
        url = Discovery.from_yaml(f"etcd://{address}/p")
        opts = DiscoveryOpts(ca_file=ca_file, cert_file=cert_file, key_file=key_file)
        tls = TLSConfig(ca_file=ca_file, cert_file=cert_file, key_file=key_file)
        for made in (
            backend(url, opts, HTTPClientConfig()),
            backend(url, DiscoveryOpts(), HTTPClientConfig(tls_config=tls)),
        ):
            assert (await made.nodes()).nodes == (A,)
            await made.close()
        untrusting = backend(url, DiscoveryOpts(), HTTPClientConfig(tls_config=TLSConfig()))
        with pytest.raises(DiscoveryError, match="TLS"):
            await untrusting.nodes()
        await untrusting.close()
