"""The pages say what the program does: flags, metrics, labels, messages, modules, links, examples."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import click
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.programs import needs

from swarm_sd import __version__, manager, own_docker
from swarm_sd.brake import MassLoss
from swarm_sd.cli import cli
from swarm_sd.config import convert, load
from swarm_sd.discovery import ENTRY_POINT_GROUP, kinds
from swarm_sd.discovery.docker import containers as engine
from swarm_sd.discovery.docker.provider import GRACE, DockerSDConfig
from swarm_sd.discovery.docker_api import client, cluster, events, filters, watch, wire
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.lists import KINDS
from swarm_sd.discovery.docker_api.sd_config import DockerAPIConfig, FilterConfig
from swarm_sd.discovery.docker_api.targets import REASONS
from swarm_sd.discovery.dockerswarm import labels as swarm_mode
from swarm_sd.discovery.dockerswarm import provider as dockerswarm
from swarm_sd.discovery.dockerswarm.nodes import nodes
from swarm_sd.discovery.dockerswarm.provider import DockerSwarmSDConfig
from swarm_sd.discovery.dockerswarm.services import services
from swarm_sd.discovery.dockerswarm.tasks import tasks
from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.discovery.http_session import HTTPSession
from swarm_sd.discovery.kv import file as kv_file
from swarm_sd.discovery.kv import http_store, zookeeper
from swarm_sd.discovery.rotation import Rotation
from swarm_sd.discovery.swarm import container_provider, discovered, targets
from swarm_sd.discovery.swarm import provider as swarm_provider
from swarm_sd.discovery.swarm import registry as swarm_registry
from swarm_sd.discovery.swarm.info import parse_info
from swarm_sd.discovery.swarm.provider import SwarmProvider, SwarmSDConfig
from swarm_sd.discovery.swarm.registered import counted, joined
from swarm_sd.insight import JobCounts
from swarm_sd.job import Entry, Job
from swarm_sd.manager import EntryStatus, Status
from swarm_sd.once import discover
from swarm_sd.provider import EventsStatus, HostStatus, Poller, ProviderStatus
from swarm_sd.scalars import Duration
from swarm_sd.serve import Options
from swarm_sd.sim.moby.clusters import example, plain_engine
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.store import VERSION, write_atomically
from swarm_sd.web.metrics import Reloads, registry

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/swarm_sd"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


def modules() -> list[Path]:
    """The program's modules: those that are committed, where git can tell."""
    if not (ROOT / ".git").exists():
        return sorted(SOURCE.rglob("*.py"))
    listed = subprocess.run(
        ["git", "ls-files", "-z", "src"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [path for file in listed.split("\0") if file.endswith(".py") and (path := ROOT / file).exists()]


SOURCES = {path: path.read_text() for path in modules() if not path.is_relative_to(SOURCE / "sim")}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


NAMES = [name(path) for path in PAGES]


@cache
def text(page: str) -> str:
    return (ROOT / page).read_text()


@cache
def flat(page: str) -> str:
    """The page on one line, for phrases that are broken over two."""
    return " ".join(text(page).split())


class Block(NamedTuple):
    page: str
    line: int
    language: str
    title: str  # of the comment on the line above
    body: str


_BLOCK = re.compile(r"^(?:<!-- ([^\n]*?) -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks() -> Iterator[Block]:
    for path in PAGES:
        page = path.read_text()
        for found in _BLOCK.finditer(page):
            line = page.count("\n", 0, found.start()) + 1
            yield Block(name(path), line, found[2], found[1] or "", found[3])


def section(page: str, heading: str) -> str:
    """What stands below a heading, up to the next heading."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text(page), re.DOTALL | re.MULTILINE)
    assert found, f"{page} has no heading {heading!r}"
    return found[1]


def rows(markdown: str) -> Iterator[list[str]]:
    """The cells of its tables' rows, heads left out."""
    for line in markdown.splitlines():
        if line.startswith("|") and not re.match(r"\|[- |]+\|$", line):
            yield [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# -- commands and flags -------------------------------------------------------------------------------


def commands(of: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if isinstance(of, click.Group):
        for sub, command in of.commands.items():
            yield from commands(command, (*path, sub))
    else:
        yield " ".join(path), of


COMMANDS = dict(commands())


def options(command: click.Command) -> Iterator[click.Option]:
    yield from (one for one in command.params if isinstance(one, click.Option))


def flags(command: click.Command) -> set[str]:
    found = {flag for one in options(command) for flag in (*one.opts, *one.secondary_opts)}
    return found | {"-h", "--help"}


OURS = {flag for command in COMMANDS.values() for flag in flags(command)} | {"--version"}
OF_OTHER_PROGRAMS = {
    *("--tlsverify", "--replication"),  # swarm manage
    "--require-hashes",  # pip
    *("--system", "--home-dir", "--shell", "--now"),  # useradd, systemctl
    "--compressed",  # curl
    "--label",  # dockerd
    *("--advertise-addr", "--attachable", "--label-add", "--name", "--network", "--replicas"),  # docker
    *("--read-only", "--cap-drop", "--spec"),  # docker run, pipx run
    "--duration",  # examples/demo.py
}


def flags_of_the_simulator() -> set[str]:
    text = "".join((SOURCE / "sim" / file).read_text() for file in ("__main__.py", "mock.py"))
    return set(re.findall(r'"(--[a-z][\w-]*)"', text))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_its_flags_are_described(command):
    page = section("docs/operate.md", "Commands and flags")
    assert f"**`swarm-sd {command}" in page
    described = page.partition(f"**`swarm-sd {command}")[2]
    for one in options(COMMANDS[command]):
        for flag in (*one.opts, *one.secondary_opts):
            assert f"`{flag}`" in described, f"{command} {flag}"


def test_the_defaults_of_flags_are_those_described():
    described = {row[0].strip("`"): row[1] for row in rows(section("docs/operate.md", "Commands and flags"))}
    for command in COMMANDS.values():
        for one in options(command):
            if isinstance(one.default, str | list | tuple):
                default = one.default if isinstance(one.default, str) else " ".join(map(str, one.default))
                assert described[one.opts[0]] == f"`{default}`", one.opts[0]
            elif one.required:
                assert described[one.opts[0]] == "required"


@pytest.mark.parametrize("page", NAMES)
def test_no_flag_is_named_that_nobody_has(page):
    prose = _BLOCK.sub("", text(page))
    named = {flag for code in re.findall(r"`([^`\n]+)`", prose) for flag in _flags_in(code)}
    named |= {flag for block in blocks() if block.page == page for flag in _flags_in(block.body)}
    known = (
        OURS
        | flags_of_the_simulator()
        | OF_OTHER_PROGRAMS
        | {f"--{word}" for word in ("duration", "seconds")}
    )
    assert named - known == set()


def _flags_in(code: str) -> list[str]:
    return re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", code)


def shell_lines() -> Iterator[tuple[str, list[str]]]:
    """(where, words) of every command line with swarm-sd in a block, and in code within a sentence."""
    for block in blocks():
        if block.language in ("sh", "console", "ini", ""):
            body = block.body.replace("\\\n", " ")
            lines = [line.removeprefix("$ ") for line in body.splitlines()]
            if block.language == "console":
                lines = [line[2:] for line in body.splitlines() if line.startswith("$ ")]
            for line in lines:
                found = re.match(r"(?:ExecStart=)?(?:[\w/.-]*/)?swarm-sd( .*)$", line)
                if found:
                    yield f"{block.page}:{block.line}", shlex.split(found[1], comments=True)
    for path in PAGES:
        for code in re.findall(r"`swarm-sd ([^`]+)`", _BLOCK.sub("", path.read_text())):
            yield name(path), shlex.split(code)


@pytest.mark.parametrize(("where", "words"), list(shell_lines()), ids=lambda value: str(value)[:60])
def test_command_lines_are_ones_that_the_program_takes(where, words):
    if words[0].startswith("-"):
        assert words[0] in {"--version", "--help"}
        return
    if " ".join(words) == "check":
        return
    (command,) = [one for one in COMMANDS if " ".join(words).split()[: len(one.split())] == one.split()]
    for word in words[len(command.split()) :]:
        if word.startswith("-"):
            assert word.partition("=")[0] in flags(COMMANDS[command]), where


# -- metrics, reasons, messages -----------------------------------------------------------------------


def everything() -> Status:
    """A status in which each metric has a value and each label appears."""
    host = HostStatus("http://m:1", "up", active=True, failures={"refused": 1})
    provider = ProviderStatus(
        refreshes=1,
        failures={"refused": 1},
        last_success=1.0,
        last_duration=1.0,
        skipped={"odd_row": 1},
        hosts=(host,),
        events=(EventsStatus(),),
        gauges=counted(joined(None, ["10.0.0.1:2375"], port="1")),
    )
    entry = Entry("job", 0)
    status = EntryStatus(
        entry=entry,
        kind="swarm",
        state="known",
        targets=1,
        changed_at=1.0,
        restored_from=None,
        held=False,
        holds=0,
        crashes=0,
        provider=provider,
        stale_since=None,
        shared_with=entry,
    )
    return Status(delivered=True, entries=(status,))


def exposed() -> dict[str, tuple[str, frozenset[str]]]:
    """(type, labels) of every metric of ours, by its name on the wire."""
    from prometheus_client import generate_latest

    jobs = [JobCounts("job", True, {"scraped": 1}, {"relabel_rule_1": 1}, {"no_network": 1})]
    made = generate_latest(registry(everything, Reloads(), lambda: (0, 0), lambda: jobs)).decode()
    found = {}
    for family in text_string_to_metric_families(made):
        for sample in family.samples:
            if sample.name.startswith("swarm_sd_"):
                found[sample.name] = family.type, frozenset(sample.labels)
    return found


def test_the_metrics_are_those_described_with_type_and_labels():
    described = {
        row[0].strip("`"): (row[1], frozenset(re.findall(r"`(\w+)`", row[2])))
        for row in rows(section("docs/operate.md", "Metrics"))
        if row[0].startswith("`")
    }
    assert described == exposed()


@pytest.mark.parametrize("page", NAMES)
def test_no_metric_is_named_that_there_is_not(page):
    named = set(re.findall(r"\bswarm_sd_\w+", text(page)))
    of_the_configuration = {f"{kind}_sd_{tail}" for kind in kinds() for tail in ("configs", "config")}
    assert named - of_the_configuration <= exposed().keys()


def test_the_reasons_of_failures_are_those_described():
    patterns = (
        r'DiscoveryError\(\s*"(\w+)"',
        r'^ +return "(\w+)", (?:f?"|_)',
        r'errno\.\w+: "(\w+)"',
        r'^ +return "(\w+)" if (?:err\.|refused)',
        r'_failed\(\w+, "(\w+)"',
        r'^    \("[^"]+ [^"]+", "(\w+)"\),$',  # what engines say, and the reason that it is
    )
    of_http = [text for path, text in SOURCES.items() if path.is_relative_to(SOURCE / "discovery")]
    raised = {word for text in of_http for one in patterns for word in re.findall(one, text, re.MULTILINE)}
    paragraph = flat("docs/operate.md").partition("Reasons of failures: ")[2].partition(". A counter")[0]
    assert set(re.findall(r"`(\w+)`", paragraph)) == raised


def test_the_reasons_of_skipped_rows_are_those_described():
    info = (SOURCE / "discovery/swarm/info.py").read_text()
    counted = set(re.findall(r'skipped\["(\w+)"\]|\{"(\w+)": offers\}', info))
    page = section("docs/classic-swarm.md", "What the answers look like")
    assert {word for pair in counted for word in pair if word and f"`{word}`" not in page} == set()


def test_the_messages_of_the_log_are_those_described():
    logged = {
        message
        for source in SOURCES.values()
        for message in re.findall(
            r'(?:\blog\.(?:debug|info|warning|error|exception)|_complain)\(\s*"([^"]+)"', source
        )
    }
    table = [row[0] for row in rows(section("docs/operate.md", "Log")) if row[0] != "message"]
    assert {message for cell in table for message in re.findall(r"`([^`]+)`", cell)} == logged


# -- labels ---------------------------------------------------------------------------------------------


def meta_labels() -> set[str]:
    """Every meta label that classic Swarm's targets can have."""
    found = set(re.findall(r'META \+ "(\w+)"', (SOURCE / "discovery/swarm/targets.py").read_text()))
    of_the_code = {targets.META + tail for tail in found}
    info = parse_info((ROOT / "tests/fixtures/classic/v1.2.9/info-healthy.json").read_bytes())
    master = Host.from_yaml("http://m:1")
    nodes = targets.nodes(info, port="1")
    masters = targets.masters([master], port="1", roles={master: "primary"})
    groups = (nodes, masters, joined(nodes, ["10.0.0.1:2375"], port="1"))
    seen = {label for group in groups for target in group.targets for label in (*target, *group.labels)}
    assert of_the_code == {_generic(label) for label in seen if label.startswith("__meta_")}
    return of_the_code


def _generic(label: str) -> str:
    return targets.NODE_LABEL if label.startswith(targets.NODE_LABEL) else label


def test_the_labels_are_those_of_the_table():
    table = [row[0].strip("`") for row in rows(section("docs/classic-swarm.md", "What is discovered"))]
    described = {label.replace("<name>", "") for label in table if label.startswith("__meta_")}
    assert described == meta_labels()


@pytest.mark.parametrize("page", NAMES)
def test_no_label_is_named_that_there_is_not(page):
    named = {_generic(label) for label in re.findall(r"__meta_swarm_\w+", text(page))}
    assert named <= meta_labels() | {targets.META}


# -- swarm mode and single engines ------------------------------------------------------------------------

MODE, ENGINES, SECURITY = "docs/swarm-mode.md", "docs/engines.md", "docs/security.md"
ODD = {"protocol": "tcp", "type": "tcp", "addr": "10.0.0.1/24", "addresses": ["10.0.0.1/24"]}
FRESHNESS = "docs/freshness.md"
"""Values that a field must have for the mapping to go on."""


def full(kind: Any, field: str = "") -> Any:
    """An object in which nothing is missing, so that its targets have every label there can be."""
    if field in ODD:
        return ODD[field]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind(**{one.name: full(one.type, one.name) for one in msgspec.structs.fields(kind)})
    of = [one for one in get_args(kind) if one is not type(None)]
    if get_origin(kind) is dict:
        return {"name": full(of[1])}
    if get_origin(kind) is list:
        return [full(of[0])]
    return full(of[0], field) if of else {str: "x", int: 1, bool: True}[kind]


def labels_of(groups: Any) -> set[str]:
    """The names of labels, those of families without what the user named."""
    named = {label for g in groups for target in g.targets for label in (*target, *g.labels)}
    return {re.sub(r"_label_name$", "_label_<name>", label) for label in named}


def labels_by_role() -> dict[str, set[str]]:
    """Every label that the code can give, by role; ``containers`` is docker_sd_configs."""
    # that page has a table of its own, and tests of its own, which need some of these
    from tests.discovery.dockerswarm.test_endpoints_docs import everything as endpoint_labels

    node, service, task = full(wire.Node), full(wire.Service), full(wire.Task)
    network, container = full(wire.Network), full(wire.Container)
    mapped = {
        "nodes": nodes([node], port="1"),
        "services": services([service], [network], port="1"),
        "tasks": tasks([task], [service], [node], [network], port="1"),
        "containers": engine.containers([container], [network], port="1"),
    }
    found = {role: labels_of(one.groups) for role, one in mapped.items()}
    return {**found, "endpoints": endpoint_labels()[0]}


def described_labels() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"nodes": set(), "services": set(), "tasks": set(), "containers": set()}
    head, *table = rows(section(MODE, "Labels"))
    assert head[1:4] == ["nodes", "services", "tasks"]
    for row in table:
        assert set(row[1:4]) <= {"x", ""}
        for role, mark in zip(head[1:4], row[1:4], strict=True):
            if mark:
                found[role].add(row[0].strip("`"))
    found["containers"] = {row[0].strip("`") for row in rows(section(ENGINES, "Labels"))} - {"label"}
    return found


@pytest.mark.parametrize("role", ["nodes", "services", "tasks", "containers"])
def test_the_labels_of_a_role_are_those_of_its_table(role):
    assert described_labels()[role] == labels_by_role()[role]


def test_a_full_object_leaves_no_label_of_the_sources_out():
    rooms = ("discovery/dockerswarm", "discovery/docker")
    written = "".join(
        text for path, text in SOURCES.items() if path.parent.relative_to(SOURCE).as_posix() in rooms
    )
    tails = set(re.findall(r'\b(?:NODE|SERVICE|TASK|CONTAINER) \+ "(\w+[a-z])"', written))
    seen = set().union(*labels_by_role().values())
    assert len(tails) > 20
    assert {tail for tail in tails if not any(label.endswith(tail) for label in seen)} == set()


@pytest.mark.parametrize("page", NAMES)
def test_no_label_of_dockers_is_named_that_there_is_not(page):
    named = set(re.findall(r"__meta_docker(?:swarm)?_\w+", text(page)))
    known = set().union(*labels_by_role().values())
    families = tuple(one.removesuffix("<name>") for one in known if one.endswith("<name>"))
    beginnings = {swarm_mode.META, engine.META}
    assert {one for one in named - known - beginnings if not one.startswith(families)} == set()


def default_of(field: msgspec.structs.FieldInfo) -> str:
    """As a page shows it; "" for none."""
    value = field.default
    if value is msgspec.NODEFAULT or value in (None, ()):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


OWN = {
    kind: [one for one in msgspec.structs.fields(kind) if one.name not in HTTPClientConfig.__struct_fields__]
    for kind in (DockerSwarmSDConfig, DockerSDConfig)
}


@pytest.mark.parametrize(("kind", "page"), [(DockerSwarmSDConfig, MODE), (DockerSDConfig, ENGINES)])
def test_the_fields_of_an_entry_are_those_of_its_pages_with_their_defaults(kind, page):
    described = {row[0].strip("`"): row[1].strip("`") for row in rows(section(page, "Fields"))}
    del described["field"]
    fields = {one.name: default_of(one) for one in OWN[kind]}
    assert described == fields
    below = text("docs/configure.md").partition(f"## `<{kind.kind}_sd_config>`\n")[2]
    notation = below.partition("```text\n")[2].partition("```")[0]
    noted = dict(re.findall(r"^(?:\[ )?(\w+):(?:.*default = (\S+))?", notation, re.MULTILINE))
    assert noted == fields


LISTS = [(MODE, role) for role in ("nodes", "services", "tasks")] + [(ENGINES, "containers")]


@pytest.mark.parametrize(("page", "role"), LISTS)
def test_who_applies_a_filter_is_what_the_table_says(page, role):
    (row,) = [one for one in rows(section(page, "Filters")) if one[0] == f"`{role}`"]
    here, docker = (set(re.findall(r"`([^`]+)`", cell)) for cell in row[1:])
    assert here | docker == filters.ACCEPTED[role]
    value = {"role": "manager", "membership": "accepted", "desired-state": "running", "status": "exited"}
    value |= {"health": "none", "is-task": "true"}
    for name in filters.ACCEPTED[role]:
        one = filters.filters(role, [FilterConfig(name=name, values=(value.get(name, "x"),))])
        assert one.exact is (name in here), name


def test_two_values_for_one_label_are_for_docker_alone():
    two = FilterConfig(name="label", values=("a=1", "a=2"))
    assert not filters.filters("services", [two]).exact
    assert "Two values for the same label key" in flat(MODE)


def test_the_reasons_of_what_is_skipped_are_those_of_the_tables():
    described = {
        row[0].strip("`") for page in (MODE, ENGINES) for row in rows(section(page, "What is skipped"))
    }
    assert described - {"reason"} == REASONS


def test_the_reasons_why_a_manager_is_left_are_ones_that_there_are():
    table = [row[0] for row in rows(section(MODE, "Several managers"))]
    named = {word for cell in table for word in re.findall(r"`(\w+)`", cell)}
    told = flat("docs/operate.md").partition("Reasons of failures: ")[2].partition(". A counter")[0]
    assert named <= set(re.findall(r"`(\w+)`", told))
    assert {reason for _, reason in client._SAID} <= named


async def requests_of(config: DockerAPIConfig, daemon: Daemon) -> set[tuple[str, str]]:
    """(method, path without version) of what one round asks."""
    await discover([Job("job", (config,), (), {})], timeout=10)
    return {(one.method, re.sub(r"^/v1\.\d+", "", one.path)) for one in daemon.requests}


async def test_the_requests_are_those_described_and_only_gets():
    described = {
        row[0].strip("`"): set(re.findall(r"`(/\w+)`", row[1])) for row in rows(section(MODE, "Requests"))
    }
    swarm = example()
    everything = set()
    for role in ("nodes", "services", "tasks"):
        async with Daemon.on(swarm, "mgr1") as daemon:
            host = Host.from_yaml(daemon.url)
            asked = await requests_of(DockerSwarmSDConfig(host=host, role=role), daemon)
            assert asked == {("GET", path) for path in described[role] | {"/version", "/events"}}
            everything |= {path for _, path in asked}
    async with Daemon(plain_engine()) as daemon:
        asked = await requests_of(DockerSDConfig(host=Host.from_yaml(daemon.url)), daemon)
        assert asked == {("GET", path) for path in ("/version", "/containers/json", "/networks", "/events")}
        assert all(f"`{path}" in section(ENGINES, "Requests") for _, path in asked)
        everything |= {path for _, path in asked}
    table = rows(section(SECURITY, "What it asks"))
    allowed = {row[0].strip("`").removeprefix("/vX.YY") for row in table} - {"path"}
    assert allowed == everything | {"/info", "/containers/<id>/json"}


def test_the_proxies_that_are_shown_let_through_just_what_is_asked():
    (nginx,) = [one.body for one in blocks() if one.language == "nginx"]
    found = re.search(r'location ~ "(.*)"', nginx)
    assert found
    lets = re.compile(found[1])
    for path in ("/version", *(f"/v1.41{one}" for one in KINDS), "/containers/json", "/v1.41/events"):
        assert lets.search(path), path
    for path in ("/v1.41/containers/x/json", "/v1.41/swarm/unlockkey", "/nodes/x", "/x/nodes", "/info"):
        assert not lets.search(path), path
    table = {row[0]: dict(zip(VARIABLES, row[1:], strict=True)) for row in socket_proxy_table()}
    for role in ("nodes", "services", "tasks"):
        wanted = {path.strip("/").upper() for path in of_role(role)} | {"VERSION"}
        assert {name for name, on in table[f"`role: {role}`"].items() if on == "1"} == wanted


VARIABLES = ["VERSION", "NODES", "SERVICES", "TASKS", "NETWORKS", "CONTAINERS", "INFO", "POST"]


def socket_proxy_table() -> list[list[str]]:
    head, *table = rows(section(SECURITY, "A socket with less behind it"))
    assert [cell.strip("`") for cell in head[1:]] == VARIABLES
    assert {row[-1] for row in table} == {"0"}
    return table


def of_role(role: str) -> set[str]:
    provider = DockerSwarmSDConfig(host=Host.from_yaml("tcp://m:1"), role=role).provider()
    return {wanted.path for wanted in provider._wanted}


def test_no_field_that_is_decoded_is_one_of_those_never_read():
    names = {
        field.encode_name.lower()
        for kind in vars(wire).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        for field in msgspec.structs.fields(kind)
    }
    assert "labels" in names
    assert names & {"env", "command", "args", "mounts", "secrets", "configs", "privileges"} == set()


def test_what_is_kept_has_the_mode_described(tmp_path):
    before = os.umask(0)
    try:
        write_atomically(tmp_path / "kept", b"")
    finally:
        os.umask(before)
    mode = f"{(tmp_path / 'kept').stat().st_mode & 0o777:04o}"
    assert section(SECURITY, "Files").count(f"{mode}, less the umask") == 2


def test_the_jobs_of_serve_docker_are_those_described():
    table = [row for row in rows(section(ENGINES, "This machine's own Docker")) if row[0] != "Docker"]
    host = Host.from_yaml(own_docker.DEFAULT_HOST)
    jobs = (*own_docker._manager_jobs(host, None), own_docker._engine_job(host, None))
    assert [row[1].strip("`") for row in table] == [job.name for job in jobs]
    for row, job in zip(table, jobs, strict=True):
        (config,) = job.sd_configs
        assert f"`{config.kind}_sd_configs`" in row[2]
        if isinstance(config, DockerSwarmSDConfig):
            assert f"`role: {config.role}`" in row[2]
        if config.port != DockerSwarmSDConfig(role="tasks").port:
            assert f"`port: {config.port}`" in row[2]
        named = {rule.config.target_label for rule in job.rules if rule.config.action_name == "replace"}
        assert named
        assert {label for label in named if f"`{label}`" not in row[3]} == set()


def test_the_move_shows_what_convert_really_writes(tmp_path):
    (ours,) = [one.body for one in blocks() if one.title == "moving"]
    (tmp_path / "prometheus.yml").write_text(ours)
    converted = convert.convert(tmp_path / "prometheus.yml", sd_url=f"http://{LISTEN}").text
    page = text("docs/moving-from-the-built-ins.md")
    assert f"$ swarm-sd convert prometheus.yml --sd.url http://{LISTEN}\n{converted}```" in page


@pytest.mark.e2e
async def test_the_comparison_of_the_move_finds_no_difference(tmp_path):
    promtool = needs("promtool")
    (ours,) = [one.body for one in blocks() if one.title == "moving"]
    async with Daemon.on(example(), "mgr1") as daemon:
        file = tmp_path / "prometheus.yml"
        file.write_text(ours.replace("tcp://127.0.0.1:23751", daemon.url.replace("http:", "tcp:")))
        for job in load(file).jobs:
            asked = await asyncio.create_subprocess_exec(
                promtool, "check", "service-discovery", "--timeout=3s", file, job.name,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            told, _ = await asked.communicate()
            theirs = {tuple(sorted(one["labels"].items())) for one in json.loads(told) if one.get("labels")}
            found = await discover([job], timeout=10)
            mine = {tuple(sorted(one.labels.items())) for one in found.targets[job.name] if one.labels}
            assert mine == theirs
            assert len(mine) > 4


# -- modules ----------------------------------------------------------------------------------------------


def test_every_module_is_named_in_the_architecture_and_every_name_is_one():
    page = section("docs/architecture.md", "Rooms")
    listed = re.findall(r"`([\w/]+(?:\.py|/))`", "".join(row[0] + " " for row in rows(page)))
    folders = tuple(one for one in listed if one.endswith("/"))
    assert [one for one in listed if not (SOURCE / one).exists()] == []
    found = {path.relative_to(SOURCE).as_posix() for path in modules()}
    with_code = {one for one in found if not one.endswith("__init__.py") or one == "discovery/__init__.py"}
    assert {one for one in with_code if not one.startswith(folders)} <= set(listed)


def test_every_other_module_that_the_architecture_names_is_one():
    named = re.findall(r"`([\w/]+\.py)`", text("docs/architecture.md"))
    assert [one for one in named if not ((SOURCE / one).exists() or (ROOT / one).exists())] == []


def test_what_runs_in_a_thread_is_what_the_architecture_says():
    page = section("docs/architecture.md", "Loop and threads")
    users = {path.relative_to(SOURCE).as_posix() for path, source in SOURCES.items() if "to_thread" in source}
    assert {row[1].strip("`") for row in rows(page) if row[1] != "where"} == users


def test_what_is_said_to_be_missing_is_missing():
    missing = section("docs/limits.md", "Not there yet")
    assert [kind for kind in kinds() if f"`{kind}_sd_configs`" in missing] == []
    fields = SwarmSDConfig.__struct_fields__
    assert "oauth2" not in fields
    assert "enable_http2" in fields


# -- links and examples -----------------------------------------------------------------------------------

TO_COME: set[str] = set()


def anchors(page: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    prose = _BLOCK.sub("", page.read_text())
    heads = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    prose = re.sub(r"`[^`\n]*`", "``", _BLOCK.sub("", page.read_text()))
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        path = (page.parent / file).resolve() if file else page
        if name(path) in TO_COME and not path.exists():
            continue
        assert path.exists(), link
        if anchor:
            assert anchor in anchors(path), link


@pytest.mark.parametrize(
    "block",
    [
        one
        for one in blocks()
        if one.language == "yaml" and "scrape_configs" in one.body and one.title != "wrong"
    ],
    ids=lambda block: f"{block.page}:{block.line}",
)
def test_a_configuration_that_is_shown_loads(block, tmp_path):
    (tmp_path / "prometheus.yml").write_text(block.body)
    load(tmp_path / "prometheus.yml")


def test_the_configuration_of_the_readme_is_the_plugins_byte_for_byte_and_converts_as_shown(tmp_path):
    (ours,) = [one.body for one in blocks() if one.title == "the plugin's"]
    plugins = (ROOT / "tests/fixtures/plugin/resp_test_threeNode/config.yml").read_text()
    assert plugins.endswith(ours)
    (tmp_path / "prometheus.yml").write_text(ours)
    converted = convert.convert(tmp_path / "prometheus.yml", sd_url="http://swarm-sd:9963").text
    assert f"$ swarm-sd convert prometheus.yml --sd.url http://swarm-sd:9963\n{converted}```" in text(
        "README.md"
    )


# -- numbers ----------------------------------------------------------------------------------------------


def default(flag: str) -> str:
    (one,) = [one for one in options(COMMANDS["serve"]) if flag in one.opts]
    return " ".join(one.default) if isinstance(one.default, list | tuple) else str(one.default)


LISTEN = default("--web.listen-address")
PORT = LISTEN.rpartition(":")[2]
ENTRY = SwarmSDConfig()
BACKENDS = "docs/discovery-backends.md"
CONNECT = inspect.signature(HTTPSession).parameters["connect_timeout"].default
TIMEOUT = inspect.signature(SwarmProvider).parameters["timeout"].default
PATIENCE, SPREAD = (inspect.signature(Rotation).parameters[one].default for one in ("patience", "spread"))
LIMITS = [
    DockerSDConfig(host=Host.from_yaml("tcp://m"), refresh_interval=Duration(one)).request_timeout()
    for one in (1, 1000)
]
SAVE, CONFIRM = manager.SAVE_EVERY, manager.CONFIRM_EVERY
HOLD = default("--mass-loss.hold")

NUMBERS = [
    ("README.md", f"Serve it, on port {PORT}"),
    ("README.md", f"Version {__version__}, a beta"),
    ("README.md", f"refresh_interval: {convert.SHORTEST_REFRESH}"),
    ("docs/install.md", f"swarm-sd listens on `{LISTEN}`"),
    ("docs/install.md", f"prometheus_swarm_sd-{__version__}-py3-none-any.whl"),
    ("docs/classic-swarm.md", f"every `refresh_interval` ({ENTRY.refresh_interval})"),
    ("docs/classic-swarm.md", f"to connect | {CONNECT:g} s"),
    ("docs/classic-swarm.md", f"for the whole request | {TIMEOUT:g} s"),
    ("docs/classic-swarm.md", f"asked as well | {PATIENCE:g} s; with more than five masters"),
    ("docs/classic-swarm.md", f"masters {SPREAD:g} s divided by their number"),
    ("docs/classic-swarm.md", f"at most {Poller.MAX_BACKOFF:g} s (or `refresh_interval`"),
    ("docs/classic-swarm.md", f"larger than {swarm_provider.MAX_BYTES / 2**20:g} MiB"),
    ("docs/classic-swarm.md", f"with `role: containers` {container_provider.MAX_BYTES / 2**20:g} MiB"),
    ("docs/classic-swarm.md", f"held back for {HOLD}"),
    ("docs/classic-swarm.md", f"{TIMEOUT:g} s, and the next master after {PATIENCE:g} s"),
    ("docs/operate.md", f"the next one is asked after {PATIENCE:g} s"),
    ("docs/operate.md", f"up to every {Poller.MAX_BACKOFF:g} s"),
    ("docs/operate.md", f"{TIMEOUT:g} s and {PATIENCE:g} s more for every further master"),
    ("docs/operate.md", f"master, {TIMEOUT + SPREAD:g} s at most"),
    ("docs/operate.md", f"believed after {HOLD} (`--mass-loss.hold`)"),
    ("docs/operate.md", f"the format's `version` ({VERSION})"),
    ("docs/operate.md", f"every {CONFIRM:g} s while answers say the same"),
    ("docs/operate.md", f"`--storage.max-age` ({default('--storage.max-age')})"),
    ("docs/operate.md", f"at most every {SAVE:g} s, and at the end"),
    ("docs/operate.md", f"at least {manager.PAUSE:g} s apart"),
    ("docs/operate.md", f"`refresh_interval` ({ENTRY.refresh_interval}), plus"),
    ("docs/operate.md", f"at least {convert.SHORTEST_REFRESH} as `convert` writes it"),
    ("docs/architecture.md", f"at most every {manager.PAUSE:g} s"),
    ("docs/architecture.md", f"answers of {client.ON_THE_LOOP // 1024} KiB or more"),
    ("docs/limits.md", f"larger than {client.MAX_BYTES / 2**30:g} GiB"),
    ("docs/configure.md", f"default = {ENTRY.metrics_port}"),
    (BACKENDS, f"`refresh_interval` ({ENTRY.refresh_interval}) is how often masters are asked"),
    (BACKENDS, f"as a whole every {swarm_registry.LIST_EVERY:g} s besides"),
    (BACKENDS, f"a primary that answers within {discovered.FIRST_WAIT:g} s"),
    (BACKENDS, f"after {http_store.FOLLOW:g} s without a word (ZooKeeper: {zookeeper.QUIET:g} s)"),
    (BACKENDS, f"left alone for {kv_file.SETTLED:g} s"),
    (MODE, f"after {PATIENCE:g} s the next is asked as well"),
    (MODE, "at least {:g} s and at most {:g} s".format(*LIMITS)),
    (ENGINES, "at least {:g} s and at most {:g} s".format(*LIMITS)),
    (MODE, f"younger than {cluster._SOONEST:g} of an entry's interval"),
    (MODE, f"for {cluster._FAILED_FOR:g} s at most"),
    (MODE, "not above {}.{},".format(*client.NEWEST_API)),
    (FRESHNESS, f"{watch.DEBOUNCE * 1000:g} ms later"),
    (FRESHNESS, f"every {watch.CADENCE[0][1]:g} s at first"),
    (FRESHNESS, f"after {watch.CADENCE[1][0]:g} s, up to a minute"),
    (FRESHNESS, f"at most {watch.IDLE_SHARE:.0%} of the time".replace("%", " %")),
    (FRESHNESS, f"came within {watch.TOLD_WITHIN:g} seconds"),
    (FRESHNESS, f"after {events.SILENCE / 60:g} minutes without an event"),
    (MODE, f"held back for {HOLD}"),
    (ENGINES, f"held back for {HOLD}"),
    ("docs/moving-from-the-built-ins.md", f"held back for {HOLD}"),
    ("docs/architecture.md", f"mapping lists of {dockerswarm.ON_THE_LOOP} objects or more"),
    (ENGINES, f"keeps what it has) for {GRACE:g} s"),
    ("docs/operate.md", f"or after {GRACE:g} s from one"),
    (ENGINES, f"or `{own_docker.DEFAULT_HOST}`"),
    (ENGINES, f"each asked every {float(own_docker._INTERVAL):g} s"),
    (SECURITY, f"listens on `{LISTEN}`"),
    ("CHANGELOG.md", f"a silent master costs {PATIENCE:g} s"),
    ("CHANGELOG.md", ENTRY_POINT_GROUP),
]  # fmt: skip


@pytest.mark.parametrize(("page", "phrase"), NUMBERS)
def test_numbers_are_those_of_the_code(page, phrase):
    assert phrase in flat(page)


def test_with_more_than_five_masters_the_patience_is_shorter():
    assert SPREAD / PATIENCE == 5


def test_more_than_half_is_what_the_brake_holds():
    assert default("--mass-loss.share") == f"{MassLoss().share:g}" == "0.5"
    assert "more than half (`--mass-loss.share`)" in flat("docs/operate.md")
    options = Options(read=lambda: load("x"), listen=())
    assert options.mass_loss == MassLoss(0.5, 120)
    assert (HOLD, options.storage_max_age) == ("2m", 86_400)
    assert default("--storage.max-age") == "24h"


@pytest.mark.parametrize("page", sorted({*NAMES} - {"docs/configure.md"}))
def test_swarm_sd_is_asked_at_its_own_port(page):
    asked = re.findall(r"https?://(?:127\.0\.0\.1|localhost|swarm-sd):(\d+)/(?:sd\b|-/)", text(page))
    asked += re.findall(r"--sd\.url https?://[\w.-]+:(\d+)", text(page))
    assert set(asked) <= {PORT}
