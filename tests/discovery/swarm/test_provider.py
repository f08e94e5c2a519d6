"""The provider against simulated managers on real sockets: every failure a master can have."""

import asyncio
import ssl
import time
from contextlib import asynccontextmanager

import pytest
import trustme

from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.http_client import TLSConfig
from swarm_sd.discovery.swarm.provider import SwarmProvider, SwarmSDConfig
from swarm_sd.scalars import Duration, FilePath
from swarm_sd.sim import faults
from swarm_sd.sim.clusters import example
from swarm_sd.sim.manager import Manager

FAST = Duration(0.02)


class Seen(dict):
    """The groups as they stand, by source; counts the updates."""

    def __init__(self):
        super().__init__()
        self.updates = 0

    def __call__(self, groups, /):
        self.updates += 1
        self.update({group.source: group for group in groups})

    def nodes(self):
        group = self.get("swarm_nodes")
        return None if group is None else {target["instance"] for target in group.targets}


def config(*urls, **options):
    hosts = tuple(Host.from_yaml(url) for url in urls)
    return SwarmSDConfig(masters=hosts, refresh_interval=FAST, **options)


@asynccontextmanager
async def running(settings, timeout=0.3):
    provider, seen = SwarmProvider(settings, timeout=timeout), Seen()
    provider.MAX_BACKOFF = 0.05
    task = asyncio.create_task(provider.run(seen))
    try:
        yield provider, seen
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true, seconds=10):
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


@pytest.fixture
def cluster():
    return example()


def addresses(cluster):
    return {engine.address for engine in cluster.engines}


def server_tls(authority=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (authority or trustme.CA()).issue_cert("127.0.0.1").configure_cert(context)
    return context


FAULTS = {
    "refused": (faults.Refuse(), {"refused"}),
    "reset at once": (faults.Reset(), {"reset"}),
    "reset in the body": (faults.ResetMidBody(), {"reset", "truncated"}),
    "hangs": (faults.Hang(), {"timeout", "slow"}),
    "hangs in the body": (faults.HangMidBody(), {"timeout", "slow"}),
    "truncated": (faults.Truncated(), {"truncated"}),
    "500": (faults.status(500), {"status"}),
    "503": (faults.status(503), {"status"}),
    "404": (faults.status(404), {"status"}),
    "redirect without end": (faults.redirect("/info"), {"status"}),
    "html": (faults.html(), {"not_json"}),
    "empty body": (faults.body(b""), {"not_json"}),
    "a list": (faults.json_value([]), {"not_json"}),
    "a text": (faults.json_value("x"), {"not_json"}),
    "null": (faults.json_value(None), {"not_json"}),
    "a plain engine": (faults.docker_engine(), {"not_a_swarm"}),
    "an engine in swarm mode": (faults.swarm_mode_engine(), {"not_a_swarm"}),
    "gzip that is none": (faults.GzipLie(), {"encoding", "not_json"}),
    "deeply nested": (faults.body(b'{"SystemStatus":' + b"[" * 50_000), {"not_json"}),
    "nodes that make no sense": (
        faults.json_value({"SystemStatus": [["Nodes", "2"], [" n1", "tcp://10.0.0.1:1"], [" n2", None]]}),
        {"not_understood"},
    ),
    "garbage": (faults.Garbage(), {"not_http"}),
    "TLS where none is expected": (faults.Encrypted(server_tls()), {"status"}),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_master_that_cannot_tell_is_left_and_nothing_is_lost(name, cluster):
    fault, reasons = FAULTS[name]
    async with Manager(cluster) as first, Manager(cluster) as second:
        async with running(config(first.url, second.url)) as (provider, seen):
            await until(lambda: seen.nodes() == addresses(cluster))
            assert provider.status().hosts[0].active
            before = seen["swarm_nodes"]
            first.inject(fault)
            await until(lambda: provider.status().hosts[1].active)
            assert seen["swarm_nodes"] == before
            assert set(provider.status().hosts[0].failures) <= reasons
            assert provider.status().hosts[0].last_error
            # it stays there though the first works again
            first.mend()
            asked, updates = len(first.requests), seen.updates
            await until(lambda: seen.updates > updates + 3)
            assert [request.path for request in first.requests[asked:]] == []
            assert provider.status().last_error == ""


@pytest.mark.parametrize("name", FAULTS)
async def test_the_targets_stand_while_no_master_can_tell_and_the_first_failure_is_like_any(name, cluster):
    fault, reasons = FAULTS[name]
    async with Manager(cluster) as master:
        master.inject(fault)
        async with running(config(master.url)) as (provider, seen):
            # the very first poll fails: the plugin never discovered anything after that
            await until(lambda: sum(provider.status().failures.values()) >= 2)
            assert seen.nodes() is None
            assert len(seen["swarm_masters"].targets) == 1
            assert set(provider.status().failures) <= reasons
            assert master.url in provider.status().last_error
            master.mend()
            await until(lambda: seen.nodes() == addresses(cluster))
            master.inject(fault)
            await until(lambda: provider.status().last_error)
            cluster.join(example(seed=5).engines[0].__class__(name="new", address="10.99.0.99:2375"))
            assert "10.99.0.99:2375" not in seen.nodes()
            master.mend()
            await until(lambda: seen.nodes() == addresses(cluster))


async def test_the_masters_are_sent_before_any_answer(cluster):
    async with Manager(cluster) as master:
        master.inject(faults.Hang())
        async with running(config(master.url, "http://127.0.0.1:1")) as (_, seen):
            await until(lambda: seen.updates)
            assert [target["instance"] for target in seen["swarm_masters"].targets] == [
                master.address,
                "127.0.0.1:1",
            ]


async def test_masters_that_all_hang_take_a_bounded_time(cluster):
    async with Manager(cluster) as master:
        master.inject(faults.Hang())
        urls = [f"{master.url}/m{number}" for number in range(30)]
        started = time.monotonic()
        async with running(config(*urls), timeout=0.2) as (provider, _):
            provider._api.rotation._patience = 0.02
            await until(lambda: provider.status().failures)
        assert time.monotonic() - started < 5


async def test_an_endless_answer_is_cut_off(cluster):
    async with Manager(cluster) as master:
        master.inject(faults.Endless())
        async with running(config(master.url), timeout=5) as (provider, _):
            provider._api._max_bytes = 1_000_000
            await until(lambda: provider.status().failures)
            assert set(provider.status().failures) == {"too_large"}


async def test_a_slow_answer_within_the_limit_is_taken(cluster):
    async with Manager(cluster) as master:
        master.inject(faults.Slow())
        async with running(config(master.url), timeout=30) as (_, seen):
            await until(lambda: seen.nodes() == addresses(cluster), seconds=30)


async def test_a_replica_answers_for_itself_and_the_roles_are_told(cluster):
    async with Manager(cluster, replication=True) as one, Manager(cluster, replication=True) as two:
        cluster.elect(two.address)
        async with running(config(one.url, two.url)) as (_, seen):
            await until(lambda: seen.nodes() == addresses(cluster))
            roles = [target.get("__meta_swarm_master_role") for target in seen["swarm_masters"].targets]
            assert roles == ["replica", "primary"]
            cluster.elect(one.address)
            await until(lambda: seen["swarm_masters"].targets[0].get("__meta_swarm_master_role") == "primary")
            assert "__meta_swarm_master_role" not in seen["swarm_masters"].targets[1]


async def test_a_replica_that_knows_no_node_is_not_believed(cluster):
    async with Manager(cluster, replication=True) as replica, Manager(cluster, replication=True) as primary:
        cluster.elect(primary.address)
        replica.inject(faults.ZeroNodes())
        async with running(config(replica.url, primary.url)) as (provider, seen):
            await until(lambda: seen.nodes() == addresses(cluster))
            assert provider.status().hosts[1].active
            assert dict(provider.status().hosts[0].failures) == {"replica_without_nodes": 1}


async def test_a_swarm_that_is_truly_empty_has_no_nodes():
    cluster = example()
    for engine in cluster.engines:
        cluster.leave(engine.name)
    async with Manager(cluster) as master, running(config(master.url)) as (_, seen):
        await until(lambda: seen.nodes() == set())


@pytest.mark.parametrize("tag", ["v0.1.0", "v0.4.0", "v1.0.1", "v1.1.3", "v1.2.0", "v1.2.9"])
async def test_every_layout_is_discovered_over_the_wire(tag, cluster):
    async with Manager(cluster, tag=tag) as master, running(config(master.url)) as (_, seen):
        await until(lambda: seen.nodes() == addresses(cluster))


@pytest.mark.parametrize(("role", "sources"), [("masters", {"swarm_masters"}), ("nodes", {"swarm_nodes"})])
async def test_role_narrows_to_one_group(role, sources, cluster):
    async with Manager(cluster) as master, running(config(master.url, role=role)) as (provider, seen):
        await until(lambda: provider.status().refreshes > 2)
        assert set(seen) == set(provider.sources()) == sources


async def test_a_path_prefix_is_kept_and_a_user_in_the_url_is_sent(cluster):
    async with Manager(cluster) as master:
        url = f"http://user:p%40ss@{master.address}/v1.24/"
        async with running(config(url)) as (_, seen):
            await until(lambda: seen.nodes() == addresses(cluster))
        request = next(one for one in master.requests if not one.path.endswith("/events"))
        assert request.path == "/v1.24/info"
        assert request.header("Authorization") == "Basic dXNlcjpwQHNz"
        assert seen["swarm_masters"].targets[0]["instance"] == master.address


async def test_a_unix_socket_is_a_master_too(cluster, tmp_path):
    path = f"unix://{tmp_path}/swarm.sock"
    async with Manager(cluster, listen=path) as master, running(config(path)) as (provider, seen):
        await until(lambda: seen.nodes() == addresses(cluster))
        await master.stop()
        await until(lambda: provider.status().last_error)
        assert set(provider.status().failures) <= {"refused", "reset"}


async def test_a_client_certificate_is_read_again_when_its_file_changes(cluster, tmp_path):
    authority, other = trustme.CA(), trustme.CA()
    server = server_tls(authority)
    server.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def write(issuer):
        made = issuer.issue_cert("swarm-sd.example")
        made.private_key_pem.write_to_path(tmp_path / "key.pem")
        made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")

    write(other)
    tls = TLSConfig(
        ca_file=FilePath(tmp_path / "ca.pem"),
        cert_file=FilePath(tmp_path / "cert.pem"),
        key_file=FilePath(tmp_path / "key.pem"),
    )
    async with Manager(cluster, tls=server) as master:
        for url in (master.url, f"tcp://{master.address}"):
            write(other)
            async with running(config(url, tls_config=tls)) as (provider, seen):
                await until(lambda: provider.status().failures)
                assert set(provider.status().failures) <= {"tls", "reset"}
                write(authority)
                await until(lambda: seen.nodes() == addresses(cluster))


async def test_a_server_that_is_not_trusted_is_a_tls_failure(cluster):
    async with Manager(cluster, tls=server_tls()) as master:
        async with running(config(master.url)) as (provider, _):
            await until(lambda: provider.status().failures)
            assert set(provider.status().failures) == {"tls"}
            assert "certificate" in provider.status().last_error.lower()
        trusting = config(master.url, tls_config=TLSConfig(insecure_skip_verify=True))
        async with running(trusting) as (_, seen):
            await until(lambda: seen.nodes() == addresses(cluster))


async def test_a_host_name_that_does_not_resolve_is_a_dns_failure():
    async with running(config("http://nosuchhost.invalid:1"), timeout=10) as (provider, _):
        await until(lambda: provider.status().failures)
        assert set(provider.status().failures) == {"dns"}


async def test_a_manager_that_restarted_keeps_the_names_and_labels_of_nodes_it_has_not_reached(cluster):
    async with Manager(cluster) as master, running(config(master.url)) as (_, seen):
        await until(lambda: seen.nodes() == addresses(cluster))
        before = {
            target["instance"]: target["__meta_swarm_node_name"] for target in seen["swarm_nodes"].targets
        }
        fault = faults.Restarted()
        master.inject(fault)
        statuses = set()

        def returned():
            found = {
                target["instance"]: target.get("__meta_swarm_node_name")
                for target in seen["swarm_nodes"].targets
            }
            statuses.update(target.get("__meta_swarm_node_status") for target in seen["swarm_nodes"].targets)
            assert set(found.values()) <= set(before.values())
            return found == before and "Pending" in statuses

        await until(returned)
