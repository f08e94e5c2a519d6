"""Large lists are decoded in parts, so that the program goes on meanwhile: the result is the same."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_sd.discovery.docker_api import listed, wire


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(listed, "PART", 64)


def body(tasks):
    return json.dumps(tasks, separators=(",", ":")).encode()


def tricky(number):
    return {
        "ID": f"t{number}",
        "Slot": number,
        # looks like the border of two objects of the list, and is none
        "Labels": {"text": '},{"ID":"no'},
        "NetworksAttachments": [
            {"Network": {"ID": "n1"}},
            {"Network": {"ID": "n2"}, "Addresses": ["10.0.0.1/24"]},
        ],
        "Status": {"PortStatus": {"Ports": [{"Name": "a"}, {"Name": "b"}]}},
    }


@given(st.integers(0, 60), st.integers(1, 2000))
def test_parts_give_what_the_whole_gives(count, size):
    tasks = [tricky(number) for number in range(count)]
    whole = msgspec.json.decode(body(tasks), type=list[wire.Task])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listed, "PART", size)
        found = wire.decode_tasks(bytearray(body(tasks)))
    assert list(found) == whole
    assert not found.skipped


def test_an_odd_object_in_a_large_list_spoils_nothing():
    tasks = [tricky(number) for number in range(50)]
    tasks[20]["Slot"] = "twenty"
    found = wire.decode_tasks(body(tasks))
    assert [task.id for task in found] == [f"t{number}" for number in range(50) if number != 20]
    assert found.skipped == {"odd_object": 1}


@pytest.mark.parametrize("cut", [1, 100, 1000])
def test_a_list_that_is_cut_short_is_no_list(cut):
    with pytest.raises(wire.DiscoveryError):
        wire.decode_tasks(body([tricky(number) for number in range(50)])[:-cut])
