"""Events are read whatever the dialect, however they are cut, and whatever is broken."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swarm_sd.discovery.docker_api import event_stream
from swarm_sd.discovery.docker_api.event_stream import KEPT, Event, EventDecoder

CLASSIC = Path(__file__).parents[2] / "fixtures" / "classic"
RECORDED = sorted(CLASSIC.glob("*/events*"))
NODE_B = {"node.name": "node-b", "node.addr": "10.99.0.12:2375"}


def read(body, *cuts):
    decoder = EventDecoder()
    ends = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    events = [event for start, end in pairwise(ends) for event in decoder.feed(body[start:end])]
    return events, decoder


# --- the recordings


def recorded(tag, name="events"):
    return (CLASSIC / tag / f"{name}.json").read_bytes()


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_object_of_a_recorded_stream_is_one_event_byte_by_byte_too(path):
    body = path.read_bytes()
    events, decoder = read(body)
    assert len(events) == body.count(b'"time":')
    assert read(body, *range(len(body)))[0] == events
    assert not decoder.pending
    assert all(event.type for event in events) or path.parent.name in ("v0.2.0", "v0.3.0", "v1.0.0")


@pytest.mark.parametrize("tag", ["v0.2.0", "v0.3.0", "v1.0.0", "v1.1.0", "v1.2.3", "v1.2.9"])
def test_starts_and_ends_of_containers_are_told_in_every_dialect(tag):
    events, _ = read(recorded(tag))
    containers = [event for event in events if event.type == "container"]
    assert {"create", "start", "kill", "die", "stop"} <= {event.action for event in containers}
    assert all(len(event.id) == 64 and event.time_nano > 1_700_000_000 * 10**9 for event in containers)
    assert {event.attributes["node.name"] for event in containers} <= {"node-a", "node-b", "node-c"}
    assert any(NODE_B.items() <= event.attributes.items() for event in containers)


@pytest.mark.parametrize("tag", ["v1.0.0", "v1.1.0", "v1.2.3", "v1.2.9"])
def test_nodes_that_come_and_go_are_told(tag):
    events, _ = read(recorded(tag, "events-join-leave"))
    actions = {event.action for event in events if event.type == "swarm"}
    assert {"engine_connect", "engine_disconnect"} <= actions


@pytest.mark.parametrize("tag", ["v1.1.0", "v1.2.3"])
def test_broken_json_of_labels_with_percent_signs_is_mended_and_counted(tag):
    broken, decoder = read(recorded(tag, "events-percent-in-labels"))
    sound, _ = read(recorded("v1.2.9", "events-percent-in-labels"))
    assert [(event.type, event.action) for event in broken] == [(event.type, event.action) for event in sound]
    assert decoder.broken == recorded(tag, "events-percent-in-labels").count(b'"cpu":"100%!"(MISSING)') == 5


# --- dialects that were not recorded, and odd ones


def test_the_flat_events_of_v0_1_name_their_node():
    [event], _ = read(
        b'{"status":"start","id":"c1","from":"bb:1 node:node-b","time":7,'
        b'"node_name":"node-b","node_id":"Z","node_addr":"10.99.0.12:2375","node_ip":"10.99.0.12"}'
    )
    told = {**NODE_B, "node.id": "Z"}
    assert event == Event("container", "start", "c1", told, time_nano=7_000_000_000)


def test_swarm_mode_tells_services_nodes_and_their_scope():
    [event], _ = read(
        b'{"Type":"service","Action":"update","Actor":{"ID":"s1","Attributes":{"name":"web","replicas.new":"5"}},'
        b'"scope":"swarm","time":1795417291,"timeNano":1795417291638650621}\n'
    )
    assert event == Event(
        "service", "update", "s1", {"name": "web", "replicas.new": "5"}, "swarm", 1795417291638650621
    )


@pytest.mark.parametrize(
    ("status", "sender", "kind"),
    [
        ("engine_disconnect", "swarm node:n1", "swarm"),
        ("node_reconnect", "swarm node:n1", "swarm"),
        ("pull", "bb:1 node:n1", "image"),
        ("die", "bb:1 node:n1", "container"),
        ("", " node:n1", ""),
    ],
)
def test_the_type_of_events_that_have_none(status, sender, kind):
    [event], _ = read(json.dumps({"status": status, "id": status and "x", "from": sender}).encode())
    assert (event.type, event.action) == (kind, status)


def test_neither_commands_nor_labels_of_containers_are_kept():
    labels = {"password": "hunter2", "name": "web", "com.docker.swarm.task.id": "t1"}
    action = "exec_create: mysql -phunter2"
    [event], _ = read(
        json.dumps({"Type": "container", "Action": action, "Actor": {"Attributes": labels}}).encode()
    )
    assert event.action == "exec_create"
    assert event.attributes == {"name": "web", "com.docker.swarm.task.id": "t1"}
    [event], _ = read(b'{"Type":"container","Action":"health_status: healthy"}')
    assert event.action == "health_status: healthy"


@pytest.mark.parametrize(
    "odd",
    [b'{"Type":5}', b'{"time":"now"}', b"{]}", b'{"a":' * 2000 + b"1" + b"}" * 2000, b'{"Type":"\xff",}'],
)
def test_what_cannot_be_read_is_a_hint_without_a_type(odd):
    events, decoder = read(odd + b'{"Type":"node","Action":"update"}')
    assert events == [Event(), Event("node", "update")]
    assert decoder.broken == 1


def test_bytes_that_are_not_utf_8_spoil_no_event():
    [event], decoder = read(b'{"Type":"node","Actor":{"Attributes":{"name":"a\xffb"}}}')
    assert event.attributes == {"name": "a\N{REPLACEMENT CHARACTER}b"}
    assert decoder.broken == 0


def test_reading_goes_on_after_an_event_that_was_cut_off():
    whole = recorded("v1.2.9")
    first = whole.index(b'}{"status"') + 1
    events, _ = read(whole)
    for cut in (first - 1, first // 2, 30):
        # what is left of an event that ends within a string may have to swallow one more before it is told
        found, decoder = read(whole[:cut] + whole[first:])
        assert found[-len(events) + 2 :] == events[2:]
        assert decoder.broken >= 1 or cut == first


def test_text_between_events_is_counted_and_none():
    events, decoder = read(b'oh\n"no{"Type":"a"}, ,{"Type":"b"}\r\n\x1e{"Type":"c"}')
    assert [event.type for event in events] == ["a", "b", "c"]
    assert decoder.broken == 2


def test_an_event_that_never_ends_takes_little_memory(monkeypatch):
    monkeypatch.setattr(event_stream, "MAX_EVENT", 1000)
    decoder = EventDecoder()
    assert decoder.feed(b'{"Type":"container","Actor":{"Attributes":{"x":"') == []
    for _ in range(100):
        assert decoder.feed(b"x" * 999) == []
        assert len(decoder._bytes) < 2000
        assert decoder.pending
    assert decoder.feed(b'"}}}{"Type":"node"}') == [Event(), Event("node")]
    assert (decoder.broken, decoder.pending) == (1, False)


# --- laws


def printf(text):
    """What fmt.Fprintf(w, text) writes, for the verbs of strings in events. Source: Go's fmt, print.go."""
    out, at = [], 0
    while at < len(text):
        if text[at] != "%":
            out.append(text[at])
            at += 1
            continue
        at += 1
        while text[at] in "+-# 0123456789.":
            at += 1
        out.append("%" if text[at] == "%" else "%!!(NOVERB)" if text[at] == "!" else f"%!{text[at]}(MISSING)")
        at += 1
    return "".join(out)


NASTY = st.text(st.sampled_from('{}"\\%! :,()aMISNGé\n') | st.characters(codec="utf-8"), max_size=12)
ATTRIBUTES = st.dictionaries(st.sampled_from(["name", "zone", "x}{"]) | NASTY, NASTY, max_size=4)
EVENTS = st.builds(
    lambda kind, attributes: {
        "Type": kind,
        "Action": "start",
        "Actor": {"ID": "i", "Attributes": attributes},
    },
    st.sampled_from(["container", "node"]),
    ATTRIBUTES,
)
STREAMS = st.lists(EVENTS, min_size=1, max_size=4)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


def stream(events, between=""):
    return between.join(json.dumps(event, ensure_ascii=False, separators=(",", ":")) for event in events)


@given(STREAMS, CUTS, st.sampled_from(["", "\n", "\x1e"]))
@example(
    [{"Type": "}{", "Action": '{"a":', "Actor": {"ID": "}{", "Attributes": {"name": '}\\{"a":'}}}], [5], ""
)
def test_sound_events_come_out_as_they_went_in_however_they_are_cut(events, cuts, between):
    found, decoder = read(stream(events, between).encode(), *cuts)
    assert decoder.broken == 0
    assert not decoder.pending
    for event, sent in zip(found, events, strict=True):
        kept = {name: value for name, value in sent["Actor"]["Attributes"].items() if name in KEPT and value}
        assert event == Event(
            sent["Type"], "start" if sent["Type"] != "}{" else '{"a":', sent["Actor"]["ID"], kept
        )


@given(STREAMS, CUTS)
def test_events_printed_as_a_format_come_out_with_type_and_id(events, cuts):
    found, _ = read(printf(stream(events)).encode(), *cuts)
    told = [(event.type, event.action, event.id) for event in found]
    assert told == [(event["Type"], "start", "i") for event in events]


@given(st.binary(max_size=60) | st.text('{}"\\%!(MISNG):a, \n', max_size=60).map(str.encode), CUTS)
@example(b'{"}{"a":1}', [4, 5, 6, 7])
@example(b'{%!\\(MISSING)""}', list(range(16)))
def test_any_bytes_give_the_same_however_they_are_cut(body, cuts):
    whole, decoder = read(body)
    parts, other = read(body, *cuts)
    assert parts == whole
    assert (other.broken, other.pending) == (decoder.broken, decoder.pending)


@given(st.binary(max_size=80), st.integers(1, 30), CUTS)
def test_a_bound_on_memory_changes_nothing_about_that(body, bound, cuts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_stream, "MAX_EVENT", bound)
        body = b'{"Type":"node"}{"x":"' + body + b'"}{"Type":"node"}'
        whole, decoder = read(body)
        parts, other = read(body, *cuts)
        assert parts == whole
        assert other.broken == decoder.broken
