"""Hosts that cannot be reached or asked: the doctor names the true cause."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
import time
from email.utils import formatdate

import pytest
import trustme
from tests.doctor.worlds import config, entry, examined, http, names, server, swarm, told

from swarm_sd.doctor import sockets
from swarm_sd.doctor.findings import is_ill
from swarm_sd.sim import faults
from swarm_sd.sim.clusters import example as classic
from swarm_sd.sim.manager import Manager
from swarm_sd.sim.moby.clusters import plain_engine
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.swarm import Swarm
from swarm_sd.sim.moby.told import Release


def nodes_of(host: str, *lines: str) -> str:
    return config(entry("dockerswarm", f"host: '{host}'", "role: nodes", *lines))


# -- sockets ----------------------------------------------------------------------------------------------


async def test_a_socket_that_is_not_there_is_told_with_where_one_is(tmp_path):
    report = await examined(tmp_path, nodes_of(f"unix://{tmp_path}/none.sock"))
    found = told(report, "socket-missing")
    assert "there is no such file" in found.cause
    assert names(report) == ["socket-missing"]


async def test_a_folder_in_the_place_of_the_socket_is_what_docker_makes_of_a_missing_mount(tmp_path):
    (tmp_path / "docker.sock").mkdir()
    found = told(await examined(tmp_path, nodes_of(f"unix://{tmp_path}/docker.sock")), "socket-no-socket")
    assert "it is a folder" in found.cause
    assert "rmdir" in found.way_out


async def test_a_socket_that_nobody_listens_on_is_of_a_docker_that_ended(tmp_path):
    path = tmp_path / "docker.sock"
    listening = await asyncio.start_unix_server(lambda *_: None, path)
    listening.close()
    report = await examined(tmp_path, nodes_of(f"unix://{path}"))
    if path.exists():
        assert "systemctl start docker" in told(report, "socket-nobody-listens").way_out
    else:
        told(report, "socket-missing")


def test_a_socket_of_another_group_is_told_with_the_group_and_who_we_are():
    facts = sockets.SocketFacts(
        "/var/run/docker.sock", "socket", owner="root (0)", group="docker (999)", group_id=999, mode="0660",
        who="user swarm (1000) of users (100)", user="swarm",
    )  # fmt: skip
    found = sockets.judged(facts, "permission", "permission denied")
    assert found.check == "socket-permission"
    assert "group docker (999), mode 0660; swarm-sd runs as user swarm (1000)" in found.cause
    assert "usermod -aG docker swarm" in found.way_out


def test_in_a_container_the_group_is_given_by_its_number():
    facts = sockets.SocketFacts(
        "/var/run/docker.sock", "socket", group="999", group_id=999, user="65534", in_container=True
    )
    assert 'user: "65534:999"' in sockets.judged(facts, "permission", "").way_out


# -- TCP and TLS ------------------------------------------------------------------------------------------


async def test_a_port_at_which_nobody_listens_is_refused(tmp_path):
    found = told(await examined(tmp_path, nodes_of("tcp://127.0.0.1:1")), "refused")
    assert "on its unix socket alone" in found.cause or "container itself" in found.cause


async def test_a_name_that_nobody_knows_is_dns(tmp_path):
    report = await examined(tmp_path, nodes_of("tcp://no-such-host.invalid:2375"))
    assert "getent hosts no-such-host.invalid" in told(report, "dns").way_out


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


def server_context(ca, name="127.0.0.1", **certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(name, **certificate).configure_cert(context)
    return context


@pytest.fixture
def pems(ca, tmp_path):
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    mine = ca.issue_cert("swarm-sd")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    return tmp_path


TRUSTED = "tls_config: {ca_file: ca.pem}"


async def test_tls_that_is_wanted_and_not_configured(ca, pems):
    async with Daemon.on(swarm(), "mgr1", tls=server_context(ca)) as daemon:
        report = await examined(pems, nodes_of(daemon.url.replace("https", "tcp")))
    assert "tls_config:" in told(report, "tls-wanted").way_out
    assert names(report) == ["tls-wanted"]


async def test_gos_own_words_for_tls_that_is_wanted(tmp_path):
    said = http("400 Bad Request", "Client sent an HTTP request to an HTTPS server.\n", "text/plain")
    async with server(said) as port:
        told(await examined(tmp_path, nodes_of(f"tcp://127.0.0.1:{port}")), "tls-wanted")


async def test_tls_that_is_configured_and_not_spoken(pems):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        report = await examined(pems, nodes_of(daemon.url.replace("http", "tcp"), TRUSTED))
    assert "remove tls_config" in told(report, "no-tls").way_out


async def test_a_certificate_of_another_authority_is_told_with_its_issuer(ca, pems):
    async with Daemon.on(swarm(), "mgr1", tls=server_context(ca)) as daemon:
        report = await examined(pems, nodes_of(daemon.url, "tls_config: {ca_file: other.pem}"))
    found = told(report, "certificate-untrusted")
    assert "issued by O=trustme" in found.message
    assert "other.pem did not issue it" in found.cause


async def test_a_certificate_that_is_expired_is_told_with_its_times(ca, pems):
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    context = server_context(ca, not_before=long_ago, not_after=long_ago + datetime.timedelta(days=1))
    async with Daemon.on(swarm(), "mgr1", tls=context) as daemon:
        report = await examined(pems, nodes_of(daemon.url, TRUSTED))
    assert "2020" in told(report, "certificate-expired").cause


async def test_a_certificate_for_another_name_is_told_with_that_name(ca, pems):
    async with Daemon.on(swarm(), "mgr1", tls=server_context(ca, "manager-1.example")) as daemon:
        report = await examined(pems, nodes_of(daemon.url, TRUSTED))
    found = told(report, "certificate-name")
    assert "is for manager-1.example, not for 127.0.0.1" in found.message
    assert "server_name: manager-1.example" in found.way_out


async def test_a_client_certificate_that_is_wanted_and_not_given(ca, pems):
    context = server_context(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    async with Daemon.on(swarm(), "mgr1", tls=context) as daemon:
        report = await examined(pems, nodes_of(daemon.url, TRUSTED))
    assert "cert_file: cert.pem" in told(report, "client-certificate").way_out


async def test_a_client_certificate_of_another_authority_is_refused(ca, pems):
    context = server_context(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    trustme.CA().configure_trust(context)
    own = "tls_config: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}"
    async with Daemon.on(swarm(), "mgr1", tls=context) as daemon:
        report = await examined(pems, nodes_of(daemon.url, own))
    assert "another CA issued it" in told(report, "client-certificate").cause


async def test_a_ca_file_that_is_not_there(pems):
    report = await examined(pems, nodes_of("https://127.0.0.1:1", "tls_config: {ca_file: none.pem}"))
    assert "none.pem" in told(report, "tls-files").message


# -- what answers -----------------------------------------------------------------------------------------


async def test_a_page_of_another_program_is_no_docker(tmp_path):
    async with server(http("200 OK", "<html><title>Grafana</title></html>")) as port:
        found = told(await examined(tmp_path, nodes_of(f"tcp://127.0.0.1:{port}")), "not-docker")
    assert "Grafana" in found.message


async def test_a_proxy_whose_docker_is_away(tmp_path):
    page = http("503 Service Unavailable", "<html><h1>503 Service Unavailable</h1></html>")
    async with server(page) as port:
        told(await examined(tmp_path, nodes_of(f"tcp://127.0.0.1:{port}")), "proxy-without-docker")


@pytest.mark.parametrize(
    ("role", "paths"),
    [
        ("nodes", ["/nodes"]),
        ("services", ["/services"]),
        ("tasks", ["/nodes", "/services", "/tasks"]),
    ],
)
async def test_a_proxy_that_forbids_lists_is_told_with_each_of_them(role, paths, tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        for path in paths:
            daemon.inject(faults.status(403, "Forbidden"), path=path)
            if len(paths) > 1:
                break
        report = await examined(
            tmp_path, config(entry("dockerswarm", f"host: {daemon.url}", f"role: {role}"))
        )
    found = told(report, "forbidden")
    assert paths[0] in found.message
    assert f"{paths[0][1:].upper()}: 1" in found.way_out
    assert names(report, "problem") == ["forbidden"]


async def test_networks_alone_that_are_forbidden_are_a_warning(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        daemon.inject(faults.status(403), path="/networks")
        report = await examined(
            tmp_path, config(entry("dockerswarm", f"host: {daemon.url}", "role: services"))
        )
    assert told(report, "forbidden").state == "warning"


async def test_events_that_are_forbidden_are_a_warning_with_the_word_for_the_proxy(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        daemon.inject(faults.status(403), path="/events")
        report = await examined(tmp_path, nodes_of(daemon.url))
    assert "EVENTS: 1" in told(report, "no-events").way_out
    assert report.problems == 0


async def test_events_that_a_proxy_holds_back_are_found_by_those_that_are_past(tmp_path):
    cluster = swarm()
    cluster.create_service("news", replicas=1)
    cluster.settle()
    async with Daemon.on(cluster, "mgr1") as daemon:

        async def buffering(path: str) -> bytes:
            if "/events" in path and "until=" not in path:
                await asyncio.Event().wait()
            return await _asked(daemon, path)

        async with server(buffering) as port:
            report = await examined(tmp_path, nodes_of(f"tcp://127.0.0.1:{port}"))
    assert "proxy_buffering off" in told(report, "events-held-back").way_out


async def test_events_whose_beginning_comes_and_no_more(tmp_path):
    def is_stream(path: str) -> bool:
        return "/events" in path and "until=" not in path

    async with Daemon.on(swarm(), "mgr1") as daemon:

        async def half(path: str) -> bytes:
            if is_stream(path):
                return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
            return await _asked(daemon, path)

        async with server(half, goes_on=is_stream) as port:
            report = await examined(tmp_path, nodes_of(f"tcp://127.0.0.1:{port}"))
    assert "none came through the open stream" in told(report, "events-held-back").cause


async def test_a_stream_of_events_that_ends_at_once(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:

        async def ending(path: str) -> bytes:
            return http("200 OK", "", "application/json") if "/events" in path else await _asked(daemon, path)

        async with server(ending) as port:
            report = await examined(tmp_path, nodes_of(f"tcp://127.0.0.1:{port}"))
    assert "takes /events for an answer that ends" in told(report, "no-events").cause


async def _asked(daemon: Daemon, path: str) -> bytes:
    _, _, rest = daemon.url.partition("://")
    host, _, port = rest.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_a_worker_is_told_with_the_managers_that_it_knows(tmp_path):
    async with Daemon.on(swarm(), "wrk1") as daemon:
        found = told(await examined(tmp_path, nodes_of(daemon.url)), "not-a-manager")
    assert "it is a worker of a swarm" in found.cause
    assert "hosts: [tcp://" in found.way_out


async def test_an_engine_in_no_swarm_is_told_to_be_none(tmp_path):
    async with Daemon(plain_engine()) as daemon:
        found = told(await examined(tmp_path, nodes_of(daemon.url)), "not-a-manager")
    assert found.cause == "it is in no swarm at all"
    assert "docker swarm init" in found.way_out


async def test_a_manager_that_is_locked(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        daemon.inject(faults.locked())
        found = told(await examined(tmp_path, nodes_of(daemon.url)), "locked")
    assert "docker swarm unlock" in found.way_out


async def test_a_swarm_without_a_leader_is_told_with_how_many_must_see_each_other(tmp_path):
    cluster = swarm()
    cluster.lose_quorum()
    cluster.tick()
    (left,) = [node for node in cluster.managers if node["ID"] not in cluster.killed]
    async with Daemon.on(cluster, left["Description"]["Hostname"]) as daemon:
        found = told(await examined(tmp_path, nodes_of(daemon.url)), "no-quorum")
    assert "must see each other" in found.cause
    assert "--force-new-cluster" in found.way_out


async def test_a_classic_manager_in_the_place_of_a_manager_in_swarm_mode(tmp_path):
    async with Manager(classic()) as manager:
        found = told(await examined(tmp_path, nodes_of(manager.url)), "classic-swarm")
    assert found.way_out.startswith("swarm_sd_configs:")


async def test_an_engine_from_before_swarm_mode_is_too_old(tmp_path):
    release = Release("1.11.2", api="1.23", min_api="1.12")
    async with Daemon.on(swarm(), "mgr1", release=release) as daemon:
        found = told(await examined(tmp_path, nodes_of(daemon.url)), "api-version")
    assert "API 1.24" in found.cause


async def test_a_clock_that_is_far_from_ours(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:

        async def late(path: str) -> bytes:
            head, _, body = (await _asked(daemon, path)).partition(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"date:")]
            date = f"Date: {formatdate(time.time() - 600, usegmt=True)}".encode()
            return b"\r\n".join([*lines, date]) + b"\r\n\r\n" + body

        async with server(late) as port:
            report = await examined(tmp_path, nodes_of(f"tcp://127.0.0.1:{port}"))
    assert "behind ours" in told(report, "clock").message


async def test_hosts_of_two_swarms_in_one_entry(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as one, Daemon.on(other_swarm(), "mgr1") as two:
        text = config(entry("dockerswarm", f"hosts: [{one.url}, {two.url}]", "role: nodes"))
        found = told(await examined(tmp_path, text), "different-swarms")
    assert found.way_out == "write an entry for each swarm"


def other_swarm():
    return Swarm(["mgr1"], ["wrk1"], seed=7).settle()


# -- classic Swarm ----------------------------------------------------------------------------------------


def masters_of(*urls: str) -> str:
    return config(entry("swarm", f"masters: [{', '.join(urls)}]"))


async def test_an_engine_in_the_place_of_a_master(tmp_path):
    async with Daemon(plain_engine()) as daemon:
        found = told(await examined(tmp_path, masters_of(daemon.url)), "engine-as-master")
    assert "the port is that of the engine" in found.cause


async def test_a_manager_in_swarm_mode_in_the_place_of_a_master(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        found = told(await examined(tmp_path, masters_of(daemon.url)), "swarm-mode")
    assert found.way_out.startswith("dockerswarm_sd_configs:")


async def test_a_replica_without_a_primary(tmp_path):
    body = json.dumps({"SystemStatus": [["Role", "replica"], ["Primary", ""], ["Nodes", "0"]]})
    async with server(http("200 OK", body, "application/json")) as port:
        found = told(await examined(tmp_path, masters_of(f"http://127.0.0.1:{port}")), "no-primary")
    assert "no manager holds the lock" in found.cause


async def test_nodes_that_a_master_cannot_use_are_a_warning_with_the_error(tmp_path):
    cluster = classic()
    cluster.fail("node-a")
    async with Manager(cluster) as manager:
        found = told(await examined(tmp_path, masters_of(manager.url)), "nodes-ill")
    assert "1 of 3 nodes" in found.message


# -- no false alarms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["nodes", "services", "tasks"])
async def test_a_healthy_swarm_gives_no_problem(role, tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        text = config(entry("dockerswarm", f"host: {daemon.url}", f"role: {role}", "port: 9100"))
        report = await examined(tmp_path, text)
    assert report.problems == 0, report
    assert {"docker", "events", "targets"} <= set(names(report, "ok"))


async def test_a_healthy_engine_gives_no_problem_and_no_warning(tmp_path):
    async with Daemon(plain_engine()) as daemon:
        report = await examined(tmp_path, config(entry("docker", f"host: {daemon.url}")))
    assert (report.problems, report.warnings) == (0, 0), report


async def test_a_healthy_classic_swarm_gives_no_problem_and_no_warning(tmp_path):
    async with Manager(classic()) as manager:
        report = await examined(tmp_path, masters_of(manager.url))
    assert (report.problems, report.warnings) == (0, 0), report
    assert not is_ill(one for section in report.sections for one in section.findings)


async def test_nothing_but_get_is_asked(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        await examined(tmp_path, config(entry("dockerswarm", f"host: {daemon.url}", "role: tasks")))
        assert {request.method for request in daemon.requests} == {"GET"}


async def test_a_host_that_never_answers_takes_no_longer_than_the_limit(tmp_path):
    async with Daemon.on(swarm(), "mgr1") as daemon:
        daemon.inject(faults.Hang())
        report = await examined(tmp_path, nodes_of(daemon.url), timeout=1)
    assert names(report) == ["no-answer"]
