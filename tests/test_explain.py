"""The command ``explain`` gives the true cause of what is wrongly configured: each row of docs/explain.md."""

import asyncio
import contextlib
import json
import logging
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog
import yaml
from click.testing import CliRunner
from tests.test_docs import blocks, rows, section, text

from swarm_sd.cli import cli
from swarm_sd.reasons import REASONS
from swarm_sd.sim import clusters
from swarm_sd.sim.cluster import Container
from swarm_sd.sim.manager import Manager
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.engine import Engine
from swarm_sd.sim.moby.swarm import Swarm

PAGE = "docs/explain.md"


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A folder of its own, and logging as before: a command sets it up for its process."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def block(title):
    (found,) = [one.body for one in blocks() if one.page == PAGE and one.title == title]
    return found


# -- the clusters of the page ---------------------------------------------------------------------------


def stack():
    """The swarm that runs the page's stack."""
    swarm = Swarm(("mgr1",), ("wrk1", "wrk2"), seed=1)
    for network in ("monitoring", "backend"):
        swarm.create_network(network)
    for name, service in yaml.safe_load(block("the stack"))["services"].items():
        deploy = service.get("deploy", {})
        swarm.create_service(
            name,
            mode=deploy.get("mode", "replicated"),
            networks=service.get("networks", ()),
            labels=deploy.get("labels"),
            container_labels=service.get("labels"),
            constraints=deploy.get("placement", {}).get("constraints", ()),
            endpoint_mode=deploy.get("endpoint_mode", "vip"),
        )
    return swarm.settle()


def started():
    """(name, network, command) of each container of the page."""
    for line in block("the containers").splitlines():
        words = shlex.split(line)
        if words[:3] == ["docker", "run", "-d"]:
            options = dict(zip(words[3:7:2], words[4:8:2], strict=True))
            yield options["--name"], options["--network"], words[8:]


def engine():
    made = Engine("host", seed=1)
    made.create_network("front")
    for name, network, command in started():
        made.run(name, network=network, state="exited" if command == ["true"] else "running")
    return made


def classic():
    made = clusters.example()
    for name, network, command in started():
        if not command and not network.startswith("container:"):
            address = {"front": "172.18.0.2"}.get(network, "")
            made.run("node-a", Container(name=name, network_mode=network, networks={network: address}))
    return made


def worker_dies(swarm):
    swarm.kill("wrk2")
    swarm.tick()


HAPPENS = {"the node wrk2 is down": worker_dies}


@contextlib.asynccontextmanager
async def asked(kind, happens=""):
    """The address of who tells of the cluster that entries of a kind are about."""
    if kind == "swarm":
        async with Manager(classic()) as manager:
            yield manager.url
    elif kind == "docker":
        async with Daemon(engine()) as daemon:
            yield daemon.url.replace("http:", "tcp:")
    else:
        swarm = stack()
        if happens:
            HAPPENS[happens](swarm)
        async with Daemon.on(swarm, "mgr1") as daemon:
            yield daemon.url.replace("http:", "tcp:")


# -- running it -----------------------------------------------------------------------------------------


def configuration(kind, url, fields, rules, job="swarm"):
    host = f"masters: ['{url}']" if kind == "swarm" else f"host: {url}"
    lines = [f"- job_name: {job}", f"  {kind}_sd_configs:", f"  - {host}", *(f"    {one}" for one in fields)]
    if rules:
        lines += ["  relabel_configs:", *(f"  - {one}" for one in rules)]
    return "\n".join(lines) + "\n"


async def explained(jobs, *arguments, code=0):
    """What the command prints for a configuration with these jobs."""
    Path("prometheus.yml").write_text("scrape_configs:\n" + jobs)
    command = ["explain", "prometheus.yml", *arguments]
    done = await asyncio.to_thread(CliRunner().invoke, cli, command, prog_name="swarm-sd")
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.stdout


class Row(NamedTuple):
    kind: str
    fields: list[str]
    rules: list[str]
    happens: str
    target: str
    says: str

    @classmethod
    def of(cls, heading, cells):
        written, target, says, _ = cells
        code = re.findall(r"`([^`]+)`", written)
        kinds = [one.removesuffix("_sd_configs") for one in code if one.endswith("_sd_configs")]
        rules = [one for one in code if one.startswith("{")]
        fields = [one for one in code if one not in rules and not one.endswith("_sd_configs")]
        if heading == "Rules":
            fields = ["role: tasks"]
        (happens,) = [one for one in HAPPENS if one in written] or [""]
        return cls(*(kinds or ["dockerswarm"]), fields, rules, happens, target.strip("`"), says.strip("`"))


def table():
    for heading in ("Rules", "Services and tasks", "Containers"):
        for cells in rows(section(PAGE, heading)):
            if cells[0] != "written":
                yield Row.of(heading, cells)


TABLE = list(table())


def test_the_page_has_every_kind_of_mistake():
    assert len(TABLE) >= 14
    assert {row.kind for row in TABLE} == {"dockerswarm", "docker", "swarm"}
    assert {row.happens for row in TABLE} == {"", *HAPPENS}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: " ".join((*row.fields, *row.rules, row.happens))[:90])
async def test_a_mistake_is_explained_as_the_page_says(row):
    async with asked(row.kind, row.happens) as url:
        jobs = configuration(row.kind, url, row.fields, row.rules)
        code = 1 if row.says.startswith(("Nothing", "Is it one")) else 0
        told = await explained(jobs, "--target", row.target, code=code)
    places = re.compile(r" \(prometheus\.yml:\d+:\d+\)")
    lines = [places.sub("", line).strip() for line in told.splitlines()]
    assert row.says in lines


# -- what it prints -------------------------------------------------------------------------------------

REGEX = "{source_labels: [__meta_dockerswarm_service_name], regex: exp, action: keep}"


def fits(shown, told):
    """Whether what is shown is what is told, with ``...`` for lines that are left out."""
    parts = [re.escape(part) for part in re.split(r"^\.\.\.\n", shown, flags=re.MULTILINE)]
    return re.fullmatch(r"(?:.*\n)*?".join(parts), told) is not None


async def test_the_output_of_the_page_is_what_it_prints():
    (shown,) = [one.body for one in blocks() if one.page == PAGE and one.language == "console"]
    command, _, output = shown.partition("\n")
    assert command.startswith("$ swarm-sd explain prometheus.yml --target exporter")
    async with asked("dockerswarm") as url:
        told = await explained(
            configuration("dockerswarm", url, ["role: tasks"], [REGEX]), "--target", "exporter"
        )
    assert fits(output, told), told


async def test_as_data_it_has_the_fields_of_the_page():
    async with asked("dockerswarm") as url:
        jobs = configuration("dockerswarm", url, ["role: tasks"], [REGEX])
        jobs += configuration("dockerswarm", url, ["role: endpoints"], [], job="dead").replace(
            url, "tcp://127.0.0.1:1"
        )
        told = json.loads(await explained(jobs, "--target", "exporter", "--format=json"))
        cron = json.loads(await explained(jobs, "--target", "cron", "--format=json"))
        none = json.loads(await explained(jobs, "--target", "nope", "--format=json", code=1))
    of_the_page = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows(section(PAGE, "As data"))
    }
    assert set(told) == of_the_page.keys() - {"field"}
    (target, *_), (thing,), (failure,) = told["targets"], cron["passed_over"], told["failures"]
    for name, one in (
        ("targets", target),
        ("passed_over", thing),
        ("failures", failure),
        ("jobs", told["jobs"][0]),
    ):
        assert set(one) == of_the_page[name], name
    assert (target["state"], target["reason"], target["labels"]) == ("dropped", "relabel_rule_1", None)
    assert target["discovered"]["__meta_dockerswarm_service_name"] == "exporter"
    rule = target["rules"][0]
    assert (rule["number"], rule["where"], rule["kept"]) == (1, "prometheus.yml:7:5", False)
    assert rule["rule"]["regex"] == "exp"
    assert (thing["job"], thing["reason"], thing["name"]) == ("swarm", "no_network", "cron.1")
    assert (failure["job"], failure["entry"]) == ("dead", 0)
    assert none["targets"] == none["passed_over"] == []


def test_every_reason_is_on_the_page():
    described = {row[0].strip("`"): row[1] for row in rows(section(PAGE, "Reasons")) if row[0] != "reason"}
    assert described.pop("relabel_rule_<n>")
    assert {reason: words.replace("`", "") for reason, words in described.items()} == dict(REASONS)


def test_what_is_told_alike_is_in_the_index():
    assert "explain.md" in text("docs/README.md")


# -- what is found --------------------------------------------------------------------------------------


async def told_of(target, *arguments, rules=(), fields=("role: tasks",), code=0):
    async with asked("dockerswarm") as url:
        return await explained(
            configuration("dockerswarm", url, fields, rules), "--target", target, *arguments, code=code
        )


async def test_what_is_called_so_comes_alone():
    # the task of cart has the word in a label
    assert (await told_of("shop")).count(" in job swarm") == 1
    assert (await told_of("10.20.2.3:80")).count(" in job swarm") == 1


async def test_what_has_no_target_comes_with_what_is_called_so():
    told = await told_of("shop", fields=("role: endpoints", "networks: monitoring"))
    assert "task shop.1: no target" in told
    assert "cart" not in told


async def test_words_find_everything_that_has_them():
    told = await told_of("core wrk1")
    assert told.count("scraped in job swarm") == 1
    assert "__meta_dockerswarm_node_hostname='wrk1'" in told


async def test_of_many_only_a_few_are_explained():
    told = await told_of("dockerswarm_service")
    assert told.count(": scraped in job swarm") == 5
    assert "3 more match 'dockerswarm_service': be more exact, or name the --job." in told


async def test_where_nothing_is_found_what_is_called_alike_is_told():
    told = await told_of("exportr", code=1)
    assert told.splitlines() == [
        "Nothing that was discovered has 'exportr' in it.",
        "  job swarm: 8 scraped, 1 without a target",
        "Is it one of these? exporter",
    ]


async def test_one_job_alone_can_be_asked_for():
    async with asked("dockerswarm") as url:
        jobs = configuration("dockerswarm", url, ["role: tasks"], [REGEX])
        jobs += configuration("dockerswarm", url, ["role: nodes"], [], job="nodes")
        both = await explained(jobs, "--target", "wrk1")
        assert "in job nodes" in both
        assert "in job nodes" not in await explained(jobs, "--target", "wrk1", "--job", "swarm")
        Path("prometheus.yml").write_text("scrape_configs:\n" + jobs)
        done = await asyncio.to_thread(
            CliRunner().invoke, cli, ["explain", "prometheus.yml", "--target", "x", "--job", "nope"]
        )
    assert done.exit_code == 1
    assert "no job 'nope'" in done.output


async def test_who_cannot_be_asked_is_told_and_what_was_found_is_explained():
    async with asked("dockerswarm") as url:
        jobs = configuration("dockerswarm", url, ["role: tasks"], [])
        jobs += configuration("dockerswarm", "tcp://127.0.0.1:1", ["role: nodes"], [], job="dead")
        Path("prometheus.yml").write_text("scrape_configs:\n" + jobs)
        command = ["explain", "prometheus.yml", "--target", "mail"]
        done = await asyncio.to_thread(CliRunner().invoke, cli, command)
    assert done.exit_code == 0
    assert "It is scraped at" in done.stdout
    assert "dead/0: could not be discovered: tcp://127.0.0.1:1" in done.stderr
