"""ZooKeeper: what real Swarms wrote there. How kazoo fares with real servers is in tests/e2e/kv."""

import asyncio
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from kazoo.exceptions import AuthFailedError, ConnectionLoss, NoAuthError, SystemZookeeperError
from tests.discovery.kv.servers import eventually, watching

from swarm_sd.discovery.http_client import BasicAuth, HTTPClientConfig
from swarm_sd.discovery.kv import zookeeper as module
from swarm_sd.discovery.kv.backend import Registered
from swarm_sd.discovery.kv.kazoo_session import Log, _named
from swarm_sd.discovery.kv.locator import Discovery, DiscoveryOpts, KeyPath
from swarm_sd.discovery.kv.zookeeper import ZooKeeper
from swarm_sd.provider import DiscoveryError
from swarm_sd.scalars import Secret

RECORDED = Path(__file__).parents[2] / "fixtures/kv"
A, B, C = "10.99.0.11:2375", "10.99.0.12:2375", "10.99.0.13:2375"
NODES, LEADER = "/p/docker/swarm/nodes", "/p/docker/swarm/leader"


class FakeSession:
    """A tree of znodes, as kazoo tells of it; watches fire when the test says so."""

    def __init__(self, tree):
        self.tree = tree
        self.is_over = False
        self.wake = lambda *_: None
        self.watches = []
        self.closed = False

    async def ask(self, method, path, watch=None):
        if watch:
            self.watches.append((method, path))
        if path not in self.tree:
            return None
        below = [one[len(path) + 1 :] for one in self.tree if one.startswith(f"{path}/")]
        children = [one for one in below if "/" not in one]
        stat = SimpleNamespace(numChildren=len(children))
        return {"get_children": children, "exists": stat, "get": (self.tree[path].encode(), stat)}[method]

    async def close(self):
        self.closed = True


@pytest.fixture
def store(monkeypatch):
    """A backend on a tree."""

    def make(tree, prefix="p", path="docker/swarm/nodes"):
        url = Discovery.from_yaml(f"zk://127.0.0.1:1/{prefix}")
        made = ZooKeeper(url, DiscoveryOpts(path=KeyPath.from_yaml(path)), HTTPClientConfig())
        made.sessions = []

        async def opened():
            session = FakeSession(tree)
            session.wake = lambda *_: made._fired.set()
            made.sessions.append(session)
            return session

        monkeypatch.setattr(made, "_opened", opened)
        return made

    return make


@pytest.mark.parametrize("tag", ["v0.2.0", "v0.3.0", "v1.0.0", "v1.1.0", "v1.2.3", "v1.2.9"])
@pytest.mark.parametrize("when", ["", "-after-kill"])
async def test_nodes_and_leader_of_real_swarms(tag, when, store):
    dump = json.loads((RECORDED / tag / f"zk-dump{when}.json").read_text())
    path = "." if tag == "v0.2.0" else "docker/swarm/nodes"
    zk = store({one["path"]: one["data"] for one in dump}, prefix=f"zk-{tag}", path=path)
    found = await zk.nodes()
    # v0.2.0 registers for ever: a node that died stays
    assert found.nodes == ((A, B) if not when or tag == "v0.2.0" else (A,))
    if tag in ("v0.2.0", "v0.3.0"):
        assert found.leader is None  # v0.2.0 has none, v0.3.0 leaves the prefix out
    else:
        assert found.leader.startswith("10.99.0.")


async def test_a_leader_left_behind_by_the_last_manager_is_none(store):
    tree = {NODES: "", f"{NODES}/{A}": A, LEADER: "10.0.0.9:4000"}
    zk = store(tree)
    assert await zk.nodes() == Registered((A,))
    tree[f"{LEADER}/_c_1-lock-0"] = ""
    found = await zk.nodes()
    assert found == Registered((A,), "10.0.0.9:4000")
    assert await zk.nodes() is found


async def test_a_directory_that_is_not_there_is_an_error_that_asks_for_the_prefix(store):
    with pytest.raises(DiscoveryError, match=r"zk://127.0.0.1:1/p: no Swarm .* is the prefix right"):
        await store({}).nodes()


async def test_a_name_that_is_no_address_stands_for_its_value(store):
    tree = {NODES: "", f"{NODES}/{A}": A, f"{NODES}/x": B, f"{NODES}/y": "nonsense", f"{NODES}/sub": "\x01"}
    assert await store(tree).nodes() == Registered((A, B), None, {"invalid_address": 1})


async def test_the_leader_is_no_node(store):
    tree = {"/p/docker/swarm": "", LEADER: B, f"{LEADER}/_c_0-lock-1": "", f"/p/docker/swarm/{A}": A}
    assert await store(tree, path="docker/swarm").nodes() == Registered((A,), B)


async def test_watches_are_left_and_left_again_and_each_that_fires_is_a_hint(store):
    tree = {NODES: "", f"{NODES}/{A}": A}
    zk = store(tree)
    async with watching(zk) as hints:
        await hints.next()
        [session] = zk.sessions
        assert session.watches == [("get_children", NODES), ("get", LEADER), ("exists", LEADER)]
        session.wake()
        await hints.next()
        assert len(session.watches) == 6
        assert (await zk.nodes()).nodes == (A,)


async def test_a_directory_that_comes_is_watched_for(store):
    zk = store({})
    async with watching(zk) as hints:
        await hints.next()
        assert ("exists", NODES) in zk.sessions[0].watches


async def test_after_a_silence_what_is_the_same_is_no_hint(store, monkeypatch):
    monkeypatch.setattr(module, "QUIET", 0.01)
    tree = {NODES: "", f"{NODES}/{A}": A}
    zk = store(tree)
    async with watching(zk) as hints:
        await eventually(lambda: zk.sessions and len(zk.sessions[0].watches) > 9)
        assert hints.count == 1
        tree[f"{NODES}/{B}"] = B
        await hints.next()
        await eventually(lambda: hints.count == 2)


async def test_a_session_that_is_over_is_opened_anew(store):
    zk = store({NODES: "", f"{NODES}/{A}": A})
    async with watching(zk) as hints:
        await hints.next()
        first = zk.sessions[0]
        first.is_over = True
        first.wake()
        await eventually(lambda: len(zk.sessions) == 2 and hints.count >= 2)
        assert first.closed
    await zk.close()
    assert zk.sessions[-1].closed


async def test_without_kazoo_it_is_an_error_with_the_way_out(monkeypatch):
    monkeypatch.setattr(module, "is_installed", lambda: False)
    zk = ZooKeeper(Discovery.from_yaml("zk://127.0.0.1:1/p"), DiscoveryOpts(), HTTPClientConfig())
    with pytest.raises(DiscoveryError, match="pip install 'prometheus-swarm-sd\\[zookeeper\\]'"):
        await zk.nodes()


async def test_a_server_that_is_not_there_is_an_error_and_holds_nothing_up(monkeypatch, caplog):
    monkeypatch.setattr(module, "WITHIN", 0.5)
    caplog.set_level(logging.DEBUG)
    account = BasicAuth(username="u", password=Secret("hunter2"))
    http = HTTPClientConfig(basic_auth=account)
    zk = ZooKeeper(Discovery.from_yaml("zk://127.0.0.1:1/p"), DiscoveryOpts(), http)
    with pytest.raises(DiscoveryError, match=r"zk://127.0.0.1:1/p: no answer in 0.5 s \(.*refused") as caught:
        await zk.nodes()
    assert caught.value.reason == "timeout"
    assert "hunter2" not in f"{caught.value}{caplog.text}"
    await zk.close()
    listing = asyncio.create_task(zk.nodes())
    await asyncio.sleep(0.1)
    listing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listing


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (NoAuthError(), "credentials", "give basic_auth"),
        (AuthFailedError(), "credentials", "give basic_auth"),
        (ConnectionLoss(), "reset", "no connection: said"),
        (SystemZookeeperError("x"), "other", "SystemZookeeperError: x"),
    ],
)
def test_what_zookeeper_says_has_a_reason(error, reason, message):
    named = _named(error, "said")
    assert named.reason == reason
    assert message in str(named)


def test_kazoos_log_is_kept_to_one_warning_and_never_told(caplog):
    log = Log()
    log.debug("Sending request: %s", "hunter2")
    assert log.last == ""
    log.warning("Connection dropped: %s", "refused")
    assert log.last == "Connection dropped: refused"
    assert caplog.text == ""
