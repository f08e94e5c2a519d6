"""Entries without targets, or with targets that nobody wants: the doctor names rule, label and service."""

from __future__ import annotations

import pytest
from tests.doctor.worlds import config, entry, examined, names, told

from swarm_sd.discovery.docker_api.wire import Network
from swarm_sd.doctor import configuration, shared_networks
from swarm_sd.doctor.look import Looked
from swarm_sd.sim.moby.clusters import plain_engine
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.objects import Port
from swarm_sd.sim.moby.swarm import Swarm
from swarm_sd.target import Populated

LABELLED = {"com.example.team-name": "core", "prometheus.scrape": "yes"}


def swarm(**how):
    """One service on one network; ``how`` as ``create_service`` takes it."""
    made = Swarm(["mgr1"], ["wrk1"])
    made.create_network("monitoring_metrics")
    made.create_network("other")
    made.create_service("web", **{"networks": ["monitoring_metrics"], "labels": LABELLED, **how})
    return made.settle()


def keep(source: str, regex: str, action: str = "keep") -> str:
    return f"  - source_labels: [{source}]\n    regex: '{regex}'\n    action: {action}"


SERVICE = "__meta_dockerswarm_service_label_"


async def of(tmp_path, cluster, *lines, rules="", role="tasks"):
    """The report on an entry of the role that asks ``cluster``."""
    async with Daemon.on(cluster, "mgr1") as daemon:
        text = config(
            entry("dockerswarm", f"host: {daemon.url}", f"role: {role}", "port: 9100", *lines, rules=rules)
        )
        return await examined(tmp_path, text)


# -- rules under which nothing is left --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "regex", "cause", "way_out"),
    [
        (SERVICE + "com.example.team-name", "core", "only letter case, dots or dashes differ",
         f"did you mean {SERVICE}com_example_team_name?"),
        (SERVICE + "Com_Example_Team_Name", "core", "only letter case", f"did you mean {SERVICE}com_example"),
        (SERVICE + "com_example_team_nmae", "core", "a name that is nearly the same", "team_name?"),
        (SERVICE + "com_example_team_name", "Core", "the letter case differs", "regex: (?i:Core)"),
        (SERVICE + "com_example_team_name", "co", "the whole value, not a part", "regex: co.*"),
        (SERVICE + "com_example_team_name", "ore", "the whole value, not a part", "regex: .*ore.*"),
        (SERVICE + "com_example_team_name", "edge", "no value is what the regex asks for", "remove the rule"),
        ("__meta_dockerswarm_shoe_size", ".+", "no target has", "there are: __meta_"),
    ],
)  # fmt: skip
async def test_a_rule_that_keeps_nothing_is_told_with_what_it_saw(source, regex, cause, way_out, tmp_path):
    found = told(await of(tmp_path, swarm(), rules=keep(source, regex)), "rules-drop-all")
    assert "swarm.yml:8:" in found.message
    assert f"regex: {regex}" in found.message
    assert cause in found.cause
    assert way_out in found.way_out


async def test_the_value_that_the_rule_saw_is_told(tmp_path):
    found = told(await of(tmp_path, swarm(), rules=keep(SERVICE + "com_example_team_name", "edge")),
                 "rules-drop-all")  # fmt: skip
    assert "it saw 'core'" in found.message


async def test_white_space_around_a_value_is_seen(tmp_path):
    rules = keep(SERVICE + "team", "core")
    found = told(await of(tmp_path, swarm(labels={"team": " core"}), rules=rules), "rules-drop-all")
    assert "white space" in found.cause


async def test_a_drop_that_matches_the_empty_value_is_told(tmp_path):
    found = told(await of(tmp_path, swarm(), rules=keep(SERVICE + "nosuch", ".*", "drop")), "rules-drop-all")
    assert "the empty value" in found.cause
    assert "regex: .+" in found.way_out


async def test_of_several_rules_each_that_dropped_some_is_told(tmp_path):
    cluster = swarm()
    cluster.create_service("db", networks=["monitoring_metrics"], labels={"tier": "back"})
    cluster.settle()
    rules = keep("__meta_dockerswarm_service_name", "db") + "\n" + keep(SERVICE + "tier", "front")
    report = await of(tmp_path, cluster, rules=rules)
    found = [one for section in report.sections for one in section.findings if one.check == "rules-drop-all"]
    assert ["swarm.yml:8:" in found[0].message, "swarm.yml:11:" in found[1].message] == [True, True]


async def test_an_address_that_prometheus_refuses_is_told(tmp_path):
    rules = "  - target_label: __address__\n    replacement: http://web:9100"
    found = told(await of(tmp_path, swarm(), rules=rules), "targets-refused")
    assert "http://web:9100" in found.message


# -- labels on the wrong level ----------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["tasks", "services"])
async def test_a_label_of_the_containers_that_a_rule_looks_for_on_the_service(role, tmp_path):
    cluster = swarm(labels={}, container_labels={"team": "core"})
    found = told(await of(tmp_path, cluster, rules=keep(SERVICE + "team", "core"), role=role), "label-level")
    assert "looks at the labels of the service (deploy: labels:" in found.cause
    assert "'team' of web is one of its containers" in found.cause
    assert "{deploy: {labels: {team: ...}}}" in found.way_out
    assert found.state == "problem"


async def test_a_label_of_the_service_that_a_rule_looks_for_on_the_containers(tmp_path):
    rules = keep("__meta_dockerswarm_container_label_team", "core")
    found = told(await of(tmp_path, swarm(labels={"team": "core"}), rules=rules), "label-level")
    assert "'team' of web is one of the service" in found.cause
    assert f"let the rule look at {SERVICE}team" in found.way_out


async def test_a_label_of_the_service_that_an_engine_does_not_know(tmp_path):
    cluster = swarm(labels={"team": "core"})
    async with Daemon.on(cluster, "wrk1") as daemon, Daemon.on(cluster, "mgr1") as manager:
        del daemon
        text = config(
            entry("docker", f"host: {manager.url}", rules=keep("__meta_docker_container_label_team", "core"))
        )
        cluster.engine("mgr1").run("plain")
        report = await examined(tmp_path, text)
    found = told(report, "label-level")
    assert "{labels: {team: ...}}" in found.way_out


async def test_a_rule_that_sets_a_label_from_the_wrong_level_is_a_warning(tmp_path):
    rules = f"  - source_labels: [{SERVICE}team]\n    target_label: team"
    found = told(await of(tmp_path, swarm(container_labels={"team": "core"}), rules=rules), "label-level")
    assert found.state == "warning"


async def test_a_rule_for_a_label_that_nobody_has_is_no_warning(tmp_path):
    rules = keep(SERVICE + "prometheus_scrape_not", "false", "drop")
    assert "label" not in " ".join(names(await of(tmp_path, swarm(), rules=rules)))


# -- no targets, and why ----------------------------------------------------------------------------------


async def test_services_without_a_virtual_ip(tmp_path):
    cluster = swarm(endpoint_mode="dnsrr")
    found = told(await of(tmp_path, cluster, role="services"), "no-virtual-ip")
    assert (found.state, "web" in found.message) == ("problem", True)
    assert "role: tasks" in found.way_out


async def test_filters_that_nothing_matches(tmp_path):
    report = await of(tmp_path, swarm(), "filters: [{name: name, values: [nothing]}]", role="services")
    assert "name: nothing" in told(report, "no-targets").cause


async def test_a_filter_that_docker_refuses(tmp_path):
    report = await of(tmp_path, swarm(), "filters: [{name: colour, values: [red]}]")
    assert "colour" in told(report, "discovery").message


async def test_services_that_do_not_say_that_they_are_to_be_scraped(tmp_path):
    report = await of(tmp_path, swarm(labels={}), role="endpoints")
    found = told(report, "not-labelled")
    assert "web" in found.message
    assert "prometheus.port" in found.way_out


async def test_a_label_of_the_convention_that_cannot_be_used(tmp_path):
    report = await of(tmp_path, swarm(labels={"prometheus.port": "http"}), role="endpoints")
    assert "prometheus.port: 'http' is no port" in told(report, "bad-label").message


async def test_networks_that_the_tasks_are_not_on(tmp_path):
    cluster = swarm(labels={"prometheus.port": "9100"})
    report = await of(tmp_path, cluster, "networks: [other]", role="endpoints")
    found = told(report, "no-shared-network")
    assert "web" in found.message
    assert "monitoring_metrics" in found.cause


async def test_a_network_without_the_name_of_its_stack(tmp_path):
    cluster = swarm(labels={"prometheus.port": "9100"})
    found = told(await of(tmp_path, cluster, "networks: [metrics]", role="endpoints"), "unknown-network")
    assert "a stack puts its own name in front" in found.cause
    assert found.way_out == "networks: [monitoring_metrics]"


async def test_own_networks_outside_of_a_container(tmp_path, monkeypatch):
    monkeypatch.setattr("swarm_sd.discovery.dockerswarm.provider.own_container", lambda: "")
    report = await of(
        tmp_path, swarm(labels={"prometheus.port": "9100"}), "networks: [auto]", role="endpoints"
    )
    assert "is for a swarm-sd in a container" in told(report, "discovery").message


def test_a_service_on_no_network_of_our_own_container():
    meta = "__meta_dockerswarm_"
    labels = {meta + "service_name": "web", meta + "network_id": "n1", meta + "network_name": "back"}
    found = shared_networks.apart([Populated(labels, {})], ["n2"])
    assert found is not None
    assert (found.check, "web is on back" in found.cause) == ("network-apart", True)
    assert shared_networks.apart([Populated(labels, {})], ["n1"]) is None
    assert shared_networks.apart([Populated(labels, {})], None) is None


def test_networks_of_one_machine_are_not_offered():
    local = Network(id="x", name="metrics_local", scope="local")
    (found,) = shared_networks.unknown(["metrics_loc"], [local])
    assert "metrics_local" not in found.way_out


# -- targets that nobody wants ----------------------------------------------------------------------------


async def test_the_default_port_of_all_targets(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        report = await examined(tmp_path, config(entry("dockerswarm", f"host: {daemon.url}", "role: tasks")))
    found = told(report, "default-port")
    assert found.message.startswith("1 target at port 80")


async def test_a_rule_that_sets_the_port_is_enough(tmp_path):
    rules = (
        "  - source_labels: [__address__]\n    regex: '(.+):80'\n    target_label: __address__\n"
        "    replacement: '$1:9100'"
    )
    async with Daemon.on(swarm(), "mgr1") as daemon:
        text = config(entry("dockerswarm", f"host: {daemon.url}", "role: tasks", rules=rules))
        assert names(await examined(tmp_path, text)) == []


async def test_addresses_on_ingress_are_a_warning_with_the_rule(tmp_path):
    cluster = swarm(ports=[Port(9100, 19100)])
    found = told(await of(tmp_path, cluster), "ingress-address")
    assert "action: drop" in found.way_out


async def test_two_managers_of_one_swarm_in_two_entries(tmp_path):
    cluster = swarm()
    async with Daemon.on(cluster, "mgr1") as one, Daemon.on(cluster, "mgr1") as two:
        text = config(
            entry("dockerswarm", f"host: {one.url}", "role: tasks", "port: 9100")
            + f"  - host: {two.url}\n    role: tasks\n    port: 9100\n"
        )
        found = told(await examined(tmp_path, text), "same-targets")
    assert "managers of the same swarm" in found.cause
    assert "hosts: [" in found.way_out


async def test_two_jobs_with_the_same_series_are_a_problem(tmp_path):
    rules = "  - target_label: job\n    replacement: same"
    async with Daemon.on(swarm(), "mgr1") as daemon:
        text = config(
            *(
                entry("dockerswarm", f"host: {daemon.url}", "role: tasks", "port: 9100", rules=rules, job=job)
                for job in ("one", "two")
            )
        )
        found = told(await examined(tmp_path, text), "same-targets")
    assert found.state == "problem"


async def test_different_roles_of_one_swarm_are_no_doubles(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        text = config(
            *(
                entry("dockerswarm", f"host: {daemon.url}", f"role: {role}", "port: 9100", job=role)
                for role in ("nodes", "services", "tasks")
            )
        )
        assert names(await examined(tmp_path, text)) == []


async def test_an_engine_without_containers(tmp_path):
    engine = plain_engine()
    for one in list(engine.containers):
        engine.remove(one)
    async with Daemon(engine) as daemon:
        report = await examined(tmp_path, config(entry("docker", f"host: {daemon.url}")))
    assert "docker ps" in told(report, "no-targets").way_out


async def test_healthy_endpoints_give_no_problem_and_no_warning(tmp_path):
    report = await of(tmp_path, swarm(labels={"prometheus.port": "9100"}), role="endpoints")
    assert (report.problems, report.warnings) == (0, 0), report


# -- the file ---------------------------------------------------------------------------------------------


async def test_a_file_without_an_entry_of_ours(tmp_path):
    report = await examined(tmp_path, "scrape_configs:\n- job_name: a\n  static_configs: []\n")
    assert told(report, "nothing-ours").state == "problem"


async def test_the_file_that_convert_wrote(tmp_path):
    text = "scrape_configs:\n- job_name: a\n  http_sd_configs:\n  - url: http://swarm-sd:9963/sd/a/0\n"
    assert "what swarm-sd convert wrote" in told(await examined(tmp_path, text), "converted-file").cause


def test_prometheus_that_is_given_the_same_file(tmp_path):
    file = tmp_path / "prometheus.yml"
    file.write_text("x")
    for number, words in {
        "17": ["/bin/prometheus", f"--config.file={file}"],
        "18": ["/bin/prometheus", "--config.file", "prometheus.yml"],
        "19": ["/bin/prometheus", "--config.file=other.yml"],
        "20": ["vi", str(file)],
    }.items():
        process = tmp_path / "proc" / number
        process.mkdir(parents=True)
        (process / "cmdline").write_bytes("\0".join(words).encode() + b"\0")
        (process / "cwd").symlink_to(tmp_path)
    found = configuration.given_to_prometheus(file, tmp_path / "proc")
    assert sorted(found) == [17, 18]


def test_nothing_kept_is_nothing_twice():
    assert Looked().kept == ()
