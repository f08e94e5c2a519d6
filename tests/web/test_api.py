"""The JSON API over a real socket: what each endpoint tells, and how it says no."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs
from tests.web.world import TARGETS, World, serving, until

from swarm_sd import __version__
from swarm_sd.web.about import LastReload


@pytest.fixture
async def served():
    async with serving() as running:
        yield running


async def test_the_version_and_flags_are_told(served):
    assert (await served.data("/api/v1/status/buildinfo"))["version"] == __version__
    assert await served.data("/api/v1/status/flags") == {"config.file": "prometheus.yml"}


async def test_the_configuration_in_force_is_told_as_yaml(served):
    assert await served.data("/api/v1/status/config") == {"yaml": "scrape_configs: []\n"}


async def test_a_reload_that_was_refused_is_told_with_its_complaints(served):
    served.world.reload = LastReload(successful=False, at=20.0, error="x.yml:1:1: no")
    told = await served.data("/api/v1/status/runtimeinfo")
    assert told["startTime"] == "1970-01-01T00:00:05Z"
    assert (told["reloadConfigSuccess"], told["lastReloadError"]) == (False, "x.yml:1:1: no")
    assert told["lastReloadTime"] == "1970-01-01T00:00:20Z"
    assert told["ready"] is True


async def test_a_job_is_counted_by_state_and_reason(served):
    (job,) = await served.data("/api/v1/jobs")
    assert (job["job"], job["path"], job["known"]) == ("shop", "/sd/shop", True)
    assert job["targets"] == {"scraped": 3, "dropped": 1, "refused": 1}
    assert {one["reason"]: one["count"] for one in job["reasons"]} == {
        "relabel_rule_1": 1,
        "not_an_address": 1,
    }
    assert job["passedOver"][0]["reason"] == "odd_object"
    assert all(one["meaning"] for one in job["reasons"] + job["passedOver"])
    assert job["entries"][0] | {"path": "/sd/shop/0", "state": "known"} == job["entries"][0]


async def test_targets_have_their_labels_before_and_after(served):
    told = await served.data("/api/v1/targets?job=shop&limit=1")
    assert (told["total"], len(told["targets"])) == (len(TARGETS), 1)
    (one,) = told["targets"]
    assert one["discoveredLabels"]["__meta_dockerswarm_service_name"] == "shop"
    assert (one["labels"]["service"], one["labels"]["job"]) == ("shop", "shop")
    assert one["firstSeen"] == one["lastChanged"] <= time.strftime("%Y-%m-%dT%H:%M:%SZ.", time.gmtime())


@pytest.mark.parametrize(
    ("query", "addresses"),
    [
        ("state=dropped", ["10.0.0.3:80"]),
        ("state=refused", ["10.0.0.4:80/x"]),
        ("reason=relabel_rule_1", ["10.0.0.3:80"]),
        ("search=NODE_hostname=beta+service_name=shop", ["10.0.0.2:80"]),
        ("search=%C3%A9", ["10.0.0.1:80"]),
        ("offset=3&limit=1", ["10.0.0.3:80"]),
        ("offset=99", []),
        ("state=scraped&limit=1000", ["10.0.0.1:80", "10.0.0.1:80", "10.0.0.2:80"]),
    ],
)
async def test_targets_are_found_by_state_reason_and_words_and_come_in_pages(served, query, addresses):
    told = await served.data(f"/api/v1/targets?job=shop&{query}")
    assert [one["address"] for one in told["targets"]] == addresses


async def test_one_of_two_targets_at_one_address_is_explained_by_its_number(served):
    told = await served.data("/api/v1/targets/explanation?job=shop&source=s&address=10.0.0.1:80&nth=1")
    assert told["target"]["discoveredLabels"]["__meta_twin"] == "é"
    assert told["verdict"] == "It is scraped at 10.0.0.1:80."
    kept, named = told["steps"]
    assert (kept["number"], kept["where"], kept["matched"], kept["kept"]) == (1, "x.yml:1:5", False, True)
    assert named["rule"]["source_labels"] == ["__meta_dockerswarm_service_name"]
    assert named["changed"] == {"service": {"before": "", "after": "shop"}}


async def test_a_target_that_is_gone_is_404(served):
    path = "/api/v1/targets/explanation?job=shop&source=s&address=10.0.0.1:80&nth=2"
    assert (await served.get(path, 404))["errorType"] == "not_found"


async def test_what_has_no_target_is_named_and_counted(served):
    told = await served.data("/api/v1/passed_over?job=shop&search=db")
    assert told["total"] == 1
    assert told["passedOver"][0] == {
        "reason": "no_shared_network",
        "kind": "task",
        "id": "id2",
        "name": "db.1",
        "service": "db",
        "node": "alpha",
        "detail": "",
    }
    assert {one["reason"]: one["count"] for one in told["reasons"]}["odd_object"] == 2
    assert [one["reason"] for one in told["unnamed"]] == ["odd_object"]


async def test_managers_are_told_with_their_errors_and_latency(served):
    (cluster,) = await served.data("/api/v1/clusters")
    assert cluster["entries"] == [{"job": "shop", "entry": 0}]
    up, down = cluster["managers"]
    assert (up["state"], up["active"], up["latency"]) == ("up", True, 0.25)
    assert up["lastSuccess"] == "1970-01-01T00:00:01.500000Z"
    assert (down["lastError"], down["failures"][0]["reason"], down["latency"]) == (
        "m2: refused",
        "refused",
        None,
    )
    assert cluster["eventStreams"][0]["received"] == 7
    assert [one["level"] for one in cluster["troubles"]] == ["odd"]


async def test_entries_that_share_a_provider_are_one_cluster():
    world = World()
    async with serving(world, world.job("a"), world.job("b")) as served:
        (cluster,) = await served.data("/api/v1/clusters")
        assert cluster["entries"] == [{"job": "a", "entry": 0}, {"job": "b", "entry": 0}]


async def test_targets_that_are_not_confirmed_are_told_as_such(served):
    served.world.fails("m1: refused")
    await until(lambda: served.manager.status().entries[0].stale_since)
    (cluster,) = await served.data("/api/v1/clusters")
    assert cluster["staleSince"] is not None
    assert cluster["lastError"] == "m1: refused"
    assert "not confirmed" in cluster["troubles"][0]["title"]
    assert (await served.data("/api/v1/jobs"))[0]["entries"][0]["staleSince"] is not None


async def test_the_matrix_has_cells_where_there_is_something(served):
    told = await served.data("/api/v1/matrix?job=shop")
    assert (told["total"], told["services"]) == (2, ["db", "odd", "quiet", "shop"])
    cells = {(node["node"], cell["service"]): cell for node in told["nodes"] for cell in node["cells"]}
    assert cells["alpha", "shop"]["scraped"] == 2
    assert cells["beta", "shop"] == {
        "service": "shop", "scraped": 1, "dropped": 0, "passedOver": 1, "reasons": {"not_running": 1},
    }  # fmt: skip
    assert ("alpha", "quiet") not in cells


async def test_the_matrix_comes_node_by_node_and_for_some_services(served):
    told = await served.data("/api/v1/matrix?job=shop&service=SHO&offset=1&limit=1")
    assert (told["total"], told["services"]) == (2, ["shop"])
    assert [node["node"] for node in told["nodes"]] == ["beta"]


async def test_changes_are_told_newest_first_and_since_a_number(served):
    first = await served.data("/api/v1/history")
    assert (first["newest"], first["generations"][0]["added"]) == (1, len(TARGETS))
    served.world.targets = served.world.targets[:4]
    await until(lambda: served.manager.history.waiting or len(served.manager.history.generations()) > 1)
    told = await served.data("/api/v1/history?since=1")
    (change,) = told["generations"]
    assert (change["number"], change["removed"], change["why"], change["jobs"]) == (2, 1, "poll", ["shop"])
    assert change["targets"] == [{"what": "removed", "source": "s", "address": "10.0.0.4:80/x", "labels": []}]
    assert (await served.data("/api/v1/history?since=2"))["generations"] == []
    assert len((await served.data("/api/v1/history?limit=1"))["generations"]) == 1


async def test_who_polls_is_told(served):
    headers = {"User-Agent": "Prometheus/3.14.0", "X-Prometheus-Refresh-Interval-Seconds": "7.5"}
    for path in ("/sd/shop/0", "/sd/shop?relabel=1", "/sd/nobody"):
        async with served.ask(path, headers=headers):
            pass
    missing, relabelled, entry = await served.data("/api/v1/clients")
    assert (entry["address"], entry["path"], entry["job"]) == ("127.0.0.1", "/sd/shop/0", "shop")
    assert (entry["userAgent"], entry["interval"], entry["lastStatus"]) == ("Prometheus/3.14.0", 7.5, 200)
    assert (relabelled["path"], relabelled["relabel"]) == ("/sd/shop", True)
    assert (missing["job"], missing["lastStatus"]) == ("", 404)
    counted = await asyncio.to_thread(served.metrics.get_sample_value, "swarm_sd_clients", {"job": "shop"})
    assert counted == 2


async def test_half_a_character_spoils_no_answer():
    async with serving(World(targets=[{"__address__": "a:1", "__meta_odd": "half \ud83d"}])) as served:
        told = await served.data("/api/v1/targets?job=shop")
    assert told["targets"][0]["discoveredLabels"]["__meta_odd"] == "half ?"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("targets", "'job' is missing"),
        ("targets?job=shop&limt=1", "unknown parameter 'limt'; there are: job, search"),
        ("clients?job=shop", "unknown parameter 'job'; there are: none"),
        ("openapi.json?x=1", "unknown parameter 'x'"),
        ("live?x=1", "unknown parameter 'x'"),
        ("targets?job=shop&job=shop", "'job' is given 2 times"),
        ("targets?job=shop&limit=0", "'limit': expected a whole number, 1 to 1000, found '0'"),
        ("targets?job=shop&limit=1001", "'limit'"),
        ("targets?job=shop&limit=1e3", "'limit'"),
        ("targets?job=shop&limit=", "'limit'"),
        ("targets?job=shop&offset=-1", "'offset'"),
        ("targets?job=shop&offset=" + "9" * 5000, "'offset'"),
        ("targets?job=shop&state=up", "expected '' or 'dropped' or 'refused' or 'scraped', found 'up'"),
        ("targets?job=shop&search=" + "x" * 501, "'search'"),
        ("history?since=x", "'since'"),
    ],
)
async def test_a_parameter_that_is_wrong_is_named(served, path, says):
    told = await served.get(f"/api/v1/{path}", 400)
    assert (told["status"], told["errorType"]) == ("error", "bad_data")
    assert says in told["error"]


@pytest.mark.parametrize("path", ["targets?", "passed_over?", "matrix?", "history?"])
async def test_a_job_that_is_unknown_is_404_with_those_there_are(served, path):
    told = await served.get(f"/api/v1/{path}job=shp", 404)
    assert (told["errorType"], told["error"]) == ("not_found", "no job 'shp'; the jobs here are: 'shop'")


async def test_before_anything_is_known_a_job_is_unavailable(served):
    served.manager._deliveries = 0
    told = await served.get("/api/v1/targets?job=later", 503)
    assert told["errorType"] == "unavailable"


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v1", "/api/v1/nothing", "/api/v2/targets"])
async def test_a_path_that_is_none_is_404_in_the_envelope(served, path):
    assert (await served.get(path, 404))["errorType"] == "not_found"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["jobs", "live", "openapi.json", "nothing"])
async def test_only_get_and_head_are_taken(served, method, path):
    async with served.ask(f"/api/v1/{path}", method) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
        assert (await answer.json())["status"] == "error"


@pytest.mark.parametrize("path", ["jobs", "targets?job=shop", "openapi.json", "live"])
async def test_head_has_the_headers_alone(served, path):
    async with served.ask(f"/api/v1/{path}", "HEAD") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_a_bug_is_told_in_the_envelope_and_the_log(served):
    served.world.flags = None
    with capture_logs() as logs:
        told = await served.get("/api/v1/status/flags", 500)
    assert (told["errorType"], told["error"]) == ("internal", "a bug; the log of swarm-sd has more")
    assert [(one["event"], one["path"]) for one in logs] == [
        ("the API could not answer", "/api/v1/status/flags")
    ]
