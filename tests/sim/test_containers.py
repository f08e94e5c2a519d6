"""Containers and events of the simulated managers, held to those of real ones."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from swarm_sd.sim.cluster import Cluster, Engine, Happening, Status
from swarm_sd.sim.containers import containers_json, inspected
from swarm_sd.sim.events import event, printed
from swarm_sd.sim.faults import EventsEnd, HangMidBody
from swarm_sd.sim.manager import Manager
from swarm_sd.sim.tags import TAGS, Tag
from swarm_sd.sim.workload import Container, Port

from .raw_client import LIMIT, ask
from .recordings import CLASSIC, ENGINE_LABELS, MEMORY

RECORDED = ["v0.2.0", "v0.3.0", "v1.0.0", "v1.1.0", "v1.2.3", "v1.2.9"]
INSPECTIONS = json.loads((CLASSIC / "inspections.json").read_text())
SET_UP = {
    "node-a": {"web": "running", "frozen": "paused"},
    "node-b": {"db": "running", "done0": "exited", "done3": "exited"},
    "node-c": {"cache": "running", "never": "created"},
}
IDS = {"node-a": "C3VI:2LJ4:RSW3:LA2E:2NZB:UTFD:YYGE:HOZS:AHH3:MY2V:VBIN:N7XH",
       "node-b": "ZTNN:CJXL:NCG3:EQRU:JHRF:SL74:47OY:YRB2:R7M4:4N47:H2RB:JAAW",
       "node-c": "JG3X:QTIK:IQCF:JXEG:UY6F:CTOG:B5PE:CK5I:V4S7:OYSP:PXVX:TN3K"}  # fmt: skip


def recorded_cluster(**more) -> Cluster:
    engines = []
    for number, (name, containers) in enumerate(SET_UP.items(), 11):
        address = f"10.99.0.{number}:2375"
        engine = Engine(address=address, name=name, id=IDS[name], labels=ENGINE_LABELS[address], cpus=2,
                        storage_driver="vfs", kernel_version="6.18.44-fc-v595", memory=MEMORY,
                        server_version="20.10.24+dfsg1")  # fmt: skip
        for own, state in containers.items():
            code = 3 if own == "done3" else 0
            engine.named[own] = Container(name=own, state=state, exit_code=code, networks={"none": ""})
        engines.append(engine)
    return Cluster(engines, **more)


def recorded(tag: str, scenario: str) -> list[dict]:
    return json.loads((CLASSIC / tag / f"{scenario}.json").read_bytes())


def states(containers) -> set[tuple[str, str | None]]:
    return {(container["Names"][0], container.get("State")) for container in containers}


@pytest.mark.parametrize("tag", RECORDED)
@pytest.mark.parametrize("scenario", ["containers", "containers-all"])
def test_the_list_has_the_fields_and_the_containers_of_a_real_one(tag, scenario) -> None:
    body = containers_json(recorded_cluster(), Tag(tag), everything=scenario == "containers-all")
    told, real = json.loads(body), recorded(tag, scenario)
    assert states(told) == states(real)
    assert {tuple(container) for container in told} == {tuple(container) for container in real}
    if tag >= "v1.1.0":
        ends = [one["NetworkSettings"]["Networks"]["none"] for one in (told[0], real[0])]
        assert list(ends[0]) == list(ends[1])


@pytest.mark.parametrize("tag", ["v0.2.0", "v0.3.0", "v1.1.0", "v1.2.3", "v1.2.9"])
def test_a_dead_node_shows_in_the_words_alone(tag) -> None:
    cluster = recorded_cluster()
    cluster.fail("node-c")
    told = json.loads(containers_json(cluster, Tag(tag), everything=True))
    real = recorded(tag, "containers-all-unhealthy")

    def words(listed):
        return {one["Names"][0]: one["Status"] for one in listed if one["Names"][0].startswith("/node-c/")}

    assert words(told) == words(real)
    assert all(word == ("Pending" if tag == "v0.2.0" else "Host Down") for word in words(told).values())


@pytest.mark.parametrize("tag", RECORDED)
@pytest.mark.parametrize(
    ("which", "scenario"),
    [
        ("web", "container-web"),
        ("node-c/cache", "container-by-node-name"),
        ("done3", "container-done3-v1.24"),
    ],
)
async def test_the_details_of_a_container_tell_its_node_as_real_ones_do(tag, which, scenario) -> None:
    async with Manager(recorded_cluster(), tag=tag) as manager:
        answer = await ask(manager, f"/containers/{which}/json")
    node, real = json.loads(answer.body)["Node"], INSPECTIONS[tag][scenario]
    assert list(node) == list(real)
    assert node == real


@pytest.mark.parametrize("tag", RECORDED)
def test_refusals_are_those_of_a_real_manager(tag) -> None:
    cluster = recorded_cluster()
    missing = inspected(cluster, Tag(tag), "nosuch")
    assert (missing.status, missing.body.decode()) == (404, INSPECTIONS[tag]["container-missing"])
    cluster.fail("node-c")
    cache = cluster.engine("node-c").named["cache"]
    cache.id = "329f47a5fe2ce1c7a579301cc60fe36eb7148166668feb0e7fc2e5b881d6680b"
    lost = inspected(cluster, Tag(tag), cache.id)
    assert (lost.status, lost.body.decode()) == (500, INSPECTIONS[tag]["container-on-unhealthy"])


def test_ports_published_everywhere_are_told_at_the_node() -> None:
    cluster = recorded_cluster()
    cluster.run("node-a", Container(name="p", ports=[Port(80, 8080), Port(81), Port(82, 8082, "10.1.1.1")]))
    [told] = [one for one in json.loads(containers_json(cluster, Tag("v1.2.9"), everything=False))
              if one["Names"] == ["/node-a/p"]]  # fmt: skip
    assert [port.get("IP") for port in told["Ports"]] == ["10.99.0.11", None, "10.1.1.1"]


def test_named_containers_count_in_info() -> None:
    cluster = recorded_cluster()
    cluster.stop("node-a", "web")
    counts = cluster.engine("node-a").counts
    assert (counts.running, counts.paused, counts.stopped) == (0, 1, 1)
    cluster.start("node-a", "web")
    cluster.remove("node-a", "frozen")
    assert cluster.engine("node-a").counts.total == 1


# -- events ---------------------------------------------------------------------------------------------


def real_events(tag, name="events"):
    text, at, found = (CLASSIC / tag / f"{name}.json").read_text(), 0, []
    while at < len(text):
        one, at = json.JSONDecoder().raw_decode(text, at)
        found.append(one)
    return found


@pytest.mark.parametrize("tag", RECORDED)
def test_events_of_containers_have_the_fields_of_real_ones(tag) -> None:
    engine = recorded_cluster().engine("node-b")
    [real, *_] = [one for one in real_events(tag) if one.get("status") == "start" and one["id"]]
    container = Container(name="done0", image="bb:1", id=real["id"])
    at = datetime.fromtimestamp(real["time"], UTC)
    told = json.loads(event(Happening(engine, "start", container), Tag(tag), at))
    real.pop("timeNano", None), told.pop("timeNano", None)
    assert json.dumps(told) == json.dumps(real)


@pytest.mark.parametrize("tag", RECORDED)
def test_events_of_engines_have_the_fields_of_real_ones(tag) -> None:
    engine = recorded_cluster().engine("node-c")
    [real] = [one for one in real_events(tag, "events-join-leave")
              if one.get("status", "").endswith("_reconnect")][:1] or [None]  # fmt: skip
    if real is None:
        [real] = [one for one in real_events(tag, "events-join-leave")
                  if one["from"] == "swarm node:node-c"][:1]  # fmt: skip
    at = datetime.fromtimestamp(real["time"], UTC)
    action = real["status"].replace("node_", "engine_")
    told = json.loads(event(Happening(engine, action), Tag(tag), at))
    real.pop("timeNano", None), told.pop("timeNano", None)
    assert json.dumps(told) == json.dumps(real)


@pytest.mark.parametrize("tag", ["v1.1.0", "v1.2.3", "v1.2.9"])
def test_labels_with_percent_signs_break_events_as_they_do_in_real_ones(tag) -> None:
    real = (CLASSIC / tag / "events-percent-in-labels.json").read_text()
    labels = {"cpu": "100%", "fmt": "%d of %s", "u": "ü\x01<b>"}
    happening = Happening(recorded_cluster().engine("node-b"), "create",
                          Container(name="pct", image="bb:1", labels=labels))  # fmt: skip
    told = event(happening, Tag(tag), datetime.fromtimestamp(1795418570, UTC)).decode()
    assert told.partition('"Attributes"')[2].partition('"node.addr"')[0] in real


def test_printed_complains_as_go_does() -> None:
    assert printed('50%% "100%" %5d %\\"') == '50% "100%!"(MISSING) %!d(MISSING) %!\\(MISSING)"'


def test_releases_tell_engines_that_join_as_they_did() -> None:
    engine = recorded_cluster().engine("node-a")
    silent = {
        tag for tag in TAGS if not event(Happening(engine, "engine_connect"), Tag(tag), datetime.now(UTC))
    }
    assert silent == {"v0.1.0", "v0.2.0", "v0.3.0", "v0.4.0"}


async def opened(manager, path="/events"):
    host, _, port = manager.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT)
    assert b" 200 OK\r\n" in head
    assert b"Transfer-Encoding: chunked" in head
    return reader, writer


async def next_event(reader):
    size = int(await asyncio.wait_for(reader.readuntil(b"\r\n"), LIMIT), 16)
    return (await asyncio.wait_for(reader.readexactly(size + 2), LIMIT))[:-2]


@pytest.mark.parametrize("path", ["/events", "/v1.24/events?filters=%7B%7D"])
async def test_a_stream_tells_what_happens_while_it_is_open(path) -> None:
    cluster = recorded_cluster()
    async with Manager(cluster) as manager:
        reader, writer = await opened(manager, path)
        cluster.run("node-a", Container(name="new"))
        cluster.fail("node-b")
        actions = [json.loads(await next_event(reader))["Action"] for _ in range(3)]
        assert actions == ["create", "start", "engine_disconnect"]
        manager.drop_connections()
        assert await asyncio.wait_for(reader.read(), LIMIT) == b""
        writer.close()
    assert not cluster.watchers


async def test_streams_that_end_at_once_or_after_some_events_end_in_good_order() -> None:
    cluster = recorded_cluster()
    async with Manager(cluster, tag="v1.2.3") as manager:
        manager.inject(EventsEnd(), path="/events")
        reader, writer = await opened(manager)
        assert await asyncio.wait_for(reader.read(), LIMIT) == b"0\r\n\r\n"
        writer.close()
        manager.inject(EventsEnd(1), path="/events")
        reader, writer = await opened(manager)
        cluster.fail("node-a")
        assert json.loads(await next_event(reader))["Action"] == "engine_disconnect"
        assert await asyncio.wait_for(reader.read(), LIMIT) == b"0\r\n\r\n"
        writer.close()


async def test_a_silent_stream_has_only_its_head() -> None:
    cluster = recorded_cluster()
    async with Manager(cluster) as manager:
        manager.inject(HangMidBody(after=0), path="/events")
        reader, writer = await opened(manager)
        cluster.fail("node-a")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), LIMIT) == b""
        writer.close()
        assert cluster.engine("node-a").status == Status.UNHEALTHY
