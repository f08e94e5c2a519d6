"""A list of targets as the bytes that a client gets: same targets, same bytes, same ETag."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from swarm_sd.job import Job
from swarm_sd.model import ADDRESS, Labels, TargetGroup, merged
from swarm_sd.target import scraping


class _Object(msgspec.Struct, gc=False):
    targets: list[str]
    labels: Labels


_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a list: objects joined by commas, without the brackets."""

    data: bytes
    targets: int


class Snapshot:
    """The targets of one entry, or of one job: exactly what HTTP SD answers and file SD writes.

    ``body`` is a JSON array of ``{"targets": ["host:port"], "labels": {...}}``; ``etag`` is quoted and
    strong; ``gzipped`` is the body, compressed; ``targets`` counts. The bytes are made when they are first
    asked for, some 10 ms a MB: ``ready`` says whether they are, ``prepare`` belongs in a thread.
    """

    def __init__(self, pieces: Callable[[], Iterable[Piece]], targets: int) -> None:
        self.targets = targets
        self._pieces: Callable[[], Iterable[Piece]] | None = pieces
        self._making = threading.Lock()
        self._made: tuple[bytes, str] | None = None
        self._gzipped: bytes | None = None

    @property
    def body(self) -> bytes:
        """The list."""
        return self._bytes()[0]

    @property
    def etag(self) -> str:
        """Another list has another one."""
        return self._bytes()[1]

    @property
    def gzipped(self) -> bytes:
        """The body, compressed."""
        with self._making:
            if self._gzipped is None:
                # mtime=0 keeps equal lists equal; level 1 is within 10 % of level 6 at a quarter of its time
                self._gzipped = gzip.compress(self._make()[0], 1, mtime=0)
            return self._gzipped

    def ready(self, *, gzipped: bool = False) -> bool:
        """Whether the bytes are there."""
        return (self._gzipped if gzipped else self._made) is not None

    def prepare(self, *, gzipped: bool = False) -> None:
        """Makes the bytes."""
        _ = self.gzipped if gzipped else self.body

    def _bytes(self) -> tuple[bytes, str]:
        if self._made is None:
            with self._making:
                return self._make()
        return self._made

    def _make(self) -> tuple[bytes, str]:
        if self._made is None and self._pieces is not None:
            body = b"[" + b",\n".join(part.data for part in self._pieces() if part.targets) + b"]"
            self._made = body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            self._pieces = None
        assert self._made is not None  # noqa: S101 - made above, once
        return self._made


def snapshot(pieces: Iterable[Piece]) -> Snapshot:
    """The list that the pieces make together."""
    parts = tuple(pieces)
    return Snapshot(lambda: parts, sum(part.targets for part in parts))


def piece(group: TargetGroup) -> Piece:
    """The group's targets, one object each, since each has labels of its own."""
    if not group.targets:
        return Piece(b"", 0)
    # a target without an address is nobody's: a plug-in's slip must not spoil the list
    objects = [_object(target, group.labels) for target in group.targets if target.get(ADDRESS)]
    return Piece(_encode(objects)[1:-1], len(objects))


def _object(target: Labels, shared: Labels) -> _Object:
    labels = merged(shared, target)
    return _Object([labels.pop(ADDRESS, "")], labels)


def relabelling(job: Job) -> Callable[[TargetGroup], Piece]:
    """A function that gives what is left of a group after the job's rules ran here.

    For collectors that are to run none. Labels that the rules left as the job's defaults are left out: the
    collector has its own.
    """
    scraped = scraping(job.defaults, job.rules)

    def relabelled(group: TargetGroup) -> Piece:
        objects = [_final_object(labels, job.defaults) for labels in scraped(group)]
        return Piece(_encode(objects)[1:-1], len(objects))

    return relabelled


def _final_object(labels: Labels, defaults: Labels) -> _Object:
    implied = {**defaults, "instance": labels[ADDRESS]}
    # a label without a name, which labelmap can make, would have the collector refuse the whole list
    kept = {
        name: value
        for name, value in labels.items()
        if name not in ("", ADDRESS) and implied.get(name) != value
    }
    return _Object([labels[ADDRESS]], kept)


class Pieces:
    """The pieces of groups, each made once: of a group that is the same object the piece before is taken."""

    def __init__(self, make: Callable[[TargetGroup], Piece] = piece) -> None:
        self._make = make
        self._made: dict[object, tuple[TargetGroup, Piece]] = {}

    def of(self, groups: Iterable[tuple[object, TargetGroup]]) -> list[Piece]:
        """The pieces of (name, group) pairs, in their order; what is not named any more is forgotten."""
        fresh = {}
        for name, group in groups:
            done = self._made.get(name)
            fresh[name] = done if done is not None and done[0] is group else (group, self._make(group))
        self._made = fresh
        return [made for _, made in fresh.values()]
