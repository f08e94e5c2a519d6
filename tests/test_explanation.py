"""Why a target is there or not: each rule in words, and verdicts that say just what happens to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import labels, rule_lists

from swarm_sd.advice import meant_regex, similar_label
from swarm_sd.explanation import explained, rule_reason, state_of
from swarm_sd.job import Job
from swarm_sd.model import Layered, TargetGroup
from swarm_sd.relabel import RelabelConfig, compile_rule, explain
from swarm_sd.target import REFUSALS, SCRAPED, outcomes, populate

TIMES = {"__scrape_interval__": "1m", "__scrape_timeout__": "10s"}
DEFAULTS = {"job": "j", "__scheme__": "http", "__metrics_path__": "/metrics", **TIMES}
TARGET = {"__address__": "10.0.0.1:9100", "__meta_service": "exporter", "__meta_label_com_a": "1"}


def rule(action="replace", **fields):
    where = fields.pop("where", "")
    return compile_rule(RelabelConfig(action=action, **fields), where=where)


def of(*rules, target=TARGET, group=None, defaults=DEFAULTS):
    return explained(target, group or {}, Job("j", (), rules, defaults))


def told(*rules, **more):
    """What is said of the last rule."""
    return of(*rules, **more).steps[-1].text


KEEP = {"source_labels": ("__meta_service",)}
STEPS = {
    "kept": (
        rule("keep", **KEEP, regex="exp.*"),
        "kept it: __meta_service='exporter' matches 'exp.*'",
    ),
    "not kept": (
        rule("keep", **KEEP, regex="web"),
        "dropped it: __meta_service='exporter' does not match 'web'",
    ),
    "anchored": (
        rule("keep", **KEEP, regex="exp"),
        "dropped it: __meta_service='exporter' does not match 'exp'; "
        "a regex has to match the whole value: write exp.*",
    ),
    "letter case": (
        rule("keep", **KEEP, regex="Exporter"),
        "dropped it: __meta_service='exporter' does not match 'Exporter'; "
        "letter case counts: write exporter or (?i)Exporter",
    ),
    "dropped": (
        rule("drop", **KEEP, regex="e.*"),
        "dropped it: __meta_service='exporter' matches 'e.*'",
    ),
    "dropped for nothing": (
        rule("drop", source_labels=("__meta_x",)),
        "dropped it: __meta_x='' (there is no __meta_x) matches (.*), as an empty value does",
    ),
    "not dropped": (
        rule("drop", **KEEP, regex="web|api"),
        "kept it: __meta_service='exporter' does not match 'web|api'",
    ),
    "no such label": (
        rule("keep", source_labels=("__meta_servic",), regex="exporter"),
        "dropped it: __meta_servic='' (there is no __meta_servic, but __meta_service) does not match "
        "'exporter'",
    ),
    "two of them missing": (
        rule("keep", source_labels=("zzz", "__meta_service", "yyy"), regex="web"),
        "dropped it: zzz, __meta_service, yyy=';exporter;' (there is no zzz; there is no yyy) does not match "
        "'web'",
    ),
    "a key as it was written": (
        rule("keep", source_labels=("__meta_label_com.a",), regex="1"),
        "dropped it: __meta_label_com.a='' (there is no __meta_label_com.a, but __meta_label_com_a) "
        "does not match '1'",
    ),
    "no source label": (
        rule("keep", regex="a"),
        "dropped it: no source label='' does not match 'a'",
    ),
    "keepequal": (
        rule("keepequal", **KEEP, target_label="job"),
        "dropped it: __meta_service='exporter' differs from job='j'",
    ),
    "keepequal without the other": (
        rule("keepequal", **KEEP, target_label="nope"),
        "dropped it: __meta_service='exporter' differs from nope='' (there is no nope)",
    ),
    "kept as equal": (
        rule("keepequal", source_labels=("job",), target_label="job"),
        "kept it: job='j' equals job='j'",
    ),
    "dropequal": (
        rule("dropequal", source_labels=("a",), target_label="b"),
        "dropped it: a='' (there is no a) equals b='' (there is no b)",
    ),
    "set": (rule(**KEEP, target_label="service"), "service set to 'exporter'"),
    "became": (rule(**KEEP, target_label="job"), "job became 'exporter'"),
    "removed": (rule(target_label="job", replacement=""), "job removed"),
    "the same": (rule(**KEEP, target_label="__meta_service"), "nothing changed"),
    "no match": (
        rule(**KEEP, regex="web-(.*)", target_label="job"),
        "__meta_service='exporter' does not match 'web-(.*)', so nothing changed",
    ),
    "hashmod": (
        rule("hashmod", source_labels=("job",), modulus=1, target_label="__tmp_shard"),
        "__tmp_shard set to '0'",
    ),
    "lowercase": (rule("lowercase", source_labels=("x",), target_label="job"), "job removed"),
    "uppercase": (rule("uppercase", **KEEP, target_label="job"), "job became 'EXPORTER'"),
    "labelmap": (rule("labelmap", regex="__meta_label_(.*)"), "com_a set to '1'"),
    "labelmap of nothing": (
        rule("labelmap", regex="__meta_node_(.*)"),
        "no label's name matches '__meta_node_(.*)', so nothing changed",
    ),
    "labeldrop": (
        rule("labeldrop", regex="__meta_.*"),
        "__meta_label_com_a, __meta_service removed",
    ),
    "labelkeep": (
        rule("labelkeep", regex="__address__|__scrape.*"),
        "__meta_label_com_a, __meta_service, __metrics_path__, __scheme__, job removed",
    ),
    "several at once": (
        rule("labelmap", regex="__meta_(service)|__meta_label_(com_a)", replacement="x_$1"),
        "x_ set to '1'; x_service set to 'exporter'",
    ),
}


@pytest.mark.parametrize("case", STEPS)
def test_a_step_says_what_the_rule_did(case):
    of_case, text = STEPS[case]
    assert told(of_case) == text


def test_a_step_has_its_place_what_is_written_and_what_it_changed():
    where = "prometheus.yml:31:5"
    step = of(rule("REPLACE", **KEEP, regex="(.).*", target_label="job", where=where)).steps[0]
    assert (step.number, step.where, step.value, step.matched, step.kept) == (
        1,
        where,
        "exporter",
        True,
        True,
    )
    assert step.changed == {"job": ("j", "e")}
    assert step.rule == {
        "action": "replace",
        "source_labels": ("__meta_service",),
        "regex": "(.).*",
        "target_label": "job",
    }


def test_a_rule_that_matches_nothing_has_no_match():
    step = of(rule("hashmod", source_labels=("job",), modulus=2, target_label="x")).steps[0]
    assert step.matched is None
    assert step.rule == {"action": "hashmod", "source_labels": ("job",), "modulus": 2, "target_label": "x"}


def test_who_is_scraped_is_told_where():
    assert of().verdict == "It is scraped at 10.0.0.1:9100."
    found = of(rule(target_label="__address__", replacement="10.0.0.1:9999"))
    assert (found.state, found.reason) == ("scraped", "")
    assert found.verdict == "It is scraped at 10.0.0.1:9999; rule 1 made that of 10.0.0.1:9100."
    assert found.labels["instance"] == "10.0.0.1:9999"
    assert found.discovered == {**DEFAULTS, **TARGET}


def test_an_address_without_a_host_is_one_where_nothing_answers():
    assert of(target={"__address__": ":80"}).verdict == (
        "It is scraped at :80, which names no host: nothing answers there."
    )


def test_the_first_rule_that_drops_is_named_with_its_place_and_ends_it():
    found = of(
        rule(target_label="x", replacement="1"),
        rule("drop", **KEEP, regex="exporter", where="a.yml:9:3"),
        rule("keep", **KEEP, regex="never"),
    )
    assert (found.state, found.reason, found.labels) == ("dropped", "relabel_rule_2", None)
    assert found.verdict == "Rule 2 (a.yml:9:3) dropped it: __meta_service='exporter' matches 'exporter'."
    assert [step.number for step in found.steps] == [1, 2]


def test_a_rule_that_drops_names_the_rules_that_made_what_it_looked_at():
    found = of(
        rule("hashmod", source_labels=("__address__",), modulus=1, target_label="__tmp_shard"),
        rule("keep", source_labels=("__tmp_shard",), regex="1"),
    )
    assert found.verdict == (
        "Rule 2 dropped it: __tmp_shard='0' does not match '1'; rule 1 (hashmod) set __tmp_shard."
    )


def test_a_rule_that_drops_names_the_rule_that_would_have_made_what_it_looked_at():
    found = of(
        rule(**KEEP, target_label="app", regex="(exp)"),
        rule("keep", source_labels=("app", "job"), regex="exp;j"),
    )
    assert found.verdict == (
        "Rule 2 dropped it: app, job=';j' (there is no app) does not match 'exp;j'; "
        "rule 1 (replace) would have set app, but does not match."
    )


REFUSED = {
    "no_address_left": (
        rule("labelkeep", regex="job|__scrape.*", where="a.yml:4:5"),
        "no address: __address__ is missing or empty after relabelling; rule 2 (a.yml:4:5) did that: "
        "__address__ removed.",
    ),
    "not_an_address": (
        rule(source_labels=("__address__",), target_label="__address__", replacement="$1/metrics"),
        "'10.0.0.1:9100/metrics' is not a valid hostname: __address__ is host:port, without a scheme or "
        "path; rule 2 did that: __address__ became '10.0.0.1:9100/metrics'.",
    ),
    "bad_interval": (
        rule(target_label="__scrape_timeout__", replacement="2m"),
        "scrape timeout cannot be greater than scrape interval: 2m > 1m; rule 2 did that: "
        "__scrape_timeout__ became '2m'.",
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refusal_names_the_rule_that_is_to_blame(reason):
    of_case, verdict = REFUSED[reason]
    # neither the first rule nor the last has to do with it
    found = of(rule(target_label="x", replacement="1"), of_case, rule(target_label="y", replacement="1"))
    assert (found.state, found.reason, found.labels) == ("refused", reason, None)
    assert found.verdict == f"Prometheus refuses it after relabelling: {verdict}"


def test_of_several_rules_the_last_is_to_blame_that_changed_it():
    address = {"source_labels": ("__address__",), "target_label": "__address__"}
    found = of(rule(**address, replacement="$1/a"), rule(**address, replacement="$1/b"))
    assert found.verdict.endswith("; rule 2 did that: __address__ became '10.0.0.1:9100/a/b'.")
    found = of(rule(**address, replacement="a:1"), rule(**address, replacement="b:1"))
    assert found.verdict == "It is scraped at b:1; rule 2 made that of 10.0.0.1:9100."


def test_what_was_discovered_so_is_no_rules_fault():
    found = of(target={"__address__": "10.0.0.1/x"})
    assert found.verdict.endswith("without a scheme or path.")
    found = of(rule(target_label="x", replacement="1"), target={"__address__": "h:1", "bad": "\ud800"})
    assert (found.reason, "rule" in found.verdict) == ("not_utf8", False)


# -- what was probably meant --------------------------------------------------------------------------

SCRAPE = "__meta_dockerswarm_service_label_prometheus_scrape"
NAMES = (
    "__address__",
    "__meta_dockerswarm_container_label_tier",
    "__meta_dockerswarm_service_label_com_example_app",
    SCRAPE,
    "__meta_dockerswarm_service_name",
    "__meta_dockerswarm_task_slot",
    "job",
)
MEANT = {
    "__meta_dockerswarm_service_label_com.example.app": "__meta_dockerswarm_service_label_com_example_app",
    "__meta_dockerswarm_service_label_prometheus.io/scrape": SCRAPE,
    "__meta_dockerswarm_service_label_prometheus_scrap": SCRAPE,
    "__meta_dockerswarm_service_label_tier": "__meta_dockerswarm_container_label_tier",
    "__meta_dockerswarm_service_Name": "__meta_dockerswarm_service_name",
    "__meta_docker_service_name": "__meta_dockerswarm_service_name",
    "__meta_dockerswarm_service_label_app": "__meta_dockerswarm_service_label_com_example_app",
    "__meta_dockerswarm_service_label_com_example_team": "",
    "__meta_dockerswarm_node_hostname": "",
    "__meta_dockerswarm_service_label_prometheus_port": "",
    "x": "",
    "": "",
}


@pytest.mark.parametrize("missing", MEANT)
def test_a_label_that_is_called_alike_is_named_and_no_other(missing):
    assert similar_label(missing, NAMES) == MEANT[missing]


def test_where_there_is_no_label_none_is_called_alike():
    assert similar_label("job", ()) == ""


WIDER = {
    ("exp", "exporter"): "a regex has to match the whole value: write exp.*",
    ("porter", "exporter"): "a regex has to match the whole value: write .*porter",
    ("por", "exporter"): "a regex has to match the whole value: write .*por.*",
    ("web|exp", "exporter"): "a regex has to match the whole value: write (web|exp).*",
    ("EXPORTER", "exporter"): "letter case counts: write exporter or (?i)EXPORTER",
    ("web", "exporter"): "",
    ("exp", ""): "",
    ("", "exporter"): "",
}


@pytest.mark.parametrize(("regex", "value"), WIDER)
def test_a_regex_that_nearly_matches_is_told_how_it_would(regex, value):
    assert meant_regex(regex, value) == WIDER[regex, value]


@given(labels(), rule_lists("keep", "drop", "replace"))
def test_a_regex_that_is_advised_is_one_that_matches(target, rules):
    for step in of(*rules, target=target).steps:
        _, found, advised = step.text.partition("the whole value: write ")
        if found:
            config = RelabelConfig(action="keep", source_labels=("v",), regex=advised)
            assert explain({"v": step.value}, [compile_rule(config)])[0].matched


# -- laws ---------------------------------------------------------------------------------------------

TARGETS = st.builds(lambda own: {"__address__": "10.0.0.1:9100", **own}, labels())
DEFAULT_LABELS = st.sampled_from([DEFAULTS, {**DEFAULTS, "env": "prod"}, TIMES, {}])


@given(TARGETS, labels(), DEFAULT_LABELS, rule_lists())
def test_what_is_explained_is_what_happens(target, group, defaults, rules):
    found = of(*rules, target=target, group=group, defaults=defaults)
    done = populate(target, group, defaults, rules)
    assert (found.labels, found.discovered) == (done.labels, done.discovered)
    assert (found.state, found.reason) == state_of(done)
    if found.state == "dropped":
        assert found.reason == rule_reason(found.steps[-1].number)
        assert not found.steps[-1].kept
        assert f"Rule {found.steps[-1].number} dropped it" in found.verdict
    else:
        assert len(found.steps) == len(rules)
        assert (found.state == "refused") == bool(done.error)
        assert done.error in found.verdict


@given(TARGETS, labels(), DEFAULT_LABELS, rule_lists())
def test_the_changes_of_the_steps_lead_to_the_last_state(target, group, defaults, rules):
    found = of(*rules, target=target, group=group, defaults=defaults)
    working = {name: value for name, value in found.discovered.items() if value}
    for step in found.steps:
        for name, (before, after) in step.changed.items():
            assert working.get(name, "") == before
            working[name] = after
    working = {name: value for name, value in working.items() if value}
    if found.labels is not None:
        kept = {name: value for name, value in working.items() if not name.startswith("__meta_")}
        assert found.labels == {"instance": kept["__address__"], **kept}


@given(st.lists(TARGETS, max_size=4), labels(), DEFAULT_LABELS, rule_lists())
def test_outcomes_are_what_populate_says_of_each_target(targets, group, defaults, rules):
    layered = [Layered(one["__address__"], (one, {"a": "layered"})) for one in targets]
    whole = TargetGroup("s", (*targets, *layered), group)
    for target, code in zip(whole.targets, outcomes(defaults, rules)(whole), strict=True):
        done = populate(target, group, defaults, rules)
        if done.labels is not None:
            assert code == SCRAPED
        elif done.dropped_by is not None:
            assert code == done.dropped_by + 1
        else:
            assert REFUSALS[-1 - code] == done.refused
