"""Every complaint at once, each with its place, its reason and the way out."""

# ruff: noqa: E501 - the lines are those that a user sees
from __future__ import annotations

from pathlib import Path

import pytest

from swarm_sd.config import ConfigError, load
from swarm_sd.config.complaints import closest


def complaints(tmp_path: Path, text: str | bytes, name: str = "p.yml") -> list[str]:
    file = tmp_path / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == "\n".join(map(str, caught.value.complaints))
    return [line.replace(f"{tmp_path}/", "") for line in str(caught.value).splitlines()]


JOB = "scrape_configs:\n- job_name: a\n"
NO_MASTER = "Swarm SD configuration requires at least one Swarm master"
SWARM = f"{JOB}  swarm_sd_configs:\n  - masters: ['http://one:2375']\n"
AT = "scrape_configs[0].swarm_sd_configs[0]"

CASES: dict[str, tuple[str, list[str]]] = {
    "the example of the design": (
        "scrape_configs:\n- job_name: a\n- job_name: b\n- job_name: c\n  swarn_sd_configs: []\n",
        ["p.yml:5:3: scrape_configs[2]: unknown field 'swarn_sd_configs', did you mean 'swarm_sd_configs'?"],
    ),
    "singular": (
        f"{JOB}  swarm_sd_config: []\n",
        ["p.yml:3:3: scrape_configs[0]: unknown field 'swarm_sd_config', did you mean 'swarm_sd_configs'?"],
    ),
    "top level": (
        "scrape_config: []\nxyzzy: 1\n",
        [
            "p.yml:1:1: unknown field 'scrape_config', did you mean 'scrape_configs'?",
            "p.yml:2:1: unknown field 'xyzzy'",
        ],
    ),
    "global": (
        "global: {scrape_intervall: 1s}\n",
        ["p.yml:1:10: global: unknown field 'scrape_intervall', did you mean 'scrape_interval'?"],
    ),
    "fields of an entry": (
        f"{JOB}  swarm_sd_configs:\n  - {{master: [a], refresh: 1s, port: 1}}\n",
        [
            f"p.yml:4:6: {AT}: unknown field 'master', did you mean 'masters'?",
            f"p.yml:4:19: {AT}: unknown field 'refresh', did you mean 'refresh_interval'?",
            f"p.yml:4:32: {AT}: unknown field 'port', did you mean 'metrics_port'?",
        ],
    ),
    "masters as a text": (
        f"{JOB}  swarm_sd_configs:\n  - masters: http://x:2375\n",
        [
            f"p.yml:4:14: {AT}.masters: expected a list, found a text; write it as a list: [...], or one '- ' line each"
        ],
    ),
    "an entry without a list": (
        f"{JOB}  swarm_sd_configs:\n    masters: ['http://x:2375']\n",
        [
            "p.yml:4:5: scrape_configs[0].swarm_sd_configs: expected a list, found a mapping; put '- ' before it"
        ],
    ),
    "no masters": (
        f"{JOB}  swarm_sd_configs:\n  - role: nodes\n",
        [f"p.yml:4:5: {AT}.masters: {NO_MASTER}"],
    ),
    "null masters": (
        f"{JOB}  swarm_sd_configs:\n  - masters:\n",
        [f"p.yml:4:5: {AT}.masters: {NO_MASTER}"],
    ),
    "empty masters": (
        f"{JOB}  swarm_sd_configs:\n  - masters: []\n",
        [f"p.yml:4:14: {AT}.masters: {NO_MASTER}"],
    ),
    "an empty entry": (
        f"{JOB}  swarm_sd_configs:\n  -\n",
        [f"p.yml:4:4: {AT}: expected a mapping, found nothing"],
    ),
    "values of an entry": (
        f"{SWARM}    refresh_interval: 5\n    metrics_port: http\n    metrics_scheme: htps\n    enable_http2: maybe\n",
        [
            f"p.yml:5:23: {AT}.refresh_interval: not a valid duration string: '5'; write it like 30s, 1m30s or 500ms",
            f"p.yml:6:19: {AT}.metrics_port: not a valid port: 'http'; write a number from 1 to 65535",
            f"p.yml:7:21: {AT}.metrics_scheme: expected 'http' or 'https', found 'htps', did you mean 'https'?",
            f"p.yml:8:19: {AT}.enable_http2: expected true or false, found 'maybe'",
        ],
    ),
    "problems of the whole entry": (
        f"{SWARM}    refresh_interval: 0s\n    tls_config: {{max_version: TLS11, min_version: TLS12}}\n",
        [
            f"p.yml:5:23: {AT}.refresh_interval: must be greater than 0: an interval of 0 would ask without a pause",
            f"p.yml:6:31: {AT}.tls_config.max_version: must not be below min_version",
        ],
    ),
    "a header with a dot": (
        f"{SWARM}    http_headers: {{a.b: {{}}, Host: {{values: [x]}}}}\n",
        [f"p.yml:5:35: {AT}.http_headers.Host: setting header 'Host' is not allowed"],
    ),
    "a password is not shown": (
        f"{JOB}  swarm_sd_configs:\n  - masters: ['ftp://u:geheim@x', 'http://u:geheim@x:0']\n",
        [
            f"p.yml:4:15: {AT}.masters[0]: unsupported scheme 'ftp' in 'ftp://<secret>@x'; "
            "write it like http://host:port, https://host:port, tcp://host:port or unix:///path",
            f"p.yml:4:35: {AT}.masters[1]: port 0 in 'http://<secret>@x:0' can never answer; "
            "write it like http://host:port, https://host:port, tcp://host:port or unix:///path",
        ],
    ),
    "job names": (
        "scrape_configs:\n- job_name: a\n- job_name: a\n- scheme: http\n- job_name:\n- job_name: ''\n- job_name: {}\n",
        [
            "p.yml:3:13: scrape_configs[1].job_name: found multiple scrape configs with job name 'a', "
            "the first at p.yml:2:13; rename one",
            "p.yml:4:3: scrape_configs[2]: 'job_name' is missing; give each scrape config a name",
            "p.yml:5:3: scrape_configs[3].job_name: job_name is empty; give each scrape config a name",
            "p.yml:6:13: scrape_configs[4].job_name: job_name is empty; give each scrape config a name",
            "p.yml:7:13: scrape_configs[5].job_name: expected a text, found a mapping",
        ],
    ),
    "timing": (
        "global: {scrape_interval: 5s, scrape_timeout: 6s}\nscrape_configs:\n- job_name: a\n  scrape_timeout: 7s\n",
        [
            "p.yml:1:47: global.scrape_timeout: 6s is greater than the scrape interval of 5s; make it 5s or less",
            "p.yml:4:19: scrape_configs[0].scrape_timeout: 7s is greater than the scrape interval of 5s; "
            "make it 5s or less",
        ],
    ),
    "what makes default labels": (
        f"{SWARM}  scheme: ftp\n  metrics_path: []\n  params: {{a: b, c: [{{}}]}}\n  metric_name_validation_scheme: utf\n",
        [
            "p.yml:5:11: scrape_configs[0].scheme: expected 'http' or 'https', found 'ftp'",
            "p.yml:6:17: scrape_configs[0].metrics_path: expected a text, found a list",
            "p.yml:7:15: scrape_configs[0].params.a: expected a list, found a text; "
            "write it as a list: [...], or one '- ' line each",
            "p.yml:7:22: scrape_configs[0].params.c[0]: expected a text, found a mapping",
            "p.yml:8:34: scrape_configs[0].metric_name_validation_scheme: expected 'utf8' or 'legacy', "
            "found 'utf', did you mean 'utf8'?",
        ],
    ),
    "relabelling of the wrong shape": (
        f"{SWARM}  relabel_configs:\n  - source_label: [a]\n  - source_labels: a\n  -\n"
        "  - {action: hashmod, target_label: x, modulus: '8'}\n",
        [
            "p.yml:6:5: scrape_configs[0].relabel_configs[0]: unknown field 'source_label', did you mean 'source_labels'?",
            "p.yml:7:20: scrape_configs[0].relabel_configs[1].source_labels: expected a list, found a text; "
            "write it as a list: [...], or one '- ' line each",
            "p.yml:8:4: scrape_configs[0].relabel_configs[2]: expected a mapping, found nothing",
            "p.yml:9:49: scrape_configs[0].relabel_configs[3].modulus: expected a whole number, found '8'; "
            "leave out the quotes",
        ],
    ),
    "sections of the wrong shape": (
        "global: []\nscrape_configs: {a: b}\nscrape_config_files: a.yml\n",
        [
            "p.yml:1:9: global: expected a mapping, found a list",
            "p.yml:2:17: scrape_configs: expected a list, found a mapping; put '- ' before it",
            "p.yml:3:22: scrape_config_files: expected a list, found a text; "
            "write it as a list: [...], or one '- ' line each",
        ],
    ),
    "an empty scrape config": (
        "scrape_configs:\n-\n- x\n",
        [
            "p.yml:2:2: scrape_configs[0]: expected a mapping, found nothing",
            "p.yml:3:3: scrape_configs[1]: expected a mapping, found a text",
        ],
    ),
    "a list at the top": ("- job_name: a\n", ["p.yml:1:1: expected a mapping, found a list"]),
    "patterns": (
        "scrape_config_files: ['*/a.yml', 'a**.yml', '', a/]\n",
        [
            "p.yml:1:23: scrape_config_files[0]: invalid scrape config file path '*/a.yml'; "
            "one '*' may stand in the last part of the path",
            "p.yml:1:34: scrape_config_files[1]: invalid scrape config file path 'a**.yml'; "
            "one '*' may stand in the last part of the path",
            "p.yml:1:45: scrape_config_files[2]: invalid scrape config file path ''; "
            "one '*' may stand in the last part of the path",
            "p.yml:1:49: scrape_config_files[3]: invalid scrape config file path 'a/'; "
            "one '*' may stand in the last part of the path",
        ],
    ),
    "merges of what is no mapping": (
        f"{JOB}  <<: x\n",
        ["p.yml:3:7: scrape_configs[0]: '<<' takes in a mapping or a list of mappings, found a text"],
    ),
    "duplicate keys, also where nothing is judged": (
        "global: {external_labels: {a: b, a: c}}\nscrape_configs:\n- job_name: a\n  scheme: http\n  scheme: http\n",
        [
            "p.yml:1:34: the key 'a' is given twice, first in line 1; keep one",
            "p.yml:5:3: the key 'scheme' is given twice, first in line 4; keep one",
        ],
    ),
    "a boolean marked as a text": (
        f"{SWARM}    enable_http2: ! yes\n",
        [f"p.yml:5:19: {AT}.enable_http2: expected true or false, found 'yes'"],
    ),
    "base64": (
        "scrape_configs:\n- job_name: !!binary YWJj\n",
        [
            "p.yml:2:13: scrape_configs[0].job_name: expected a text, found base64 (!!binary); write the text itself"
        ],
    ),
    "the same fault through an alias is told once": (
        f"{JOB}  swarm_sd_configs: &a [{{masters: ['ftp://x']}}]\n- job_name: b\n  swarm_sd_configs: *a\n",
        [
            f"p.yml:3:36: {AT}.masters[0]: unsupported scheme 'ftp' in 'ftp://x'; "
            "write it like http://host:port, https://host:port, tcp://host:port or unix:///path"
        ],
    ),
    "empty": ("", ["p.yml:1:1: the file is empty; it needs at least scrape_configs"]),
    "only comments": ("# x\n", ["p.yml:1:1: the file is empty; it needs at least scrape_configs"]),
    "a tab": (
        "scrape_configs:\n\t- job_name: a\n",
        ["p.yml:2:1: a tab cannot be used for indentation in YAML; use spaces"],
    ),
    "a bracket left open": (
        "scrape_configs: [\n",
        [
            "p.yml:2:1: not valid YAML: expected the node content, but found '<stream end>' while parsing a flow node"
        ],
    ),
    "a colon too many": ("a: b: c\n", ["p.yml:1:5: not valid YAML: mapping values are not allowed here"]),
    "a character to quote": (
        "a: @x\n",
        ["p.yml:1:4: not valid YAML: found character '@' that cannot start any token; quote the text"],
    ),
    "an unknown alias": (
        "a: *geheim\n",
        ["p.yml:1:4: an alias without an anchor before it; quote a text that begins with '*'"],
    ),
    "an anchor in itself": ("a: &x [*x]\n", ["p.yml:1:8: the anchor 'x' contains itself"]),
    "a control character": ("a: \x01\n", ["p.yml:1:4: the character U+0001 is not allowed in YAML"]),
    "half a character": (
        'a: "\\ud800"\n',
        ["p.yml:1:4: half of a surrogate pair is no character; write the character itself"],
    ),
    "two documents": (
        "scrape_configs: []\n---\nscrape_configs: []\n",
        ["p.yml:3:1: a second YAML document begins, and Prometheus reads only the first; put all into one"],
    ),
    "a mapping as a key": ("{a: b}: c\n", ["p.yml:1:1: a key must be a text, not a list or mapping"]),
    "too deep": ("a: " + "[" * 200 + "]" * 200 + "\n", ["p.yml:1:103: nested more than 100 levels deep"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_complaints_are_exactly_these(tmp_path, case):
    text, expected = CASES[case]
    assert complaints(tmp_path, text) == expected


def test_bytes_that_are_not_utf8_are_placed(tmp_path):
    assert complaints(tmp_path, "a: b\nä: ".encode() + b"\xff\n") == [
        "p.yml:2:4: not UTF-8: byte 0xff; save the file as UTF-8"
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.yml", "cannot read the file: No such file or directory"),
        ("folder", "cannot read the file: Is a directory"),
        ("nul\0", "cannot read the file: embedded null byte"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_complaint(tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}:1:1: {reason}"


def test_aliases_that_unfold_without_end_are_refused_at_once(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (only,) = complaints(tmp_path, "\n".join(lines))
    assert only.endswith("the aliases up to here stand for more than 400000 values")


def test_aliases_that_nest_without_end_are_refused(tmp_path):
    text = "a0: &a0 {}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}}}\n" for n in range(1, 600))
    (only,) = complaints(tmp_path, text)
    assert only == "p.yml:101:7: nested more than 100 levels deep by its aliases"


def test_included_files_are_named_in_their_complaints(tmp_path):
    (tmp_path / "a.yml").write_text("scrape_configs:\n- job_name: a\n- job_name: b\n  swarm_sd_configs: {}\n")
    (tmp_path / "b.yml").write_text("scrape_config: []\n")
    (tmp_path / "c.yml").write_text("- x\n")
    (tmp_path / "d.yml").mkdir()
    (tmp_path / "e.yml").write_text("a: [\n")
    text = "scrape_config_files: ['?.yml']\nscrape_configs:\n- job_name: a\n- job_name: c\n  foo: 1\n"
    assert complaints(tmp_path, text, "prometheus.yml") == [
        "prometheus.yml:5:3: scrape_configs[1]: unknown field 'foo'",
        "a.yml:2:13: scrape_configs[0].job_name: found multiple scrape configs with job name 'a', "
        "the first at prometheus.yml:3:13; rename one",
        "a.yml:4:21: scrape_configs[1].swarm_sd_configs: expected a list, found a mapping; put '- ' before it",
        "b.yml:1:1: unknown field 'scrape_config', did you mean 'scrape_configs'?",
        "c.yml:1:1: expected a mapping, found a list",
        "d.yml:1:1: cannot read the file: Is a directory; scrape_config_files names it at prometheus.yml:1:23",
        "e.yml:2:1: not valid YAML: expected the node content, but found '<stream end>' while parsing a flow node",
    ]


RULES = f"{SWARM}  relabel_configs:\n"


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ("{regex: '(', target_label: x}", "p.yml:6:13: scrape_configs[0].relabel_configs[0].regex: "),
        ("{action: foo}", "p.yml:6:14: scrape_configs[0].relabel_configs[0].action: "),
        ("{action: , target_label: x}", "p.yml:6:6: scrape_configs[0].relabel_configs[0].action: "),
        (
            "{source_labels: [a, ''], target_label: x}",
            "p.yml:6:25: scrape_configs[0].relabel_configs[0].source_labels[1]: ",
        ),
        ("{source_labels: [a]}", "p.yml:6:5: scrape_configs[0].relabel_configs[0]"),
    ],
)
def test_a_relabel_rule_that_prometheus_refuses_is_placed_at_its_field(tmp_path, rule, place):
    (only,) = complaints(tmp_path, f"{RULES}  - {rule}\n")
    assert only.startswith(place)


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("metricsPort", ["metrics_port", "role"], "metrics_port"),
        ("Masters", ["masters"], "masters"),
        ("metrics-port", ["metrics_port"], "metrics_port"),
        ("foo_sd_configs", ["gce_sd_configs", "swarm_sd_configs"], None),
        ("dockersworm_sd_configs", ["docker_sd_configs", "dockerswarm_sd_configs"], "dockerswarm_sd_configs"),
        ("config", ["alpha_config", "omega_config"], None),
        ("", ["a"], None),
        ("_", ["a"], None),
    ],
)
def test_what_was_probably_meant(word, known, meant):
    assert closest(word, known) == meant
