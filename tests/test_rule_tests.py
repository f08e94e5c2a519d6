"""Tests of a configuration: what they say when it does what is expected, and above all when it does not."""

from __future__ import annotations

import itertools
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_sd.cli import cli
from swarm_sd.job import Job
from swarm_sd.model import ADDRESS
from swarm_sd.once import Discovered
from swarm_sd.rule_tests import document
from swarm_sd.rule_tests.document import Expect, Target
from swarm_sd.rule_tests.judge import AT_MOST, differences, matched
from swarm_sd.target import Populated

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples/rules-test"
PAGE = (ROOT / "docs/testing-rules.md").read_text()

CONFIG = """\
scrape_configs:
- job_name: tasks
  dockerswarm_sd_configs:
  - {host: 'unix:///var/run/docker.sock', role: tasks}
  relabel_configs:
  - {source_labels: [state], regex: running, action: keep}
  - {source_labels: [service], regex: db, action: drop}
  - {source_labels: [stage], target_label: env}
"""
HEAD = """\
config: prometheus.yml
tests:
- name: first
  job: tasks
"""
GROUPS = """\
  groups:
  - targets: ['10.0.0.1:80', '10.0.0.2:80']
    labels: {state: running, service: api, stage: prod}
  - targets: ['10.0.0.3:80']
    labels: {state: running, service: db}
  - targets: ['10.0.0.4:80']
    labels: {state: shutdown, service: api}
  - targets: ['a/b']
    labels: {state: running, service: odd}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("prometheus.yml").write_text(CONFIG)
    return tmp_path


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects anywhere fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("a test of rules has touched the network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)


def test(*files: str | Path) -> Result:
    return CliRunner().invoke(cli, ["test", *map(str, files)])


test.__test__ = False  # type: ignore[attr-defined]


def expecting(expect: str, given: str = GROUPS) -> str:
    lines = "".join(f"    {line}\n" for line in expect.strip("\n").split("\n"))
    Path("rules.yml").write_text(f"{HEAD}{given}  expect:\n{lines}")
    return "rules.yml"


def shown(expect: str) -> str:
    """What is shown of a test that fails, without the lines around it."""
    done = test(expecting(expect))
    lines = done.stdout.splitlines()
    assert (done.exit_code, lines[0], lines[1]) == (1, "Testing rules.yml", "  FAILED  first (rules.yml:3:3)")
    assert lines[-1] == "1 test, 1 failed"
    text = "\n".join(line.removeprefix("    ") for line in lines[2:-1])
    return re.sub("(dropped it).*", r"\1", text)  # the rest is explained elsewhere


# -- what is expected ----------------------------------------------------------------------------------

PASSES = [
    "targets: [{address: '10.0.0.2:80'}, {address: '10.0.0.1:80', labels: {env: prod, service: api}}]",
    "targets: [{labels: {service: api}}, {labels: {service: api}}]",
    "targets: [{labels: {service: api}}, {address: '10.0.0.1:80'}]",
    "contains: [{address: '10.0.0.1:80', labels: {none: '', __scheme__: http}}]",
    "contains: [{exact: true, labels: {job: tasks, service: api, state: running, stage: prod, env: prod}}]",
    "contains: [{exact: true, labels: {instance: '10.0.0.1:80', service: api, state: running, stage: prod, "
    "env: prod}}]",
    "count: 2",
    "dropped: [{labels: {service: db}, rule: 2}, {address: '10.0.0.4:80', rule: 1}, {address: a/b}]",
    "dropped: [{labels: {state: shutdown}}]",
]


@pytest.mark.parametrize("expect", PASSES)
def test_a_test_passes_where_all_is_as_expected(expect: str) -> None:
    done = test(expecting(expect))
    assert (done.exit_code, done.stdout) == (
        0,
        "Testing rules.yml\n  ok      first\n1 test, all passed\n",
    )


RULE_1 = "Rule 1 (prometheus.yml:6:5) dropped it"
DIFFERS = {
    "targets: [{address: '10.0.0.1:80'}]": """\
+ 10.0.0.2:80 {env="prod", service="api", stage="prod", state="running"}""",
    "targets: [{address: '10.0.0.1:80', labels: {env: staging, x: y}}, {address: '10.0.0.2:80'}]": """\
  10.0.0.1:80
-   env="staging"
+   env="prod"
-   x="y\"""",
    "targets: [{address: '10.0.0.1:80'}, {address: '10.0.0.9:80', labels: {env: prod}}]": """\
- 10.0.0.9:80
+ 10.0.0.2:80""",
    "contains: [{address: '10.0.0.4:80'}, {address: '10.0.0.9:80'}, {address: a/b}]": f"""\
- 10.0.0.4:80
    {RULE_1}
- 10.0.0.9:80
- a/b
    Prometheus refuses it after relabelling: 'a/b' is not a valid hostname: __address__ is host:port, \
without a scheme or path.""",
    "contains: [{address: '10.0.0.1:80', labels: {env: ''}}]": """\
  10.0.0.1:80
-   env=""
+   env="prod\"""",
    "contains: [{address: '10.0.0.1:80', exact: true, labels: {job: x, service: api, env: prod}}]": """\
  10.0.0.1:80
-   job="x"
+   job="tasks"
+   stage="prod"
+   state="running\"""",
    "count: 3": """\
- 3 targets
+ 2 targets""",
    "dropped: [{labels: {state: shutdown}, rule: 2}]": f"""\
- {{state="shutdown"}} dropped by rule 2
+ 10.0.0.4:80: {RULE_1}""",
    "dropped: [{labels: {service: api}}]": """\
- {service="api"} dropped
+ 10.0.0.1:80: It is scraped at 10.0.0.1:80.
- {service="api"} dropped
+ 10.0.0.2:80: It is scraped at 10.0.0.2:80.""",
    "dropped: [{address: '10.0.0.9:80', labels: {x: y}}]": """\
- 10.0.0.9:80 {x="y"} dropped
+ nothing like it is discovered""",
    "passed_over: [{reason: no_network, service: x}]": """\
- {service="x"} passed over for no_network
+ nothing like it is passed over""",
}


@pytest.mark.parametrize("expect", DIFFERS)
def test_what_differs_is_shown_side_by_side(expect: str) -> None:
    assert shown(expect) == DIFFERS[expect]


OBJECTS = """\
  docker:
    nodes: [{ID: n1, Description: {Hostname: one}, Status: {Addr: 10.1.1.1, State: ready}}]
    services: [{ID: s1, Spec: {Name: api, Labels: {prometheus.port: 8080, a: yes}}}]
    tasks:
    - {ID: t1, ServiceID: s1, NodeID: n1, Slot: 1, DesiredState: running, Status: {State: running},
       NetworksAttachments: [{Network: {ID: net, Spec: {Name: back}}, Addresses: [10.2.0.3/24]}]}
    - {ID: t2, ServiceID: s1, NodeID: n1, Slot: 2, DesiredState: running, Status: {State: pending}}
"""


def test_objects_of_docker_may_be_written_into_the_test() -> None:
    Path("prometheus.yml").write_text(
        CONFIG.replace("role: tasks", "role: endpoints").partition("  relabel")[0]
    )
    file = expecting(
        "targets: [{address: '10.2.0.3:8080'}]\npassed_over: [{service: api, reason: not_running}]", OBJECTS
    )
    assert test(file).stdout.endswith("1 test, all passed\n")
    file = expecting("passed_over: [{service: api, node: one, reason: no_service}]", OBJECTS)
    assert test(file).stdout.splitlines()[2:4] == [
        '    - {service="api", node="one"} passed over for no_service',
        "    + task api.2 passed over for not_running",
    ]


def test_no_more_is_shown_than_one_can_read() -> None:
    many = [Populated({ADDRESS: f"{number}"}, {ADDRESS: f"{number}"}) for number in range(AT_MOST + 5)]
    found = Discovered({"a": tuple(many)})
    lines = differences(Expect(targets=()), Job("a", ()), found)
    assert (len(lines), lines[-1].text) == (AT_MOST + 1, "and 5 more")
    wanted = tuple(Target(address=f"x{number}") for number in range(AT_MOST + 5))
    lines = differences(Expect(contains=wanted), Job("a", ()), found)
    assert (len(lines), lines[-1].text) == (AT_MOST + 1, "and 5 more")


LABELS = st.fixed_dictionaries({"a": st.sampled_from("01"), "b": st.sampled_from("01")})
PATTERNS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("01"), min_size=1)


@given(st.lists(PATTERNS, max_size=4), st.lists(LABELS, max_size=4))
@settings(max_examples=300, deadline=None)
def test_as_few_targets_as_can_be_are_missing(
    patterns: Sequence[dict[str, str]], labels: Sequence[dict[str, str]]
) -> None:
    expected = [Target(labels=pattern) for pattern in patterns]
    there = [{ADDRESS: str(number), **one} for number, one in enumerate(labels)]
    missing, more = matched(expected, there, "")
    assert len(expected) - len(missing) == len(there) - len(more) == _most(patterns, labels)


def _most(patterns: Sequence[dict[str, str]], labels: Sequence[dict[str, str]]) -> int:
    """The largest number of pairs, by trying them all."""
    slots = [*range(len(labels)), *[None] * len(patterns)]
    return max(
        sum(
            at is not None and pattern.items() <= labels[at].items()
            for pattern, at in zip(patterns, one, strict=True)
        )
        for one in itertools.permutations(slots, len(patterns))
    )


# -- the file -------------------------------------------------------------------------------------------

COMPLAINTS = {
    "": "rules.yml:1:1: the file is empty; it needs config and tests",
    "config: [": "rules.yml:1:10: not valid YAML: expected the node content, but found '<stream end>' "
    "while parsing a flow node",
    "config: prometheus.yml\ntests: []\n": "rules.yml:2:8: tests: there is no test",
    "confg: prometheus.yml\ntests: []\n": "rules.yml:1:1: unknown field 'confg', did you mean 'config'?",
    HEAD
    + "  expect: {count: 1}\n": "rules.yml:3:3: tests[0]: nothing to discover from; give one of snapshot, "
    "groups, docker, or a snapshot for all tests",
    HEAD + "  snapshot: x\n  groups: []\n  expect: {count: 1}\n": None,
    HEAD + "  groups: []\n  docker: {}\n  expect: {count: 1}\n": None,
    HEAD
    + GROUPS
    + "  expect: {}\n": "rules.yml:14:11: tests[0].expect: nothing is expected; write targets: [] "
    "for no target at all",
    HEAD
    + GROUPS
    + "  expect: {targets: [{}]}\n": "rules.yml:14:22: tests[0].expect.targets[0]: which target? "
    "give its address, some of its labels, or both",
    HEAD + GROUPS + "  expect: {dropped: [{address: a, rule: 4}]}\n": "rules.yml:14:41: "
    "tests[0].expect.dropped[0].rule: the job has 3 rules",
    HEAD + GROUPS + "  expect: {dropped: [{address: a, rule: 0}]}\n": "rules.yml:14:41: "
    "tests[0].expect.dropped[0].rule: rules are counted from 1",
    (HEAD + GROUPS).replace("job: tasks", "job: task")
    + "  expect: {count: 0}\n": "rules.yml:4:8: tests[0].job: "
    "no job 'task' with an entry of ours in prometheus.yml, did you mean 'tasks'?",
    HEAD + "  docker: {tasks: [{ServiceId: x}]}\n  expect: {count: 0}\n": "rules.yml:5:21: "
    "tests[0].docker.tasks[0]: unknown field 'ServiceId'",
    HEAD + "  snapshot: none.json\n  expect: {count: 0}\n": "rules.yml:5:13: tests[0].snapshot: "
    "cannot read none.json: No such file or directory",
    HEAD + "  snapshot: prometheus.yml\n  expect: {count: 0}\n": "rules.yml:5:13: tests[0].snapshot: "
    "prometheus.yml: no file of swarm-sd record: JSON is malformed: invalid character (byte 0)",
    HEAD.replace("prometheus.yml", "none.yml")
    + GROUPS
    + "  expect: {count: 0}\n": "none.yml:1:1: cannot read the file: No such file or directory",
}


@pytest.mark.parametrize("text", [text for text, complaint in COMPLAINTS.items() if complaint])
def test_a_file_that_is_wrong_is_refused_with_the_place(text: str) -> None:
    Path("rules.yml").write_text(text)
    done = test("rules.yml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert COMPLAINTS[text] in done.stderr.splitlines()


def test_only_one_thing_is_given_to_discover_from() -> None:
    Path("rules.yml").write_text(HEAD + "  snapshot: x\n" + GROUPS + "  expect: {count: 1}\n")
    assert "tests[0].groups: snapshot is given already; keep one of them" in test("rules.yml").stderr


def test_names_are_relative_to_the_file_of_tests(folder: Path) -> None:
    Path("sub").mkdir()
    Path("prometheus.yml").rename("sub/prometheus.yml")
    Path(expecting("count: 2")).rename("sub/rules.yml")
    assert test("sub/rules.yml").exit_code == 0
    assert test(folder / "sub/rules.yml").exit_code == 0


def test_a_snapshot_for_all_tests_is_used_where_a_test_gives_nothing_else(folder: Path) -> None:
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    assert test("rules.yml").exit_code == 0


def test_several_files_are_counted_together() -> None:
    Path(expecting("count: 2")).rename("a.yml")
    Path(expecting("count: 1")).rename("b.yml")
    done = test("a.yml", "b.yml")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0::3] == [
        "Testing a.yml",
        "  FAILED  first (b.yml:3:3)",
        "2 tests, 1 failed",
    ]


def test_an_entry_that_was_not_recorded_fails_and_is_not_taken_for_empty() -> None:
    Path("snapshot.json").write_text('{"swarm_sd_snapshot": 1}')
    done = test(expecting("targets: []", "  snapshot: snapshot.json\n"))
    assert done.exit_code == 1
    assert "tasks/0: nothing discovered: unix:///var/run/docker.sock/" in done.stdout
    assert "the snapshot knows nothing of this host" in done.stdout


def test_files_of_credentials_need_not_be_there(folder: Path) -> None:
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    config = Path("prometheus.yml")
    given = "    basic_auth: {username: a, password_file: none}\n    tls_config: {ca_file: none}\n"
    config.write_text(config.read_text().replace("    role: ", f"{given}    role: "))
    assert test("rules.yml").exit_code == 0


# -- the example ----------------------------------------------------------------------------------------


def test_the_example_passes_and_a_rule_that_is_broken_is_found(folder: Path) -> None:
    done = test(EXAMPLE / "rules.yml")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "5 tests, all passed")
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    config = Path("prometheus.yml")
    rules = config.read_text().split("  - source_labels")
    for broken in range(1, len(rules)):
        config.write_text(
            "  - source_labels".join(one for number, one in enumerate(rules) if number != broken)
        )
        assert test("rules.yml").exit_code != 0, rules[broken]


def block(title: str) -> list[str]:
    """The blocks of the page with that title."""
    return re.findall(rf"<!-- {title} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_shows_the_example_as_it_is() -> None:
    file = (EXAMPLE / "rules.yml").read_text()
    parts = block("rules.yml")
    assert len(parts) == 2
    assert [part for part in parts if part not in file] == []


def test_the_page_shows_what_the_command_prints(folder: Path) -> None:
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    assert [f"$ swarm-sd test rules.yml\n{test('rules.yml').stdout}"] == block("passes")
    config = Path("prometheus.yml")
    rule = "  - source_labels: [__meta_dockerswarm_service_name]\n"
    config.write_text(config.read_text().replace(rule, f"{rule}    regex: (.+)_.*\n"))
    assert [f"$ swarm-sd test rules.yml\n{test('rules.yml').stdout}"] == block("fails")


def test_the_page_names_every_field() -> None:
    for kind in (document.Expect, document.Target, document.Dropped, document.PassedOver, document.Objects):
        for field in kind.__struct_fields__:
            assert re.search(rf"`{field}\b", PAGE), field
