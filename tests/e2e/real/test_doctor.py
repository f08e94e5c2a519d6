"""What the doctor says of real engines and a real swarm that are wrongly set up, or of which some are ill."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from ..programs import SWARM_SD, run
from .cluster import Cluster, Engine
from .proxy import Fault, Proxy
from .services import FRONT, service
from .solo import machine
from .zoo import Zoo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

Report = dict[str, Any]


class Doctor:
    """Runs ``swarm-sd doctor`` on configurations."""

    def __init__(self, folder: Path, namespace: Path) -> None:
        self.folder, self._inside = folder, ["nsenter", f"--net={namespace}"]

    async def says(self, text: str, *, inside: bool = False, code: int = 1) -> Report:
        """Its report; ``inside`` the cluster's network, where machines are reached by TCP."""
        file = self.folder / "swarm.yml"
        file.write_text(text)
        command = [SWARM_SD, "doctor", file, "--format=json"]
        done = await run(*(self._inside if inside else ()), *command)
        assert (done.code, done.err) == (code, ""), done
        report: Report = json.loads(done.out)
        return report


@pytest.fixture
def doctor(cluster: Cluster, tmp_path: Path) -> Doctor:
    return Doctor(tmp_path, cluster.namespace)


def entry(kind: str, *lines: str, rules: str = "", job: str = "job") -> str:
    """A job with one entry."""
    first, *rest = lines
    more = "".join(f"\n    {line}" for line in rest)
    return f"- job_name: {job}\n  {kind}_sd_configs:\n  - {first}{more}\n{rules}"


def config(*jobs: str) -> str:
    return "scrape_configs:\n" + "".join(jobs)


def of(host: str, role: str, *lines: str, rules: str = "") -> str:
    return config(entry("dockerswarm", f"host: {host}", f"role: {role}", "port: 9100", *lines, rules=rules))


def findings(report: Report) -> list[dict[str, str]]:
    return [one for section in report["sections"] for one in section["findings"]]


def told(report: Report, check: str) -> dict[str, str]:
    """The finding of that name."""
    every = findings(report)
    found = [one for one in every if one["check"] == check]
    assert len(found) == 1, every
    return found[0]


def problems(report: Report) -> set[str]:
    ill = {one["check"] for one in findings(report) if one["state"] == "problem"}
    return ill - {"not-discovered"}


def keep(label: str, regex: str) -> str:
    return f"  relabel_configs:\n  - {{source_labels: [{label}], regex: '{regex}', action: keep}}\n"


# -- no false alarms --------------------------------------------------------------------------------------


async def test_a_healthy_swarm_has_no_problem(leader: Engine, cluster: Cluster, doctor: Doctor) -> None:
    hosts = json.dumps([manager.host for manager in cluster.managers])
    jobs = [
        entry("dockerswarm", f"hosts: {hosts}", f"role: {role}", "port: 9100", job=role)
        for role in ("nodes", "services", "tasks")
    ]
    engines = json.dumps([engine.host for engine in cluster.engines.values()])
    report = await doctor.says(config(*jobs, entry("docker", f"hosts: {engines}", job="docker")), code=0)
    assert problems(report) == set()
    described = [one["message"] for one in findings(report) if one["check"] == "docker"]
    assert len(described) == 8  # three managers, and five engines as such
    assert sum("manager of 5 nodes" in one for one in described) == 3
    assert {one["check"] for one in findings(report)} >= {"events", "targets"}


async def test_a_healthy_engine_in_no_swarm_has_no_problem(cluster: Cluster, doctor: Doctor) -> None:
    with machine(cluster) as on:
        on.engine.post("/networks/create", {"Name": "front"})
        report = await doctor.says(config(entry("docker", f"host: {on.engine.host}")), code=1)
    assert problems(report) == {"no-targets"}  # nothing runs on it


# -- managers that are none, or cannot tell ----------------------------------------------------------------


async def test_a_worker_names_the_managers_that_it_knows(cluster: Cluster, doctor: Doctor) -> None:
    found = told(await doctor.says(of(cluster.workers[1].host, "nodes")), "not-a-manager")
    assert found["cause"].startswith("it is a worker of a swarm")
    assert all(manager.address in found["way_out"] for manager in cluster.managers)


async def test_an_engine_in_no_swarm_is_no_manager(cluster: Cluster, doctor: Doctor) -> None:
    with machine(cluster) as on:
        found = told(await doctor.says(of(on.engine.host, "tasks")), "not-a-manager")
    assert found["cause"] == "it is in no swarm at all"


async def test_a_locked_manager(cluster: Cluster, leader: Engine, doctor: Doctor) -> None:
    ill = next(manager for manager in cluster.managers if manager is not leader)
    await asyncio.to_thread(cluster.lock, ill)
    try:
        found = told(await doctor.says(of(ill.host, "nodes")), "locked")
    finally:
        await asyncio.to_thread(cluster.unlock, ill)
    assert "docker swarm unlock" in found["way_out"]


@pytest.mark.campaign
async def test_lost_quorum_and_the_sockets_of_engines_that_have_ended(
    cluster: Cluster, doctor: Doctor
) -> None:
    left, *others = cluster.managers
    await cluster.kill(*others)
    hosts = json.dumps([manager.host for manager in cluster.managers])
    text = config(entry("dockerswarm", f"hosts: {hosts}", "role: nodes"))
    async with asyncio.timeout(60):
        while "no-quorum" not in problems(report := await doctor.says(text)):
            await asyncio.sleep(1)  # the one that is left is told so after some seconds
    found = told(report, "no-quorum")
    assert "2 of 3 must see each other" in found["cause"]
    by_host = {section["name"]: section["findings"][0]["check"] for section in report["sections"]}
    assert [by_host[one.host] for one in others] == ["socket-nobody-listens"] * 2
    assert by_host[left.host] == "no-quorum"


async def test_a_manager_in_swarm_mode_is_no_master_of_a_classic_swarm(
    leader: Engine, cluster: Cluster, doctor: Doctor
) -> None:
    text = config(
        entry("swarm", f"masters: ['{leader.host}']", job="leader"),
        entry("swarm", f"masters: ['{cluster.workers[1].host}']", job="worker"),
    )
    report = await doctor.says(text)
    assert told(report, "swarm-mode")["way_out"].startswith("dockerswarm_sd_configs:")
    assert "a worker of a swarm in swarm mode" in told(report, "engine-as-master")["message"]


# -- on the way there --------------------------------------------------------------------------------------


async def test_a_socket_that_we_may_not_open(leader: Engine, short: Path, tmp_path: Path) -> None:
    async with Proxy(leader, short) as proxy:
        short.chmod(0o755)
        path = Path(proxy.host.removeprefix("unix://"))
        path.chmod(0o660)
        file = short / "swarm.yml"
        file.write_text(of(proxy.host, "nodes"))
        said = await as_nobody(file)
    found = told(said, "socket-permission")
    assert "root (0), mode 0660; swarm-sd runs as user" in found["cause"]


async def as_nobody(file: Path) -> Report:
    """What the doctor tells the user 65534: run in a process that gives up being root."""
    script = "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    script += "from swarm_sd.cli import main; sys.argv = ['swarm-sd', *sys.argv[1:]]; main()"
    # imported before, for whoever may not read where the program is
    early = "import swarm_sd.cli.doctor, swarm_sd.doctor.show, swarm_sd.doctor.examine, swarm_sd.own_docker\n"
    early += "import swarm_sd.config, encodings.idna, concurrent.futures.thread, aiohttp, pwd, grp\n"
    python = Path(SWARM_SD).with_name("python")
    done = await run(python, "-c", early + script, "doctor", file, "--format=json")
    assert done.code == 1, done
    report: Report = json.loads(done.out)
    return report


async def test_tcp_ports_that_are_not_the_apis(leader: Engine, doctor: Doctor) -> None:
    authority = trustme.CA()
    pems(doctor.folder, authority, authority, "swarm-sd", "")
    report = await doctor.says(of(f"tcp://{leader.address}:2377", "nodes"), inside=True)
    assert "2377 is not the port of Docker's API" in told(report, "swarm-port")["cause"]
    report = await doctor.says(of(f"tcp://{leader.address}:2376", "nodes"), inside=True)
    assert "at 2375, Docker's port without TLS, something does" in told(report, "refused")["cause"]
    report = await doctor.says(of(f"tcp://{leader.address}:2375", "nodes", TLS), inside=True)
    assert told(report, "no-tls")


TLS = "tls_config: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}"


async def test_a_manager_with_tls_that_is_asked_in_all_the_wrong_ways(
    cluster: Cluster, leader: Engine, doctor: Doctor
) -> None:
    ill = next(manager for manager in cluster.managers if manager is not leader)
    authority, stranger = trustme.CA(), trustme.CA()
    pems(doctor.folder, authority, authority, "swarm-sd", "")
    pems(doctor.folder, stranger, stranger, "swarm-sd", "other-")
    own = {name: (doctor.folder / name).read_bytes() for name in ("ca.pem", "cert.pem", "key.pem")}
    pems(doctor.folder, authority, authority, "manager.example", "")
    server = {name: (doctor.folder / name).read_bytes() for name in ("ca.pem", "cert.pem", "key.pem")}
    await asyncio.to_thread(cluster.secure, ill, server)
    for name, content in own.items():
        (doctor.folder / name).write_bytes(content)
    host = f"tcp://{ill.address}:2376"

    async def says(check: str, tls: str) -> dict[str, str]:
        return told(await doctor.says(of(host, "nodes", *([tls] if tls else [])), inside=True), check)

    assert "tls_config:" in (await says("tls-wanted", ""))["way_out"]
    found = await says("certificate-untrusted", TLS.replace("ca.pem", "other-ca.pem"))
    assert "other-ca.pem did not issue it" in found["cause"]
    found = await says("certificate-name", TLS)
    assert "server_name: manager.example" in found["way_out"]
    named = "server_name: manager.example"
    found = await says("client-certificate", f"tls_config: {{ca_file: ca.pem, {named}}}")
    assert "cert_file" in found["way_out"]
    theirs = f"ca_file: ca.pem, cert_file: other-cert.pem, key_file: other-key.pem, {named}"
    assert (await says("client-certificate", f"tls_config: {{{theirs}}}"))["message"].startswith(
        "it does not"
    )
    right = TLS.replace("}", f", {named}}}")
    assert problems(await doctor.says(of(host, "nodes", right), inside=True, code=0)) == set()


def pems(folder: Path, authority: trustme.CA, issuer: trustme.CA, name: str, prefix: str) -> None:
    """``ca.pem`` of the authority, and a certificate of the issuer with its key."""
    issued = issuer.issue_cert(name)
    authority.cert_pem.write_to_path(folder / f"{prefix}ca.pem")
    issued.private_key_pem.write_to_path(folder / f"{prefix}key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / f"{prefix}cert.pem")


async def test_a_proxy_that_forbids_some_lists(leader: Engine, short: Path, doctor: Doctor) -> None:
    async with Proxy(leader, short) as proxy:
        proxy.fault = Fault(403, "Forbidden", paths=["/tasks", "/nodes"])
        found = told(await doctor.says(of(proxy.host, "tasks")), "forbidden")
    assert "/nodes, /tasks" in found["message"]
    assert "{NODES: 1, TASKS: 1}" in found["way_out"]


async def test_a_proxy_that_holds_events_back(leader: Engine, short: Path, doctor: Doctor) -> None:
    async with Proxy(leader, short) as proxy:  # it hands on whole answers, as one that buffers does
        report = await doctor.says(of(proxy.host, "nodes"), code=0)
    assert "proxy_buffering off" in told(report, "events-held-back")["way_out"]


# -- services, labels, networks and rules ------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running(zoo: Zoo, *specs: dict[str, Any]) -> AsyncIterator[None]:
    """More services, each of which runs."""
    async with zoo.more(*specs) as ids:
        async with asyncio.timeout(60):
            for id_ in ids.values():
                while "running" not in [task["Status"]["State"] for task in await zoo.tasks(id_)]:
                    await asyncio.sleep(0.1)
        yield


def only(name: str) -> str:
    return f"filters: [{{name: service, values: [{name}]}}]"


async def test_a_label_of_containers_that_a_rule_looks_for_on_the_service(
    zoo: Zoo, leader: Engine, doctor: Doctor
) -> None:
    spec = service("wrong-level", on=[FRONT], Labels={"com.example.team": "core"})
    rules = keep("__meta_dockerswarm_service_label_com_example_team", "core")
    async with running(zoo, spec):
        report = await doctor.says(of(leader.host, "tasks", only("wrong-level"), rules=rules))
        found = told(report, "label-level")
        assert "of wrong-level is one of its containers" in found["cause"]
        report = await doctor.says(of(leader.host, "services", rules=rules))
        assert "of wrong-level is one of its containers" in told(report, "label-level")["cause"]


@pytest.mark.parametrize(
    ("label", "regex", "cause"),
    [
        ("__meta_dockerswarm_service_label_com.example.name", "ingress", "only letter case, dots or dashes"),
        ("__meta_dockerswarm_service_name", "several", "a regex matches the whole value"),
        ("__meta_dockerswarm_service_name", "DNSRR", "the letter case differs"),
    ],
)
async def test_a_rule_that_keeps_nothing(
    label: str, regex: str, cause: str, leader: Engine, doctor: Doctor
) -> None:
    found = told(await doctor.says(of(leader.host, "tasks", rules=keep(label, regex))), "rules-drop-all")
    assert cause in found["cause"]
    assert "swarm.yml:8:" in found["message"]


@pytest.mark.campaign
async def test_services_without_a_virtual_ip(leader: Engine, doctor: Doctor) -> None:
    name = "filters: [{name: name, values: [dnsrr]}]"
    found = told(await doctor.says(of(leader.host, "services", name)), "no-virtual-ip")
    assert "dnsrr" in found["message"]


async def test_networks_that_are_not_shared_or_not_there(zoo: Zoo, leader: Engine, doctor: Doctor) -> None:
    labels = {"prometheus.port": "8000"}
    spec = {**service("apart", on=[FRONT]), "Labels": labels}
    async with running(zoo, spec):
        report = await doctor.says(of(leader.host, "endpoints", "networks: [back]"))
        assert "apart: it is on the network front" in told(report, "no-shared-network")["cause"]
        report = await doctor.says(of(leader.host, "endpoints", "networks: [frnt]"))
        assert told(report, "unknown-network")["way_out"] == "networks: [front]"
        assert problems(await doctor.says(of(leader.host, "endpoints", "networks: [front]"), code=0)) == set()


async def test_no_service_says_that_it_is_to_be_scraped(leader: Engine, doctor: Doctor) -> None:
    found = told(await doctor.says(of(leader.host, "endpoints")), "not-labelled")
    assert "prometheus.port" in found["way_out"]


async def test_addresses_on_ingress(leader: Engine, doctor: Doctor) -> None:
    report = await doctor.says(of(leader.host, "tasks", only("ingress")), code=0)
    assert "ingress" in told(report, "ingress-address")["message"]


async def test_two_managers_of_one_swarm_in_two_entries(cluster: Cluster, doctor: Doctor) -> None:
    hosts = [manager.host for manager in cluster.managers[:2]]
    entries = "".join(f"  - {{host: '{host}', role: nodes, port: 9100}}\n" for host in hosts)
    text = config(f"- job_name: job\n  dockerswarm_sd_configs:\n{entries}")
    found = told(await doctor.says(text, code=0), "same-targets")
    assert "managers of the same swarm" in found["cause"]
