"""One target for each endpoint of each running task, at the address that answers."""

import pytest
from tests.discovery.dockerswarm.test_oddities import Swarm, whole

from swarm_sd.discovery.dockerswarm.endpoint_targets import Options
from swarm_sd.discovery.dockerswarm.endpoints import endpoints
from swarm_sd.sim.moby.objects import Port
from swarm_sd.sim.moby.swarm import Swarm as Simulated

META = "__meta_dockerswarm_"
EVERYTHING = Options(80, "all")


class Recorded(Swarm):
    """The lists of a recorded swarm, to be changed."""

    def mapped(self, options=EVERYTHING, **given):
        read = [self.decoded(kind) for kind in ("tasks", "services", "nodes", "networks")]
        return endpoints(*read, options=options, **given)

    def service(self, name):
        return next(one for one in self.services if one["Spec"]["Name"] == name)

    def tasks_of(self, name):
        return [task for task in self.tasks if task["ServiceID"] == self.service(name)["ID"]]

    def label(self, name, **labels):
        """Labels of the convention on a service; ``_`` stands for a dot."""
        spec = self.service(name)["Spec"]
        spec["Labels"] = {**(spec["Labels"] or {}), **_keys(labels)}

    def label_containers(self, name, **labels):
        for task in self.tasks_of(name):
            spec = task["Spec"]["ContainerSpec"]
            spec["Labels"] = {**(spec.get("Labels") or {}), **_keys(labels)}


def _keys(labels):
    return {f"prometheus.{key.replace('_', '.')}": value for key, value in labels.items()}


class Made(Recorded):
    """The lists of a simulated swarm of two nodes, to be changed."""

    def __init__(self, subnet="10.7.0.0/16", **service):
        swarm = Simulated(("mgr1",), ("wrk1",), seed=1)
        swarm.create_network("mon", subnet=subnet)
        swarm.create_network("back")
        swarm.create_service("web", **{"networks": ["mon", "back"], **service})
        self.swarm = swarm.settle()
        lists = swarm.lists()
        self.lists = {kind: lists[kind] for kind in ("nodes", "services", "tasks", "networks")}


@pytest.fixture
def sink():
    return Recorded("sink")


def of(mapped, name):
    """The targets of the service of that name."""
    return [target for target in whole(mapped.groups) if target[f"{META}service_name"] == name]


def addresses(mapped, name="web"):
    return [target["__address__"] for target in of(mapped, name)]


def instances(mapped, name="web"):
    return [target.get("instance") for target in of(mapped, name)]


# -- which tasks -----------------------------------------------------------------------------------------


def test_nothing_is_a_target_until_a_label_says_so(sink):
    mapped = sink.mapped(Options(80))
    assert mapped.groups == ()
    assert mapped.untargeted == {"not_labelled": 26, "not_running": 20}


def test_services_and_containers_that_declare_an_endpoint_are_targets(sink):
    sink.label("multinet", scrape="true")
    sink.label("dnsrr", port="9100")
    sink.label_containers("updated", jmx_port="9404")
    mapped = sink.mapped(Options(80))
    names = {target[f"{META}service_name"] for target in whole(mapped.groups)}
    assert names == {"multinet", "dnsrr", "updated"}
    assert {address.rpartition(":")[2] for address in addresses(mapped, "dnsrr")} == {"9100"}


def test_a_service_that_says_no_is_no_target_whatever_the_entry_says(sink):
    sink.label("multinet", scrape="false")
    mapped = sink.mapped()
    assert addresses(mapped, "multinet") == []
    assert mapped.untargeted["not_labelled"] == 2


def test_only_tasks_that_run_and_shall_run_are_targets(sink):
    mapped = sink.mapped()
    states = {(one[f"{META}task_state"], one[f"{META}task_desired_state"]) for one in whole(mapped.groups)}
    assert states == {("running", "running")}
    assert mapped.untargeted["not_running"] == 20


def test_a_task_about_to_end_is_none_any_more():
    mapped = Recorded("updating").mapped()
    assert addresses(mapped) == ["10.40.1.4:80"]
    assert mapped.untargeted == {"not_running": 2}


@pytest.mark.parametrize("change", [{"Status": {"State": "down", "Addr": "192.168.77.15"}}, None])
def test_tasks_of_a_node_that_is_not_ready_or_gone_are_none(sink, change):
    node = next(one for one in sink.nodes if one["Description"]["Hostname"] == "wrk2")
    node.update(change) if change else sink.nodes.remove(node)
    mapped = sink.mapped()
    assert mapped.untargeted["node_not_ready"] == 5
    assert not any(address.startswith("192.168.77.15:") for address in addresses(mapped, "glob-host"))


def test_tasks_of_a_service_that_is_removed_are_none(sink):
    sink.services.remove(sink.service("multinet"))
    assert sink.mapped().untargeted["no_service"] == 2


@pytest.mark.parametrize(
    ("mode", "names"),
    [("replicated-job", ["web.0:8080", "web.1:8080"]), ("global-job", ["web.mgr1:8080", "web.wrk1:8080"])],
)
def test_a_job_is_scraped_while_it_runs(mode, names):
    made = Made(mode=mode, replicas=2, ports=[Port(8080)])
    for task in made.tasks:
        task["Status"]["State"] = "running"
        assert task["DesiredState"] == "complete"
    mapped = made.mapped()
    assert sorted(instances(mapped)) == names
    assert {target[f"{META}service_mode"] for target in of(mapped, "web")} == {mode}
    for task in made.tasks:
        task["Status"]["State"] = "complete"
    assert made.mapped().untargeted == {"not_running": 2}


def test_the_jobs_recorded_have_ended(sink):
    assert addresses(sink.mapped(), "repjob") == addresses(sink.mapped(), "globjob") == []


# -- where it answers ------------------------------------------------------------------------------------


def test_a_published_service_is_scraped_on_its_network_at_the_port_it_listens_on(sink):
    assert addresses(sink.mapped(), "rep-tcp") == ["10.20.1.3:8080", "10.20.1.5:8080", "10.20.1.4:8080"]


def test_every_published_tcp_port_is_an_endpoint_with_its_name(sink):
    found = [(one["__address__"], one[f"{META}endpoint_name"]) for one in of(sink.mapped(), "named-ports")]
    assert found[:2] == [("10.20.1.49:8000", "web"), ("10.20.1.49:8001", "metrics")]
    ports = {address.rpartition(":")[2] for address in addresses(sink.mapped(), "multi-port")}
    assert ports == {"8081", "8083"}  # and not those of udp and sctp


def test_a_service_without_ports_has_the_entrys(sink):
    mapped = sink.mapped(Options(9323, "all"))
    assert addresses(mapped, "dnsrr") == ["10.20.1.13:9323", "10.20.1.12:9323"]


def test_a_port_published_in_host_mode_is_scraped_on_the_node(sink):
    mapped = sink.mapped()
    assert sorted(addresses(mapped, "glob-host")) == [f"192.168.77.{n}:19100" for n in range(11, 16)]
    assert "192.168.77.13:32768" in addresses(mapped, "mixed-modes")  # a port that Docker chose
    assert "10.20.1.20:8090" in addresses(mapped, "mixed-modes")
    modes = {one[f"{META}endpoint_port"]: one for one in of(mapped, "mixed-modes")}
    assert modes["9090"][f"{META}task_port_publish_mode"] == "host"
    assert modes["8090"][f"{META}task_port_publish_mode"] == "ingress"
    assert f"{META}network_name" not in modes["9090"]
    assert modes["8090"][f"{META}network_name"] == "net-a"


def test_a_task_on_the_hosts_network_is_scraped_on_its_node():
    swarm = Recorded("sink_hostnet")
    swarm.label("hostnet", port="9100")
    mapped = swarm.mapped(Options(80))
    assert addresses(mapped, "hostnet") == ["192.168.77.11:9100", "192.168.77.15:9100"]


def test_two_tasks_on_one_hosts_network_are_one_target():
    swarm = Recorded("sink_hostnet")
    first, second = swarm.tasks_of("hostnet")
    second["NodeID"] = first["NodeID"]
    mapped = swarm.mapped()
    assert len(addresses(mapped, "hostnet")) == 1
    assert mapped.untargeted["same_address"] == 1


def test_a_service_that_is_only_published_is_nowhere_to_scrape(sink):
    mapped = sink.mapped()
    assert addresses(mapped, "autoport") == addresses(mapped, "udp-only") == addresses(mapped, "nonet") == []
    assert mapped.untargeted["no_network"] == 3


def test_of_several_networks_the_first_by_name_is_taken(sink):
    assert addresses(sink.mapped(), "multinet") == ["10.20.1.44:80", "10.20.1.45:80"]


def test_a_label_chooses_the_network(sink):
    sink.label("multinet", network="net-b")
    assert addresses(sink.mapped(), "multinet") == ["10.20.2.34:80", "10.20.2.35:80"]
    assert addresses(sink.mapped(Options(80, "all", ("net-a",))), "multinet") == [
        "10.20.2.34:80",
        "10.20.2.35:80",
    ]


def test_a_label_may_name_a_network_as_the_stacks_file_does():
    made = Made(labels={"com.docker.stack.namespace": "stk", "prometheus.network": "on"})
    for task in made.tasks:
        task["NetworksAttachments"][0]["Network"]["Spec"]["Name"] = "stk_on"
    mapped = made.mapped()
    assert mapped.complaints == ()
    assert addresses(mapped)[0].startswith("10.7.")


def test_a_label_wins_over_a_port_of_the_host(sink):
    sink.label("mixed-modes", port="9090", network="net-a")
    assert addresses(sink.mapped(), "mixed-modes") == ["10.20.1.20:9090", "10.20.1.21:9090"]


def test_a_label_may_name_the_hosts_network():
    swarm = Recorded("sink_hostnet")
    swarm.label("hostnet", network="host")
    assert len(addresses(swarm.mapped(), "hostnet")) == 2


@pytest.mark.parametrize("network", ["net-c", "ingress"])
def test_a_label_with_a_network_that_the_tasks_are_not_on_is_told_once(sink, network):
    sink.label("rep-tcp", network=network)
    mapped = sink.mapped()
    assert addresses(mapped, "rep-tcp") == []
    assert mapped.complaints == (
        f"service rep-tcp: label prometheus.network: its tasks are not on the network '{network}'; "
        "write one of net-a",
    )
    assert mapped.skipped == {"bad_label": 1}


def test_the_configured_networks_choose_in_their_order(sink):
    for networks, ip in ((("net-b", "net-a"), "10.20.2.34"), (("x", "net-a", "net-b"), "10.20.1.44")):
        assert f"{ip}:80" in addresses(sink.mapped(Options(80, "all", networks)), "multinet")


def test_a_configured_network_may_be_an_id(sink):
    (id_of_b,) = [one["Id"] for one in sink.networks if one["Name"] == "net-b"]
    mapped = sink.mapped(Options(80, "all", (id_of_b,)))
    assert addresses(mapped, "multinet") == ["10.20.2.34:80", "10.20.2.35:80"]


def test_no_shared_network_is_a_reason_and_not_silence(sink):
    mapped = sink.mapped(Options(80, "all", ("net-enc",)))
    assert {target[f"{META}service_name"] for target in whole(mapped.groups)} == {
        "constrained",
        "glob-host",
        "mixed-modes",
    }
    # all others that run: 26 tasks less 2, 5 and 2, but mixed-modes counts for the port that it has not
    assert mapped.untargeted["no_shared_network"] == 26 - 2 - 5 - 2 + 2


def test_with_configured_networks_a_shared_one_comes_before_the_node(sink):
    mapped = sink.mapped(Options(80, "all", ("net-a",)))
    assert "10.20.1.20:9090" in addresses(mapped, "mixed-modes")
    assert "192.168.77.13:19100" in addresses(mapped, "glob-host")


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::", ""])
def test_a_node_that_knows_not_its_address_has_that_of_its_manager(sink, address):
    for node in sink.nodes:
        if node["Description"]["Hostname"] == "mgr1":
            node["Status"]["Addr"] = address
            node["ManagerStatus"]["Addr"] = "[fd00::1]:2377"
    assert "[fd00::1]:19100" in addresses(sink.mapped(), "glob-host")


def test_a_node_without_any_address_is_a_reason(sink):
    for node in sink.nodes:
        if node["Description"]["Hostname"] == "wrk1":
            node["Status"]["Addr"] = "0.0.0.0"
    mapped = sink.mapped()
    assert mapped.untargeted["no_address"] == 1
    # a task that is on a network as well is scraped there
    assert "10.20.1.21:9090" in addresses(mapped, "mixed-modes")


def test_an_odd_address_costs_that_network_and_no_more(sink):
    task = sink.tasks_of("multinet")[0]
    task["NetworksAttachments"][0]["Addresses"] = ["odd"]
    mapped = sink.mapped()
    assert addresses(mapped, "multinet") == ["10.20.2.34:80", "10.20.1.45:80"]
    assert mapped.skipped == {"bad_address": 1}
    task["NetworksAttachments"][1]["Addresses"] = [""]
    mapped = sink.mapped()
    assert addresses(mapped, "multinet") == ["10.20.1.45:80"]
    assert mapped.skipped == {"bad_address": 1, "no_address": 1}
    assert mapped.untargeted["no_network"] == 3


def test_without_the_list_of_networks_only_their_labels_are_missing(sink):
    read = [sink.decoded(kind) for kind in ("tasks", "services", "nodes")]
    mapped = endpoints(*read, None, options=EVERYTHING)
    assert addresses(mapped, "rep-tcp") == addresses(sink.mapped(), "rep-tcp")
    assert mapped.skipped == {"networks_unknown": 1}


# -- address families ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "first"),
    [
        ("ipv4", ["10.40.9.9:80"]),
        ("ipv6", ["[fd01:2::9]:80"]),
        ("both", ["10.40.9.9:80", "[fd01:2::9]:80"]),
    ],
)
def test_the_address_family_is_chosen_and_the_other_taken_where_there_is_no_such_address(family, first):
    mapped = Recorded("synth_ipv6").mapped(Options(80, "all", address_family=family))
    assert addresses(mapped) == [*first, "10.40.1.4:80"]


def test_both_addresses_of_a_task_have_names_of_their_own():
    mapped = Recorded("synth_ipv6").mapped(Options(80, "all", address_family="both"))
    assert instances(mapped) == ["web.1:80", "web.1-ipv6:80", "web.2:80"]


def test_a_service_with_nothing_but_ipv6_is_scraped_there(sink):
    assert addresses(sink.mapped(), "v6net") == ["[fd01:2::13]:80"]


# -- several endpoints, and what they are called ---------------------------------------------------------


def test_a_service_has_several_endpoints(sink):
    sink.label("dnsrr", app_port="8080", app_label_team="core", jmx_port="9404", jmx_path="/jmx")
    found = of(sink.mapped(Options(80)), "dnsrr")
    assert [
        (one["__address__"], one[f"{META}endpoint_name"], one.get("team"), one.get("__metrics_path__"))
        for one in found[:2]
    ] == [("10.20.1.13:8080", "app", "core", None), ("10.20.1.13:9404", "jmx", None, "/jmx")]


def test_an_instance_is_the_service_and_its_slot_or_node(sink):
    mapped = sink.mapped()
    assert instances(mapped, "rep-tcp") == ["rep-tcp.1:8080", "rep-tcp.3:8080", "rep-tcp.2:8080"]
    assert "glob-host.wrk1:9100" in instances(mapped, "glob-host")


def test_an_instance_outlives_its_task_and_the_port_that_docker_chose(sink):
    before = instances(sink.mapped(), "mixed-modes")
    for task in sink.tasks_of("mixed-modes"):
        task["ID"] = task["ID"][:-1] + "0"
        task["Status"]["ContainerStatus"]["ContainerID"] = "0" * 64
        for port in task["Status"]["PortStatus"]["Ports"]:
            port["PublishedPort"] += 7
    assert sorted(instances(sink.mapped(), "mixed-modes")) == sorted(before)


def test_an_instance_may_be_the_nodes_host_name(sink):
    mapped = sink.mapped(Options(80, "all", instance="hostname"))
    assert instances(mapped, "rep-tcp") == ["mgr1:8080", "mgr3:8080", "mgr2:8080"]


def test_two_tasks_on_one_node_have_the_tasks_name_instead(sink):
    first, second, third = sink.tasks_of("rep-tcp")
    second["NodeID"] = first["NodeID"]
    mapped = sink.mapped(Options(80, "all", instance="hostname"))
    assert sorted(instances(mapped, "rep-tcp")) == ["mgr2:8080", "rep-tcp.1:8080", "rep-tcp.3:8080"]
    assert third["Slot"] == 2


def test_two_paths_of_one_port_have_the_endpoints_name_too(sink):
    sink.label("dnsrr", port="80", b_port="80", b_path="/b")
    found = sorted(instances(sink.mapped(Options(80)), "dnsrr"))
    assert found == ["dnsrr.1:80", "dnsrr.1:80/b", "dnsrr.2:80", "dnsrr.2:80/b"]


def test_the_address_is_the_instance_where_the_entry_says_so(sink):
    assert set(instances(sink.mapped(Options(80, "all", instance="address")), "rep-tcp")) == {None}


def test_two_tasks_of_one_slot_are_told_apart_by_their_addresses(sink):
    for task in sink.tasks_of("dnsrr"):
        task["Slot"] = 1
    assert instances(sink.mapped(), "dnsrr") == [None, None]


def test_a_label_may_say_what_the_instance_is(sink):
    sink.label("dnsrr", port="80", label_instance="mine")
    assert instances(sink.mapped(), "dnsrr") == ["mine", "mine"]


# -- labels ----------------------------------------------------------------------------------------------


def test_a_target_has_every_label_of_role_tasks_and_more(sink):
    sink.label("rep-tcp", scrape="true")
    tasks = {one[f"{META}task_id"]: one for one in whole(sink.tasks_mapped().groups)}
    for one in of(sink.mapped(Options(80)), "rep-tcp"):
        old = tasks[one[f"{META}task_id"]]
        different = {name for name in old if one.get(name) != old[name]}
        assert different - {name for name in old if name.startswith(f"{META}network")} == {"__address__"}


def test_the_engines_labels_the_stack_and_the_image_are_there(sink):
    task = sink.tasks_of("constrained")[0]
    task["Spec"]["ContainerSpec"]["Image"] = "registry:5000/lab/busybox:1@sha256:abc"
    (one,) = [one for one in of(sink.mapped(), "constrained") if one[f"{META}task_id"] == task["ID"]]
    assert one[f"{META}node_engine_label_com_example_rack_no"] == "r1"
    assert one[f"{META}stack_namespace"] == "stk"
    parts = {name: one[f"{META}task_image{name}"] for name in ("", "_name", "_tag", "_digest")}
    assert parts == {
        "": "registry:5000/lab/busybox:1@sha256:abc",
        "_name": "registry:5000/lab/busybox",
        "_tag": "1",
        "_digest": "sha256:abc",
    }


@pytest.mark.parametrize(
    ("image", "name", "tag"),
    [("registry:5000/app", "registry:5000/app", None), ("app:2", "app", "2"), ("app", "app", None)],
)
def test_a_registrys_port_is_no_tag(image, name, tag):
    (one,) = of(Made(image=image, replicas=1).mapped(), "web")
    assert (one[f"{META}task_image_name"], one.get(f"{META}task_image_tag")) == (name, tag)


# -- complaints ------------------------------------------------------------------------------------------


def test_a_mistyped_label_is_told_once_for_all_tasks_and_counted(sink):
    sink.label("rep-tcp", scrape="true", prot="9100")
    mapped = sink.mapped(Options(80))
    assert mapped.complaints == (
        "service rep-tcp: label prometheus.prot: unknown, did you mean prometheus.port?",
    )
    assert mapped.skipped == {"bad_label": 1}
    assert len(addresses(mapped, "rep-tcp")) == 3


def test_a_mistyped_label_is_told_while_no_task_runs(sink):
    sink.label("failing", port="x")
    mapped = sink.mapped()
    assert [one.partition(": ")[0] for one in mapped.complaints] == ["service failing"]


def test_what_a_container_label_mends_is_no_complaint(sink):
    sink.label("dnsrr", port="x")
    sink.label_containers("dnsrr", port="9100")
    mapped = sink.mapped()
    assert mapped.complaints == ()
    assert addresses(mapped, "dnsrr") == ["10.20.1.13:9100", "10.20.1.12:9100"]


def test_the_recordings_have_no_address_that_answers_nobody():
    for name in ("sink", "sink_hostnet", "synth_ipv6", "minimal", "paused_drained", "synth_task_addr_empty"):
        for target in whole(Recorded(name).mapped().groups):
            assert target.get(f"{META}network_ingress") != "true"
            assert not target["__address__"].startswith(("10.20.0.", "10.40.0."))
