"""Every reason that can be shown is explained, and no other."""

import re
from pathlib import Path

from swarm_sd.discovery.docker_api import targets
from swarm_sd.discovery.swarm import containers
from swarm_sd.reasons import REASONS, in_words
from swarm_sd.target import REFUSALS

DISCOVERY = Path(targets.__file__).parents[1]


def of_parsing():
    """The reasons that the reading of classic Swarm's answers and of stores counts."""
    texts = [path.read_text() for path in (*DISCOVERY.glob("swarm/*.py"), *DISCOVERY.glob("kv/*.py"))]
    patterns = (r'\bskipped\["(\w+)"\]', r'\{"(\w+)": offers\}', r'\{"(\w+)": \w+\} if ')
    return {word for text in texts for one in patterns for word in re.findall(one, text)}


def test_every_reason_is_in_words_and_nothing_else_is():
    assert of_parsing() >= {"odd_row", "orphan_row", "mesos_offer"}
    others = {targets.NO_VIRTUAL_IP, containers.UNKNOWN_NODE}
    assert {*REASONS} == {*targets.REASONS, *REFUSALS, *others, *of_parsing()}


def test_the_words_are_sentences():
    assert [text for text in REASONS.values() if not text.endswith(".") or not text[0].isupper()] == []


def test_the_rule_that_dropped_a_target_is_named_in_words():
    assert in_words("relabel_rule_12") == "Rule 12 of the job's relabel_configs dropped it."


def test_of_a_reason_of_somebody_elses_kind_there_are_no_words():
    assert in_words("their_own") == ""
    assert in_words("relabel_rule_") == ""
