"""Stores and files of Swarm's own discovery, as the simulator and little servers stand for them."""

from __future__ import annotations

from tests.doctor.worlds import config, entry, examined, http, names, server, told

from swarm_sd.sim.consul import Consul

NODES = "docker/swarm/nodes"


def of(url: str, *lines: str) -> str:
    return config(entry("swarm", f"discovery: {url}", "role: nodes", *lines))


async def test_consul_with_registered_nodes_has_no_problem(tmp_path):
    async with Consul() as consul:
        consul.put(f"prod/{NODES}/10.0.0.1:2375", "10.0.0.1:2375")
        report = await examined(tmp_path, of(f"consul://{consul.address}/prod"))
    assert "1 node registered at /prod/docker/swarm/nodes" in told(report, "registered").message
    assert report.problems == 0 or names(report, "problem") == ["discovery"], report


async def test_a_wrong_prefix_is_told_with_the_right_one(tmp_path):
    async with Consul() as consul:
        consul.put(f"prod/{NODES}/10.0.0.1:2375", "10.0.0.1:2375")
        found = told(await examined(tmp_path, of(f"consul://{consul.address}/production")), "wrong-prefix")
    assert found.way_out == f"discovery: consul://{consul.address}/prod"


async def test_a_store_in_which_no_swarm_ever_registered_is_told_with_what_is_there(tmp_path):
    async with Consul() as consul:
        consul.put("traefik/http", "x")
        found = told(await examined(tmp_path, of(f"consul://{consul.address}")), "nobody-registered")
    assert "the store has /traefik" in found.cause


async def test_consul_without_a_leader(tmp_path):
    async with Consul() as consul:
        consul.refuse()
        found = told(await examined(tmp_path, of(f"consul://{consul.address}")), "store-no-leader")
    assert "consul operator raft list-peers" in found.way_out


async def test_consul_that_wants_a_token(tmp_path):
    async with Consul(token="secret") as consul:
        consul.put(f"{NODES}/10.0.0.1:2375", "10.0.0.1:2375")
        found = told(await examined(tmp_path, of(f"consul://{consul.address}")), "store-refuses")
    assert "authorization: {credentials: TOKEN}" in found.way_out


async def test_a_store_that_nobody_listens_at(tmp_path):
    assert "127.0.0.1:1" in told(await examined(tmp_path, of("etcd://127.0.0.1:1")), "refused").message


async def test_another_program_in_the_place_of_a_store(tmp_path):
    async with server(http("200 OK", "<html>hello</html>")) as port:
        told(await examined(tmp_path, of(f"consul://127.0.0.1:{port}")), "not-the-store")


async def test_etcd_without_its_v2_api_is_told_with_its_version(tmp_path):
    async def answer(path: str) -> bytes:
        if path == "/version":
            return http("200 OK", '{"etcdserver":"3.6.0","etcdcluster":"3.6.0"}', "application/json")
        return http("404 Not Found", "404 page not found", "text/plain")

    async with server(answer) as port:
        found = told(await examined(tmp_path, of(f"etcd://127.0.0.1:{port}")), "etcd-v2")
    assert "etcd 3.6.0 without its v2 API" in found.message


async def test_a_file_that_is_not_there_is_told_with_what_the_folder_has(tmp_path):
    (tmp_path / "nodes.txt").write_text("10.0.0.1:2375\n")
    found = told(await examined(tmp_path, of(f"file://{tmp_path}/nodes")), "file-missing")
    assert "nodes.txt" in found.cause


async def test_a_file_with_nobody_in_it(tmp_path):
    (tmp_path / "nodes").write_text("# nobody\n")
    report = await examined(tmp_path, of(f"file://{tmp_path}/nodes"))
    assert told(report, "nobody-registered").state == "warning"
