"""The words a configuration is written in: durations, ports, secrets, as Prometheus reads them.

A scalar type is a class with ``from_yaml(text)``, which raises ``ValueError`` with the reason and the
way out. The configuration reader (``config/decode.py``) finds it by the field's annotation, so kinds of
discovery from other packages can bring their own.
"""

from __future__ import annotations

import re
from typing import Annotated, Self, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")

_DURATION = re.compile(
    r"^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$"
)
_UNIT_MS = (365 * 86_400_000, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_MAX_MS = (2**63 - 1) // 1_000_000  # Go's time.Duration counts nanoseconds in an int64


class Duration(float):
    """A span of time in seconds, written as Prometheus does: ``1h30m``, ``15s``, ``500ms``, ``0``.

    Source: model.ParseDuration of prometheus/common.
    """

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """The duration that ``text`` writes. ``ValueError`` where Prometheus would refuse it."""
        if text == "0":
            return cls(0)
        found = _DURATION.fullmatch(text) if text.isascii() else None
        if not text or found is None:
            raise ValueError(f"not a valid duration string: {text!r}; write it like 30s, 1m30s or 500ms")
        total = sum(int(count) * unit for count, unit in zip(found.groups(), _UNIT_MS, strict=True) if count)
        if total > _MAX_MS:
            raise ValueError(f"duration out of range: {text!r}; the longest is about 292 years")
        return cls(total / 1000)

    def __str__(self) -> str:
        rest = round(float(self) * 1000)
        if rest == 0:
            return "0s"
        parts = []
        for name, unit in zip(("y", "w", "d", "h", "m", "s", "ms"), _UNIT_MS, strict=True):
            # Prometheus writes weeks, days and years only where nothing smaller is left over
            if name in "ywd" and rest % unit:
                continue
            count, rest = divmod(rest, unit)
            if count:
                parts.append(f"{count}{name}")
        return "".join(parts)

    __repr__ = __str__


class Interval(Duration):
    """A span of time between two things: never 0, which would be a busy loop."""

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """The interval that ``text`` writes. ``ValueError`` where it is no duration, or 0."""
        interval = super().from_yaml(text)
        if interval <= 0:
            raise ValueError("must be greater than 0: an interval of 0 would ask without a pause")
        return interval


class Secret(str):
    """A text that is never shown: its ``repr`` and ``str.format`` give ``<secret>``.

    ``Secret.reveal()`` is the only way to the text itself, so every use of it can be found.
    """

    __slots__ = ()

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """The secret that ``text`` is."""
        return cls(text)

    def reveal(self) -> str:
        """The text itself."""
        return str.__str__(self)

    def __str__(self) -> str:
        return "<secret>" if len(self) else ""

    def __repr__(self) -> str:
        return repr(str(self))

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class Port(str):
    """A TCP port as text, ``1`` to ``65535``; written quoted or not."""

    __slots__ = ()

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """The port that ``text`` names. ``ValueError`` where it is no port number."""
        if not (text.isascii() and text.isdigit() and 0 < int(text) <= 65535):
            raise ValueError(f"not a valid port: {text!r}; write a number from 1 to 65535")
        return cls(text)


OneOrMore: TypeAlias = Annotated[tuple[T, ...], msgspec.Meta(extra={"one_or_more": True})]
"""A list that may be written without its brackets where there is one thing in it."""


class FilePath(str):
    """A path of a file; a relative one is relative to the configuration file that names it."""

    __slots__ = ()

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """The path as written; the configuration reader makes it absolute."""
        return cls(text)
