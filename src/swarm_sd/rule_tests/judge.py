"""Compares what came out with what is expected: as lines that say what differs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from swarm_sd.explanation import explained
from swarm_sd.job import Job
from swarm_sd.model import ADDRESS, Labels
from swarm_sd.once import Discovered
from swarm_sd.provider import PassedOver
from swarm_sd.rule_tests import document
from swarm_sd.rule_tests.document import Dropped, Expect, Target
from swarm_sd.target import Populated

AT_MOST = 20
"""Targets of one kind that are shown."""


class Line(NamedTuple):
    """``-`` expected and not there, ``+`` there and not expected, a blank for what explains."""

    mark: Literal["-", "+", " "]
    text: str


def differences(expect: Expect, job: Job, found: Discovered) -> tuple[Line, ...]:
    """What is not as expected of a job; nothing where all is."""
    targets = found.targets[job.name]
    scraped = _scraped(targets)
    lines: list[Line] = []
    if expect.targets is not None:
        missing, more = matched(expect.targets, scraped, job.name)
        lines += _compared(missing, more, targets, job)
        lines += _at_most([[Line("+", _shown(one, job.name))] for one in more])
    missing, more = matched(expect.contains, scraped, job.name)
    lines += _compared(missing, more, targets, job)
    if expect.count not in (None, len(scraped)):
        lines += [Line("-", f"{expect.count} targets"), Line("+", f"{len(scraped)} targets")]
    for dropped in expect.dropped:
        lines += _at_most(list(_not_dropped(dropped, targets, job)))
    for passed_over in expect.passed_over:
        lines += _not_passed_over(passed_over, found.passed_over[job.name])
    return tuple(lines)


def _scraped(found: Sequence[Populated]) -> list[Labels]:
    """The targets that are scraped; Prometheus takes those with the same labels for one."""
    distinct = {tuple(sorted(one.labels.items())): one.labels for one in found if one.labels is not None}
    return [labels for _, labels in sorted(distinct.items(), key=lambda one: (one[1][ADDRESS], one[0]))]


def matched(
    expected: Sequence[Target], scraped: Sequence[Labels], job: str
) -> tuple[list[Target], list[Labels]]:
    """(those expected that none is there for, those there that none is expected for), as few as can be.

    Several of what is there may fit what is expected: a maximum matching, by augmenting paths.
    """
    fits = [[at for at, labels in enumerate(scraped) if _fits(one, labels, job)] for one in expected]
    taken: dict[int, int] = {}  # of scraped, for which of expected
    missing = [one for number, one in enumerate(expected) if not _placed(number, fits, taken)]
    return missing, [labels for at, labels in enumerate(scraped) if at not in taken]


def _placed(number: int, fits: Sequence[Sequence[int]], taken: dict[int, int]) -> bool:
    """Whether one more finds its place in ``taken``, for which others may go over to another of theirs."""
    by: dict[int, int] = {}  # of scraped, for which of expected it was looked at
    gives: dict[int, int] = {}  # of expected, which of scraped it would leave
    waiting = [number]
    for looking in waiting:
        for at in fits[looking]:
            if at in by:
                continue
            by[at] = looking
            if at in taken:
                gives[taken[at]] = at
                waiting.append(taken[at])
                continue
            while (one := by[at]) in gives:
                taken[at], at = one, gives[one]
            taken[at] = one
            return True
    return False


def _fits(expected: Target, labels: Labels, job: str = "") -> bool:
    if expected.address not in ("", labels[ADDRESS]):
        return False
    return not _unlike(expected, labels, job)


def _unlike(expected: Target, labels: Labels, job: str) -> list[str]:
    """The names of the labels that are not as expected."""
    names = [name for name, value in expected.labels.items() if labels.get(name, "") != value]
    if expected.exact:
        names += [name for name in _own(labels, job) if name not in expected.labels]
    return sorted(names)


def _own(labels: Labels, job: str) -> dict[str, str]:
    """Its labels but for those of scraping, and those that every target has unless rules say otherwise."""
    given = {"job": job, "instance": labels[ADDRESS]}
    return {
        name: value
        for name, value in sorted(labels.items())
        if not name.startswith("__") and given.get(name) != value
    }


def _compared(
    missing: Sequence[Target], more: list[Labels], found: Sequence[Populated], job: Job
) -> Iterator[Line]:
    """Those that are missing, each beside the nearest that is there, which is taken out of ``more``."""
    for expected in missing[:AT_MOST]:
        nearest = max(more, key=lambda labels: _likeness(expected, labels), default=None)
        if nearest is not None and _likeness(expected, nearest) > (False, 0.0):
            more.remove(nearest)
            yield from _side_by_side(expected, nearest, job.name)
        else:
            yield Line("-", _wanted(expected))
            yield from _what_became_of(expected.address, found, job)
    if len(missing) > AT_MOST:
        yield Line("-", f"and {len(missing) - AT_MOST} more")


def _likeness(expected: Target, labels: Labels) -> tuple[bool, float]:
    """(whether it is at that address, how much of the labels is as expected: nothing for less than half)."""
    same = sum(labels.get(name, "") == value != "" for name, value in expected.labels.items())
    share = same / len(expected.labels) if expected.labels else 0.0
    return expected.address == labels[ADDRESS], share if share >= 0.5 else 0.0


def _side_by_side(expected: Target, labels: Labels, job: str) -> Iterator[Line]:
    if expected.address in ("", labels[ADDRESS]):
        yield Line(" ", labels[ADDRESS])
    else:
        yield Line("-", expected.address)
        yield Line("+", labels[ADDRESS])
    for name in _unlike(expected, labels, job):
        if name in expected.labels:
            yield Line("-", f"  {name}={_quoted(expected.labels[name])}")
        if name in labels:
            yield Line("+", f"  {name}={_quoted(labels[name])}")


def _what_became_of(address: str, found: Sequence[Populated], job: Job) -> Iterator[Line]:
    """Why what is missing is not scraped, where it was discovered."""
    for one in found:
        if one.labels is None and one.discovered.get(ADDRESS) == address:
            yield Line(" ", f"  {_verdict(one, job)}")
            return


def _verdict(one: Populated, job: Job) -> str:
    return explained(one.discovered, {}, job).verdict


def _not_dropped(dropped: Dropped, found: Sequence[Populated], job: Job) -> Iterator[list[Line]]:
    pattern = Target(address=dropped.address, labels=dropped.labels)
    by = f" by rule {dropped.rule}" if dropped.rule is not None else ""
    wanted = Line("-", f"{_wanted(pattern)} dropped{by}")
    meant = [one for one in found if ADDRESS in one.discovered and _fits(pattern, one.discovered)]
    if not meant:
        yield [wanted, Line("+", "nothing like it is discovered")]
    for one in meant:
        rule = None if one.dropped_by is None else one.dropped_by + 1
        if one.labels is not None or dropped.rule not in (None, rule):
            yield [wanted, Line("+", f"{one.discovered[ADDRESS]}: {_verdict(one, job)}")]


def _not_passed_over(expected: document.PassedOver, found: Sequence[PassedOver]) -> Iterator[Line]:
    given = {name: value for name, value in msgspec.structs.asdict(expected).items() if value}
    reason = given.pop("reason")
    meant = [one for one in found if all(getattr(one, name) == value for name, value in given.items())]
    if not any(one.reason == reason for one in meant):
        yield Line("-", f"{_braces(given) or 'anything'} passed over for {reason}")
        others = sorted({f"{one.kind} {one.name} passed over for {one.reason}" for one in meant})
        yield from _at_most([[Line("+", other)] for other in others or ["nothing like it is passed over"]])


def _wanted(target: Target) -> str:
    labels = _braces(target.labels)
    return " ".join(filter(None, (target.address, labels, "and no other label" if target.exact else "")))


def _shown(labels: Labels, job: str) -> str:
    return f"{labels[ADDRESS]} {_braces(_own(labels, job))}"


def _braces(labels: Labels) -> str:
    return (
        "{" + ", ".join(f"{name}={_quoted(value)}" for name, value in labels.items()) + "}" if labels else ""
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _at_most(blocks: Sequence[Sequence[Line]]) -> Iterator[Line]:
    for block in blocks[:AT_MOST]:
        yield from block
    if len(blocks) > AT_MOST:
        yield Line(blocks[0][0].mark, f"and {len(blocks) - AT_MOST} more")
