"""Labels in layers: to whoever reads them, a dict."""

import copy
import pickle
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import LABEL_NAMES, LABEL_VALUES, labels

from swarm_sd.model import ADDRESS, Labels, Layered, merged


def layered():
    """Layered labels with the dict that they are."""
    made = st.builds(Layered, LABEL_VALUES, st.lists(labels(), max_size=4).map(tuple))
    return made.map(lambda one: (one, plain(one)))


def plain(one: Layered) -> dict[str, str]:
    found: dict[str, str] = {}
    for layer in one.layers:
        found |= layer
    return {**found, ADDRESS: one.address}


@given(layered(), LABEL_NAMES)
def test_layered_labels_read_as_the_dict_of_their_last_layers(
    both: tuple[Layered, dict[str, str]], name: str
):
    one, same = both
    assert isinstance(one, Mapping)
    assert {**one} == dict(one.items()) == merged(one) == same
    assert len(one) == len(same)
    assert (name in one) is (name in same)
    assert one.get(name) == same.get(name)
    assert one.get(name, "none") == same.get(name, "none")
    assert repr(one) == repr(merged(one))
    assert [one[each] for each in one] == list(merged(one).values())


@given(layered(), layered(), labels())
def test_layered_labels_equal_what_has_the_same_labels_and_nothing_else(
    one: tuple[Layered, dict[str, str]], other: tuple[Layered, dict[str, str]], some: dict[str, str]
):
    (made, same), (others, same_as_others) = one, other
    assert made == same
    assert same == made
    assert made == Layered(made.address, (same,))
    assert (made == others) is (same == same_as_others)
    assert (made != others) is (same != same_as_others)
    assert (made == some) is (same == some)
    assert made != made.address


@given(st.lists(labels() | layered().map(lambda both: both[0]), max_size=3))
def test_what_is_merged_has_the_last_of_those_with_one_name(parts: list[Labels]):
    expected: dict[str, str] = {}
    for part in parts:
        expected |= dict(part)
    assert merged(*parts) == expected


def test_layered_labels_can_be_copied_and_pickled():
    one = Layered("a:1", ({"a": "1"},))
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == {"a": "1", ADDRESS: "a:1"}
