"""What holds for endpoints whatever a swarm tells, and what memory may never change."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.discovery.dockerswarm.test_endpoints import EVERYTHING, META, Recorded
from tests.discovery.dockerswarm.test_memo import changed, touch
from tests.discovery.dockerswarm.test_oddities import whole

from swarm_sd.discovery.docker_api.targets import REASONS
from swarm_sd.discovery.dockerswarm.endpoint_targets import Options
from swarm_sd.discovery.dockerswarm.endpoints import EndpointsMemo
from swarm_sd.discovery.dockerswarm.instances import told_apart

RECORDED = {name: Recorded(name) for name in ("sink", "sink_hostnet", "synth_ipv6", "updating", "minimal")}

options = st.builds(
    Options,
    port=st.just(9323),
    scrape=st.sampled_from(["all", "labelled"]),
    networks=st.none() | st.lists(st.sampled_from(["net-a", "net-b", "front", "no"]), unique=True).map(tuple),
    address_family=st.sampled_from(["ipv4", "ipv6", "both"]),
    instance=st.sampled_from(["task", "hostname", "address"]),
)
written = st.dictionaries(
    st.sampled_from(
        ["scrape", "port", "path", "network", "a.port", "a.path", "b.port", "label.x", "param.y", "prot"]
    ).map(lambda key: f"prometheus.{key}"),
    st.sampled_from(["true", "80", "8080", "/x", "net-a", "net-b", "ingress"]),
    max_size=4,
)


@st.composite
def swarms(draw):
    """A recorded swarm with labels of any kind, and tasks that came to other nodes, states and slots."""
    swarm = Recorded.__new__(Recorded)
    swarm.lists = copy.deepcopy(RECORDED[draw(st.sampled_from(sorted(RECORDED)))].lists)
    for service in swarm.services:
        if draw(st.booleans()):
            service["Spec"]["Labels"] = draw(written)
    for task in draw(st.lists(st.sampled_from(swarm.tasks), max_size=4)):
        task["Status"]["State"] = draw(st.sampled_from(["running", "failed"]))
        task["DesiredState"] = draw(st.sampled_from(["running", "complete", "shutdown"]))
        task["NodeID"] = draw(st.sampled_from([node["ID"] for node in swarm.nodes]))
        task["Slot"] = draw(st.integers(0, 2))
    return swarm


@settings(max_examples=60, deadline=None)
@given(swarms(), options)
def test_the_laws_hold(swarm, options):
    mapped = swarm.mapped(options)
    ingress = {
        address.partition("/")[0]
        for task in swarm.tasks
        for one in task.get("NetworksAttachments", ())
        if one["Network"]["Spec"].get("Ingress")
        for address in one["Addresses"]
    }
    nodes = {node["Status"]["Addr"] for node in swarm.nodes}
    for group in mapped.groups:
        targets = whole([group])
        hosts = {target["__address__"].rpartition(":")[0].strip("[]") for target in targets}
        assert not hosts & ingress - nodes
        where = [(one["__address__"], one.get("__metrics_path__"), one.get("__param_y")) for one in targets]
        assert len(set(where)) == len(where)
        names = [one["instance"] for one in targets if "instance" in one]
        assert len(set(names)) == len(names)
    states = {(one[f"{META}task_state"], one[f"{META}node_status"]) for one in whole(mapped.groups)}
    assert states <= {("running", "ready")}
    assert {*mapped.skipped, *mapped.untargeted} <= REASONS
    assert mapped.skipped.get("bad_label", 0) == len(mapped.complaints)


@settings(max_examples=30, deadline=None)
@given(swarms(), options, st.randoms(use_true_random=False))
def test_the_order_of_the_lists_does_not_matter(swarm, options, chance):
    before = swarm.mapped(options)
    for listed in swarm.lists.values():
        chance.shuffle(listed)
    assert swarm.mapped(options) == before


@settings(max_examples=30, deadline=None)
@given(swarms())
def test_every_task_has_a_target_or_a_reason(swarm):
    mapped = swarm.mapped(EVERYTHING)
    ids = {target[f"{META}task_id"] for target in whole(mapped.groups)}
    without = [task for task in swarm.tasks if task["ID"] not in ids]
    told = {complaint.split(":")[0].removeprefix("service ") for complaint in mapped.complaints}
    unexplained = [
        task for task in without if task["ServiceID"] not in {swarm.service(n)["ID"] for n in told}
    ]
    assert mapped.untargeted.total() + sum(mapped.skipped.values()) >= len(unexplained)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_memory_never_changes_what_comes_out(data):
    swarm, memo = data.draw(swarms()), EndpointsMemo()
    for _ in range(4):
        for _ in range(data.draw(st.integers(0, 3))):
            what = data.draw(st.sampled_from(["remove", "touch", "double", "services", "nodes", "networks"]))
            index = data.draw(st.integers(0, 1000))
            if what in ("services", "nodes", "networks"):
                listed = swarm.lists[what]
                one = listed.pop(index % len(listed)) if len(listed) > 1 else listed[0]
                listed.append(one | {"Spec": {}, "Name": str(index)}) if index % 2 else None
            elif swarm.tasks:
                task = swarm.tasks[index % len(swarm.tasks)]
                if what == "remove":
                    swarm.tasks.remove(task)
                elif what == "touch":
                    touch(task, Slot=index)
                else:
                    swarm.tasks.append(task)
        which = data.draw(st.sampled_from([EVERYTHING, Options(80, networks=("net-a",))]))
        assert swarm.mapped(which, memo=memo) == swarm.mapped(which)


def test_an_unchanged_list_gives_the_same_groups():
    swarm, memo = Recorded("sink"), EndpointsMemo()
    first = swarm.mapped(memo=memo)
    assert len(first.groups) > 5
    assert changed(first, swarm.mapped(memo=memo)) == set()


def test_a_task_that_ends_makes_its_services_group_anew_and_no_other():
    swarm, memo = Recorded("sink"), EndpointsMemo()
    first = swarm.mapped(memo=memo)
    task = swarm.tasks_of("rep-tcp")[0]
    touch(task, DesiredState="shutdown")
    assert changed(first, swarm.mapped(memo=memo)) == {f"endpoints/{task['ServiceID']}"}


def test_a_node_that_goes_down_reaches_its_tasks_only():
    swarm, memo = Recorded("sink"), EndpointsMemo()
    first = swarm.mapped(memo=memo)
    node = swarm.nodes[0]
    node["Status"]["State"] = "down"
    second = swarm.mapped(memo=memo)
    assert second == swarm.mapped()
    there = {f"endpoints/{task['ServiceID']}" for task in swarm.tasks if task.get("NodeID") == node["ID"]}
    assert changed(first, second) <= there


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcd"), unique=True, max_size=3), max_size=6))
def test_no_two_targets_have_one_name_and_nobody_a_foreign_one(forms):
    names = told_apart(forms)
    assert len({*names} - {""}) == sum(map(bool, names))
    assert all(not name or name in of for name, of in zip(names, forms, strict=True))
