"""Very large swarms as bytes, and the mock that serves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from swarm_sd.sim.moby import large
from swarm_sd.sim.mock import Mock

from .moby_recordings import recorded
from .test_moby_recordings import in_order


@pytest.fixture(scope="module")
def swarm() -> large.LargeSwarm:
    return large.large_swarm(nodes=60, tasks=1000, seed=1)


def test_it_is_the_same_for_the_same_seed_alone(swarm: large.LargeSwarm) -> None:
    assert large.large_swarm(nodes=60, tasks=1000, seed=1) == swarm
    assert large.large_swarm(nodes=60, tasks=1000, seed=2).tasks != swarm.tasks


def test_it_has_the_sizes_that_are_wanted(swarm: large.LargeSwarm) -> None:
    tasks, services, nodes = (json.loads(body) for body in (swarm.tasks, swarm.services, swarm.nodes))
    assert (len(tasks), len(services), len(nodes), len(json.loads(swarm.networks))) == (1000, 50, 60, 20)
    assert len(swarm.tasks) / len(tasks) == pytest.approx(2600, abs=1)
    assert len(swarm.nodes) / len(nodes) == pytest.approx(1900, abs=50)


def test_its_objects_belong_together(swarm: large.LargeSwarm) -> None:
    tasks, nodes = json.loads(swarm.tasks), {node["ID"] for node in json.loads(swarm.nodes)}
    networks = {network["Id"] for network in json.loads(swarm.networks)}
    services = {service["ID"]: service for service in json.loads(swarm.services)}
    assert [task["ID"] for task in tasks] == sorted(task["ID"] for task in tasks)
    addresses = set()
    for task in tasks:
        assert task["NodeID"] in nodes
        (attachment,) = task["NetworksAttachments"]
        assert attachment["Network"]["ID"] in networks
        own = services[task["ServiceID"]]["Spec"]["TaskTemplate"]["ContainerSpec"]
        assert task["Spec"]["ContainerSpec"]["Image"] == own["Image"]
        addresses.add(*attachment["Addresses"])
    assert len(addresses) == len(tasks)
    assert len({(task["ServiceID"], task["Slot"]) for task in tasks}) == len(tasks)


def test_its_tasks_have_the_shape_of_real_ones(swarm: large.LargeSwarm) -> None:
    real = next(
        t
        for t in recorded("sink", "tasks")
        if t["Spec"].get("Placement", {}).get("Constraints") and "NodeID" in t
    )
    told = json.loads(swarm.tasks)[0]
    assert list(told) == list(real)
    assert in_order(told["Status"]) == in_order(real["Status"])
    # those of the recorded one are encrypted, these are labelled
    assert list(told["NetworksAttachments"][0]["Network"]) == list(real["NetworksAttachments"][0]["Network"])


def test_a_task_lies_where_the_layout_says(swarm: large.LargeSwarm) -> None:
    layout, tasks = large.layout(60, 1000, 1), json.loads(swarm.tasks)
    for number in (0, 1, 499, 999):
        begin = 1 + number * layout.stride
        assert swarm.tasks[begin + layout.index :][:8] == str(tasks[number]["Version"]["Index"]).encode()
        assert swarm.tasks[begin + layout.state :].startswith(b'"running"')


# -- the mock ------------------------------------------------------------------------------------------------


def get(mock: Mock, path: str, method: str = "GET") -> tuple[dict[str, str], bytes]:
    with urlopen(Request(f"{mock.url}{path}", method=method), timeout=10) as response:
        return dict(response.headers), response.read()


def tasks_of(mock: Mock) -> dict[str, tuple[int, str]]:
    found: list[dict[str, Any]] = json.loads(get(mock, "/v1.41/tasks")[1])
    return {task["ID"]: (task["Version"]["Index"], task["Status"]["State"]) for task in found}


def test_the_mock_serves_the_lists_and_counts(swarm: large.LargeSwarm) -> None:
    with Mock(60, 1000, seed=1) as mock:
        headers, body = get(mock, "/_ping", "HEAD")
        assert (headers["Api-Version"], body) == ("1.41", b"")
        for kind in ("nodes", "services", "tasks", "networks"):
            headers, body = get(mock, f"/v1.41/{kind}?filters=%7B%7D")
            assert body == getattr(swarm, kind)
            assert headers["Content-Length"] == str(len(body))
        counted = json.loads(get(mock, "/__requests")[1])
    assert counted == {"/_ping": 1, "/nodes": 1, "/services": 1, "/tasks": 1, "/networks": 1}


def test_the_mock_changes_some_tasks_on_demand() -> None:
    with Mock(60, 1000, seed=1) as mock:
        before = tasks_of(mock)
        while json.loads(get(mock, "/__change?share=0.05")[1]) == {"changed": 0}:
            pass  # the answer before may still be on its way out
        after = tasks_of(mock)
    changed = [key for key in before if before[key] != after[key]]
    assert len(changed) == 50
    assert all(after[key][0] > before[key][0] and after[key][1] == "failed" for key in changed)


def test_the_mock_can_change_some_tasks_with_every_answer_and_keeps_its_cache_clean(
    tmp_path: Path, swarm: large.LargeSwarm
) -> None:
    for _ in range(2):
        with Mock(60, 1000, seed=1, cache=tmp_path, change=0.01) as mock:
            told = [tasks_of(mock) for _ in range(3)]
        assert told[0] != told[2]
    assert (tmp_path / "large-60-1000-1-tasks.json").read_bytes() == swarm.tasks


def part(mock: Mock, kind: str, **filters: list[str]) -> list[dict[str, Any]]:
    """A list with these filters, as Docker's client writes them."""
    text = json.dumps({name: dict.fromkeys(values, True) for name, values in filters.items()})
    found: list[dict[str, Any]] = json.loads(get(mock, f"/v1.41/{kind}?filters={quote(text)}")[1])
    return found


def test_the_mock_gives_the_objects_that_are_asked_for_by_id(swarm: large.LargeSwarm) -> None:
    with Mock(60, 1000, seed=1) as mock:
        for kind in ("nodes", "services", "tasks"):
            every = json.loads(getattr(swarm, kind))
            some = [every[0], every[1], every[17], every[-1]]
            assert part(mock, kind, id=[one["ID"] for one in some]) == some
            assert part(mock, kind, id=["none", "9999999" + "a" * 18, some[0]["ID"][:-1]]) == []
        counted = json.loads(get(mock, "/__requests")[1])
    assert counted == {"/nodes?part": 2, "/services?part": 2, "/tasks?part": 2}


def test_the_mock_gives_the_tasks_of_a_service_and_refuses_one_that_is_not_there(
    swarm: large.LargeSwarm,
) -> None:
    every, wanted = json.loads(swarm.tasks), [one["ID"] for one in json.loads(swarm.services)[48:]]
    theirs = [task for task in every if task["ServiceID"] in wanted]
    with Mock(60, 1000, seed=1) as mock:
        assert part(mock, "tasks", service=wanted) == theirs
        assert part(mock, "tasks", service=wanted, id=[theirs[3]["ID"], every[0]["ID"]]) == [theirs[3]]
        with pytest.raises(HTTPError, match="404"):
            part(mock, "tasks", service=[*wanted, "gone"])


def test_the_mock_counts_the_bytes_of_bodies(swarm: large.LargeSwarm) -> None:
    with Mock(60, 1000, seed=1) as mock:
        get(mock, "/v1.41/tasks")
        part(mock, "nodes", id=["none"])
        sent = json.loads(get(mock, "/__bytes")[1])
    assert sent == {"/tasks": len(swarm.tasks), "/nodes?part": len(b"[]\n")}


def test_the_mock_tells_by_an_event_of_a_service_that_it_changed() -> None:
    with Mock(60, 1000, seed=1) as mock, urlopen(f"{mock.url}/v1.41/events", timeout=10) as stream:
        before = part(mock, "services")[7]
        for state in ("failed", "running"):
            changed = changed_by(mock, "service=7")
            event = json.loads(stream.readline())
            assert (event["Type"], event["Action"]) == ("service", "update")
            assert event["Actor"]["ID"] == changed["service"] == before["ID"]
            tasks = {task["ID"]: task for task in part(mock, "tasks", service=[before["ID"]])}
            assert tasks[changed["task"]]["Status"]["State"] == changed["state"] == state
        (after,) = part(mock, "services", id=[before["ID"]])
    assert after.pop("Version")["Index"] > before.pop("Version")["Index"]
    assert after == before


def test_the_mock_can_change_a_service_in_silence() -> None:
    with Mock(60, 1000, seed=1) as mock, urlopen(f"{mock.url}/v1.41/events", timeout=10) as stream:
        silent, loud = changed_by(mock, "service=3&silent=1"), changed_by(mock, "service=4")
        assert json.loads(stream.readline())["Actor"]["ID"] == loud["service"]
        (task,) = part(mock, "tasks", id=[silent["task"]])
    assert task["Status"]["State"] == "failed"


def changed_by(mock: Mock, query: str) -> dict[str, Any]:
    """What ``/__change`` did; while a whole list is still on its way out it does nothing."""
    while not (found := json.loads(get(mock, f"/__change?{query}")[1]))["changed"]:
        pass
    assert isinstance(found, dict)
    return found
