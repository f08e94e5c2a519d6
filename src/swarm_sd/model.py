"""What discovery finds: targets, in groups that replace each other by their source. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar, overload

Labels: TypeAlias = Mapping[str, str]

ADDRESS: Final = "__address__"
SCHEME = "__scheme__"
META_PREFIX = "__meta_"

D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """Targets that were learned together and share labels.

    ``source`` is unique within one provider; a group replaces the one before it with the same source.
    Each of ``targets`` has ``__address__`` as ``host:port``; a group without targets says "this source
    is gone or empty". ``labels`` hold for every target; a target's own label wins.

    Source: config.TargetGroup and retrieval.TargetProvider of Prometheus 0.17.
    """

    source: str
    targets: tuple[Labels, ...] = ()
    labels: Labels = field(default_factory=dict)


class Layered(Mapping[str, str]):
    """A target's labels as layers that targets share: a later layer wins, and ``address`` over all.

    For kinds with very many targets, which mostly differ in a few labels: a hundred thousand tasks take
    30 MB so, and 85 MB as a dict of 26 labels each. ``merged`` is the quick way to read them all.
    """

    __slots__ = ("address", "layers")

    def __init__(self, address: str, layers: tuple[Labels, ...]) -> None:
        self.address = address
        self.layers = layers

    def __getitem__(self, name: str) -> str:
        if name == ADDRESS:
            return self.address
        for layer in reversed(self.layers):
            if name in layer:
                return layer[name]
        raise KeyError(name)

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: D) -> str | D: ...
    def get(self, name: str, /, default: D | None = None) -> str | D | None:
        """As a dict's; Mapping's own raises and catches, at three times the time."""
        if name == ADDRESS:
            return self.address
        for layer in reversed(self.layers):
            if name in layer:
                return layer[name]
        return default

    def __iter__(self) -> Iterator[str]:
        return iter(merged(self))

    def __len__(self) -> int:
        return len(merged(self))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Layered):
            if self.address != other.address:
                return False
            if self.layers == other.layers:
                return True
        return merged(self) == merged(other) if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        return repr(merged(self))


def merged(*labels: Labels) -> dict[str, str]:
    """All of ``labels`` as one dict; of those with one name, the last."""
    found: dict[str, str] = {}
    for one in labels:
        if type(one) is Layered:  # isinstance asks the ABC, as long again as a merge takes
            for layer in one.layers:
                found.update(layer)
            found[ADDRESS] = one.address
        else:
            found.update(one)
    return found


_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")


def sanitize_label_name(name: str) -> str:
    """``name`` with every character that a legacy label name cannot hold turned into ``_``.

    One underscore a character, not a byte; a leading digit stays: callers put a prefix before it.
    Source: strutil.SanitizeLabelName of Prometheus.
    """
    return _NOT_IN_A_NAME.sub("_", name)


@lru_cache(maxsize=16_384)  # a cluster has some dozens of label keys, and each thousands of times
def _meta_name(prefix: str, key: str) -> str:
    return prefix + sanitize_label_name(key)


def meta_labels(prefix: str, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The meta labels that somebody's labels become: ``prefix`` and the key as a label name.

    Empty values are left out, as Prometheus would drop them. Keys that become one name (``a.b`` and
    ``a-b``): the key that is that name wins, else the first in byte order, so that the value cannot flap.
    """
    filled = sorted(pair for pair in pairs if pair[1])
    named = {_meta_name(prefix, key): value for key, value in filled}
    if len(named) == len(filled):
        return named
    for key, value in reversed(filled):
        named[_meta_name(prefix, key)] = value
    exact = {prefix + key: value for key, value in reversed(filled) if prefix + key in named}
    return {**named, **exact}


def join_host_port(host: str, port: str | int) -> str:
    """``host:port``, with an IPv6 address in brackets. Source: Go's net.JoinHostPort."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
