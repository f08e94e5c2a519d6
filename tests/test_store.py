"""The last good targets on disk."""

import os
import time

import pytest

from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.swarm.provider import SwarmSDConfig
from swarm_sd.model import Layered, TargetGroup
from swarm_sd.scalars import Duration, Port, Secret
from swarm_sd.store import Store, write_atomically

CONFIG = SwarmSDConfig(masters=(Host.from_yaml("http://m:1"),))
GROUPS = (
    TargetGroup(
        "swarm_nodes", ({"__address__": "[fd::1]:1", "city": "Zürich→東京"},), {"__meta_swarm_role": "node"}
    ),
    TargetGroup("swarm_masters", ({"__address__": "m:1"},), {}),
    TargetGroup("task/1", (Layered("t:1", ({"slot": "1"}, {"node": "n"})),), {}),
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, max_age=60)


def test_what_was_saved_is_restored(store):
    before = time.time()
    store.save(CONFIG, GROUPS)
    saved = store.load(CONFIG)
    assert saved.groups == GROUPS
    assert before - 1 <= saved.confirmed <= time.time() + 1


def test_nothing_saved_is_nothing_restored(store):
    assert store.load(CONFIG) is None


def test_targets_older_than_max_age_are_not_believed(store):
    store.save(CONFIG, GROUPS)
    os.utime(store.path(CONFIG), (time.time() - 61,) * 2)
    assert store.load(CONFIG) is None
    store.confirm(CONFIG)
    assert store.load(CONFIG) is not None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version":1}',
        b'{"version":1,"kind":"swarm","groups":[["a"]]}',
        b'{"version":2,"x":1}',
        b"\xff",
        b'{"version":1,"kind":"swarm","groups":[["s",[{"__address__":"\xff"}],{}]]}',
        b'{"a":' * 9999,
    ],
)
def test_a_damaged_or_newer_file_is_left_alone_and_not_believed(store, content):
    store.path(CONFIG).write_bytes(content)
    assert store.load(CONFIG) is None
    assert store.path(CONFIG).read_bytes() == content


def test_another_cluster_never_gets_these_targets(store):
    store.save(CONFIG, GROUPS)
    other = SwarmSDConfig(masters=(Host.from_yaml("http://other:1"),))
    assert store.load(other) is None
    assert store.load(SwarmSDConfig(masters=CONFIG.masters, metrics_port=Port("9"))) is None


def test_changing_only_how_to_ask_keeps_the_targets(store):
    store.save(CONFIG, GROUPS)
    same = SwarmSDConfig(masters=CONFIG.masters, refresh_interval=Duration(9), bearer_token=Secret("x"))
    assert store.load(same).groups == GROUPS


def test_no_secret_is_written(store):
    config = SwarmSDConfig(
        masters=(Host.from_yaml("http://user:hunter2@m:1"),), bearer_token=Secret("hunter2")
    )
    store.save(config, GROUPS)
    assert b"hunter2" not in store.path(config).read_bytes()
    assert "hunter2" not in store.path(config).name


def test_a_failed_write_leaves_the_old_file_whole_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "f.json"
    write_atomically(path, b"old")
    monkeypatch.setattr(
        "os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f.json"]
