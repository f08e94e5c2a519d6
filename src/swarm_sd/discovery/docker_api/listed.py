"""Reads a list of Docker's API while it arrives: what was read before costs no more than looking at it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from swarm_sd.provider import DiscoveryError

ODD_OBJECT = "odd_object"
"""The reason for an object that is skipped because a field of it has a type that Docker never writes."""

PART = 48 * 1024
"""Bytes of the list, at least, that are decoded in one go: some 0.2 ms, and one of these is all that is
decoded anew where one object changed.
"""

_LONGEST_PART = 8
"""Parts' lengths after which a part ends at any object, even where IDs are not those of Docker."""

# Between two objects as Go writes them. Whether a part ends there depends on the next object's ID alone, so
# that the parts before and after an object that is new are still the same.
_BORDER = re.compile(rb'\},(?=\{"I[Dd]":"[0-9a-z]{0,80}[0-7]")')
_ANY_BORDER = re.compile(rb'\},(?=\{"I[Dd]":)')

T = TypeVar("T", bound=msgspec.Struct)


class Listed(list[T], Generic[T]):
    """The objects of one answer; ``skipped`` counts, by reason, those that could not be read."""

    def __init__(self, objects: Iterable[T] = (), skipped: Mapping[str, int] | None = None) -> None:
        super().__init__(objects)
        self.skipped = skipped or {}
        # once they are known: the objects by what they belong to, and by ID
        self.groups: Mapping[str, Sequence[T]] | None = None
        self.ids: Mapping[str, T] | None = None


class _Part(NamedTuple):
    """A part of a list that was read."""

    objects: list[Any]
    odd: int = 0


class ListReader(Generic[T]):
    """Reads the same list again and again: the same bytes are the same objects, and the same list."""

    def __init__(self, kind: type[T]) -> None:
        self.decode = msgspec.json.Decoder(list[kind]).decode  # type: ignore[valid-type]
        self.kind = kind
        self.parts: dict[int, _Part] = {}  # of the last answer, by the hash of their bytes
        self._last: tuple[tuple[int, ...], Listed[T]] | None = None

    def begin(self) -> Reading[T]:
        """A reading of one answer."""
        return Reading(self)

    def read(self, answer: bytes | bytearray) -> Listed[T]:
        """The list of a whole answer."""
        reading = self.begin()
        reading.feed(answer)
        return reading.done()

    def listed(self, parts: list[tuple[int, _Part]]) -> Listed[T]:
        """The list that the parts make, which are remembered."""
        key = tuple(hash_ for hash_, _ in parts)
        if self._last is None or self._last[0] != key:
            self.parts = dict(parts)
            objects = [one for _, part in parts for one in part.objects]
            odd = sum(part.odd for _, part in parts)
            self._last = key, Listed(objects, {ODD_OBJECT: odd} if odd else None)
        return self._last[1]


class Reading(Generic[T]):
    """One answer, read while it arrives."""

    def __init__(self, reader: ListReader[T]) -> None:
        self._reader = reader
        self._rest = bytearray()  # what is not decoded yet; after the first part without the list's bracket
        self._parts: list[tuple[int, _Part]] = []
        self._look_from = PART

    def feed(self, chunk: bytes | bytearray) -> None:
        """Takes the next bytes."""
        self._rest += chunk
        start = 0
        while (border := self._border(start)) is not None:
            if self._take(self._text(start, border.start() + 1)):
                start, self._look_from = border.end(), PART
            else:
                # within an object: further on
                self._look_from = (border.end() - start) * 2
        del self._rest[:start]

    def _border(self, start: int) -> re.Match[bytes] | None:
        long = len(self._rest) - start - self._look_from
        if long <= 0:
            return None
        found = _BORDER.search(self._rest, start + self._look_from)
        if found is None and long > _LONGEST_PART * PART:
            return _ANY_BORDER.search(self._rest, start + self._look_from)
        return found

    def _text(self, start: int, end: int) -> bytes:
        opening = b"[" if self._parts or start else b""
        return b"".join((opening, memoryview(self._rest)[start:end], b"]"))

    def _take(self, text: bytes) -> bool:
        """Reads a part of the list; False where it is not whole objects."""
        # 64 bits and not the text itself, which would be all of the answer; keyed anew in every process
        key = hash(text)
        part = self._reader.parts.get(key) or self._decoded(text)
        if part is not None:
            self._parts.append((key, part))
        return part is not None

    def _decoded(self, text: bytes) -> _Part | None:
        try:
            return _Part(self._reader.decode(text))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # one odd object is no reason to lose the others: look closer
        try:
            return _one_by_one(text, self._reader.kind)
        except (msgspec.DecodeError, RecursionError):
            return None

    def done(self) -> Listed[T]:
        """The list. DiscoveryError where it is none or was cut short."""
        opening = b"[" if self._parts else b""
        text = b"".join((opening, self._rest))
        self._rest.clear()
        if not self._take(text):
            raise DiscoveryError("not_json", f"answers with something else than a JSON list: {_why(text)}")
        return self._reader.listed(self._parts)


_raws = msgspec.json.Decoder(list[msgspec.Raw])


def _why(text: bytes) -> str:
    try:
        _raws.decode(text.decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as err:
        return str(err)
    return "no list"


def _one_by_one(text: bytes, kind: type[msgspec.Struct]) -> _Part:
    # U+FFFD for bytes that are not UTF-8, as Go does
    raws = _raws.decode(text.decode("utf-8", "replace"))
    found = [one for raw in raws if (one := _object(raw, kind)) is not None]
    return _Part(found, len(raws) - len(found))


def _object(raw: msgspec.Raw, kind: type[msgspec.Struct]) -> msgspec.Struct | None:
    """The object, without its nulls where need be, which say nothing in Go; None where it is odd."""
    try:
        return msgspec.json.decode(bytes(raw), type=kind)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return msgspec.convert(_pruned(msgspec.json.decode(raw)), kind)
    except (msgspec.MsgspecError, RecursionError):
        return None


# a container's network that is null has a name, and counts
_KEPT_NULL = "Networks"


def _pruned(value: Any, keep: bool = False) -> Any:
    if isinstance(value, dict):
        return {
            name: _pruned(inner, name == _KEPT_NULL)
            for name, inner in value.items()
            if keep or inner is not None
        }
    if isinstance(value, list):
        return [_pruned(inner) for inner in value if inner is not None]
    return value
