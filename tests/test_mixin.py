"""The shipped alerts and dashboards: what they ask for is there, and each alert has its page."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.e2e.programs import needs

ROOT = Path(__file__).parents[1]
MIXIN = ROOT / "mixin"
RUNBOOKS = ROOT / "docs/runbooks"
DASHBOARDS = sorted((MIXIN / "dashboards").glob("*.json"))
NOT_OURS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
"""Metrics of Prometheus itself and of its client library."""


def read(name: str) -> Any:
    return YAML(typ="safe").load((MIXIN / name).read_text())


def alerts() -> dict[str, Any]:
    return {rule["alert"]: rule for group in read("alerts.yml")["groups"] for rule in group["rules"]}


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(
        [needs("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def described() -> set[str]:
    """The metrics that the documentation has in its tables."""
    pages = [ROOT / "docs/operate.md", ROOT / "docs/swarm-metrics.md"]
    return {name for page in pages for name in re.findall(r"^\| `(swarm_\w+)` \|", page.read_text(), re.M)}


def metrics(expression: str) -> set[str]:
    """The names of metrics in an expression: every name that is no function, keyword, label or text."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', " ", expression)
    bare = re.sub(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    names = set(re.findall(r"\b[a-z_]\w*\b(?!\s*\()", bare))
    return names - {"and", "or", "unless", "bool", "sum", "max", "min", "count", "by", "on"}


def test_promtool_takes_the_alerts() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", MIXIN / "alerts.yml")


def test_each_alert_fires_on_what_it_is_for_and_is_silent_otherwise() -> None:
    promtool("test", "rules", MIXIN / "alerts_test.yml")


def test_each_alert_is_tested_firing_and_silent() -> None:
    fires: set[str] = set()
    silent: set[str] = set()
    for test in read("alerts_test.yml")["tests"]:
        for one in test["alert_rule_test"]:
            (fires if one.get("exp_alerts") else silent).add(one["alertname"])
    assert fires == silent == alerts().keys()


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert {"summary", "description"} <= rule["annotations"].keys()
    assert rule["annotations"]["runbook"] == f"docs/runbooks/{name}.md"
    assert (RUNBOOKS / f"{name}.md").read_text().startswith(f"# {name}\n")


def test_no_page_is_of_an_alert_that_there_is_not() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == alerts().keys()


def test_the_page_has_every_alert_with_its_severity_and_patience() -> None:
    page = (ROOT / "docs/alerts.md").read_text()
    told = re.findall(r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \| ([\w ]+) \|", page, re.M)
    rules = alerts().items()
    assert told == [(name, name, one["labels"]["severity"], one.get("for", "at once")) for name, one in rules]


@pytest.mark.parametrize("name", alerts())
def test_an_alert_asks_for_metrics_that_there_are(name: str) -> None:
    asked = metrics(alerts()[name]["expr"])
    assert asked
    assert asked <= described() | NOT_OURS


def panels(path: Path) -> list[Any]:
    return [panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]


def queries(path: Path) -> Iterator[str]:
    for panel in panels(path):
        for target in panel["targets"]:
            yield filled(target["expr"])


def filled(expression: str) -> str:
    """With a value for each variable, as Grafana would put in."""
    return re.sub(r"\$(?!__)\w+", ".*", expression).replace("$__rate_interval", "1m")


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_for_metrics_that_there_are(path: Path) -> None:
    asked = {name for query in queries(path) for name in metrics(query)}
    assert asked
    assert asked <= described() | NOT_OURS


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_promtool_takes_the_queries_of_a_dashboard(path: Path, tmp_path: Path) -> None:
    rules = [{"record": f"q{number}", "expr": query} for number, query in enumerate(queries(path))]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": path.stem, "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_the_panels_of_a_dashboard_are_named_and_do_not_overlap(path: Path) -> None:
    document = json.loads(path.read_text())
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert panel["title"]
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_uses_variables_that_it_has(path: Path) -> None:
    document = json.loads(path.read_text())
    known = {variable["name"] for variable in document["templating"]["list"]}
    used = set(re.findall(r"\$\{?(?!__)(\w+)", json.dumps(document["panels"])))
    assert used <= known
    assert known <= used | {"datasource"}
