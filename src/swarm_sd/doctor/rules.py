"""Rules under which nothing is left: which rule, what it saw, which change would keep targets. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from swarm_sd.doctor.findings import Finding, counted, listed, problem, warning
from swarm_sd.doctor.levels import meant, misplaced
from swarm_sd.relabel import RelabelConfig, Rule, Step, compile_rule, explain, relabel
from swarm_sd.target import Populated

_LOOKED_AT = 2000
"""Targets that are gone through rule by rule; more tell nothing new."""

Owners = Mapping[str, Collection[str]]
"""Meta labels of objects that are no targets of the entry, with the services that have them."""


class _Drop(NamedTuple):
    """What one rule dropped: the steps in which it did."""

    rule: Rule
    steps: Sequence[Step]


def dropped(targets: Sequence[Populated], rules: Sequence[Rule], owners: Owners) -> list[Finding]:
    """Why none of ``targets`` (there are some) is kept: a finding for each rule that dropped some."""
    refused = [one for one in targets if one.error]
    drops = _drops([one for one in targets if one.labels is None and not one.error], rules)
    found = [_finding(drop, len(targets), owners) for drop in drops]
    return found + ([_refused(refused)] if refused else [])


def _drops(targets: Sequence[Populated], rules: Sequence[Rule]) -> list[_Drop]:
    by_rule: dict[int, list[Step]] = {}
    for target in targets[:_LOOKED_AT]:
        steps = explain(target.discovered, rules)
        by_rule.setdefault(len(steps) - 1, []).append(steps[-1])
    return [_Drop(rules[at], steps) for at, steps in sorted(by_rule.items(), key=_most)]


def _most(item: tuple[int, list[Step]]) -> int:
    return -len(item[1])


def named(rule: Rule) -> str:
    """Where a rule is written, and what it says."""
    config = rule.config
    parts = [f"action: {config.action_name}"]
    if config.source_labels:
        parts.append(f"source_labels: [{', '.join(config.source_labels)}]")
    if config.regex is not None:
        parts.append(f"regex: {config.regex}")
    return f"{rule.where or 'a rule of swarm-sd itself'} ({', '.join(parts)})"


def _finding(drop: _Drop, of: int, owners: Owners) -> Finding:
    config = drop.rule.config
    values = Counter(step.value for step in drop.steps)
    saw = listed((f"{value!r} ({times}x)" for value, times in values.most_common(3)), at_most=3)
    message = f"no target is left: {named(drop.rule)} drops {len(drop.steps)} of {counted(of, 'target')}"
    if config.source_labels:
        message += f"; it saw {saw}"
    check, cause, way_out = _cause(drop, owners)
    return problem(check, message, cause, way_out)


def _cause(drop: _Drop, owners: Owners) -> tuple[str, str, str]:
    """(check, cause, way out): the least change under which the rule would keep some of them."""
    config = drop.rule.config
    there = {name for step in drop.steps for name in step.before}
    for name in config.source_labels or ():
        if name not in there and (found := _missing(name, there, owners)) is not None:
            return found
    for changed, cause in _changes(config):
        kept = sum(_keeps(changed, drop.rule, step) for step in drop.steps)
        if kept:
            return "rules-drop-all", cause, f"{_written(config, changed)} (keeps {counted(kept, 'target')})"
    return "rules-drop-all", *_otherwise(config, there)


def _missing(name: str, there: Collection[str], owners: Owners) -> tuple[str, str, str] | None:
    other = meant(name, {*there, *owners})
    if other is None:
        return None
    if other.how == "level":
        return "label-level", *misplaced(name, other.name, owners)
    if other.name in there:
        how = "only letter case, dots or dashes differ: every such character of a label's name becomes _"
        cause = how if other.how == "same" else "a name that is nearly the same is there"
        return "rules-drop-all", f"no target has the label {name}; {cause}", f"did you mean {other.name}?"
    return None


def _changes(config: RelabelConfig) -> Iterator[tuple[RelabelConfig, str]]:
    """Rules like it, and what is the matter where one of them keeps targets."""
    if config.action_name == "keep":
        regex = config.regex or "(.*)"
        yield replace(config, regex=f"(?i:{regex})"), "the letter case differs, and a regex minds it"
        yield (
            replace(config, regex=rf"\s*(?:{regex})\s*"),
            "there is white space around the value, and a regex matches all of a value",
        )
        whole = "a regex matches the whole value, not a part of it"
        yield replace(config, regex=f"(?:{regex}).*"), whole
        yield replace(config, regex=f".*(?:{regex}).*"), whole
        yield replace(config, regex=f"(?i:.*(?:{regex}).*)"), f"{whole}; and the letter case differs"
    elif config.action_name == "drop":
        yield (
            replace(config, regex=".+"),
            "the regex matches the empty value, too, which every target has that has no such label",
        )


def _keeps(changed: RelabelConfig, rule: Rule, step: Step) -> bool:
    try:
        return relabel(step.before, [compile_rule(changed, validation=rule.validation)]) is not None
    except ValueError:  # the regex is one that cannot be a part of another
        return False


def _written(before: RelabelConfig, after: RelabelConfig) -> str:
    regex = (after.regex or "").replace("(?:", "(") if before.regex else after.regex
    simple = {f"(?:{before.regex}).*": f"{before.regex}.*", f".*(?:{before.regex}).*": f".*{before.regex}.*"}
    plain = all(char not in (before.regex or "") for char in "|")
    return f"regex: {simple.get(after.regex or '', regex) if plain else after.regex}"


def _otherwise(config: RelabelConfig, there: Collection[str]) -> tuple[str, str]:
    names = [name for name in config.source_labels or () if name not in there]
    if config.action_name == "drop" and config.regex in (None, "(.*)", ".*"):
        return "its regex matches every value", "write the regex of what is to be dropped"
    if names:
        labels = sorted(name for name in there if name.startswith("__meta_"))
        return f"no target has {listed(names)}", f"there are: {listed(labels, at_most=30)}"
    if config.action_name in ("keepequal", "dropequal"):
        return f"compared with {config.target_label}", "swarm-sd explain shows both values"
    return (
        "no value is what the regex asks for",
        "write a regex that matches one of the values; or remove the rule",
    )


def _refused(targets: Sequence[Populated]) -> Finding:
    errors = Counter(one.error for one in targets)
    error, times = errors.most_common(1)[0]
    return problem(
        "targets-refused",
        f"Prometheus would refuse {counted(times, 'target')}: {error}",
        "what the rules write into __address__ (or into the interval and timeout) is not what belongs there",
        "__address__ is host:port; look at the rules with target_label: __address__",
    )


def misdirected(targets: Sequence[Populated], rules: Sequence[Rule], owners: Owners) -> list[Finding]:
    """Rules that look at a label which no target has, while the same is there on another level or otherwise
    written; they may do nothing without dropping anything.
    """
    there = {name for one in targets[:_LOOKED_AT] for name in one.discovered}
    looked = {name for rule in rules for name in rule.config.source_labels or ()}
    made = {rule.config.target_label for rule in rules}
    by_map = any(rule.config.action_name == "labelmap" for rule in rules)
    found = []
    for rule in rules:
        for name in rule.config.source_labels or ():
            if name in there or name in made or (by_map and not name.startswith("__")):
                continue
            other = meant(name, {*there, *owners})
            if other is None or other.how == "alike" or other.name in looked:
                continue
            if other.how == "level":
                cause, way_out = misplaced(name, other.name, owners)
                message = f"{named(rule)} looks at a label that no target has"
                found.append(warning("label-level", message, cause, way_out))
            elif other.name in there:
                message = f"{named(rule)} looks at {name}, which no target has"
                found.append(warning("label-name", message, "", f"did you mean {other.name}?"))
    return found
