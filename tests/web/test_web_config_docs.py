"""docs/web-config.md says what is there: keys, defaults, headers, suites, and the example."""

import re
from pathlib import Path

import msgspec
import pytest

from swarm_sd.config.web import HEADERS as SETTABLE
from swarm_sd.config.web import SUITES, TLS_1_3_SUITES, ClientAuth, ConfigError, WebConfig, load
from swarm_sd.web.access import HEADERS

PAGE = (Path(__file__).parents[2] / "docs/web-config.md").read_text()


def section(heading):
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(markdown):
    cells = [line.strip("|").split("|") for line in markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in cells]


def keys(kind, path=""):
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from keys(field.type, f"{path}{field.name}.")
        else:
            yield path + field.name


def test_the_keys_are_those_of_the_table():
    described = set()
    for first, *_ in rows(section("Keys"))[1:]:
        named = re.findall(r"`([\w.]+)`", first)
        folder = named[0].rpartition(".")[0]
        described |= {one if "." in one or not folder else f"{folder}.{one}" for one in named}
    assert described == set(keys(WebConfig))


def test_the_ways_to_ask_clients_are_those_of_the_table():
    described = {
        word for row in rows(section("Clients' certificates")) for word in re.findall(r"`(\w+)`", row[0])
    }
    assert described - {"client_auth_type"} == set(ClientAuth.__args__)


def test_the_headers_are_those_of_the_tables():
    described = [[cell.strip("`") for cell in row] for row in rows(section("Headers")) if row[0] != "header"]
    assert dict(described[: len(HEADERS)]) == HEADERS
    may_be = {row[0]: tuple(re.findall(r"[\w-]+", row[1])) for row in described[len(HEADERS) :]}
    assert may_be == {name: values or ("any", "text") for name, values in SETTABLE.items()}


def test_the_suites_are_those_described():
    text = " ".join(section("Suites and curves").split())
    assert all(f"`{name}`" in text for name in TLS_1_3_SUITES)
    kinds, rest = text.partition("; `TLS_RSA_WITH_`")[0], {name.partition("_WITH_")[2] for name in SUITES}
    assert {word for word in re.findall(r"`(\w+)`", kinds) if not word.startswith("TLS_")} == rest
    assert len(SUITES) == 2 * len(rest) + len(rest) - 1


def test_the_example_is_taken_and_the_complaint_is_the_one_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = next(body for body in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "rate_limit" in body)
    (tmp_path / "web.yml").write_text(example)
    load("web.yml")
    (tmp_path / "web.yml").write_text(re.sub(r"\$2y\S+", "secret", example))
    with pytest.raises(ConfigError) as caught:
        load("web.yml")
    assert f"```\n{caught.value}\n```" in PAGE
