"""What is recorded of a cluster, what is left out, and that it plays back as the cluster would answer."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from click.testing import CliRunner, Result
from tests.discovery.dockerswarm.recordings import CASES, RefusedError, case, sets

from swarm_sd.cli import cli
from swarm_sd.config import load
from swarm_sd.discovery.answers import ANSWERS, Answers
from swarm_sd.discovery.docker_api.lists import KINDS
from swarm_sd.discovery.dockerswarm import own_networks
from swarm_sd.job import Job
from swarm_sd.model import ADDRESS, TargetGroup
from swarm_sd.once import Discovered, discover
from swarm_sd.provider import Poller, SDConfig, TargetProvider
from swarm_sd.recording.document import Cluster, Recording, parse, written
from swarm_sd.recording.masks import Masks, is_secret
from swarm_sd.recording.player import Player, applies
from swarm_sd.recording.recorder import Recorded, record
from swarm_sd.recording.reduced import named, reduced
from swarm_sd.sim.clusters import example as classic_example
from swarm_sd.sim.faults import Fault
from swarm_sd.sim.manager import Manager
from swarm_sd.sim.moby.answers import refusal
from swarm_sd.sim.moby.clusters import example, plain_engine
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.wire import Connection, Request, Response
from swarm_sd.sim.workload import Container, Port

SECONDS = 20.0


@contextmanager
def answered_by(answers: Answers) -> Iterator[None]:
    token = ANSWERS.set(answers)
    try:
        yield
    finally:
        ANSWERS.reset(token)


def jobs(text: str, folder: Path) -> tuple[Job, ...]:
    file = folder / "prometheus.yml"
    file.write_text("scrape_configs:\n" + text)
    return load(file).jobs


async def recorded(wanted: Sequence[Job]) -> Recorded:
    made = await record(wanted, timeout=SECONDS)
    assert made.failures == ()
    return made


def again(recording: Recording) -> Recording:
    return parse(written(recording).encode())


async def played(recording: Recording, wanted: Sequence[Job]) -> Discovered:
    with answered_by(Player(again(recording))):
        return await discover(wanted, timeout=SECONDS)


def same(one: Discovered, other: Discovered) -> bool:
    """Whether both found the same targets in the same order, and passed over the same objects."""
    return one.targets == other.targets and one.passed_over == other.passed_over


ROLES = """
- job_name: nodes
  dockerswarm_sd_configs:
  - {{role: nodes, hosts: [{hosts}]}}
  - {{role: nodes, port: 9100, hosts: [{hosts}], filters: [{{name: role, values: [worker]}}]}}
- job_name: services
  dockerswarm_sd_configs:
  - {{role: services, hosts: [{hosts}], filters: [{{name: name, values: [rep]}}]}}
- job_name: tasks
  dockerswarm_sd_configs:
  - {{role: tasks, hosts: [{hosts}], filters: [{{name: desired-state, values: [running]}}]}}
  - {{role: tasks, hosts: [{hosts}], filters: [{{name: name, values: [dnsrr]}}]}}
  relabel_configs:
  - {{source_labels: [__meta_dockerswarm_service_name], target_label: service}}
- job_name: endpoints
  dockerswarm_sd_configs:
  - {{role: endpoints, scrape: all, hosts: [{hosts}]}}
- job_name: engine
  docker_sd_configs:
  - {{host: {host}}}
  - {{host: {host}, filters: [{{name: status, values: [exited]}}]}}
"""


async def test_a_swarm_played_back_has_the_targets_that_it_had(tmp_path: Path) -> None:
    swarm = example()
    async with Daemon.on(swarm, "mgr1") as one, Daemon.on(swarm, "mgr2") as two:
        wanted = jobs(ROLES.format(hosts=f"'{one.url}', '{two.url}'", host=one.url), tmp_path)
        made = await recorded(wanted)
        real = await discover(wanted, timeout=SECONDS)
    assert not real.failures
    assert all(real.targets.values())
    names = [name for cluster in made.recording.clusters for name in cluster.answers]
    assert {name for name in names if "filters" in name} == {
        '/nodes?filters={"role":{"worker":true}}',
        '/tasks?filters={"name":{"dnsrr":true}}',
        '/containers/json?filters={"status":{"exited":true}}',
    }
    assert same(await played(made.recording, wanted), real)
    assert written(again(made.recording)) == written(made.recording)


def test_a_list_that_is_filtered_can_be_made_of_the_whole_one_where_its_filters_are_known() -> None:
    assert applies('/nodes?filters={"id":{"none":true}}', ["/nodes"])
    assert not applies('/nodes?filters={"id":{"none":true}}', ["/tasks"])
    assert not applies('/nodes?filters={"role":{"worker":true}}', ["/nodes"])
    assert not applies("/nodes", ["/nodes"])


async def test_what_is_tested_may_want_another_role_port_or_filter_than_what_was_recorded(
    tmp_path: Path,
) -> None:
    async with Daemon.on(example(), "mgr1") as daemon:
        host = daemon.url
        (first,) = jobs(
            f"- job_name: a\n  dockerswarm_sd_configs:\n  - {{role: nodes, host: {host}, "
            "filters: [{name: name, values: [mgr1]}]}\n",
            tmp_path,
        )
        made = await recorded([first])
        other = jobs(
            f"""
- job_name: a
  dockerswarm_sd_configs:
  - {{role: nodes, host: {host}, filters: [{{name: node.label, values: [tier=front]}}]}}
  - {{role: tasks, host: {host}, port: 1234, filters: [{{name: service, values: [dnsrr, rep-tcp]}}]}}
- job_name: b
  dockerswarm_sd_configs:
  - {{role: endpoints, scrape: all, networks: net-a, host: {host}}}
  - {{role: services, host: {host}, filters: [{{name: label, values: [app]}}]}}
""",
            tmp_path,
        )
        real = await discover(other, timeout=SECONDS)
    assert len(real.targets["a"]) > 3
    assert same(await played(made.recording, other), real)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("role: tasks, filters: [{name: name, values: [x]}]", "only Docker can apply the filters"),
        ("role: tasks, filters: [{name: nosuch, values: [x]}]", "invalid filter 'nosuch' for tasks"),
        ("role: tasks, filters: [{name: service, values: [x]}]", "service x not found"),
        ("role: endpoints, networks: auto", "networks: auto is for a swarm-sd in a container"),
    ],
)
async def test_what_was_not_recorded_is_no_empty_list(entry: str, why: str, tmp_path: Path) -> None:
    async with Daemon.on(example(), "mgr1") as daemon:
        text = f"- job_name: a\n  dockerswarm_sd_configs:\n  - {{host: '{daemon.url}', role: nodes}}\n"
        made = await recorded(jobs(text, tmp_path))
    found = await played(made.recording, jobs(text.replace("role: nodes", entry), tmp_path))
    assert why in found.failures[0][2]


async def test_another_host_is_not_taken_for_the_one_that_was_recorded(tmp_path: Path) -> None:
    text = "- job_name: a\n  docker_sd_configs:\n  - host: tcp://10.0.0.9:2375\n"
    made = Recording(1, clusters=[Cluster(hosts=["tcp://10.0.0.1:2375"], answers={})])
    found = await played(made, jobs(text, tmp_path))
    assert "knows nothing of this host, only of tcp://10.0.0.1:2375" in found.failures[0][2]


async def test_each_engine_has_its_own_containers(tmp_path: Path) -> None:
    swarm = example()
    async with Daemon.on(swarm, "mgr1") as one, Daemon(plain_engine()) as two:
        wanted = jobs(
            f"- job_name: a\n  docker_sd_configs:\n  - {{hosts: ['{one.url}', '{two.url}']}}\n", tmp_path
        )
        made = await recorded(wanted)
        real = await discover(wanted, timeout=SECONDS)
    assert [one.hosts for one in made.recording.clusters] == sorted([[one.url], [two.url]])
    assert same(await played(made.recording, wanted), real)


class OnlyNodes(Fault):
    """A proxy that lets through what role nodes needs."""

    async def answer(self, connection: Connection, request: Request, response: Response, /) -> bool:
        if not re.search(r"/(nodes|version|events)(\?|$)", request.target):
            response = refusal(403, "Forbidden")
        return await super().answer(connection, request, response)


async def test_what_may_not_be_listed_and_nobody_wants_is_left_out(tmp_path: Path) -> None:
    async with Daemon.on(example(), "mgr1") as daemon:
        daemon.inject(OnlyNodes())
        text = f"- job_name: a\n  dockerswarm_sd_configs:\n  - {{host: '{daemon.url}', role: nodes}}\n"
        made = await recorded(jobs(text, tmp_path))
    (cluster,) = made.recording.clusters
    assert list(cluster.answers) == ["/nodes"]
    found = await played(made.recording, jobs(text.replace("nodes}", "tasks}"), tmp_path))
    assert "the snapshot has no answer to /tasks" in found.failures[0][2]


# -- classic Swarm and its stores -----------------------------------------------------------------------

CLASSIC = """
- job_name: all
  swarm_sd_configs:
  - masters: [{masters}]
- job_name: containers
  swarm_sd_configs:
  - {{masters: [{masters}], role: containers}}
"""


@pytest.mark.parametrize("tag", ["v0.2.0", "v0.4.0", "v1.2.9"])
async def test_a_classic_swarm_played_back_has_the_targets_that_it_had(tag: str, tmp_path: Path) -> None:
    cluster = classic_example()
    for number, engine in enumerate(cluster.engines):
        for name in ("web", "db"):
            engine.named[name] = Container(name=f"{name}-{number}", ports=[Port(80, 18080)])
    replication = tag > "v0.3"
    async with (
        Manager(cluster, tag=tag, replication=replication, advertise="10.0.0.1:1") as one,
        Manager(cluster, tag=tag, replication=replication, advertise="10.0.0.2:1") as two,
    ):
        if replication:
            cluster.primary = "10.0.0.1:1"
        wanted = jobs(CLASSIC.format(masters=f"'{one.url}', '{two.url}'"), tmp_path)
        made = await recorded(wanted)
        real = await discover(wanted, timeout=SECONDS)
    assert not real.failures
    assert (len(real.targets["all"]), len(real.targets["containers"])) == (5, 6)
    assert same(await played(made.recording, wanted), real)
    text = written(made.recording)
    assert not re.search(r"Reserved|UpdatedAt|Containers\"", text), "what changes all the time"


async def test_who_is_registered_is_recorded(tmp_path: Path) -> None:
    file = tmp_path / "nodes"
    file.write_text("10.0.0.1:2375\n10.0.0.2:2375\n")
    wanted = jobs(
        f"- job_name: a\n  swarm_sd_configs:\n  - discovery: file://{file}\n    role: nodes\n", tmp_path
    )
    made = await recorded(wanted)
    file.unlink()
    found = await played(made.recording, wanted)
    assert [one.discovered[ADDRESS] for one in found.targets["a"]] == ["10.0.0.1:8070", "10.0.0.2:8070"]
    other = jobs(
        f"- job_name: a\n  swarm_sd_configs:\n  - discovery: file://{file}x\n    role: nodes\n", tmp_path
    )
    found = await played(made.recording, other)
    assert "the snapshot knows nothing of it" in found.failures[0][2]


# -- other kinds ----------------------------------------------------------------------------------------


class HereSDConfig(SDConfig, frozen=True, kw_only=True):
    """A kind from another package."""

    kind: ClassVar[str] = "here"

    port: int = 1

    def provider(self) -> TargetProvider:
        return HereProvider(self.port)


class HereProvider(Poller):
    def __init__(self, port: int) -> None:
        super().__init__("here", 60)
        self._port = port

    async def list(self) -> Sequence[TargetGroup]:
        targets = tuple({ADDRESS: f"10.0.0.{number}:{self._port}"} for number in (2, 1))
        return [
            TargetGroup("a", targets, {"x": "y", "api_token": "t"}),
            TargetGroup("b", targets[:1], {"x": "z"}),
        ]


async def test_of_a_kind_from_another_package_the_targets_are_recorded() -> None:
    made = await recorded([Job("a", (HereSDConfig(), HereSDConfig(port=2)))])
    first, second = made.recording.entries
    assert (first.job, first.entry, second.entry) == ("a", 0, 1)
    assert [(group.targets, group.labels) for group in first.groups] == [
        (("10.0.0.1:1", "10.0.0.2:1"), {"x": "y", "api_token": "<secret>"}),
        (("10.0.0.2:1",), {"x": "z"}),
    ]
    assert made.recording.clusters == []


# -- swarm-sd's own networks ----------------------------------------------------------------------------


async def test_its_own_networks_are_found_again_where_it_was_recorded_in_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swarm = example()
    (task, *_) = [
        one for one in swarm.lists()["tasks"] if one["Status"].get("ContainerStatus", {}).get("ContainerID")
    ]
    own = task["Status"]["ContainerStatus"]["ContainerID"]
    monkeypatch.setattr(own_networks, "_own_container", lambda: own)
    async with Daemon.on(swarm, "mgr1") as daemon:
        wanted = jobs(
            "- job_name: a\n  dockerswarm_sd_configs:\n"
            f"  - {{host: '{daemon.url}', role: endpoints, scrape: all, networks: auto}}\n",
            tmp_path,
        )
        made = await recorded(wanted)
        real = await discover(wanted, timeout=SECONDS)
    monkeypatch.setattr(own_networks, "_own_container", lambda: "")
    assert made.recording.own_container == own
    assert same(await played(made.recording, wanted), real)


# -- what is kept ---------------------------------------------------------------------------------------


class Raw:
    """Everything that a real engine was asked, as it answered."""

    def __init__(self, name: str) -> None:
        self._case = case(name)

    def answers(self) -> dict[str, bytes]:
        found = {}
        for path, query in self._case.answers:
            given = json.loads(query)
            if self._case.answers[path, query]["status"] != 200:
                continue
            if "filters" in given:
                wanted = {key: dict.fromkeys(values, True) for key, values in given["filters"].items()}
                given["filters"] = msgspec.json.encode(wanted, order="sorted").decode()
            url = path + ("?" + "&".join(f"{key}={value}" for key, value in given.items()) if given else "")
            found[named(url)] = (
                self._case.folder / "api" / self._case.answers[path, query]["file"]
            ).read_bytes()
        return found

    def recording(self) -> Recording:
        kept = {name: reduced(name, answer) for name, answer in self.answers().items()}
        answers = {
            name: msgspec.Raw(msgspec.json.encode(one)) for name, one in kept.items() if one is not None
        }
        return Recording(1, clusters=[Cluster(answers=answers)])


@pytest.mark.parametrize("name", CASES)
async def test_what_real_engines_answered_has_the_same_targets_when_reduced(name: str) -> None:
    every = load(case(name).folder / "config.yml").jobs
    found = await played(Raw(name).recording(), every)
    for job in every:
        recorded = case(name)
        try:
            expected = recorded.populated(job.name, recorded.mapped(job.name).groups)
        except (RefusedError, KeyError):
            assert job.name in {failed for failed, _, _ in found.failures}
            continue
        if job.name not in {failed for failed, _, _ in found.failures}:
            assert sets(one.discovered for one in found.targets[job.name]) == sets(
                one.discovered for one in expected
            )


SENT = [(name, path) for name in ("sink", "updating", "docker_plain") for path in Raw(name).answers()]


@pytest.mark.parametrize(("name", "path"), SENT)
def test_nothing_of_environment_mounts_commands_or_secrets_is_kept(name: str, path: str) -> None:
    text = json.dumps(reduced(path, Raw(name).answers()[path]))
    assert not re.search(r'"(Env|Mounts|Command|Cmd|Args|Secrets|Configs|User|Dir|Privileges)":', text)
    assert not re.search(r'"(CreatedAt|UpdatedAt|Version|Created|Timestamp)":', text)


def test_the_real_answers_do_have_environments() -> None:
    assert b'"Env"' in Raw("sink").answers()["/services"]


@pytest.mark.parametrize("name", ["sink", "docker_plain"])
def test_the_order_of_an_answer_does_not_matter(name: str) -> None:
    for path, answer in Raw(name).answers().items():
        if path.partition("?")[0] in KINDS and path != "/containers/json?all=1":
            objects = json.loads(answer)
            assert reduced(path, json.dumps(objects[::-1]).encode()) == reduced(path, answer), path


async def test_the_same_cluster_gives_the_same_bytes(tmp_path: Path) -> None:
    async with Daemon.on(example(), "mgr1") as daemon:
        wanted = jobs(ROLES.format(hosts=daemon.url, host=daemon.url), tmp_path)
        texts = {written((await recorded(wanted)).recording) for _ in range(3)}
    assert len(texts) == 1


SECRETS = [
    ("traefik.http.middlewares.a.basicauth.users", "admin:x"),
    ("DB_PASSWORD", "x"),
    ("com.example.api-key", "x"),
    ("com.example.token", "x"),
    ("com.example.secret", "x"),
    ("com.example.url", "https://user:pass@example.com/"),
    ("com.example.users", "admin:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"),
    ("com.example.jwt", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x"),
    ("com.example.pem", "-----BEGIN RSA PRIVATE KEY-----"),
]
NONE = [
    ("com.docker.stack.namespace", "shop"),
    ("prometheus.port", "9100"),
    ("com.example.secret", ""),
    ("traefik.http.middlewares.a.basicauth.removeheader", "true"),
    ("com.example.url", "https://example.com/a@b"),
    ("com.example.image", "registry.example.com:5000/a@sha256:0123"),
]


@pytest.mark.parametrize(("key", "value"), SECRETS)
def test_a_label_that_looks_like_a_secret_is_masked(key: str, value: str) -> None:
    assert is_secret(key, value)


@pytest.mark.parametrize(("key", "value"), NONE)
def test_other_labels_are_not(key: str, value: str) -> None:
    assert not is_secret(key, value)


def test_labels_are_masked_wherever_docker_has_some() -> None:
    masks = Masks()
    service = {"Spec": {"Name": "password", "Labels": {"a.token": "t", "b": "c"}}}
    assert masks.answer([service]) == [
        {"Spec": {"Name": "password", "Labels": {"a.token": "<secret>", "b": "c"}}}
    ]
    rows = {"SystemStatus": [["Nodes", "1"], ["  └ Labels", "a=b, my_password=x, y, z=1"]]}
    assert masks.answer(rows) == {
        "SystemStatus": [["Nodes", "1"], ["  └ Labels", "a=b, my_password=<secret>, z=1"]]
    }
    assert masks.masked == {"a.token": 1, "my_password": 1}


# -- the command ----------------------------------------------------------------------------------------


async def command(*arguments: str | Path) -> Result:
    """In a thread, for it has a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, cli, ["record", *map(str, arguments)])


async def test_the_command_writes_the_file_and_tells_what_it_masked(tmp_path: Path) -> None:
    swarm = example()
    swarm.create_service("auth", replicas=0, labels={"traefik.basicauth.users": "admin:topsecret"})
    swarm.settle()
    file, out = tmp_path / "prometheus.yml", tmp_path / "snapshot.json"
    async with Daemon.on(swarm, "mgr1") as daemon:
        host = daemon.url.replace("://", "://someone:hunter2@")
        file.write_text(
            "scrape_configs:\n- job_name: a\n  dockerswarm_sd_configs:\n"
            f"  - {{role: nodes, host: '{host}'}}\n"
        )
        done = await command(file, "-o", out)
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr.splitlines() == [
            "Masked as <secret>, since they look like secrets:",
            "  traefik.basicauth.users",
        ]
        shown = await command(file, "a")
        assert (await command(file, "b")).exit_code == 1
    assert shown.stdout == out.read_text()
    assert parse(out.read_bytes()).clusters[0].hosts == [daemon.url]
    assert "topsecret" not in out.read_text()
    assert "hunter2" not in out.read_text()


async def test_half_of_it_is_not_written(tmp_path: Path) -> None:
    file, out = tmp_path / "prometheus.yml", tmp_path / "snapshot.json"
    async with Daemon.on(example(), "mgr1") as daemon:
        file.write_text(
            "scrape_configs:\n- job_name: a\n  dockerswarm_sd_configs:\n"
            f"  - {{role: nodes, host: '{daemon.url}'}}\n"
            "  - {role: nodes, host: 'http://127.0.0.1:1'}\n"
        )
        done = await command(file, "-o", out)
    assert done.exit_code == 1
    assert done.stderr.startswith("a/1: could not be discovered: http://127.0.0.1:1/")
    assert not out.exists()


async def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    entry = "{discovery: '10.0.0.1:2375', role: nodes}"
    file.write_text(f"scrape_configs:\n- job_name: a\n  swarm_sd_configs: [{entry}]\n")
    done = await command(file, "-o", tmp_path / "no" / "x.json")
    assert (done.exit_code, done.stderr) == (1, f"{tmp_path}/no/x.json: No such file or directory\n")


async def test_where_there_is_nothing_to_record_it_says_so(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text("scrape_configs: []\n")
    done = await command(file)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"{file}: no entry of ours in it: there is nothing to record\n"
