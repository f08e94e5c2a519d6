"""Asking for the part of the lists that may have changed, and what of it stands when all of them come."""

from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from swarm_sd.discovery.docker_api import part
from swarm_sd.discovery.docker_api.changes import Changes
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.listed import Listed
from swarm_sd.discovery.docker_api.lists import NETWORKS, NODES, SERVICES, TASKS, Asked, Lists
from swarm_sd.discovery.docker_api.part import asked_again, kept
from swarm_sd.discovery.docker_api.wire import (
    Network,
    Node,
    Present,
    Service,
    ServiceMode,
    ServiceSpec,
    Task,
    TaskStatus,
    Version,
)
from swarm_sd.provider import DiscoveryError

ALL = (Asked(SERVICES), Asked(NODES), Asked(TASKS), Asked(NETWORKS))


def service(name, version=1, **mode):
    return Service(id=name, version=Version(version), spec=ServiceSpec(mode=ServiceMode(**mode)))


def node(name, version=1):
    return Node(id=name, version=Version(version))


def task(name, state="running", service="s1", node="n1"):
    return Task(id=name, service_id=service, node_id=node, status=TaskStatus(state=state))


def network(name):
    return Network(id=name, name=name)


class Docker:
    """A manager that applies filters by ID and service, and refuses services that it does not know."""

    def __init__(self):
        self.objects = {
            SERVICES: [service("s1"), service("s2")],
            NODES: [node("n1"), node("n2")],
            TASKS: [task("t1"), task("t2", service="s2", node="n2")],
            NETWORKS: [network("net")],
        }
        self.asked = []  # (path, filters)

    def lists(self, asked=ALL):
        """What stands after everything was asked for now."""
        found = {one: Listed(self.objects[one.path]) for one in asked}
        return Lists(Host.from_yaml("tcp://one:2375"), {one: one for one in asked}, found, {})

    async def get(self, path, read, /):
        url = urlsplit(path)
        filters = msgspec.json.decode(parse_qs(url.query).get("filters", ["{}"])[0])
        self.asked.append((url.path, {name: set(values) for name, values in filters.items()}))
        known = {one.id for one in self.objects[SERVICES]}
        if url.path == TASKS and set(filters.get("service", ())) - known:
            raise DiscoveryError("refused_filter", "404")
        return Listed(one for one in self.objects[url.path] if _passes(one, filters))

    def paths(self):
        return [path for path, _ in self.asked]

    def filters_of(self, wanted):
        return [filters for path, filters in self.asked if path == wanted]


def _passes(one, filters):
    by_service = "service" not in filters or one.service_id in filters["service"]
    return by_service and ("id" not in filters or one.id in filters["id"])


@pytest.fixture
def docker():
    return Docker()


def ids(lists, path):
    return sorted(one.id for listed in lists.of(path) for one in listed)


async def test_a_service_that_changed_is_asked_for_and_then_its_tasks(docker):
    before = docker.lists()
    docker.objects[SERVICES] = [service("s1", version=2), service("s2", version=2)]
    docker.objects[TASKS] = [task("t1", "shutdown"), task("t3"), task("t2", "failed", "s2", "n2")]
    after, asked = await asked_again(docker.get, before, Changes({"s1"}))
    assert docker.asked == [(SERVICES, {"id": {"s1"}}), (TASKS, {"service": {"s1"}})]
    assert asked == Changes({"s1"})
    assert [one.version.index for one in after.listed(Asked(SERVICES))] == [2, 1]
    assert {one.id: one.status.state for one in after.listed(Asked(TASKS))} == {
        "t1": "shutdown",
        "t3": "running",
        "t2": "running",  # nobody asked for it
    }


async def test_a_list_in_which_nothing_changed_is_the_very_one_of_before(docker):
    before = docker.lists()
    after, _ = await asked_again(docker.get, before, Changes({"s1"}, {"n1"}))
    assert docker.asked
    assert all(after.listed(one) is before.listed(one) for one in ALL)


async def test_a_service_that_is_new_is_there_with_its_tasks(docker):
    before = docker.lists()
    docker.objects[SERVICES].append(service("s3"))
    docker.objects[TASKS].append(task("t3", service="s3"))
    after, _ = await asked_again(docker.get, before, Changes({"s3"}))
    assert ids(after, SERVICES) == ["s1", "s2", "s3"]
    assert ids(after, TASKS) == ["t1", "t2", "t3"]


async def test_the_tasks_of_a_service_that_is_gone_are_asked_for_by_their_own_ids(docker):
    before = docker.lists()
    docker.objects[SERVICES] = [service("s2")]
    docker.objects[TASKS] = [task("t1", "shutdown"), task("t2", service="s2", node="n2")]
    after, _ = await asked_again(docker.get, before, Changes({"s1"}))  # by its service Docker says 404
    assert docker.filters_of(TASKS) == [{"id": {"t1"}}]
    assert ids(after, SERVICES) == ["s2"]
    assert {one.id: one.status.state for one in after.tasks_of("s1")} == {"t1": "shutdown"}
    docker.objects[TASKS] = docker.objects[TASKS][1:]
    last, _ = await asked_again(docker.get, after, Changes({"s1"}))
    assert ids(last, TASKS) == ["t2"]


async def test_where_filters_are_let_through_nothing_is_taken_but_what_was_asked_for(docker):
    before = docker.lists()
    docker.objects[SERVICES] = [service("s1", version=2), service("s2", version=2), service("s3")]
    docker.objects[TASKS] = [task("t1", "failed"), task("t2", "failed", "s2"), task("t3", service="s3")]

    async def get(path, read, /):
        return await docker.get(path.partition("?")[0], read)

    after, _ = await asked_again(get, before, Changes({"s1"}))
    assert told(after) == OLD | {"s1": 2, "t1": "failed"}


async def test_of_services_that_stay_and_go_each_is_asked_for_in_its_way(docker):
    before = docker.lists()
    docker.objects[SERVICES] = [service("s2")]
    await asked_again(docker.get, before, Changes({"s1", "s2"}))
    assert docker.filters_of(SERVICES) == [{"id": {"s1", "s2"}}]
    asked = docker.filters_of(TASKS)
    assert sorted(asked, key=str) == sorted([{"id": {"t1"}}, {"service": {"s2"}}], key=str)


async def test_a_service_that_came_and_went_has_no_tasks_to_ask_for(docker):
    after, _ = await asked_again(docker.get, docker.lists(), Changes({"s3"}))
    assert docker.paths() == [SERVICES]
    assert ids(after, TASKS) == ["t1", "t2"]


async def test_a_node_that_changed_is_asked_for_and_so_are_the_services_that_run_there(docker):
    before = docker.lists()
    docker.objects[NODES] = [node("n1"), node("n2", version=2)]
    docker.objects[TASKS] = [task("t1"), task("t2", "shutdown", "s2", "n2"), task("t3", service="s2")]
    after, asked = await asked_again(docker.get, before, Changes(nodes={"n2"}))
    assert docker.filters_of(NODES) == [{"id": {"n2"}}]
    assert docker.filters_of(TASKS) == [{"service": {"s2"}}]
    assert asked == Changes({"s2"}, {"n2"})  # all of it must stand, whatever comes with an older whole
    assert [one.version.index for one in after.listed(Asked(NODES))] == [1, 2]
    assert ids(after, TASKS) == ["t1", "t2", "t3"]


async def test_a_node_that_is_new_is_there_with_its_tasks_of_global_services(docker):
    docker.objects[SERVICES].append(service("agent", global_=Present()))
    before = docker.lists()
    docker.objects[NODES].append(node("n3"))
    docker.objects[TASKS].append(task("t3", service="agent", node="n3"))
    after, asked = await asked_again(docker.get, before, Changes(nodes={"n3"}))
    assert docker.filters_of(TASKS) == [{"service": {"agent"}}]
    assert asked.services == {"agent"}
    assert ids(after, NODES) == ["n1", "n2", "n3"]
    assert ids(after, TASKS) == ["t1", "t2", "t3"]


async def test_when_networks_changed_all_of_them_are_asked_for_and_nothing_else(docker):
    before = docker.lists()
    docker.objects[NETWORKS] = [network("net"), network("new")]
    after, asked = await asked_again(docker.get, before, Changes(networks=True))
    assert docker.asked == [(NETWORKS, {})]
    assert asked.networks
    assert ids(after, NETWORKS) == ["net", "new"]


async def test_networks_are_not_asked_for_while_none_changed(docker):
    await asked_again(docker.get, docker.lists(), Changes({"s1"}, {"n1"}))
    assert NETWORKS not in docker.paths()


async def test_what_nobody_wants_is_not_asked_for(docker):
    before = docker.lists((Asked(NODES),))
    await asked_again(docker.get, before, Changes({"s1"}, {"n1"}, networks=True))
    assert docker.paths() == [NODES]


async def test_many_ids_are_asked_for_in_several_requests(docker):
    names = [f"{number:025d}" for number in range(part.IN_ONE * 2 + 1)]
    docker.objects[SERVICES] = [service(name) for name in names]
    docker.objects[TASKS] = [task(f"t{name}", service=name) for name in names]
    before = docker.lists()
    docker.objects[TASKS] = [task(f"t{name}", "failed", service=name) for name in names]
    after, _ = await asked_again(docker.get, before, Changes(set(names)))
    assert [len(filters["id"]) for filters in docker.filters_of(SERVICES)] == [part.IN_ONE, part.IN_ONE, 1]
    asked = [filters["service"] for filters in docker.filters_of(TASKS)]
    assert set.union(*asked) == set(names)
    assert sum(map(len, asked)) == len(names)
    assert {one.status.state for one in after.listed(Asked(TASKS))} == {"failed"}


def test_a_request_with_all_the_ids_it_may_have_fits_a_line_of_8_kb():
    names = [f"{number:025d}" for number in range(part.IN_ONE)]
    url = Asked(TASKS, '{"desired-state":{"running":true}}').narrowed("service", names)
    assert len(url) < 8000


async def test_the_filters_of_a_list_hold_for_its_parts(docker):
    running = Asked(TASKS, '{"desired-state":{"running":true}}')
    await asked_again(docker.get, docker.lists((running, Asked(SERVICES))), Changes({"s1"}))
    assert docker.filters_of(TASKS) == [{"desired-state": {"running"}, "service": {"s1"}}]


@pytest.mark.parametrize(
    ("path", "parameter"),
    [(TASKS, '{"service":{"s1":true}}'), (SERVICES, '{"id":{"s1":true}}'), (NODES, '{"id":{"n1":true}}')],
)
async def test_a_list_that_is_filtered_by_the_same_already_is_asked_for_whole(docker, path, parameter):
    filtered = Asked(path, parameter)
    others = [one for one in ALL if one.path != path and one.path != NETWORKS]
    before = docker.lists((filtered, *others))
    await asked_again(docker.get, before, Changes({"s1", "s2"}, {"n1", "n2"}))
    wanted = {name: set(values) for name, values in msgspec.json.decode(parameter).items()}
    assert docker.filters_of(path) == [wanted]  # Docker takes either of two values: the list would grow


async def test_a_list_filtered_by_tasks_ids_is_asked_for_whole_when_a_service_is_gone(docker):
    filtered = Asked(TASKS, '{"id":{"t1":true,"t2":true}}')
    before = docker.lists((filtered, Asked(SERVICES)))
    docker.objects[SERVICES] = [service("s2")]
    docker.objects[TASKS] = docker.objects[TASKS][1:]
    after, _ = await asked_again(docker.get, before, Changes({"s1"}))
    assert {"id": {"t1", "t2"}} in docker.filters_of(TASKS)
    assert ids(after, TASKS) == ["t2"]


async def test_without_a_whole_list_of_services_docker_says_which_exist(docker):
    before = docker.lists((Asked(TASKS),))
    docker.objects[TASKS] = [task("t1", "failed"), task("t2", service="s2")]
    after, _ = await asked_again(docker.get, before, Changes({"s1"}))
    assert docker.asked == [(TASKS, {"service": {"s1"}})]
    assert [one.status.state for one in after.tasks_of("s1")] == ["failed"]
    docker.objects[SERVICES] = [service("s2")]
    with pytest.raises(DiscoveryError, match="404"):
        await asked_again(docker.get, after, Changes({"s1"}))


def changed(docker):
    """(what stands since an older whole, what parts have made of it)."""
    older = docker.lists()
    docker.objects = {
        SERVICES: [service("s1", version=2), service("s2", version=2)],
        NODES: [node("n1", version=2), node("n2", version=2)],
        TASKS: [task("t1", "failed"), task("t3"), task("t2", "failed", "s2", "n2")],
        NETWORKS: [network("net"), network("new")],
    }
    return older, docker.lists()


def told(lists):
    return {
        **{one.id: one.version.index for path in (SERVICES, NODES) for one in lists.listed(Asked(path))},
        **{one.id: one.status.state for one in lists.listed(Asked(TASKS))},
    }


OLD = {"s1": 1, "s2": 1, "n1": 1, "n2": 1, "t1": "running", "t2": "running"}


@pytest.mark.parametrize(
    ("changes", "newer"),
    [
        (Changes({"s1"}), {"s1": 2, "t1": "failed", "t3": "running"}),
        (Changes({"s2"}), {"s2": 2, "t2": "failed"}),
        (Changes(nodes={"n2"}), {"n2": 2}),
        (Changes(networks=True), {}),
        (Changes({"s1"}, {"n1"}), {"s1": 2, "n1": 2, "t1": "failed", "t3": "running"}),
    ],
    ids=["one service", "another", "a node", "networks", "both"],
)
def test_what_was_asked_for_during_a_fetch_is_kept_and_nothing_else(docker, changes, newer):
    older, parts = changed(docker)
    assert told(kept(older, parts, changes)) == OLD | newer


def test_networks_that_were_asked_for_during_a_fetch_are_kept(docker):
    older, parts = changed(docker)
    assert ids(kept(older, parts, Changes(networks=True)), NETWORKS) == ["net", "new"]
    assert ids(kept(older, parts, Changes({"s1"}, {"n1"})), NETWORKS) == ["net"]


def test_what_went_during_a_fetch_does_not_come_back(docker):
    older = docker.lists()
    docker.objects[SERVICES], docker.objects[TASKS] = [service("s2")], [task("t2", service="s2")]
    docker.objects[NODES] = [node("n2")]
    now = kept(older, docker.lists(), Changes({"s1"}, {"n1"}))
    assert [ids(now, path) for path in (SERVICES, NODES, TASKS)] == [["s2"], ["n2"], ["t2"]]


def test_what_parts_do_not_differ_in_is_the_very_list_that_came(docker):
    older, parts = docker.lists(), docker.lists()
    now = kept(older, parts, Changes({"s1"}, {"n1"}))
    assert all(now.listed(one) is older.listed(one) for one in (Asked(SERVICES), Asked(NODES), Asked(TASKS)))


def test_a_list_that_was_never_had_before_has_no_parts_to_keep(docker):
    older, parts = docker.lists(), docker.lists((Asked(NODES),))
    assert told(kept(older, parts, Changes({"s1"}))) == OLD
