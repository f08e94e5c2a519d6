"""What changed when, and since when each target is there: the last changes, in memory.

Whoever takes an update only notes it; the targets are compared later, in a thread, for an update may change a
hundred thousand of them.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Literal, NamedTuple, TypeAlias

from swarm_sd.model import ADDRESS, Labels, TargetGroup, merged

Why: TypeAlias = Literal["start", "poll", "event", "follow-up", "restored", "reload", "mass loss", ""]
"""What led to a change: as ``Prompt``; targets kept from before; a reload; a loss that lasted; not told."""

What: TypeAlias = Literal["added", "removed", "changed"]

GENERATIONS: Final = 500
"""How many changes are kept."""

SAMPLES: Final = 100
"""How many targets of one change are named; all are counted."""

Pair: TypeAlias = tuple[TargetGroup, TargetGroup]
"""A group before and after, of one source; without targets where there was or is none."""


class ChangedTarget(NamedTuple):
    """One target of a change. ``labels``: the names of those that are others, where it was changed."""

    what: What
    source: str
    address: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """One change of what was discovered. ``jobs`` are those it belongs to; ``at`` is seconds since the epoch.

    ``targets`` names at most ``SAMPLES`` of those counted.
    """

    number: int
    at: float
    kind: str
    jobs: tuple[str, ...]
    why: Why
    added: int
    removed: int
    changed: int
    targets: tuple[ChangedTarget, ...] = field(repr=False, default=())


class Times(NamedTuple):
    """Since when a target is there, and when it last changed; seconds since the epoch."""

    first_seen: float
    last_changed: float


class _Update(NamedTuple):
    of: object
    at: float
    kind: str
    jobs: tuple[str, ...]
    why: Why
    groups: Sequence[Pair]


class _PassedOn(NamedTuple):
    of: object
    to: object  # None: to nobody


class _Seen(NamedTuple):
    """The times of a group's targets, in their order: 16 bytes each instead of two objects."""

    first: array[float]
    last: array[float]


class History:
    """The last changes. ``note`` never waits; the rest compares what was noted, and belongs in a thread."""

    def __init__(self) -> None:
        self._generations: deque[Generation] = deque(maxlen=GENERATIONS)
        self._numbers = count(1)
        self._noted: deque[_Update | _PassedOn] = deque()
        self._seen: dict[object, dict[str, _Seen]] = {}
        self._comparing = threading.Lock()

    def note(
        self,
        of: object,
        kind: str,
        jobs: Iterable[str],
        why: Why,
        groups: Sequence[Pair],
    ) -> None:
        """Takes an update of whatever ``of`` stands for: (group before, group after) of what changed."""
        self._noted.append(_Update(of, time.time(), kind, tuple(jobs), why, groups))

    def pass_on(self, of: object, to: object) -> None:
        """Takes it that ``to`` has the very targets that ``of`` has: they are there since when they were."""
        self._noted.append(_PassedOn(of, to))

    def forget(self, of: object) -> None:
        """Takes it that ``of`` is no more, though its targets are."""
        self._noted.append(_PassedOn(of, None))

    @property
    def waiting(self) -> bool:
        """Whether something was noted that is not compared yet."""
        return bool(self._noted)

    def compare(self) -> None:
        """Compares what was noted: some 3 s for 100,000 targets that all changed."""
        with self._comparing:
            while self._noted:
                match self._noted.popleft():
                    case _PassedOn(of, None):
                        self._seen.pop(of, None)
                    case _PassedOn(of, to):
                        self._seen[to] = dict(self._seen.get(of, {}))
                    case update:
                        self._generations.append(self._generation(update))

    def generations(self) -> Sequence[Generation]:
        """The last changes, the newest first."""
        self.compare()
        return tuple(reversed(self._generations))

    def times(self, of: object, group: TargetGroup, index: int) -> Times:
        """Those of the group's target of that index."""
        self.compare()
        seen = self._seen.get(of, {}).get(group.source)
        if seen is None or len(seen.first) != len(group.targets):  # it changed meanwhile
            now = time.time()
            return Times(now, now)
        return Times(seen.first[index], seen.last[index])

    def _generation(self, update: _Update) -> Generation:
        counts: dict[What, int] = {"added": 0, "removed": 0, "changed": 0}
        samples: list[ChangedTarget] = []
        seen = self._seen.setdefault(update.of, {})
        for before, after in update.groups:
            compared = _Compared(before, after)
            for one in compared.changes():
                counts[one.what] += 1
                if len(samples) < SAMPLES:
                    samples.append(one)
            old = seen.pop(after.source, None)
            if after.targets:
                seen[after.source] = compared.times(old, update.at)
        if not seen:
            del self._seen[update.of]
        added, removed, changed = counts.values()
        return Generation(
            number=next(self._numbers),
            at=update.at,
            kind=update.kind,
            jobs=update.jobs,
            why=update.why,
            added=added,
            removed=removed,
            changed=changed,
            targets=tuple(samples),
        )


class _Compared:
    """A group before and after, target by target: those at one address are the same."""

    def __init__(self, before: TargetGroup, after: TargetGroup) -> None:
        self._before, self._after = before, after
        places: dict[str, list[int]] = {}
        for index in reversed(range(len(before.targets))):
            places.setdefault(_address(before.targets[index]), []).append(index)
        # of each target after, which of those before it was; -1: it is new
        self._was = [_taken(places.get(_address(target))) for target in after.targets]
        self._gone = sorted(index for left in places.values() for index in left)
        alike = before.labels == after.labels
        # of each of them, the names of the labels that are others
        self._names = [
            ()
            if was < 0 or (alike and before.targets[was] == target)
            else _differing(before, before.targets[was], after, target)
            for was, target in zip(self._was, after.targets, strict=True)
        ]

    def changes(self) -> Iterator[ChangedTarget]:
        """What changed, in the order of the targets."""
        source = self._after.source
        for was, names, target in zip(self._was, self._names, self._after.targets, strict=True):
            if was < 0:
                yield ChangedTarget("added", source, _address(target))
            elif names:
                yield ChangedTarget("changed", source, _address(target), names)
        for index in self._gone:
            yield ChangedTarget("removed", source, _address(self._before.targets[index]))

    def times(self, old: _Seen | None, now: float) -> _Seen:
        """The times after, from those before."""
        if old is None or len(old.first) != len(self._before.targets):
            return _Seen(array("d", [now] * len(self._was)), array("d", [now] * len(self._was)))
        was_names = list(zip(self._was, self._names, strict=True))
        return _Seen(
            array("d", [old.first[was] if was >= 0 else now for was in self._was]),
            array("d", [now if was < 0 or names else old.last[was] for was, names in was_names]),
        )


def _address(target: Labels) -> str:
    return target.get(ADDRESS, "")


def _taken(places: list[int] | None) -> int:
    return places.pop() if places else -1


def _differing(before: TargetGroup, was: Labels, after: TargetGroup, now: Labels) -> tuple[str, ...]:
    old, new = merged(before.labels, was), merged(after.labels, now)
    return tuple(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))
