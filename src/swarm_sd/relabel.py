"""Prometheus' relabelling as pure functions: rules from a configuration, labels in, labels out.

Follows Prometheus 3.14; what older releases do differently is in docs/relabelling.md.
Source: model/relabel of Prometheus; regexp and regexp.Expand of Go.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias, TypeVar

import msgspec
import re2

from swarm_sd.go_regexp import Regexp, expand, is_utf8, regex_problems, template
from swarm_sd.model import Labels

Validation: TypeAlias = Literal["legacy", "utf8"]
"""Which label names are valid: ``[a-zA-Z_][a-zA-Z0-9_]*``, or any text that is not empty."""

ACTIONS: Final = (
    "replace", "keep", "drop", "keepequal", "dropequal", "hashmod",
    "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase",
)  # fmt: skip


# --- The rule as it is written


class RelabelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule of ``relabel_configs``: its fields are the YAML's keys.

    ``source_labels`` and ``regex`` are None where they are not written: Prometheus tells an empty list
    from none for labeldrop and labelkeep, and ``regex: (.*)`` from none for keepequal and dropequal.
    ``regex: ""`` matches only the empty text.
    """

    source_labels: tuple[str, ...] | None = None
    separator: str = ";"
    regex: str | None = None  # not written: (.*)
    modulus: int = 0  # an uint64
    target_label: str = ""
    replacement: str = "$1"
    action: str = "replace"  # in any letter case

    @property
    def action_name(self) -> str:
        """The action in the letter case that Prometheus gives it."""
        return _lower(self.action)

    def problems(self, validation: Validation = "utf8") -> list[tuple[str, str]]:
        """What Prometheus would refuse: (``source_labels[1]`` or such or "", what and the way out).

        Source: relabel.Config.Validate of Prometheus.
        """
        if found := list(_text_problems(self)):
            return found  # what is no text at all cannot be judged any further
        return [
            *_action_problems(self),
            *_source_problems(self),
            *_modulus_problems(self),
            *_target_problems(self, validation),
            *_replacement_problems(self, validation),
            *_forbidden_problems(self),
            *(("regex", why) for why in regex_problems(_regex(self))),
        ]


_COMPARING = frozenset({"keepequal", "dropequal"})
_DROPPING = _COMPARING | {"keep", "drop"}
_COMPUTING = frozenset({"hashmod", "lowercase", "uppercase"})  # they always set their label
_BY_NAME = frozenset({"labelmap", "labeldrop", "labelkeep"})
_TARGETED = frozenset({"replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal"})
_DEFAULT_REGEX = "(.*)"
# What may only have its default value, by action
_FORBIDDEN: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("lowercase", "uppercase"), ("replacement",)),
    **dict.fromkeys(("keepequal", "dropequal"), ("regex", "modulus", "separator", "replacement")),
    **dict.fromkeys(
        ("labeldrop", "labelkeep"),
        ("source_labels", "target_label", "modulus", "separator", "replacement"),
    ),
}
_DEFAULTS = RelabelConfig()
_LEGACY_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# RE2, for Python's re would take exponential time on the nested repetitions
_LEGACY_TEMPLATE = re2.compile(r"^(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+$")


def is_valid_label_name(name: str, validation: Validation = "utf8") -> bool:
    """Whether Prometheus takes ``name`` for a label."""
    if validation == "legacy":
        return _LEGACY_NAME.fullmatch(name) is not None
    return bool(name) and is_utf8(name)


def _regex(config: RelabelConfig) -> str:
    return _DEFAULT_REGEX if config.regex is None else config.regex


def _text_problems(config: RelabelConfig) -> Iterator[tuple[str, str]]:
    texts = {name: getattr(config, name) for name in ("separator", "target_label", "replacement", "action")}
    texts["regex"] = _regex(config)
    for index, name in enumerate(config.source_labels or ()):
        texts[f"source_labels[{index}]"] = name
    for path, text in texts.items():
        if not is_utf8(text):
            yield path, f"{text!r} is not valid UTF-8; write whole characters"


def _action_problems(config: RelabelConfig) -> Iterator[tuple[str, str]]:
    action = config.action_name
    if action == "":
        yield "action", f"cannot be empty; leave it out for replace, or write one of {', '.join(ACTIONS)}"
    elif action not in ACTIONS:
        close = difflib.get_close_matches(action, ACTIONS, n=1)
        way_out = f"did you mean {close[0]!r}?" if close else f"write one of {', '.join(ACTIONS)}"
        yield "action", f"unknown relabel action {config.action!r}; {way_out}"


def _source_problems(config: RelabelConfig) -> Iterator[tuple[str, str]]:
    # Prometheus 3 reads these names as UTF-8 whatever the scheme: "legacy" only rules what is written
    for index, name in enumerate(config.source_labels or ()):
        if not name:
            yield f"source_labels[{index}]", "'' is not a valid label name; write a name or leave it out"


def _modulus_problems(config: RelabelConfig) -> Iterator[tuple[str, str]]:
    if not 0 <= config.modulus < 2**64:
        yield "modulus", f"{config.modulus} is out of range; write a number from 1 to 18446744073709551615"
    elif config.modulus == 0 and config.action_name == "hashmod":
        yield "modulus", "hashmod needs a modulus above 0: the number of shards"


def _target_problems(config: RelabelConfig, validation: Validation) -> Iterator[tuple[str, str]]:
    action, target = config.action_name, config.target_label
    if action not in _TARGETED:
        return
    if not target:
        yield "target_label", f"{action} needs a target_label: the label that it sets or compares"
    elif action == "replace" and "$" in target:
        if not _is_valid_template(target, validation):
            yield "target_label", _bad_template(target)
    elif not is_valid_label_name(target, validation):
        template = f"; {action} takes no template such as ${{1}}" if "$" in target else ""
        yield (
            "target_label",
            f"{target!r} is not a valid label name: use letters, digits and _ only{template}",
        )


def _replacement_problems(config: RelabelConfig, validation: Validation) -> Iterator[tuple[str, str]]:
    if config.action_name == "labelmap" and not _is_valid_template(config.replacement, validation):
        why = (
            _bad_template(config.replacement) if config.replacement else "labelmap needs the name to copy to"
        )
        yield "replacement", f"{why}, such as $1 or swarm_$1"


def _is_valid_template(template: str, validation: Validation) -> bool:
    if validation == "legacy":
        return _LEGACY_TEMPLATE.search(template) is not None
    return is_valid_label_name(template)


def _bad_template(template: str) -> str:
    return f"{template!r} cannot give a valid label name: use letters, digits, _ and references"


def _forbidden_problems(config: RelabelConfig) -> Iterator[tuple[str, str]]:
    for name in _FORBIDDEN.get(config.action_name, ()):
        if getattr(config, name) != getattr(_DEFAULTS, name):
            yield name, f"{config.action_name} takes no {name}; remove it"


def _lower(text: str) -> str:
    """``text`` in lower case, rune by rune as Go does: Σ is always σ."""
    # İ is the only character that Python lowers to two
    return text.lower() if text.isascii() else "".join(["i" if c == "İ" else c.lower() for c in text])


def _upper(text: str) -> str:
    """``text`` in upper case, rune by rune as Go does: ß stays ß."""
    return text.upper() if text.isascii() else "".join([_upper_rune(c) for c in text])


def _upper_rune(char: str) -> str:
    # Where Python gives several characters, Unicode's simple mapping is the title case (ᾳ: ᾼ) or none (ß)
    for mapped in (char.upper(), char.title()):
        if len(mapped) == 1:
            return mapped
    return char


# --- The rule at work

_Outcome: TypeAlias = tuple[bool, bool | None, str]
"""Whether the target is kept, whether the rule matched (None: nothing to match), the value looked at."""


class _Act(Protocol):
    def __call__(self, labels: dict[str, str], /) -> _Outcome:
        """Changes ``labels`` as the rule says, unless it drops the target. Neither side has empty values."""
        ...


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule ready to run: made by ``compile_rule``. Rules of equal configuration are equal."""

    config: RelabelConfig
    validation: Validation
    where: str = field(compare=False)  # such as "prometheus.yml:31:5", for messages; "" where not known
    _act: _Act = field(compare=False, repr=False)


def compile_rule(config: RelabelConfig, *, validation: Validation = "utf8", where: str = "") -> Rule:
    """The rule that ``config`` writes. ``ValueError`` with every problem that it has."""
    if found := config.problems(validation):
        place = f"{where}: " if where else ""
        raise ValueError(place + "; ".join(f"{path}: {what}" if path else what for path, what in found))
    return Rule(config, validation, where, _MAKERS[config.action_name](config, validation))


def relabel(labels: Labels, rules: Sequence[Rule]) -> dict[str, str] | None:
    """The labels after ``rules``, none with an empty value; None where a rule dropped the target."""
    working = _without_empty(labels)
    return working if keeps(working, rules) else None


def keeps(labels: dict[str, str], rules: Sequence[Rule]) -> bool:
    """Whether ``rules`` keep the target; changes ``labels``, in which no value may be empty, as they say."""
    return dropped_by(labels, rules) is None


def dropped_by(labels: dict[str, str], rules: Sequence[Rule]) -> int | None:
    """Which of ``rules`` drops the target, counted from 0; None: none does. Changes ``labels``, too."""
    for index, rule in enumerate(rules):
        if not rule._act(labels)[0]:
            return index
    return None


def leading(rules: Sequence[Rule]) -> tuple[Sequence[Rule], Sequence[str]]:
    """The first rules that may drop a target, and the only labels whose values these depend on.

    They are those up to the last that drops, before the first that looks at the names of all labels.
    """
    by_name = (index for index, rule in enumerate(rules) if rule.config.action_name in _BY_NAME)
    known = rules[: next(by_name, len(rules))]
    ends = (index for index, rule in enumerate(known, 1) if rule.config.action_name in _DROPPING)
    first = known[: max(ends, default=0)]
    names: dict[str, None] = {}
    made = set()
    for config in [rule.config for rule in first]:
        compared = (config.target_label,) if config.action_name in _COMPARING else ()
        names |= dict.fromkeys(
            name for name in (*(config.source_labels or ()), *compared) if name not in made
        )
        if config.action_name in _COMPUTING:
            made.add(config.target_label)
    return first, tuple(names)


def _without_empty(labels: Labels) -> dict[str, str]:
    """A copy of ``labels`` without empty values, which mean the same as no label."""
    working = dict(labels)  # several times as fast as filtering, and few targets have an empty value
    if "" in working.values():
        return {name: value for name, value in working.items() if value}
    return working


@dataclass(frozen=True, slots=True)
class Step:
    """What one rule did.

    ``value`` is what it looked at: the source labels' values joined, "" for a rule that looks at label
    names. ``matched``: whether its regex matched the value (or any name), for keepequal and dropequal
    whether the two are equal; None for hashmod, lowercase and uppercase, which match nothing.
    """

    rule: Rule
    value: str
    matched: bool | None
    kept: bool
    before: Mapping[str, str]
    after: Mapping[str, str]


def explain(labels: Labels, rules: Sequence[Rule]) -> tuple[Step, ...]:
    """What each of ``rules`` did, in order; the last step is the one that dropped the target, if any."""
    working = _without_empty(labels)
    steps = []
    for rule in rules:
        before = dict(working)
        kept, matched, value = rule._act(working)
        steps.append(Step(rule, value, matched, kept, before, dict(working)))
        if not kept:
            break
    return tuple(steps)


class _Key(Hashable, Sized, Protocol): ...


_K = TypeVar("_K", bound=_Key)
_V = TypeVar("_V")
MEMO_ENTRIES: Final = 16_384  # a swarm of 5,000 nodes fits; about 2.5 MB a rule at most in practice
MEMO_LONGEST: Final = 512  # characters (or label names) of one key; what is longer is worked out each time


class _Memo(dict[_K, _V]):
    """What ``compute`` gives, kept by its argument: most rules see the same few values again and again."""

    def __init__(self, compute: Callable[[_K], _V]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, key: _K) -> _V:
        value = self._compute(key)
        if len(key) <= MEMO_LONGEST:
            if len(self) >= MEMO_ENTRIES:
                self.clear()
            self[key] = value
        return value


def _joined(config: RelabelConfig) -> Callable[[dict[str, str]], str]:
    """What reads the source labels of a target."""
    names, separator = config.source_labels or (), config.separator
    if len(names) == 1:
        name = names[0]
        return lambda labels: labels.get(name, "")
    return lambda labels: separator.join([labels.get(name, "") for name in names])


def _replace(config: RelabelConfig, validation: Validation) -> _Act:
    joined, regexp = _joined(config), Regexp(_regex(config))
    target, replacement = template(config.target_label, regexp), template(config.replacement, regexp)

    def result(value: str) -> tuple[str, str] | None:
        group = regexp.find(value)
        if group is None:
            return None
        name = expand(target, group)
        return (name, expand(replacement, group)) if is_valid_label_name(name, validation) else ("", "")

    results = _Memo(result)

    def act(labels: dict[str, str]) -> _Outcome:
        value = joined(labels)
        found = results[value]
        if found is None:
            return True, False, value
        _set(labels, *found)
        return True, True, value

    return act


def _set(labels: dict[str, str], name: str, value: str) -> None:
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)


def _keep_or_drop(config: RelabelConfig, validation: Validation) -> _Act:
    joined, regexp = _joined(config), Regexp(_regex(config))
    keep = config.action_name == "keep"
    matches: _Memo[str, bool] = _Memo(lambda value: regexp.find(value) is not None)

    def act(labels: dict[str, str]) -> _Outcome:
        value = joined(labels)
        matched = matches[value]
        return matched is keep, matched, value

    return act


def _equal(config: RelabelConfig, validation: Validation) -> _Act:
    joined, target = _joined(config), config.target_label
    keep = config.action_name == "keepequal"

    def act(labels: dict[str, str]) -> _Outcome:
        value = joined(labels)
        equal = value == labels.get(target, "")
        return equal is keep, equal, value

    return act


def _compute(config: RelabelConfig, validation: Validation) -> _Act:
    """Sets the target label to what hashmod, lowercase or uppercase make of the value."""
    joined, target, modulus = _joined(config), config.target_label, config.modulus
    # by no memory: nearly all are quick, and addresses, which most are hashed of, are all different
    computes: dict[str, Callable[[str], str]] = {
        "hashmod": lambda value: hashmod(value, modulus),
        "lowercase": _lower,
        "uppercase": _upper,
    }
    compute = computes[config.action_name]

    def act(labels: dict[str, str]) -> _Outcome:
        value = joined(labels)
        _set(labels, target, compute(value))
        return True, None, value

    return act


def hashmod(value: str, modulus: int) -> str:
    """The shard of ``value`` among ``modulus``: the last 8 bytes of its MD5, modulo, in decimal."""
    digest = hashlib.md5(value.encode(errors="surrogatepass"), usedforsecurity=False).digest()
    return str(int.from_bytes(digest[8:], "big") % modulus)


def _labelmap(config: RelabelConfig, validation: Validation) -> _Act:
    regexp = Regexp(_regex(config))
    to = template(config.replacement, regexp)

    def rename(name: str) -> str | None:
        group = regexp.find(name)
        return None if group is None else expand(to, group)

    renames = _Memo(rename)

    def plan(names: tuple[str, ...]) -> list[tuple[str, str]]:
        # by name, so that the same one wins every time where two labels are mapped to one
        return [(target, name) for name in sorted(names) if (target := renames[name]) is not None]

    plans = _Memo(plan)

    def act(labels: dict[str, str]) -> _Outcome:
        pairs = plans[tuple(labels)]
        labels.update([(target, labels[name]) for target, name in pairs])
        return True, bool(pairs), ""

    return act


def _labels_by_name(config: RelabelConfig, validation: Validation) -> _Act:
    """Removes the labels that labeldrop names, or that labelkeep does not."""
    regexp = Regexp(_regex(config))
    keep = config.action_name == "labelkeep"
    matches: _Memo[str, bool] = _Memo(lambda name: regexp.find(name) is not None)

    def plan(names: tuple[str, ...]) -> tuple[list[str], bool]:
        return [name for name in names if matches[name] is not keep], any(matches[name] for name in names)

    plans = _Memo(plan)

    def act(labels: dict[str, str]) -> _Outcome:
        gone, matched = plans[tuple(labels)]
        for name in gone:
            del labels[name]
        return True, matched, ""

    return act


_MAKERS: Mapping[str, Callable[[RelabelConfig, Validation], _Act]] = {
    "replace": _replace,
    "keep": _keep_or_drop,
    "drop": _keep_or_drop,
    "keepequal": _equal,
    "dropequal": _equal,
    "hashmod": _compute,
    "labelmap": _labelmap,
    "labeldrop": _labels_by_name,
    "labelkeep": _labels_by_name,
    "lowercase": _compute,
    "uppercase": _compute,
}
