"""Why a target is there or not: what each rule did to it, as data and in words. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from swarm_sd.advice import meant_regex, similar_label
from swarm_sd.job import Job
from swarm_sd.model import ADDRESS, Labels
from swarm_sd.relabel import RelabelConfig, Rule, Step, explain
from swarm_sd.target import (
    BAD_ADDRESS,
    BAD_INTERVAL,
    NO_ADDRESS,
    SCRAPE_INTERVAL,
    SCRAPE_TIMEOUT,
    Populated,
    populate,
)

RULE_REASON: Final = re.compile(r"relabel_rule_([0-9]+)")
"""The reason of a target that a rule dropped."""

_LOOKED_AT: Final[Mapping[str, Sequence[str]]] = {
    NO_ADDRESS: (ADDRESS,),
    BAD_ADDRESS: (ADDRESS,),
    BAD_INTERVAL: (SCRAPE_INTERVAL, SCRAPE_TIMEOUT),
}
"""Which labels Prometheus refuses a target for."""


@dataclass(frozen=True, slots=True)
class RuleStep:
    """What one rule did. ``number`` counts from 1; ``where`` is file:line:column, "" where not known.

    ``rule``: what is written. ``value``: the source labels' values, joined. ``matched`` is None where there
    is nothing to match. ``changed``: by name the value before and after, "" for no label. ``text`` says it.
    """

    number: int
    where: str
    rule: Mapping[str, object]
    value: str
    matched: bool | None
    kept: bool
    changed: Mapping[str, tuple[str, str]]
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of one discovered target, and how. ``verdict`` is one sentence."""

    state: str  # scraped, dropped or refused
    reason: str  # relabel_rule_<n>, or why it was refused; "" for a target that is scraped
    verdict: str
    discovered: Labels
    steps: Sequence[RuleStep]
    labels: Labels | None  # after relabelling; None where it is not scraped


def explained(target: Labels, group: Labels, job: Job) -> Explanation:
    """What the job's rules make of a target of a group with these labels."""
    done = populate(target, group, job.defaults, job.rules)
    steps = [rule_step(number, step) for number, step in enumerate(explain(done.discovered, job.rules), 1)]
    state, reason = state_of(done)
    return Explanation(state, reason, _verdict(done, steps), done.discovered, steps, done.labels)


def state_of(done: Populated) -> tuple[str, str]:
    """(state, reason) as in ``Explanation``."""
    if done.dropped_by is not None:
        return "dropped", rule_reason(done.dropped_by + 1)
    return ("refused", done.refused) if done.refused else ("scraped", "")


def rule_reason(number: int) -> str:
    """The reason of a target that the rule of that number, counted from 1, dropped."""
    return f"relabel_rule_{number}"


def rule_step(number: int, step: Step) -> RuleStep:
    """A step of ``relabel.explain`` as data."""
    names = sorted(step.before.keys() | step.after.keys())
    changed = {
        name: (step.before.get(name, ""), step.after.get(name, ""))
        for name in names
        if step.before.get(name) != step.after.get(name)
    }
    return RuleStep(
        number=number,
        where=step.rule.where,
        rule=written(step.rule.config),
        value=step.value,
        matched=step.matched,
        kept=step.kept,
        changed=changed,
        text=_told(step, changed),
    )


def written(config: RelabelConfig) -> Mapping[str, object]:
    """A rule's fields that differ from their defaults, and its action."""
    default = RelabelConfig()
    fields = {name: getattr(config, name) for name in config.__struct_fields__ if name != "action"}
    return {
        "action": config.action_name,
        **{name: value for name, value in fields.items() if value != getattr(default, name)},
    }


def _verdict(done: Populated, steps: Sequence[RuleStep]) -> str:
    if done.labels is not None:
        address = done.labels[ADDRESS]
        nowhere = ", which names no host: nothing answers there" if address.startswith(":") else ""
        return f"It is scraped at {address}{nowhere}{_by_whom(done.discovered, steps)}."
    if done.error:
        return f"Prometheus refuses it after relabelling: {done.error}{_to_blame(done, steps)}."
    last = steps[-1]
    return f"{_named(last)} {last.text}{_made_by(last, steps)}."


def _by_whom(discovered: Labels, steps: Sequence[RuleStep]) -> str:
    """The last rule that changed the address."""
    makers = [step for step in steps if ADDRESS in step.changed]
    if not makers:
        return ""
    return f"; {_as_subject(makers[-1])} made that of {discovered.get(ADDRESS) or 'no address'}"


def _as_subject(step: RuleStep) -> str:
    named = _named(step)
    return named[0].lower() + named[1:]


def _named(step: RuleStep) -> str:
    return f"Rule {step.number} ({step.where})" if step.where else f"Rule {step.number}"


def _to_blame(done: Populated, steps: Sequence[RuleStep]) -> str:
    """The last rule that changed what the target is refused for."""
    for step in reversed(steps):
        names = [name for name in _LOOKED_AT.get(done.refused, ()) if name in step.changed]
        if names:
            changes = "; ".join(_change(name, *step.changed[name]) for name in names)
            return f"; {_as_subject(step)} did that: {changes}"
    return ""


def _made_by(step: RuleStep, steps: Sequence[RuleStep]) -> str:
    """Which rules made the labels that the last one looked at, or would have."""
    names = (*_texts(step.rule.get("source_labels")), *_texts(step.rule.get("target_label")))
    told = []
    for name in dict.fromkeys(names):
        for other in reversed(steps[:-1]):
            rule = f"rule {other.number} ({other.rule['action']})"
            if name in other.changed:
                told.append(f"{rule} set {name}")
                break
            if other.matched is False and other.rule.get("target_label") == name:
                told.append(f"{rule} would have set {name}, but does not match")
                break
    return "; " + ", ".join(told) if told else ""


def _texts(value: object) -> Sequence[str]:
    """A field of a rule, of one text or several or none, as several."""
    return (value,) if isinstance(value, str) else value if isinstance(value, tuple) else ()


def _told(step: Step, changed: Mapping[str, tuple[str, str]]) -> str:
    """What the rule did, in words."""
    if step.rule.config.action_name in ("keep", "drop", "keepequal", "dropequal"):
        return _judged(step)
    if changed:
        return _changes(changed)
    if step.matched is False:
        by_name = step.rule.config.action_name in ("labelmap", "labeldrop", "labelkeep")
        what = "no label's name matches" if by_name else f"{_looked(step)} does not match"
        return f"{what} {_regex(step.rule)}, so nothing changed{_meant(step)}"
    return "nothing changed"


def _judged(step: Step) -> str:
    config = step.rule.config
    verb = "kept it" if step.kept else "dropped it"
    if config.action_name in ("keepequal", "dropequal"):
        other = step.before.get(config.target_label, "")
        same = "equals" if step.matched else "differs from"
        absent = _absent([config.target_label], step)
        return f"{verb}: {_looked(step)} {same} {config.target_label}={other!r}{absent}"
    does = "matches" if step.matched else "does not match"
    return f"{verb}: {_looked(step)} {does} {_regex(step.rule)}{_meant(step)}"


def _looked(step: Step) -> str:
    """The source labels and the value that they have together."""
    names = step.rule.config.source_labels or ()
    return f"{', '.join(names) or 'no source label'}={step.value!r}{_absent(names, step)}"


def _absent(names: Sequence[str], step: Step) -> str:
    """Which of ``names`` the target does not have, and what it has that is called alike."""
    told = []
    for name in names:
        if name not in step.before:
            near = "" if step.matched else similar_label(name, step.before)
            told.append(f"there is no {name}, but {near}" if near else f"there is no {name}")
    return f" ({'; '.join(told)})" if told else ""


def _regex(rule: Rule) -> str:
    return "(.*)" if rule.config.regex is None else repr(rule.config.regex)


def _meant(step: Step) -> str:
    """What was probably meant by a regex that does not match the value, or that matches any."""
    config = step.rule.config
    if config.action_name == "drop" and step.matched and not step.value:
        return ", as an empty value does"
    if step.matched is not False or config.regex is None:
        return ""
    meant = meant_regex(config.regex, step.value)
    return f"; {meant}" if meant else ""


def _changes(changed: Mapping[str, tuple[str, str]]) -> str:
    removed = [name for name, (_, after) in changed.items() if not after]
    others = [_change(name, *values) for name, values in changed.items() if values[1]]
    return "; ".join([*others, *([f"{', '.join(removed)} removed"] if removed else [])])


def _change(name: str, before: str, after: str) -> str:
    if not after:
        return f"{name} removed"
    return f"{name} became {after!r}" if before else f"{name} set to {after!r}"
