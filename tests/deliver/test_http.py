"""HTTP SD over a real socket: exactly Prometheus' contract."""

import asyncio
import gzip
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from yarl import URL

from swarm_sd.deliver.http import HTTPSD, find
from swarm_sd.deliver.names import job_path, sd_path
from swarm_sd.insight import Insight
from swarm_sd.job import Entry, Job
from swarm_sd.manager import Catalog, Manager
from swarm_sd.model import TargetGroup
from swarm_sd.provider import DiscoveryError, Poller, SDConfig
from swarm_sd.relabel import RelabelConfig, compile_rule
from swarm_sd.web.metrics import Reloads, registry
from swarm_sd.web.server import Server, listen_address

WORLD = {}
DEFAULTS = {"__scrape_interval__": "1m", "__scrape_timeout__": "10s"}
ODD_NAMES = ["a\nb", "a/b c%é", "job/0", "x?y#z", "..", "0", "a/0/1", "+ &=", "日本"]


class FixedProvider(Poller):
    def __init__(self, name):
        super().__init__(name, 0.01)

    async def list(self):
        answer = WORLD[self._name]
        if isinstance(answer, Exception):
            raise answer
        return [TargetGroup("s", tuple({"__address__": address, "__meta_x": "é"} for address in answer))]


class FixedConfig(SDConfig, frozen=True, kw_only=True):
    kind = "fixed"
    name: str

    def provider(self):
        return FixedProvider(self.name)


def job(name, *names, rules=()):
    return Job(name, tuple(FixedConfig(name=each) for each in names), rules, {"job": name, **DEFAULTS})


@asynccontextmanager
async def serving(*jobs, reload=None, lifecycle=True):
    manager = Manager(pause=0)
    insight = Insight(manager)
    running = asyncio.create_task(manager.run(jobs))

    async def refuse():
        return None

    server = Server(
        status=manager.status,
        metrics=registry(manager.status, Reloads(), lambda: (0, 0), lambda: insight.counted),
        reload=reload or refuse,
        count=insight.counts,
        routes=HTTPSD(manager).routes(),
        lifecycle=lifecycle,
    )
    async with server.listening([("127.0.0.1", 0)]) as [base]:
        async with aiohttp.ClientSession(auto_decompress=False) as session:

            def request(path, method="GET", **headers):
                headers = {name.replace("_", "-"): value for name, value in headers.items()}
                headers.setdefault("Accept-Encoding", "identity")
                return session.request(method, URL(base + path, encoded=True), headers=headers)

            request.manager = manager
            yield request
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def get(request, path, status=200, **headers):
    async with asyncio.timeout(5):
        while True:
            async with request(path, **headers) as answer:
                body = await answer.read()
                if answer.status == status:
                    return answer, body
            await asyncio.sleep(0.005)


async def test_a_list_is_what_prometheus_takes():
    WORLD["a"] = ["10.0.0.1:1", "[fd::1]:1"]
    async with serving(job("j", "a")) as request:
        answer, body = await get(request, "/sd/j")
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert json.loads(body) == [
            {"targets": ["10.0.0.1:1"], "labels": {"__meta_x": "é"}},
            {"targets": ["[fd::1]:1"], "labels": {"__meta_x": "é"}},
        ]
        assert "X-Swarm-SD-Stale" not in answer.headers


async def test_truly_none_is_an_empty_list_and_unknown_is_503_with_the_reason():
    WORLD.update(a=[], b=DiscoveryError("refused", "http://m/info: connection refused"))
    async with serving(job("none", "a"), job("both", "a", "b")) as request:
        assert (await get(request, "/sd/none"))[1] == b"[]"
        assert (await get(request, "/sd/both/0"))[1] == b"[]"
        await get(request, "/-/ready", 503)
        async with request("/sd/both") as answer:
            assert answer.status == 503
            assert "http://m/info: connection refused" in await answer.text()
        async with request("/sd/both/1") as answer:
            assert answer.status == 503
        async with request("/sd/both?relabel=1") as answer:
            assert answer.status == 503


async def test_what_is_not_ours_is_404_and_says_what_there_is():
    WORLD["a"] = []
    async with serving(job("j", "a")) as request:
        await get(request, "/sd/j")
        for path in ("/sd/nope", "/sd/j/1", "/sd/j/x", "/sd/", "/sd/j/", "/sd/j/-1", "/sd/j/00000000000000"):
            async with request(path) as answer:
                assert answer.status == 404, path
                assert "'j'" in await answer.text()


async def test_an_unchanged_list_is_304_only_when_asked():
    WORLD["a"] = ["a:1"]
    async with serving(job("j", "a")) as request:
        answer, body = await get(request, "/sd/j")
        tag = answer.headers["ETag"]
        assert tag.startswith('"')
        for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            async with request("/sd/j", If_None_Match=given) as answer:
                assert (answer.status, await answer.read()) == (304, b"")
                assert answer.headers["ETag"] == tag
        async with request("/sd/j", If_None_Match='"other"') as answer:
            assert (answer.status, await answer.read()) == (200, body)
        WORLD["a"] = ["a:1", "a:2"]
        answer, _ = await get(request, "/sd/j", If_None_Match=tag)
        assert answer.headers["ETag"] != tag


async def test_gzip_is_given_to_who_asks_and_has_a_tag_of_its_own():
    WORLD["a"] = [f"a:{number}" for number in range(1, 500)]
    async with serving(job("j", "a")) as request:
        plain, body = await get(request, "/sd/j")
        zipped, packed = await get(request, "/sd/j", Accept_Encoding="gzip, deflate")
        assert zipped.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed) == body
        assert zipped.headers["ETag"] != plain.headers["ETag"]
        async with request("/sd/j", Accept_Encoding="gzip;q=0") as answer:
            assert "Content-Encoding" not in answer.headers
        async with request("/sd/j", Accept_Encoding="gzip", If_None_Match=zipped.headers["ETag"]) as answer:
            assert answer.status == 304


async def test_head_gives_the_same_headers_without_a_body():
    WORLD["a"] = ["a:1"]
    async with serving(job("j", "a")) as request:
        answer, body = await get(request, "/sd/j")
        async with request("/sd/j", "HEAD") as head:
            assert head.status == 200
            assert head.headers["Content-Length"] == str(len(body))
            assert head.headers["ETag"] == answer.headers["ETag"]


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_a_job_name_can_hold_any_character(name):
    WORLD.update(a=["a:1"], b=["b:1"])
    async with serving(job(name, "a", "b"), job("other", "a")) as request:
        _, body = await get(request, job_path(name))
        assert [entry["targets"] for entry in json.loads(body)] == [["a:1"], ["b:1"]]
        _, body = await get(request, sd_path(Entry(name, 1)))
        assert [entry["targets"] for entry in json.loads(body)] == [["b:1"]]


def test_a_path_may_come_with_a_host_as_proxies_write_it():
    catalog = Catalog({Entry("a", 0): None}, {"a": None})
    assert find(catalog, "http://127.0.0.1:9963/sd/a/0?relabel=1") == Entry("a", 0)


async def test_ready_means_that_lists_are_served_and_a_job_that_is_new_is_not_unknown():
    WORLD.update(a=["a:1"], b=["b:1"])
    async with serving(job("j", "a")) as request:
        await get(request, "/-/ready")
        async with request("/sd/j") as answer:
            assert answer.status == 200
        for number in range(5):
            name = f"new{number}"
            WORLD[name] = DiscoveryError("refused", "down") if number % 2 else ["c:1"]
            await request.manager.apply([job("j", "a"), job(name, name)])
            async with request(f"/sd/{name}") as answer:
                assert answer.status in (200, 503)
            async with request("/sd/j") as answer:
                assert answer.status == 200


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("gzip", True),
        ("*", True),
        ("", False),
        ("gzip;q=0", False),
        ("*;q=0, gzip", True),
        ("gzip;q=0, *", False),
    ],
)
async def test_which_coding_a_client_takes(header, takes):
    WORLD["a"] = ["a:1"]
    async with serving(job("j", "a")) as request:
        answer, _ = await get(request, "/sd/j", Accept_Encoding=header)
        assert ("Content-Encoding" in answer.headers) is takes


def test_a_path_names_one_list_even_where_names_look_alike():
    entries = {Entry("a", 0): None, Entry("a/0", 0): None, Entry("a/0", 1): None}
    catalog = Catalog(entries, {"a": None, "a/0": None})
    for entry in entries:
        assert find(catalog, sd_path(entry)) == entry
    for name in catalog.jobs:
        assert find(catalog, job_path(name)) == name
    # a name that came without encoding, where nothing else is meant
    assert find(catalog, "/sd/a/0/1") == Entry("a/0", 1)
    assert find(catalog, "/sd/a/0?relabel=1") == Entry("a", 0)


async def test_relabel_1_gives_the_targets_after_the_rules():
    WORLD["a"] = ["a:1", "b:1"]
    rules = (compile_rule(RelabelConfig(source_labels=("__address__",), regex="a.*", action="keep")),)
    async with serving(job("j", "a", rules=rules)) as request:
        await get(request, "/sd/j")
        _, body = await get(request, "/sd/j?relabel=1")
        assert json.loads(body) == [{"targets": ["a:1"], "labels": {}}]
        assert len(json.loads((await get(request, "/sd/j?relabel=0"))[1])) == 2


async def test_targets_that_are_not_confirmed_now_are_served_and_marked():
    WORLD["a"] = ["a:1"]
    async with serving(job("j", "a")) as request:
        _, body = await get(request, "/sd/j")
        WORLD["a"] = DiscoveryError("refused", "down")
        async with asyncio.timeout(5):
            while request.manager.stale_since("j") is None:
                await asyncio.sleep(0.005)
        async with request("/sd/j") as answer:
            assert (answer.status, await answer.read()) == (200, body)
            assert answer.headers["X-Swarm-SD-Stale"] == "true"
            assert int(answer.headers["X-Swarm-SD-Age-Seconds"]) >= 0
        async with request("/metrics") as answer:
            assert 'swarm_sd_stale{entry="0",job="j"} 1.0' in await answer.text()


async def test_the_index_names_every_list():
    WORLD["a"] = []
    async with serving(job("a/b", "a")) as request:
        await get(request, job_path("a/b"))
        _, body = await get(request, "/sd")
        assert json.loads(body) == [{"job": "a/b", "url": "/sd/a%2Fb", "entries": ["/sd/a%2Fb/0"]}]


async def test_health_readiness_and_reload_have_prometheus_words_and_codes():
    WORLD["a"] = []
    asked = []

    async def reload():
        asked.append(1)
        return None if len(asked) < 2 else "F:1:1: bad"

    async with serving(job("j", "a"), reload=reload) as request:
        assert (await get(request, "/-/healthy"))[1] == b"swarm-sd is Healthy.\n"
        assert (await get(request, "/-/ready"))[1] == b"swarm-sd is Ready.\n"
        async with request("/-/reload") as answer:
            assert answer.status == 405
        async with request("/-/reload", "POST") as answer:
            assert answer.status == 200
        async with request("/-/reload", "PUT") as answer:
            assert answer.status == 500
            assert "F:1:1: bad" in await answer.text()
    async with serving(job("j", "a"), lifecycle=False) as request, request("/-/reload", "POST") as answer:
        assert answer.status == 403


async def test_metrics_are_text_or_openmetrics():
    WORLD["a"] = ["a:1"]
    async with serving(job("j", "a")) as request:
        await get(request, "/sd/j")
        answer, body = await get(request, "/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert b'swarm_sd_discovered_targets{job="j"} 1.0' in body
        answer, body = await get(request, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [(":9963", ("", 9963)), ("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:1", ("::1", 1)), ("h:1", ("h", 1))],
)
def test_listen_addresses(text, expected):
    assert listen_address(text) == expected


@pytest.mark.parametrize("text", ["", "9963", "::1:9963", "h:x", "h:99999"])
def test_what_is_no_listen_address_is_refused(text):
    with pytest.raises(ValueError, match="not a listen address"):
        listen_address(text)
