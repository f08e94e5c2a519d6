"""``/metrics/swarm`` over a real socket; the page that describes it; and what promtool says of it."""

import asyncio
import gzip
import json
import re
import subprocess
import threading
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import structlog
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.programs import needs

from swarm_sd.discovery.docker_api import wire
from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.docker_api.lists import NODES, SERVICES, TASKS, Asked, Lists
from swarm_sd.discovery.dockerswarm import node_metrics, service_metrics
from swarm_sd.discovery.dockerswarm.provider import DockerSwarmSDConfig
from swarm_sd.discovery.dockerswarm.state import SwarmState
from swarm_sd.discovery.swarm import state as classic
from swarm_sd.discovery.swarm.provider import SwarmSDConfig
from swarm_sd.job import Job
from swarm_sd.manager import Manager
from swarm_sd.provider import ClusterState, Family, Metric
from swarm_sd.scalars import Interval
from swarm_sd.sim.clusters import example as classic_example
from swarm_sd.sim.manager import Manager as ClassicManager
from swarm_sd.sim.moby.clusters import example
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.web import swarm_metrics
from swarm_sd.web.swarm_metrics import SwarmMetrics, samples

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/swarm-metrics.md"
LOAD = Metric("x_load", "gauge", "How much.", ("node",))


def family(*values, metric=LOAD):
    return Family(metric, lambda: values)


def state(cluster, *families, key=None, told_at=0.0):
    return ClusterState(cluster, key or object(), told_at, lambda: families)


@asynccontextmanager
async def serving(states):
    app = web.Application()
    app.add_routes(SwarmMetrics(states).routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def get(encoding="identity"):
            headers = {"Accept-Encoding": encoding}
            async with session.get(f"http://{host}:{port}/metrics/swarm", headers=headers) as answer:
                return answer, await answer.read()

        yield get
    await runner.cleanup()


async def body_of(*states):
    async with serving(lambda: states) as get:
        answer, body = await get()
        assert answer.status == 200
        return body.decode()


def of(body, name="x_load"):
    """(labels, value) of each sample of a metric."""
    return [
        (sample.labels, sample.value)
        for one in text_string_to_metric_families(body)
        for sample in one.samples
        if sample.name == name
    ]


# -- the text ------------------------------------------------------------------------------------------


async def test_a_metric_of_several_clusters_is_told_once_with_all_of_them():
    body = await body_of(
        state("a", family((("n1",), 1))), state("b", family((("n1",), 2.5), (("n2",), True)))
    )
    assert body.partition("# HELP swarm_state")[0] == (
        "# HELP x_load How much.\n# TYPE x_load gauge\n"
        'x_load{cluster="a",node="n1"} 1\n'
        'x_load{cluster="b",node="n1"} 2.5\nx_load{cluster="b",node="n2"} 1\n'
    )


async def test_a_metric_without_a_value_is_not_told():
    assert "x_load" not in await body_of(state("a", family()))


async def test_without_a_cluster_there_is_nothing():
    assert await body_of() == ""


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", "日本", "", '\\"\n', "\\n"])
async def test_whatever_a_label_holds_comes_out_as_it_is(value):
    ((labels, _),) = of(await body_of(state(value, family(((value,), 1)))))
    assert labels == {"cluster": value, "node": value}


@pytest.mark.parametrize("value", [0, 1, True, 0.5, 1e300, 25_276_514_304, 1e-9, float("inf")])
async def test_whatever_a_value_is_comes_out_as_it_is(value):
    ((_, told),) = of(await body_of(state("a", family((("n",), value)))))
    assert told == value


def test_a_lone_surrogate_does_not_spoil_the_rest():
    assert samples(family((("\ud800",), 1)), "c") == b'x_load{cluster="c",node="?"} 1\n'


async def test_the_age_is_how_long_ago_it_was_confirmed():
    told_at = time.time() - 100
    ((labels, age),) = of(await body_of(state("a", told_at=told_at)), "swarm_state_age_seconds")
    assert labels == {"cluster": "a"}
    assert 100 <= age < 110
    ((_, age),) = of(await body_of(state("a", told_at=time.time() + 50)), "swarm_state_age_seconds")
    assert age == 0


async def test_it_is_compressed_for_who_takes_that():
    async with serving(lambda: [state("a", family((("n",), 1)))]) as get:
        plain, body = await get()
        zipped, packed = await get("gzip, deflate")
    assert plain.headers["Content-Type"] == zipped.headers["Content-Type"]
    assert plain.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert of(gzip.decompress(packed).decode()) == of(body.decode())


# -- clusters ------------------------------------------------------------------------------------------


async def test_a_cluster_that_several_entries_share_is_told_once_by_the_first():
    body = await body_of(
        state("a", family((("n",), 1)), key="same"), state("b", family((("n",), 2)), key="same")
    )
    assert of(body) == [({"cluster": "a", "node": "n"}, 1)]


async def test_entries_that_ask_one_host_in_several_ways_tell_together_and_nothing_twice():
    more = Metric("x_more_total", "counter", "More.")
    body = await body_of(
        state("a", family((("n",), 1)), family(metric=more)),
        state("a", family((("n",), 2)), family(((), 7), metric=more)),
    )
    assert of(body) == [({"cluster": "a", "node": "n"}, 1)]
    assert of(body, "x_more_total") == [({"cluster": "a"}, 7)]
    assert len(of(body, "swarm_state_age_seconds")) == 1


async def test_a_cluster_that_cannot_be_told_does_not_spoil_the_others():
    def broken():
        raise ZeroDivisionError

    bad = ClusterState("bad", object(), time.time(), broken)
    with structlog.testing.capture_logs() as logs:
        body = await body_of(bad, state("good", family((("n",), 1))))
    assert of(body) == [({"cluster": "good", "node": "n"}, 1)]
    assert len(of(body, "swarm_state_age_seconds")) == 2
    assert [(one["event"], one["cluster"]) for one in logs] == [
        ("the state of a cluster could not be told", "bad")
    ]


async def test_what_is_the_same_is_not_put_into_text_again(monkeypatch):
    made = Counter()

    def counting(family, cluster):
        made[family.metric.name] += 1
        return samples(family, cluster)

    monkeypatch.setattr(swarm_metrics, "samples", counting)
    lasting, fresh = family((("n",), 1)), Metric("x_fresh", "gauge", "Fresh.")
    name = ["a"]
    async with serving(lambda: [state(name[0], lasting, family(((), 1), metric=fresh))]) as get:
        first = (await get())[1]
        assert of((await get())[1].decode()) == of(first.decode())
        assert (made["x_load"], made["x_fresh"]) == (1, 2)
        name[0] = "b"
        ((labels, _),) = of((await get())[1].decode())
        assert labels["cluster"] == "b"


async def test_it_is_made_in_a_thread_by_one_at_a_time():
    inside, most, threads = [0], [0], set()

    def families():
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threads.add(threading.current_thread())
        time.sleep(0.02)
        inside[0] -= 1
        return []

    async with serving(lambda: [ClusterState("a", "a", 0.0, families)]) as get:
        await asyncio.gather(*(get() for _ in range(5)))
    assert most == [1]
    assert threading.main_thread() not in threads


# -- the kinds -------------------------------------------------------------------------------------------


@asynccontextmanager
async def everything():
    """What is served of a swarm and of a classic Swarm, each asked by several entries."""
    cluster, swarm = classic_example(), example()
    node = swarm.service("nonet")["Spec"]["TaskTemplate"]
    node["Resources"] = {"Reservations": {"NanoCPUs": 250_000_000, "MemoryBytes": 1 << 20}}
    swarm.update_service("dnsrr", image="lab/busybox:2")
    async with (
        Daemon.on(swarm, "mgr1") as daemon,
        ClassicManager(cluster, replication=True) as one,
    ):
        cluster.elect(one.advertise)
        modern = [
            DockerSwarmSDConfig(
                host=Host.from_yaml(daemon.url.replace("http:", "tcp:")),
                role=role,
                refresh_interval=Interval(0.2),
            )
            for role in ("nodes", "services", "tasks", "endpoints")
        ]
        old = [
            SwarmSDConfig(masters=(Host.from_yaml(one.url),), role=role, refresh_interval=Interval(0.2))
            for role in (None, "containers")
        ]
        manager = Manager()
        running = asyncio.create_task(
            manager.run([Job("new", tuple(modern), ()), Job("old", tuple(old), ())])
        )
        async with serving(manager.cluster_states) as get:
            async with asyncio.timeout(20):
                while b"swarm_service_tasks" not in (body := (await get())[1]) or b"manager_role" not in body:
                    await asyncio.sleep(0.02)
            yield body.decode()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def series(body):
    return [
        (sample.name, tuple(sorted(sample.labels.items())))
        for one in text_string_to_metric_families(body)
        for sample in one.samples
    ]


async def test_several_entries_and_kinds_are_told_together_and_nothing_twice():
    async with everything() as body:
        found = series(body)
    assert len(found) == len(set(found))
    clusters = {dict(labels)["cluster"] for _, labels in found}
    assert len(clusters) == 2
    assert len({name for name, _ in found if name.startswith("swarm_classic_")}) > 5


async def test_promtool_has_nothing_to_say_about_it():
    promtool = needs("promtool")
    async with everything() as body:
        checked = await asyncio.to_thread(
            subprocess.run,
            [promtool, "check", "metrics"],
            input=body,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def described():
    """(type, labels) of each metric that the page describes."""
    rows = re.findall(r"^\| `(swarm_\w+)` \| (\w+) \| ([^|]*) \|", PAGE.read_text(), re.MULTILINE)
    assert len({name for name, _, _ in rows}) == len(rows)
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def metrics():
    found = [swarm_metrics.AGE]
    for module in (node_metrics, service_metrics, classic):
        found += [one for one in vars(module).values() if isinstance(one, Metric)]
    return found


def test_the_page_describes_every_metric_with_type_and_labels():
    assert described() == {one.name: (one.type, frozenset({"cluster", *one.labels})) for one in metrics()}


async def test_what_is_served_is_what_the_page_describes():
    async with everything() as body:
        served = {}
        for one in text_string_to_metric_families(body):
            for sample in one.samples:
                served[sample.name] = one.type, frozenset(sample.labels)
    assert served == described()


def test_no_page_names_a_metric_that_there_is_not():
    known = described().keys()
    for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]:
        named = set(re.findall(r"\bswarm_(?:node|service|classic|state)_\w+", page.read_text()))
        assert named - known <= {"swarm_node_info"}, page  # of Docker's engines, which is why it is not ours


@pytest.mark.parametrize("metric", metrics(), ids=lambda metric: metric.name)
def test_names_and_units_are_as_prometheus_wants_them(metric):
    assert re.fullmatch(r"swarm_[a-z][a-z_]+", metric.name)
    assert (metric.type == "counter") == metric.name.endswith("_total")
    assert metric.text.endswith(".")
    assert len(set(metric.labels)) == len(metric.labels)
    assert "cluster" not in metric.labels


# -- its size --------------------------------------------------------------------------------------------


def test_there_are_as_many_series_as_nodes_and_services_whatever_the_number_of_tasks():
    swarm = example()
    first = swarm.lists()
    one = count(first, first["tasks"])
    service = swarm.service("rep-tcp")["ID"]
    template = next(task for task in first["tasks"] if task["ServiceID"] == service)
    many = [*first["tasks"], *({**template, "ID": f"t{number}", "Slot": number} for number in range(4, 2000))]
    assert count(first, many) == one


def count(lists, tasks):
    bodies = {NODES: lists["nodes"], SERVICES: lists["services"], TASKS: tasks}
    decode = {NODES: wire.decode_nodes, SERVICES: wire.decode_services, TASKS: wire.decode_tasks}
    listed = {Asked(path): decode[path](json.dumps(body).encode()) for path, body in bodies.items()}
    made = Lists(Host.from_yaml("tcp://m"), {(one.path, ""): one for one in listed}, listed, {})
    return sum(samples(one, "c").count(b"\n") for one in SwarmState().families(made))
