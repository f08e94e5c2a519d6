"""docs/endpoints.md says what the code does: labels, fields, reasons, complaints, the convention."""

import asyncio
import io
import re

import msgspec
import pytest
from rich.console import Console
from ruamel.yaml import YAML
from tests.discovery.docker_api.test_cluster import until
from tests.discovery.dockerswarm.test_endpoints import META, Made, Recorded, addresses, instances, of
from tests.test_docs import blocks, full, labels_of, rows, section, text

from swarm_sd import table
from swarm_sd.config import load
from swarm_sd.discovery.docker_api import filters, targets, wire
from swarm_sd.discovery.dockerswarm.conventions import FAMILIES, FIELDS, declared
from swarm_sd.discovery.dockerswarm.endpoint_targets import Options
from swarm_sd.discovery.dockerswarm.endpoints import endpoints
from swarm_sd.discovery.dockerswarm.provider import _OF_ENDPOINTS
from swarm_sd.discovery.dockerswarm.tasks import tasks
from swarm_sd.once import discover
from swarm_sd.sim.__main__ import arguments
from swarm_sd.sim.moby import alone

PAGE = "docs/endpoints.md"


def everything():
    """(labels of role endpoints, labels of role tasks) of objects in which nothing is missing."""
    replace = msgspec.structs.replace
    node, task, service, network = map(full, (wire.Node, wire.Task, wire.Service, wire.Network))
    node = replace(node, status=replace(node.status, state="ready"))
    attached = task.networks_attachments[0]
    attached = replace(attached, network=replace(attached.network, spec=wire.NetworkSpec("x")))
    running = replace(task.status, state="running", port_status=wire.PortStatus())
    spec = replace(task.spec.container_spec, image="r/x:1@sha256:2", labels={"name": "x"})
    task = replace(
        task,
        status=running,
        desired_state="running",
        networks_attachments=[attached],
        spec=replace(task.spec, container_spec=spec),
    )
    stack = {"com.docker.stack.namespace": "x", "name": "x"}
    service = replace(service, spec=replace(service.spec, labels=stack))
    network = replace(network, ingress=False)
    lists = [task], [service], [node], [network]
    ours = endpoints(*lists, options=Options(1, "all"))
    theirs = tasks(*lists, port=1)
    known = "__meta_dockerswarm_service_label_com_docker_stack_namespace"
    return labels_of(ours.groups) - {known}, labels_of(theirs.groups) - {known}


def described(heading):
    return {row[0].strip("`"): row[1:] for row in rows(section(PAGE, heading))}


def test_the_labels_are_those_of_role_tasks_and_of_the_table():
    ours, theirs = everything()
    assert theirs <= ours
    named = {re.sub(r"_label_name$", "_label_<name>", label) for label in ours - theirs}
    assert described("Labels").keys() - {"label"} == named


def test_the_fields_are_those_described_with_their_defaults():
    fields = {name: row[0].strip("`") for name, row in described("Fields").items() if name != "field"}
    assert fields == {name: str(default or "") for name, default in _OF_ENDPOINTS.items()}


def test_the_filters_are_those_of_tasks():
    (listed,) = re.findall(r"`filters` are those of\s+tasks: (.*?) \(", text(PAGE), re.DOTALL)
    assert {*re.findall(r"`([\w-]+)`", listed)} == filters.ACCEPTED["tasks"] - {"_up-to-date"}


async def shown_by(config, flags, capsys):
    """What ``swarm-sd targets`` prints of ``config`` at the simulated cluster; the page's ports in it."""
    command, port, metrics = flags
    running = asyncio.create_task(alone.run_docker(arguments(command.split())))
    told = []

    def ports():
        told.append(capsys.readouterr().out)
        return re.search(r":(\d+), leader(?:.*\n)*?.* on port (\d+)", "".join(told))

    try:
        await until(ports)
        leader, free = ports().groups()
        config.write_text(config.read_text().replace(port, leader))
        found = await discover(load(config).jobs, timeout=10)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    out = io.StringIO()
    table.show(found.targets, found.skipped, Console(file=out, width=110))
    return re.sub(r" +$", "", out.getvalue(), flags=re.MULTILINE).replace(free, metrics)


async def test_the_simulated_swarm_has_the_targets_that_are_shown(tmp_path, capsys):
    flags = re.search(r"`python -m swarm_sd\.sim (.*?) --port (\d+) --metrics-port (\d+)`", text(PAGE))
    (config,) = (one.body for one in blocks() if one.page == PAGE and one.title == "simulated")
    (shown,) = (one.body for one in blocks() if one.page == PAGE and one.language == "console")
    file = tmp_path / "prometheus.yml"
    file.write_text(config)
    assert shown == "$ swarm-sd targets prometheus.yml\n" + await shown_by(file, flags.groups(), capsys)
    (mistyped,) = re.findall(r"no network has it is `(.*?)`", text(PAGE))
    file.write_text(config.replace("monitoring", "monitring"))
    assert f"skipped: {mistyped} (" in await shown_by(file, flags.groups(), capsys)


def test_the_reasons_are_those_described():
    named = described("Which tasks").keys() - {"reason"}
    assert named < targets.REASONS
    source = (text("src/swarm_sd/discovery/docker_api/targets.py")).partition("# Why a task has no")[2]
    own = set(re.findall(r'^\w+: Final = "(\w+)"', source, re.MULTILINE))
    assert named == own | {targets.NO_NETWORK, targets.NO_ADDRESS}


def test_every_word_of_the_convention_is_in_the_table_and_no_other():
    named = set(described("Labels of services").keys()) - {"label"}
    words = {f"prometheus.{field}" for field in FIELDS} | {f"prometheus.{one}.<name>" for one in FAMILIES}
    assert named == words | {"prometheus.<endpoint>.port", "prometheus.<endpoint>.<any other>"}


(COMPLAINTS,) = [one.body.splitlines() for one in blocks() if one.page == PAGE and one.language == ""]


@pytest.mark.parametrize("line", COMPLAINTS[:3])
def test_the_complaints_shown_are_those_made(line):
    found = re.match(r"service shop: ((?:container )?label) ([\w.]+): (?:'(.*?)' is no)?", line)
    where, key, value = found.groups()
    labels = {key: value or "9100"}
    given = ({}, labels) if where.startswith("container") else (labels, {})
    assert declared("shop", *given).complaints == (line,)


def test_the_complaint_of_a_network_shown_is_the_one_made():
    swarm = Recorded("sink")
    swarm.label("multinet", port="1", network="mon")
    (told,) = swarm.mapped(Options(80)).complaints
    shown = COMPLAINTS[3].replace("shop", "multinet").replace("backend, stack_monitoring", "net-a, net-b")
    assert told == shown


def stack_files():
    return [one for one in blocks() if one.page == PAGE and one.body.startswith("services:")]


def test_the_stacks_files_declare_what_the_page_says():
    first, second = (YAML(typ="safe").load(one.body)["services"]["shop"]["deploy"] for one in stack_files())
    (one,) = declared("stack_shop", first["labels"], {}).endpoints
    assert (one.port, one.labels) == (8080, {"__metrics_path__": "/internal/metrics"})
    made = Made(labels=first["labels"], replicas=3, networks=["mon"])
    assert sorted(instances(made.mapped(Options(80)))) == ["web.1:8080", "web.2:8080", "web.3:8080"]
    app, jmx = declared("stack_shop", second["labels"], {}).endpoints
    assert (app.name, app.port, jmx.name, jmx.port) == ("app", 8080, "jmx", 9404)
    assert app.labels == {"__metrics_path__": "/internal/metrics", "team": "core"}


def test_the_table_of_addresses_is_in_the_order_of_the_code():
    swarm = Recorded("sink")
    swarm.label("mixed-modes", port="9090")
    without, shared = Options(80), Options(80, networks=("net-a",))
    assert addresses(swarm.mapped(without), "mixed-modes")[0] == "192.168.77.13:19090"
    assert addresses(swarm.mapped(shared), "mixed-modes")[0] == "10.20.1.20:9090"
    swarm.label("mixed-modes", network="net-a")
    for options in (without, shared, Options(80, networks=("none",))):
        (one, _) = of(swarm.mapped(options), "mixed-modes")
        assert one["__address__"] == "10.20.1.20:9090"
        assert one[f"{META}network_name"] == "net-a"
