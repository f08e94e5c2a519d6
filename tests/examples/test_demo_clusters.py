"""What the demo says is true of its clusters: the same as is true of them from outside."""

from pathlib import Path

import pytest


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    import swarm_demo.cluster
    import swarm_demo.registering
    import swarm_demo.swarm_mode

    return swarm_demo


async def test_a_drained_nodes_tasks_are_true_elsewhere_and_no_more_where_they_were(demo):
    async with demo.swarm_mode.SwarmMode(alone=False) as cluster:
        before = {one.name for one in cluster.truth()}
        for deed in cluster.script()[:3]:
            await deed()
        after = cluster.truth()
    assert "web.2@wrk2" in before
    assert [one.name for one in after] == [
        "agent@wrk1",
        "api.1@wrk1",
        "web.1@wrk1",
        "web.2@wrk1",
        "web.3@wrk1",
    ]
    assert {one.state for one in after} == {"running"}


async def test_a_dead_manager_is_not_among_those_that_answer_until_it_returns(demo):
    async with demo.swarm_mode.SwarmMode(alone=False) as cluster:
        everyone = cluster.answering()
        script = cluster.script()
        await script[1]()
        dead = everyone - cluster.answering()
        await script[3]()
        assert dead == {cluster.managers["mgr1"].address}
        assert cluster.answering() == everyone


async def test_without_etcd_who_is_registered_stands_in_a_file(demo, monkeypatch, tmp_path):
    monkeypatch.setattr(demo.registering, "_etcd_can", lambda: False)
    async with demo.registering.Registering(tmp_path, alone=False) as cluster:
        assert [one.name for one in cluster.truth()] == ["engine-0", "engine-1", "engine-2"]
        joins, dies = cluster.script()
        assert await joins() == "engine-3 joins through a file"
        await dies()
        assert [one.name for one in cluster.truth()] == ["engine-1", "engine-2", "engine-3"]
        hosts = [one.address.rpartition(":")[0] for one in cluster.truth()]
        assert (tmp_path / "nodes").read_text() == "".join(f"{host}:2375\n" for host in sorted(hosts))
        assert cluster.store.discovery == f"file://{tmp_path}/nodes"


def test_tasks_that_shall_not_run_are_dropped_like_by_the_relabelling(demo):
    cluster = demo.swarm_mode.SwarmMode(alone=False)
    labels = {
        "__meta_dockerswarm_task_desired_state": "running",
        "__meta_dockerswarm_task_state": "running",
        "__meta_dockerswarm_service_name": "web",
    }
    assert cluster.told(labels) == ("web", "running")
    assert cluster.told({**labels, "__meta_dockerswarm_task_desired_state": "shutdown"}) is None


def test_clusters_take_turns_until_each_has_no_more(demo):
    deeds = {"a": "123", "b": "x"}
    turns = demo.cluster.turns(list("ab"), deeds.__getitem__)
    assert list(turns) == [("a", "1"), ("b", "x"), ("a", "2"), ("a", "3")]
