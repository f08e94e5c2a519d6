"""From a discovered target to a scrape target: what Prometheus does around relabelling. No I/O.

Follows Prometheus 3.14: no port is added to an address without one. Source: scrape/target.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from swarm_sd.go_regexp import is_utf8
from swarm_sd.model import ADDRESS, META_PREFIX, Labels, TargetGroup, merged
from swarm_sd.relabel import Rule, keeps, leading, relabel
from swarm_sd.scalars import Duration

INSTANCE = "instance"
SCRAPE_INTERVAL = "__scrape_interval__"
SCRAPE_TIMEOUT = "__scrape_timeout__"


@dataclass(frozen=True, slots=True)
class Populated:
    """What became of one discovered target.

    ``labels`` is None where a rule dropped it (``error`` is "") or where Prometheus would refuse it
    (``error`` says why); the targets beside it are not touched. Labels that begin with ``__`` are still
    in ``labels``, except ``__meta_*``: they say how to scrape, and no series carries them.
    """

    discovered: dict[str, str]  # before the rules, as Prometheus' page shows them
    labels: dict[str, str] | None
    error: str = ""


def populate(target: Labels, group: Labels, defaults: Labels, rules: Sequence[Rule]) -> Populated:
    """What ``rules`` make of a target of a group; ``defaults`` as in ``Job.defaults``."""
    discovered = _discovered(target, group, defaults)
    labels = relabel(discovered, rules)
    return Populated(discovered, None) if labels is None else Populated(discovered, *_final(labels))


def scraping(defaults: Labels, rules: Sequence[Rule]) -> Callable[[TargetGroup], Iterator[dict[str, str]]]:
    """A function that gives what ``populate`` makes of a group's targets, of those alone to be scraped.

    Most are dropped by the first rules, which look at few labels: these rules see only those at first, and
    the other labels are not put together. A shard's 1 % of a hundred thousand tasks costs a third so.
    """
    first, names = leading(rules)

    def scraped(group: TargetGroup) -> Iterator[dict[str, str]]:
        shared = {name: value for name in names if (value := group.labels.get(name) or defaults.get(name))}
        for target in group.targets:
            if first and _dropped_early(target, shared, first, names):
                continue
            labels = _discovered(target, group.labels, defaults)
            if keeps(labels, rules):
                final, _ = _final(labels)
                if final is not None:
                    yield final

    return scraped


def _dropped_early(target: Labels, shared: Labels, first: Sequence[Rule], names: Sequence[str]) -> bool:
    labels = {**shared}
    for name in names:
        value = target.get(name)
        if value == "":
            return False  # hides the group's label, not the job's: rare, the full way knows
        if value is not None:
            labels[name] = value
    return not keeps(labels, first)


def _discovered(target: Labels, group: Labels, defaults: Labels) -> dict[str, str]:
    labels = merged(defaults, group, target)
    if "" not in labels.values():  # nearly always, and three times as fast
        return labels
    own = {name: value for name, value in merged(group, target).items() if value}
    return {name: value for name, value in merged(defaults, own).items() if value}


def _final(labels: Labels) -> tuple[dict[str, str] | None, str]:
    """The labels to scrape with, or None and what is wrong with them."""
    if error := _address_error(labels) or _interval_error(labels):
        return None, error
    final = {name: value for name, value in labels.items() if not name.startswith(META_PREFIX)}
    final.setdefault(INSTANCE, final[ADDRESS])
    error = _utf8_error(final)
    return (None, error) if error else (final, "")


def _address_error(labels: Labels) -> str:
    address = labels.get(ADDRESS, "")
    if not address:
        return f"no address: {ADDRESS} is missing or empty after relabelling"
    if "/" in address:
        return f"{address!r} is not a valid hostname: {ADDRESS} is host:port, without a scheme or path"
    return ""


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
