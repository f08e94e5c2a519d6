"""The JSON schema for editors and what reads the configuration are of one mind."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any, ClassVar

import click.testing
import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from swarm_sd import discovery
from swarm_sd.cli import cli
from swarm_sd.config import ConfigError, load, schema
from swarm_sd.discovery import kinds
from swarm_sd.provider import SDConfig
from swarm_sd.relabel import ACTIONS
from swarm_sd.scalars import Duration, Interval, Port

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
_BLOCK = re.compile(r"^(?:<!-- ([^\n]*?) -->\n)?```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def samples() -> dict[str, str]:
    """Every configuration in the repository that swarm-sd is meant to take."""
    found = {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for path in [*ROOT.glob("tests/fixtures/config/*.yml"), *ROOT.glob("packaging/**/*.yml")]
    }
    for page in PAGES:
        for number, (title, body) in enumerate(_BLOCK.findall(page.read_text())):
            if title != "wrong":
                found[f"{page.name}: {title or number}"] = body
    return {name: text for name, text in found.items() if re.search(r"^scrape_configs:", text, re.MULTILINE)}


SAMPLES = samples()
WHOLE = SAMPLES["tests/fixtures/config/whole.yml"]


def parsed(text: str) -> Any:
    """As an editor reads it: YAML 1.2, which takes no tabs."""
    return YAML(typ="safe", pure=True).load(text.replace("\t", " "))


def validator() -> jsonschema_rs.Draft7Validator:
    made = json.loads(json.dumps(schema.schema()))
    jsonschema_rs.meta.validate(made)
    return jsonschema_rs.Draft7Validator(made)


KNOWN = validator()


def faults(text: str) -> list[str]:
    return [f"{list(error.instance_path)}: {error.message}" for error in KNOWN.iter_errors(parsed(text))]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_valid(name):
    assert faults(SAMPLES[name]) == []


def test_there_are_samples_of_every_kind_in_pages_and_files():
    assert len(SAMPLES) > 15
    assert all(any(f"{kind}_sd_configs" in text for text in SAMPLES.values()) for kind in kinds())


def entry(kind: str = "dockerswarm", rule: object = None, **fields: object) -> str:
    needed = {"dockerswarm": {"role": "nodes", "host": "unix:///x"}, "docker": {"host": "unix:///x"}}
    config = {"job_name": "x", f"{kind}_sd_configs": [{**needed.get(kind, {}), **fields}]}
    return json.dumps({"scrape_configs": [{**config, "relabel_configs": [rule] if rule else []}]})


WRONG = {
    "a kind": '{"scrape_configs": [{"job_name": "x", "swarn_sd_configs": []}]}',
    "a key of Prometheus": '{"scrape_configs": [{"job_name": "x", "scrape_intervall": "15s"}]}',
    "a key at the top": '{"scrape_config": []}',
    "a key of global": '{"global": {"scrape_timout": "1s"}}',
    "no job's name": '{"scrape_configs": [{"static_configs": []}]}',
    "a field": entry("swarm", mastres=["tcp://m:1"]),
    "a nested field": entry("swarm", masters=["tcp://m:1"], tls_config={"ca_fiel": "x"}),
    "a field under its name in Python": entry("swarm", discovery_opts={"path": "x"}),
    "a role": entry(role="task"),
    "no role": entry().replace('"role": "nodes", ', ""),
    "a role that is nothing": entry(role=None),
    "a text for a list": entry("swarm", masters="tcp://m:1"),
    "a list for a text": entry(host=["tcp://m:1"]),
    "a duration without its unit": entry(refresh_interval=5),
    "a duration with a wrong unit": entry(refresh_interval="5sec"),
    "an interval of nothing": entry(refresh_interval="0s"),
    "a port with its protocol": entry(port="80/tcp"),
    "a port that is too high": entry(port=70_000),
    "a word for true or false": entry(follow_redirects="ja"),
    "an action": entry(rule={"action": "dorp"}),
    "a field of a rule": entry(rule={"sourcelabels": []}),
    "a duration in a scrape config": '{"scrape_configs": [{"job_name": "x", "scrape_interval": "15"}]}',
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_misspelt_is_not_valid_and_is_refused(tmp_path, what):
    assert faults(WRONG[what])
    (tmp_path / "p.yml").write_text(WRONG[what])
    with pytest.raises(ConfigError):
        load(tmp_path / "p.yml")


def places(at: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything within ``at``."""
    inside = at.items() if isinstance(at, dict) else enumerate(at) if isinstance(at, list) else ()
    return [path, *(found for key, value in inside for found in places(value, (*path, key)))]


VALUES = [
    *(None, True, False, 0, 1, 80, -1, 70_000, 1.5, 2.0, [], {}, [None], ["a"], [80], [{}], {"a": None}),
    *(
        "",
        "a",
        "0",
        "5",
        "5s",
        "0s",
        "1m30s",
        "080",
        "true",
        "nodes",
        "tcp://m:1",
        "REPLACE",
        "TLS12",
        "http",
    ),
]


JOBS = sum(any(f"{kind}_sd_configs" in job for kind in kinds()) for job in parsed(WHOLE)["scrape_configs"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_the_schema_refuses_swarm_sd_refuses(tmp_path, data):
    whole = parsed(WHOLE)
    *way, last = data.draw(st.sampled_from(places(whole)[1:]))
    at = whole
    for step in way:
        at = at[step]
    at[last] = data.draw(st.sampled_from(VALUES))
    text = json.dumps(whole)  # which is YAML
    (tmp_path / "p.yml").write_text(text)
    try:
        taken = load(tmp_path / "p.yml")
    except ConfigError:
        return
    if len(taken.jobs) == JOBS:  # rules of a job that is not ours are Prometheus' to judge
        assert faults(text) == []


def agree(kind: type, text: str) -> bool:
    try:
        kind.from_yaml(text)
    except ValueError:
        taken = False
    else:
        taken = True
    return taken == jsonschema_rs.is_valid(schema._SCALARS[kind], text)


SPANS = st.lists(st.sampled_from(["0", "1", "90", "y", "w", "d", "h", "m", "s", "ms", " ", "x"]), max_size=6)


@given(parts=SPANS)
def test_durations_and_intervals_look_like_those_that_are_read(parts):
    assert agree(Duration, "".join(parts))
    assert agree(Interval, "".join(parts))


@given(text=st.from_regex(r"[0-9]{0,5}") | st.text(max_size=4))
def test_what_is_no_port_is_none_to_both(text):
    if not text.isdecimal() or int(text) <= 65_535:  # a pattern cannot count
        assert agree(Port, text)


@pytest.mark.parametrize("action", ACTIONS)
def test_actions_may_be_written_in_any_letter_case(action):
    for spelt in (action, action.upper(), action.title()):
        rule = {"action": spelt, "source_labels": ["a"], "target_label": "b"}
        config = {"scrape_configs": [{"job_name": "x", "relabel_configs": [rule]}]}
        assert faults(json.dumps(config)) == []


def test_the_keys_that_are_read_are_known_with_their_types():
    source = (ROOT / "src/swarm_sd/config/jobs.py").read_text()
    read = re.findall(r'one\.get\(\s*"(\w+)", (.+?), [^,\]]+\)(?:\n| or)', source)
    assert len(read) >= 8
    known = {**schema.GLOBAL, **schema.SCRAPE_CONFIG}
    types = {"Duration": Duration, "str": str}
    for name, written in read:
        kind = types.get(written) or eval(written, {**vars(schema)})
        assert known[name] == kind, name


class PhoneSDConfig(SDConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Targets of a phone book.

    As another package would bring them.
    """

    kind: ClassVar[str] = "phone"

    book: str
    ask_every: Duration = Duration(60)


def test_kinds_of_other_packages_are_in_it(monkeypatch):
    point = importlib.metadata.EntryPoint("phone", f"{__name__}:PhoneSDConfig", discovery.ENTRY_POINT_GROUP)
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: PhoneSDConfig)
    monkeypatch.setattr(discovery, "entry_points", lambda group: [point])
    kinds.cache_clear()
    try:
        shown = click.testing.CliRunner().invoke(cli, ["schema"], catch_exceptions=False)
    finally:
        kinds.cache_clear()
    made = json.loads(shown.output)
    phone = made["definitions"]["PhoneSDConfig"]
    assert phone["description"] == "Targets of a phone book."
    assert (phone["required"], phone["properties"]["ask_every"]["default"]) == (["book"], "1m")
    lists = made["definitions"]["scrape_config"]["properties"]["phone_sd_configs"]
    assert lists["items"] == {"$ref": "#/definitions/PhoneSDConfig"}


def test_two_structs_of_one_name_are_told_apart():
    other = type("TLSConfig", (PhoneSDConfig,), {"__module__": "elsewhere"}, kw_only=True)
    made = schema.schema({**kinds(), "other": other})
    assert {"TLSConfig", "elsewhere.TLSConfig"} <= made["definitions"].keys()


def test_no_secret_has_a_default_and_no_default_is_a_secret():
    assert "<secret>" not in json.dumps(schema.schema())
