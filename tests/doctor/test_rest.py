"""The rarer findings, the command line, and that docs/doctor.md has them all."""

from __future__ import annotations

import ast
import json
import logging
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner
from tests.doctor.test_entries import of
from tests.doctor.test_entries import swarm as one_service
from tests.doctor.test_hosts import masters_of, nodes_of
from tests.doctor.test_stores import of as of_store
from tests.doctor.worlds import config, entry, examined, http, server, swarm, told

from swarm_sd.cli import cli
from swarm_sd.discovery.http_client import TLSConfig
from swarm_sd.doctor import certificates, configuration, docker_hosts, entries, look, show, stores
from swarm_sd.doctor.findings import Section, ok, problem, reported
from swarm_sd.doctor.reach import Place, unreachable
from swarm_sd.provider import DiscoveryError, PassedOver
from swarm_sd.sim import faults
from swarm_sd.sim.cluster import Cluster
from swarm_sd.sim.manager import Manager
from swarm_sd.sim.moby.daemon import Daemon

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/swarm_sd/doctor"
PLACE = Place("", "10.0.0.9", 2375, secure=False, tls=TLSConfig())


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


# -- hosts ------------------------------------------------------------------------------------------------


async def test_packets_that_get_lost():
    found = await unreachable(PLACE, DiscoveryError("timeout", "connect timed out after 5 s"))
    assert (found.check, "a firewall" in found.cause) == ("connect-timeout", True)


async def test_no_route():
    found = await unreachable(PLACE, DiscoveryError("unreachable", "no route to host"))
    assert (found.check, found.way_out) == ("unreachable", "ip route get 10.0.0.9")


async def test_a_proxy_that_is_away(tmp_path):
    report = await examined(tmp_path, nodes_of("http://10.0.0.9:2375", "proxy_url: http://127.0.0.1:1"))
    assert "no_proxy" in told(report, "proxy").way_out


async def test_a_password_file_that_is_not_there(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        lines = ("basic_auth: {username: me, password_file: none.txt}",)
        report = await examined(tmp_path, nodes_of(daemon.url, *lines))
    assert "none.txt" in told(report, "credentials").message


def test_tls_with_nothing_in_common():
    found = certificates._refused("UNSUPPORTED_PROTOCOL", TLSConfig())
    assert found.check == "tls"


async def test_a_proxy_that_wants_a_password(tmp_path):
    async with server(http("401 Unauthorized", "who are you?", "text/plain")) as port:
        report = await examined(tmp_path, nodes_of(f"tcp://127.0.0.1:{port}"))
    assert "basic_auth" in told(report, "unauthorized").way_out


async def test_the_port_at_which_managers_speak_with_each_other():
    from swarm_sd.doctor import reach

    assert reach.tls_wanted(PLACE._replace(port=2377)).check == "swarm-port"


async def test_a_list_that_is_no_json(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        daemon.inject(faults.html(), path="/nodes")
        report = await examined(tmp_path, nodes_of(daemon.url))
    assert "a proxy answers in Docker's place" in told(report, "not-json").cause


async def test_an_engine_that_fails(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        daemon.inject(faults.api_error(500, "disk full"), path="/nodes")
        report = await examined(tmp_path, nodes_of(daemon.url))
    assert "disk full" in told(report, "status").message


async def test_a_list_that_never_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(docker_hosts, "WITHIN", 0.5)
    async with Daemon.on(swarm(), "mgr1") as daemon:
        daemon.inject(faults.Hang(), path="/nodes")
        report = await examined(tmp_path, nodes_of(daemon.url))
    assert "but not this in time" in told(report, "no-answer").cause


# -- classic Swarm ----------------------------------------------------------------------------------------


def rows(*pairs: tuple[str, str]) -> bytes:
    return http("200 OK", json.dumps({"SystemStatus": pairs}), "application/json")


async def test_a_replica_that_knows_no_node(tmp_path):
    answer = rows(("Role", "replica"), ("Primary", "10.0.0.1:3376"), ("Nodes", "0"))
    async with server(answer) as port:
        report = await examined(tmp_path, masters_of(f"http://127.0.0.1:{port}"))
    assert "10.0.0.1:3376" in told(report, "replica-without-nodes").way_out


async def test_rows_that_nobody_understands(tmp_path):
    async with server(rows(("Role", "primary"), ("Nodes", "1"), (" host", "nonsense here"))) as port:
        report = await examined(tmp_path, masters_of(f"http://127.0.0.1:{port}"))
    assert "can be understood" in told(report, "not-understood").message


async def test_a_master_that_knows_no_node(tmp_path):
    async with Manager(Cluster([])) as manager:
        report = await examined(tmp_path, masters_of(manager.url))
    assert told(report, "no-nodes").state == "warning"


# -- stores and entries -----------------------------------------------------------------------------------


async def test_an_entry_of_a_file_that_is_no_address(tmp_path):
    (tmp_path / "nodes").write_text("10.0.0.1:2375\nwhat?\n")
    assert (
        "1 entry"
        in told(await examined(tmp_path, of_store(f"file://{tmp_path}/nodes")), "odd-entries").message
    )


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "nodes").touch()
    found = stores._file(str(tmp_path / "nodes"), "cannot read it: permission denied")
    assert found.check == "file-unreadable"


async def test_a_store_that_answers_with_an_error_of_its_own(tmp_path):
    async with server(http("500 Internal", '{"message":"out of disk"}', "application/json")) as port:
        report = await examined(tmp_path, of_store(f"consul://127.0.0.1:{port}"))
    assert "out of disk" in told(report, "store").message


async def test_a_label_that_is_written_otherwise_is_a_warning(tmp_path):
    rules = (
        "  - source_labels: [__meta_dockerswarm_service_label_com.example.team-name]\n    target_label: team"
    )
    found = told(await of(tmp_path, one_service(), rules=rules), "label-name")
    assert found.way_out == "did you mean __meta_dockerswarm_service_label_com_example_team_name?"


def test_tasks_on_no_network():
    objects = [PassedOver("no_network", "task", "t1", "web.1", "web")]
    (found,) = entries.passed_over(objects, has_targets=False)
    assert (found.check, "web" in found.message) == ("no-network", True)
    assert list(entries.passed_over(objects, has_targets=True)) == []


def test_prometheus_that_is_given_our_file_is_told(tmp_path):
    from swarm_sd.config import load

    file = tmp_path / "prometheus.yml"
    file.write_text(config(entry("swarm", "masters: ['http://127.0.0.1:1']")))
    (found,) = configuration.judged(load(file), converts=True, text="", readers=[17])
    assert found.check == "not-converted"
    assert "swarm-sd convert" in found.way_out


async def test_of_a_provider_that_says_nothing_the_limit_is_told(tmp_path, monkeypatch):
    class Silent:
        def sources(self):
            return frozenset({"x"})

        async def run(self, up, /):
            import asyncio

            await asyncio.Event().wait()

    class Config:
        def provider(self):
            return Silent()

    from swarm_sd.job import Job

    looked = await look.look(Job("job", ()), Config(), timeout=0.1)
    assert looked.failure == "nothing within 0.1 s"


# -- the command ------------------------------------------------------------------------------------------


def run(*arguments: str):
    return CliRunner().invoke(cli, ["doctor", *arguments], prog_name="swarm-sd")


def test_problems_are_exit_code_1_with_cause_and_way_out(tmp_path):
    (tmp_path / "a.yml").write_text(nodes_of("unix:///nowhere/docker.sock"))
    done = run(str(tmp_path / "a.yml"))
    assert done.exit_code == 1
    assert "why: the folder /nowhere is not there" in done.stdout
    assert "[socket-missing]" in done.stdout
    assert "\x1b[" not in done.stdout
    assert done.stdout.endswith("1 problem, 0 warnings\n")


def test_json_is_for_programs(tmp_path):
    (tmp_path / "a.yml").write_text(nodes_of("unix:///nowhere/docker.sock"))
    report = json.loads(run(str(tmp_path / "a.yml"), "--format=json").stdout)
    assert (report["problems"], report["warnings"]) == (1, 0)
    checks = [one["check"] for section in report["sections"] for one in section["findings"]]
    assert checks == ["configuration", "socket-missing", "not-discovered"]


def test_a_configuration_that_is_refused_is_exit_code_2(tmp_path):
    (tmp_path / "a.yml").write_text("scrape_configs: 1\n")
    done = run(str(tmp_path / "a.yml"))
    assert (done.exit_code, done.stdout) == (2, "")


def test_a_healthy_file_is_exit_code_0(tmp_path):
    (tmp_path / "nodes").write_text("10.0.0.1:2375\n")
    (tmp_path / "a.yml").write_text(of_store(f"file://{tmp_path}/nodes"))
    done = run(str(tmp_path / "a.yml"))
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "nothing is wrong"), done.stdout


def test_our_own_docker_that_does_not_answer_is_examined(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    done = run("--docker")
    assert done.exit_code == 1
    assert "socket-missing" in done.stdout


def test_a_docker_host_that_is_none_is_exit_code_2(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "ftp://x")
    assert run("--docker").exit_code == 2


@pytest.mark.parametrize("arguments", [[], ["a.yml", "--docker"]])
def test_a_file_or_docker_is_needed(arguments):
    assert "give one of FILE and --docker" in run(*arguments).stderr


def test_a_piece_of_yaml_is_never_broken():
    way_out = "write:\n  " + "relabel_configs: " * 12
    report = reported("f", [Section("entry", "a/0", "", (problem("x", "m", "c", way_out), ok("y", "fine")))])
    assert "relabel_configs: " * 12 in show.as_text(report) + " "


# -- the page ---------------------------------------------------------------------------------------------


@cache
def literals() -> dict[str, list[str]]:
    """By check, the texts of the functions that make the finding."""
    found: dict[str, list[str]] = {"rules-drop-all": [(SOURCE / "rules.py").read_text()]}
    functions = (
        node
        for path in SOURCE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    for function in functions:
        nodes = list(ast.walk(function))
        text = "".join(str(node.value) for node in nodes if isinstance(node, ast.Constant))
        for node in nodes:
            called = getattr(getattr(node, "func", None), "id", "")
            if called in ("problem", "warning", "say") and isinstance(node.args[0], ast.Constant):
                found.setdefault(str(node.args[0].value), []).append(text)
    return found


def table() -> list[list[str]]:
    page = (ROOT / "docs/doctor.md").read_text()
    lines = re.findall(r"^\| `[a-z0-9-]+` \|.*\|$", page, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_finding_is_in_the_table_and_every_row_is_one():
    assert sorted(row[0].strip("`| ") for row in table()) == sorted(literals())


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0].strip("`| "))
def test_a_row_says_what_the_doctor_says_and_names_a_test(row):
    name, says, _, test = row
    told = literals()[name.strip("`| ")]
    parts = [part.strip() for part in says.split("…") if part.strip()]
    assert any(all(part in text for part in parts) for text in told), (says, told)
    found = re.search(r"`(\S+)::(\w+)`", test)
    assert found, test
    assert re.search(rf"def {found[2]}\(", (ROOT / "tests" / found[1]).read_text()), test
