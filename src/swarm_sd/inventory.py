"""What became of every target of a job: counted, searched, a page at a time.

Made when it is asked for and kept group by group, so that what did not change costs a look-up. It all belongs
in a thread: a hundred thousand targets take a second or two.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from swarm_sd.explanation import rule_reason, state_of
from swarm_sd.feed import Feed
from swarm_sd.history import Times
from swarm_sd.job import Job
from swarm_sd.model import ADDRESS, Labels, Layered, TargetGroup
from swarm_sd.target import REFUSALS, SCRAPED, outcomes, populate

STATES: Final = ("scraped", "dropped", "refused")

NODE_LABELS: Final = (
    "__meta_dockerswarm_node_hostname",
    "__meta_swarm_node_name",
    "__meta_dockerswarm_node_id",
)
SERVICE_LABELS: Final = (
    "__meta_dockerswarm_service_name",
    "__meta_docker_container_label_com_docker_swarm_service_name",
    "__meta_docker_container_label_com_docker_compose_service",
    "__meta_docker_container_name",
)

_KEPT_FOR = 120.0
"""Seconds for which what only a search needs is kept after the last one."""


class Query(NamedTuple):
    """Which targets. ``words``: each must be in a line ``name=value`` of a label, in any letter case."""

    words: tuple[str, ...] = ()
    state: str = ""
    reason: str = ""

    @classmethod
    def of(cls, text: str = "", state: str = "", reason: str = "") -> Query:
        """The words of ``text``. A value in quotation marks, as in ``instance="a:1"`` or ``="a:1"``, is meant
        to its end; elsewhere they do not count.
        """
        return cls(tuple(_word(word) for word in text.lower().split()), state, reason)


def _word(word: str) -> str:
    end = "\n" if '="' in word and word.endswith('"') else ""
    return word.replace('"', "") + end


class Place(NamedTuple):
    """Where a target of a job is found again: its group, its address, and which it is of several there.

    ``nth`` counts from 0, through the job's entries in their order.
    """

    source: str
    address: str
    nth: int


@dataclass(frozen=True, slots=True)
class Row:
    """One target. Times are in seconds since the epoch; ``reason`` as in ``Explanation``."""

    entry: int
    kind: str
    place: Place
    state: str
    reason: str
    discovered: Labels
    labels: Labels | None
    error: str
    first_seen: float
    last_changed: float


@dataclass(frozen=True, slots=True)
class Counts:
    """How many targets of a job are in which state, and of those that are not scraped for which reason."""

    states: Mapping[str, int]
    reasons: Mapping[str, int]


class Cell(NamedTuple):
    """How many targets on one node of one service."""

    scraped: int
    dropped: int


class _Chunk:
    """A group and what became of its targets."""

    __slots__ = ("codes", "group", "texts", "twins")

    def __init__(self, group: TargetGroup, codes: tuple[int, ...]) -> None:
        self.group = group
        self.codes = codes
        self.texts: Sequence[str] | None = None  # of labels that the rules made
        # of targets at the address of one before: how many there are before; made when first asked for
        self.twins: Mapping[int, int] | None = None

    def nth(self, index: int) -> int:
        """Which the target is of those of the group at its address."""
        if self.twins is None:
            seen: Counter[str] = Counter()
            twins = {}
            for number, target in enumerate(self.group.targets):
                address = target.get(ADDRESS, "")
                if seen[address]:
                    twins[number] = seen[address]
                seen[address] += 1
            self.twins = twins
        return self.twins.get(index, 0)


Named = Sequence[tuple[object, TargetGroup]]
Standing = Sequence[tuple[int, Feed, Named]]
"""The entries of a job: (index, feed, its groups with their names). No feed is there twice."""


@dataclass(frozen=True, slots=True)
class Found:
    """A target that stands: the entry that has it, its feed, its group and its place in the group."""

    entry: int
    feed: Feed
    group: TargetGroup
    index: int


class JobInventory:
    """The targets of one job. Two threads may ask at a time."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._outcomes = outcomes(job.defaults, job.rules)
        self._chunks: dict[object, _Chunk] = {}
        # most groups fare like another: with 50 jobs on a large cluster that is most of the memory
        self._alike: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._seen: list[Named] = []
        self._searched = float("-inf")  # monotonic
        self._lock = threading.Lock()

    def counts(self, standing: Standing) -> Counts:
        """How many there are."""
        codes: Counter[int] = Counter()
        for chunk in self._update(standing).values():
            codes.update(chunk.codes)
        states = Counter(dict.fromkeys(STATES, 0))
        for code, number in codes.items():
            states[_state_of(code)] += number
        reasons = {_reason_of(code): number for code, number in sorted(codes.items()) if code != SCRAPED}
        return Counts(dict(states), reasons)

    def find(
        self, standing: Standing, query: Query, *, offset: int, limit: int
    ) -> tuple[int, list[tuple[Found, Place]]]:
        """(how many targets match, those of the page), in order of entry and source."""
        chunks = self._update(standing)
        found: list[tuple[Found, Place]] = []
        total = 0
        search = _Search(self.job, query.words) if query.words else None
        for entry, feed, named in standing:
            for name, _ in named:
                chunk = chunks[name]
                matching = self._matching(chunk, query, search)
                first = max(0, offset - total)
                wanted = matching[first : first + limit - len(found)] if len(found) < limit else ()
                for index in wanted:
                    one = Found(entry, feed, chunk.group, index)
                    found.append((one, _place(one, chunk, standing)))
                total += len(matching)
        return total, found

    def at(self, standing: Standing, place: Place) -> Found | None:
        """The target at that place; None where there is none (any more)."""
        before = 0
        for entry, feed, _ in standing:
            group = feed.groups.get(place.source)
            here = [] if group is None else _at(group, place.address)
            if group is not None and 0 <= place.nth - before < len(here):
                return Found(entry, feed, group, here[place.nth - before])
            before += len(here)
        return None

    def row(self, found: Found, place: Place, times: Times) -> Row:
        """A target with all that is known of it."""
        group, target = found.group, found.group.targets[found.index]
        done = populate(target, group.labels, self.job.defaults, self.job.rules)
        state, reason = state_of(done)
        return Row(
            entry=found.entry,
            kind=found.feed.config.kind,
            place=place,
            state=state,
            reason=reason,
            discovered=done.discovered,
            labels=done.labels,
            error=done.error,
            first_seen=times.first_seen,
            last_changed=times.last_changed,
        )

    def cells(self, standing: Standing) -> dict[tuple[str, str], Cell]:
        """By (node, service) how many targets are scraped there, and how many are not; "" for "not told"."""
        found: dict[tuple[str, str], list[int]] = {}
        chunks = self._update(standing)
        for _, _, named in standing:
            for name, group in named:
                for target, code in zip(group.targets, chunks[name].codes, strict=True):
                    key = (
                        _first(NODE_LABELS, target, group.labels),
                        _first(SERVICE_LABELS, target, group.labels),
                    )
                    found.setdefault(key, [0, 0])[code != SCRAPED] += 1
        return {key: Cell(*numbers) for key, numbers in found.items()}

    def _update(self, standing: Standing) -> Mapping[object, _Chunk]:
        with self._lock:
            seen = [named for _, _, named in standing]
            if len(seen) != len(self._seen) or any(a is not b for a, b in zip(seen, self._seen, strict=True)):
                self._alike = {}
                self._chunks = {name: self._chunk(name, group) for named in seen for name, group in named}
                self._seen = seen
            if time.monotonic() - self._searched > _KEPT_FOR:
                for chunk in self._chunks.values():
                    chunk.texts = None
            return self._chunks

    def _chunk(self, name: object, group: TargetGroup) -> _Chunk:
        done = self._chunks.get(name)
        if done is not None and done.group is group:
            self._alike.setdefault(done.codes, done.codes)
            return done
        codes = tuple(self._outcomes(group))
        return _Chunk(group, self._alike.setdefault(codes, codes))

    def _matching(self, chunk: _Chunk, query: Query, search: _Search | None) -> Sequence[int]:
        codes = chunk.codes
        if not query.state and not query.reason:
            indexes: Sequence[int] = range(len(codes))
        else:
            wanted = {
                code
                for code in set(codes)
                if query.state in ("", _state_of(code)) and query.reason in ("", _reason_of(code))
            }
            indexes = [index for index, code in enumerate(codes) if code in wanted]
        if search is None or not indexes:
            return indexes
        self._searched = time.monotonic()
        texts = chunk.texts  # another thread may let go of them meanwhile
        if texts is None:
            texts = chunk.texts = [
                _made(target, chunk.group, self.job) if code == SCRAPED else ""
                for target, code in zip(chunk.group.targets, codes, strict=True)
            ]
        return search.matching(chunk.group, texts, indexes)


def _state_of(code: int) -> str:
    """The state of an outcome."""
    return "scraped" if code == SCRAPED else "dropped" if code > 0 else "refused"


def _reason_of(code: int) -> str:
    """The reason of an outcome; "" for a target that is scraped."""
    if code == SCRAPED:
        return ""
    return rule_reason(code) if code > 0 else REFUSALS[-1 - code]


def _at(group: TargetGroup, address: str) -> list[int]:
    """Which of the group's targets are at that address."""
    return [index for index, target in enumerate(group.targets) if target.get(ADDRESS, "") == address]


def _place(found: Found, chunk: _Chunk, standing: Standing) -> Place:
    source, address = found.group.source, found.group.targets[found.index].get(ADDRESS, "")
    before = itertools.takewhile(lambda one: one[1] is not found.feed, standing)
    others = [group for _, feed, _ in before if (group := feed.groups.get(source)) is not None]
    return Place(source, address, sum(len(_at(one, address)) for one in others) + chunk.nth(found.index))


def _first(names: Sequence[str], target: Labels, group: Labels) -> str:
    return next((value for name in names if (value := target.get(name) or group.get(name))), "")


def _text(labels: Labels) -> str:
    return "".join([f"{name}={value}\n" for name, value in labels.items()]).lower()


def _made(target: Labels, group: TargetGroup, job: Job) -> str:
    """The labels that the rules made, as text."""
    done = populate(target, group.labels, job.defaults, job.rules)
    labels = done.labels or {}
    return _text({name: value for name, value in labels.items() if done.discovered.get(name) != value})


class _Search:
    """Which targets have every word in one of their labels. Layers that targets share are looked at once."""

    def __init__(self, job: Job, words: Sequence[str]) -> None:
        self._words = words
        self._all = frozenset(words)
        self._in_defaults = self._found(_text(job.defaults))
        self._in_layer: dict[int, tuple[Labels, frozenset[str]]] = {}

    def matching(self, group: TargetGroup, texts: Sequence[str], indexes: Sequence[int]) -> list[int]:
        """Those of the targets at ``indexes``; ``texts`` are more of their labels."""
        shared = self._in_defaults | self._found(_text(group.labels))
        return [index for index in indexes if self._matches(group.targets[index], texts[index], shared)]

    def _found(self, text: str) -> frozenset[str]:
        return frozenset(word for word in self._words if word in text)

    def _matches(self, target: Labels, text: str, shared: frozenset[str]) -> bool:
        found = shared
        if type(target) is Layered:
            for layer in target.layers:
                found = found | self._of_layer(layer)
            found = found | self._found(f"{ADDRESS}={target.address}\n".lower())
        else:
            found = found | self._found(_text(target))
        return found >= self._all or found | self._found(text) >= self._all

    def _of_layer(self, layer: Labels) -> frozenset[str]:
        known = self._in_layer.get(id(layer))
        if known is None or known[0] is not layer:  # held, so that its identity stays its own
            known = self._in_layer[id(layer)] = layer, self._found(_text(layer))
        return known[1]
