"""What masters tell and what is registered, joined: by law and by example."""

from hypothesis import given
from hypothesis import strategies as st

from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.swarm import targets
from swarm_sd.discovery.swarm.info import Info, Node, split_address
from swarm_sd.discovery.swarm.registered import counted, joined, recalled, recalled_leader, with_leader

A, B, C = (f"10.0.0.{number}:2375" for number in range(1, 4))
SIX = "[fd99::14]:2375"


def told(*addresses, **rows):
    nodes = [
        Node(f"name-{address}", address, split_address(address)[0], {"Status": "Healthy", **rows})
        for address in addresses
    ]
    return targets.nodes(Info(tuple(nodes)), port="9100")


def flags(group):
    return {
        one["__meta_swarm_node_address"]: (
            one["__meta_swarm_node_registered"],
            one.get("__meta_swarm_node_in_info"),
        )
        for one in group.targets
    }


def test_a_node_is_one_target_wherever_it_is_known_from():
    group = joined(told(A, B), [B, C], port="9100")
    assert flags(group) == {A: ("false", "true"), B: ("true", "true"), C: ("true", "false")}
    assert [one["__address__"] for one in group.targets] == [
        "10.0.0.1:9100",
        "10.0.0.2:9100",
        "10.0.0.3:9100",
    ]
    assert group.labels == {"__meta_swarm_role": "node"}
    assert group.targets[1]["__meta_swarm_node_name"] == f"name-{B}"
    assert group.targets[2] == {
        "__address__": "10.0.0.3:9100",
        "instance": C,
        "__meta_swarm_node_address": C,
        "__meta_swarm_node_registered": "true",
        "__meta_swarm_node_in_info": "false",
    }


def test_whether_a_node_is_in_info_is_not_said_while_no_master_has_told():
    group = joined(None, [A, SIX], port="9100", scheme="https")
    assert flags(group) == {A: ("true", None), SIX: ("true", None)}
    assert group.targets[1]["__address__"] == "[fd99::14]:9100"
    assert {one["__scheme__"] for one in group.targets} == {"https"}


def test_a_node_that_left_goes_but_not_one_that_came_back():
    assert flags(joined(told(A, B), [B], left=[A, B], port="1")) == {B: ("true", "true")}


def test_a_target_of_which_the_same_is_known_is_the_very_object():
    memo = {}
    nodes = told(A, B)
    first = joined(nodes, [A], port="9100", memo=memo)
    second = joined(nodes, [A, C], port="9100", memo=memo)
    assert first.targets[0] is second.targets[0]
    assert first.targets[1] is second.targets[1]
    assert set(memo) == {A, B, C}
    joined(None, [C], port="9100", memo=memo)
    assert set(memo) == {C}


addresses = st.sets(
    st.builds(lambda host, port: f"10.0.{host}.1:{port}", st.integers(0, 20), st.sampled_from([2375, 2376]))
)


@given(addresses, addresses, addresses)
def test_each_node_is_there_once_in_order_and_counted_once(listed, registered, left):
    group = joined(told(*listed), registered, left=left, port="9100")
    assert set(flags(group)) == registered | (listed - left)
    order = [(one["__address__"], one["instance"]) for one in group.targets]
    assert order == sorted(order)
    assert sum(gauge.value for gauge in counted(group)) == len(group.targets)
    assert group == joined(told(*sorted(listed)), sorted(registered), left=left, port="9100")


@given(addresses, addresses)
def test_what_was_joined_can_be_taken_apart_again(listed, registered):
    group = joined(told(*listed), registered, port="9100")
    nodes, was = recalled([group])
    assert was == registered
    assert (nodes.targets if nodes else ()) == told(*listed).targets
    assert not nodes or joined(nodes, was, port="9100") == group


def test_the_counts_say_zero_only_of_what_is_known():
    counts = counted(joined(told(A), [A], port="1"))
    assert {(one.labels["registered"], one.labels["in_info"]): one.value for one in counts} == {
        ("true", "true"): 1,
        ("true", "false"): 0,
        ("false", "true"): 0,
    }
    [only] = counted(joined(None, [A, B], port="1"))
    assert (only.labels, only.value) == ({"registered": "true", "in_info": ""}, 2)


def masters(*urls, roles=None):
    hosts = [Host.from_yaml(url) for url in urls]
    return targets.masters(hosts, port="9100", roles=roles)


def leading(group, leader):
    found = with_leader(group, leader, port="9100", scheme=None)
    return [(one["instance"], one.get("__meta_swarm_master_role")) for one in found.targets]


def test_the_leader_is_one_of_the_masters_or_one_more():
    both = masters("http://m1:4000", "tcp://m2:4000", roles={"http://m1:4000": "primary"})
    assert leading(both, None) == [("m1:4000", "primary"), ("m2:4000", None)]
    assert leading(both, "m2:4000") == [("m1:4000", None), ("m2:4000", "primary")]
    assert leading(both, "m3:4000") == [("m1:4000", None), ("m2:4000", None), ("m3:4000", "primary")]
    assert leading(masters(), "m3:4000") == [("m3:4000", "primary")]


def test_the_leader_of_an_earlier_life_is_known_by_its_role():
    assert recalled_leader([with_leader(masters("tcp://a:1"), "m:4000", port="1", scheme=None)]) == "m:4000"
    assert recalled_leader([masters("tcp://a:1")]) is None
