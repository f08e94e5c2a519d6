"""``host:port`` entries as Swarm's discovery writes them: ranges, lists, files. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Mapping

_RANGE = re.compile(r"\[([^][]*):([^][]*)\]")
_NUMBER = re.compile(r"[0-9]{1,9}")
_NAME = re.compile(r"(?!-)[A-Za-z0-9_.-]{1,253}(?<!-)")

MOST = 65_536
"""The most entries that one range may stand for."""


def expand(pattern: str) -> list[str]:
    """The entries that ``pattern`` stands for: ``10.0.0.[1:3]:2375`` is three, any other text is itself.

    Numbers count up and lose leading zeros. ``ValueError`` for two ranges in one entry, one that counts
    down, and one of more than ``MOST``.
    Source: discovery/generator.go of classic Swarm, where these three are silently wrong or unlimited.
    """
    ranges = [found for found in _RANGE.finditer(pattern) if all(map(_NUMBER.fullmatch, found.groups()))]
    if not ranges:
        return [pattern]
    if len(ranges) > 1:
        raise ValueError(f"two ranges in {pattern!r}; write one a range, separated by commas or lines")
    [found] = ranges
    first, last = int(found[1]), int(found[2])
    if first > last:
        raise ValueError(f"the range in {pattern!r} counts down; write [{last}:{first}]")
    if last - first >= MOST:
        raise ValueError(f"the range in {pattern!r} stands for more than {MOST} entries")
    return [
        f"{pattern[: found.start()]}{number}{pattern[found.end() :]}" for number in range(first, last + 1)
    ]


def is_entry(text: str) -> bool:
    """Whether ``text`` is ``host:port``, an IPv6 address in brackets, as Go's net.SplitHostPort takes it."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        return False
    return _is_ipv6(host[1:-1]) if host[:1] == "[" and host[-1:] == "]" else _NAME.fullmatch(host) is not None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def listed(text: str) -> tuple[str, ...]:
    """The entries of ``nodes://``: separated by commas, with ranges, duplicates once.

    ``ValueError`` names the entry that is none. Source: discovery/nodes of classic Swarm.
    """
    found: dict[str, None] = {}
    for part in text.split(","):
        if not part.strip():
            raise ValueError(f"an empty entry in {text!r}: there is a comma too many")
        for entry in expand(part.strip()):
            if not is_entry(entry):
                raise ValueError(f"not host:port: {entry!r}; write it like 10.0.0.1:2375")
            found[entry] = None
    return tuple(found)


def of_file(content: str) -> tuple[tuple[str, ...], Mapping[str, int]]:
    """(entries, by reason the lines that could not be used) of a file for ``file://``.

    One entry or range a line; what follows a ``#``, and empty lines, do not count.
    Source: parseFileContent in discovery/file/file.go; there one bad line spoils the whole file.
    """
    lines = (line.partition("#")[0].strip() for line in content.removeprefix("\ufeff").splitlines())
    found: list[str] = []
    skipped: Counter[str] = Counter()
    for line in filter(None, lines):
        try:
            found += expand(line)
        except ValueError:
            skipped["invalid_range"] += 1
    good, bad = usable(found)
    return good, skipped + Counter(bad)


def usable(values: Iterable[str]) -> tuple[tuple[str, ...], Mapping[str, int]]:
    """(what of ``values`` is ``host:port``, sorted and once each; by reason, how many are not)."""
    values = list(values)
    good = sorted({value for value in values if is_entry(value)})
    bad = sum(not is_entry(value) for value in values)
    return tuple(good), {"invalid_address": bad} if bad else {}
