"""From a discovered target to a scrape target: what Prometheus does around relabelling. No I/O.

Follows Prometheus 3.14: no port is added to an address without one. Source: scrape/target.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from swarm_sd.go_regexp import is_utf8
from swarm_sd.model import ADDRESS, META_PREFIX, Labels, TargetGroup, merged
from swarm_sd.relabel import Rule, dropped_by, keeps, leading
from swarm_sd.scalars import Duration

INSTANCE = "instance"
SCRAPE_INTERVAL = "__scrape_interval__"
SCRAPE_TIMEOUT = "__scrape_timeout__"


NO_ADDRESS: Final = "no_address_left"
BAD_ADDRESS: Final = "not_an_address"
BAD_INTERVAL: Final = "bad_interval"
NOT_UTF8: Final = "not_utf8"
REFUSALS: Final = (NO_ADDRESS, BAD_ADDRESS, BAD_INTERVAL, NOT_UTF8)
"""Why Prometheus refuses a target that the rules kept."""


class Refusal(NamedTuple):
    """Why a target cannot be scraped: one of ``REFUSALS``, and as a sentence."""

    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class Populated:
    """What became of one discovered target.

    ``labels`` is None where a rule dropped it (``error`` is "", ``dropped_by`` counts the rules from 0) or
    where Prometheus would refuse it (``error`` says why, ``refused`` is one of ``REFUSALS``); the targets
    beside it are not touched. Labels that begin with ``__`` are still in ``labels``, except ``__meta_*``:
    they say how to scrape, and no series carries them.
    """

    discovered: dict[str, str]  # before the rules, as Prometheus' page shows them
    labels: dict[str, str] | None
    error: str = ""
    dropped_by: int | None = None
    refused: str = ""


def populate(target: Labels, group: Labels, defaults: Labels, rules: Sequence[Rule]) -> Populated:
    """What ``rules`` make of a target of a group; ``defaults`` as in ``Job.defaults``."""
    discovered = _discovered(target, group, defaults)
    labels = {name: value for name, value in discovered.items() if value}
    dropped = dropped_by(labels, rules)
    if dropped is not None:
        return Populated(discovered, None, dropped_by=dropped)
    final = _final(labels)
    if isinstance(final, Refusal):
        return Populated(discovered, None, final.error, refused=final.reason)
    return Populated(discovered, final)


SCRAPED: Final = 0
"""The outcome of a target that is scraped."""


def outcomes(defaults: Labels, rules: Sequence[Rule]) -> Callable[[TargetGroup], list[int]]:
    """A function that gives what becomes of each of a group's targets, as a number.

    ``SCRAPED``; above it the number of the rule that dropped it, counted from 1; below it the place of the
    refusal in ``REFUSALS``, counted from -1. As quick as ``scraping``.
    """
    first, names = leading(rules)

    def outcome(target: Labels, shared: Labels, group: Labels) -> int:
        early = _dropped_early(target, shared, first, names) if first else None
        if early is not None:
            return early + 1
        labels = _discovered(target, group, defaults)
        dropped = dropped_by(labels, rules)
        if dropped is not None:
            return dropped + 1
        final = _final(labels)
        return -1 - REFUSALS.index(final.reason) if isinstance(final, Refusal) else SCRAPED

    def of_group(group: TargetGroup) -> list[int]:
        shared = _of_all(group, defaults, names)
        return [outcome(target, shared, group.labels) for target in group.targets]

    return of_group


def scraping(defaults: Labels, rules: Sequence[Rule]) -> Callable[[TargetGroup], Iterator[dict[str, str]]]:
    """A function that gives what ``populate`` makes of a group's targets, of those alone to be scraped.

    Most are dropped by the first rules, which look at few labels: these rules see only those at first, and
    the other labels are not put together. A shard's 1 % of a hundred thousand tasks costs a third so.
    """
    first, names = leading(rules)

    def scraped(group: TargetGroup) -> Iterator[dict[str, str]]:
        shared = _of_all(group, defaults, names)
        for target in group.targets:
            if first and _dropped_early(target, shared, first, names) is not None:
                continue
            labels = _discovered(target, group.labels, defaults)
            if keeps(labels, rules):
                final = _final(labels)
                if not isinstance(final, Refusal):
                    yield final

    return scraped


def _of_all(group: TargetGroup, defaults: Labels, names: Sequence[str]) -> Labels:
    return {name: value for name in names if (value := group.labels.get(name) or defaults.get(name))}


def _dropped_early(target: Labels, shared: Labels, first: Sequence[Rule], names: Sequence[str]) -> int | None:
    labels = {**shared}
    for name in names:
        value = target.get(name)
        if value == "":
            return None  # hides the group's label, not the job's: rare, the full way knows
        if value is not None:
            labels[name] = value
    return dropped_by(labels, first)


def _discovered(target: Labels, group: Labels, defaults: Labels) -> dict[str, str]:
    labels = merged(defaults, group, target)
    if "" not in labels.values():  # nearly always, and three times as fast
        return labels
    own = {name: value for name, value in merged(group, target).items() if value}
    return {name: value for name, value in merged(defaults, own).items() if value}


def _final(labels: Labels) -> dict[str, str] | Refusal:
    """The labels to scrape with, or what is wrong with them."""
    if (refusal := _address_error(labels)) is not None:
        return refusal
    if error := _interval_error(labels):
        return Refusal(BAD_INTERVAL, error)
    final = {name: value for name, value in labels.items() if not name.startswith(META_PREFIX)}
    final.setdefault(INSTANCE, final[ADDRESS])
    error = _utf8_error(final)
    return Refusal(NOT_UTF8, error) if error else final


def _address_error(labels: Labels) -> Refusal | None:
    address = labels.get(ADDRESS, "")
    if not address:
        return Refusal(NO_ADDRESS, f"no address: {ADDRESS} is missing or empty after relabelling")
    if "/" in address:
        what = f"{address!r} is not a valid hostname: {ADDRESS} is host:port, without a scheme or path"
        return Refusal(BAD_ADDRESS, what)
    return None


def _interval_error(labels: Labels) -> str:
    seconds = []
    for what, name in (("interval", SCRAPE_INTERVAL), ("timeout", SCRAPE_TIMEOUT)):
        text = labels.get(name, "")
        try:
            seconds.append(_duration(text))
        except ValueError as err:
            return f"error parsing scrape {what}: {name}: {err}"
        if not seconds[-1]:
            return f"scrape {what} cannot be 0: {name} is {text!r}"
    interval, timeout = seconds
    if timeout > interval:
        return f"scrape timeout cannot be greater than scrape interval: {timeout} > {interval}"
    return ""


@lru_cache(maxsize=256)  # a configuration has a handful of them, a list of targets a hundred thousand
def _duration(text: str) -> Duration:
    return Duration.from_yaml(text)


def _utf8_error(labels: Labels) -> str:
    for name, value in labels.items():
        if not is_utf8(name):
            return f"invalid label name {name!r}: not UTF-8"
        if not is_utf8(value):
            return f"invalid label value for {name!r}: {value!r} is not UTF-8"
    return ""
