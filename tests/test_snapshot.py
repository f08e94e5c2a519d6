"""Lists as bytes: what a collector reads, and that equal targets give equal bytes."""

import gzip
import json

from hypothesis import given
from tests.strategies import labels as label_sets

from swarm_sd.job import Job
from swarm_sd.model import Layered, TargetGroup
from swarm_sd.relabel import RelabelConfig, compile_rule
from swarm_sd.snapshot import Piece, piece, relabelling, snapshot

NODES = TargetGroup(
    "swarm_nodes",
    (
        {"__address__": "10.0.0.1:8070", "instance": "10.0.0.1:2375", "__meta_x": "own"},
        {"__address__": "[fd::1]:8070"},
    ),
    {"__meta_swarm_role": "node", "__meta_x": "shared"},
)
DEFAULTS = {
    "job": "j",
    "__scheme__": "http",
    "__metrics_path__": "/metrics",
    "__scrape_interval__": "1m",
    "__scrape_timeout__": "10s",
}


def read(made):
    return json.loads(made.body)


def test_each_target_is_an_object_with_its_own_labels_over_the_groups():
    assert read(snapshot([piece(NODES)])) == [
        {
            "targets": ["10.0.0.1:8070"],
            "labels": {"__meta_swarm_role": "node", "__meta_x": "own", "instance": "10.0.0.1:2375"},
        },
        {"targets": ["[fd::1]:8070"], "labels": {"__meta_swarm_role": "node", "__meta_x": "shared"}},
    ]


def test_labels_in_layers_are_written_as_a_dict_is():
    layers = {"__meta_swarm_role": "node", "__meta_x": "shared"}, {"__meta_x": "own"}
    flat = TargetGroup("s", ({"__address__": "a:1", "__meta_x": "own"},), layers[0])
    assert piece(TargetGroup("s", (Layered("a:1", layers),))) == piece(flat)


def test_no_targets_are_an_empty_list():
    made = snapshot([piece(TargetGroup("a")), Piece(b"", 0)])
    assert (made.body, made.targets) == (b"[]", 0)


def test_pieces_join_to_one_list():
    made = snapshot(
        [piece(NODES), piece(TargetGroup("e")), piece(TargetGroup("b", ({"__address__": "c:1"},)))]
    )
    assert [entry["targets"][0] for entry in read(made)] == ["10.0.0.1:8070", "[fd::1]:8070", "c:1"]
    assert made.targets == 3


def test_the_same_targets_give_the_same_bytes_and_tag_and_others_do_not():
    one, same = snapshot([piece(NODES)]), snapshot([piece(NODES)])
    assert (one.body, one.etag, one.gzipped) == (same.body, same.etag, same.gzipped)
    assert snapshot([]).etag != one.etag
    assert one.etag.startswith('"')


@given(label_sets())
def test_whatever_the_labels_hold_comes_out_again(labels):
    group = TargetGroup("s", ({**labels, "__address__": "a:1"},))
    made = snapshot([piece(group)])
    assert gzip.decompress(made.gzipped) == made.body
    [entry] = read(made)
    assert entry["labels"] == {name: value for name, value in labels.items() if name != "__address__"}


def test_relabelled_targets_have_no_meta_labels_and_none_that_the_collector_would_give_them_anyway():
    rules = (
        compile_rule(RelabelConfig(source_labels=("__meta_swarm_role",), target_label="role")),
        compile_rule(RelabelConfig(source_labels=("__address__",), regex=r"\[.*", action="drop")),
        compile_rule(RelabelConfig(target_label="__metrics_path__", replacement="/m")),
    )
    made = relabelling(Job("j", (), rules, DEFAULTS))(NODES)
    assert json.loads(b"[" + made.data + b"]") == [
        {
            "targets": ["10.0.0.1:8070"],
            "labels": {"__metrics_path__": "/m", "instance": "10.0.0.1:2375", "role": "node"},
        }
    ]
