"""Labels of Docker's objects as meta labels: on which level each is, and which was probably meant. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

_LEVEL: Final = re.compile(
    r"(__meta_docker(?:swarm)?_)(node_engine|service|container|node|network)_label_(.+)", re.DOTALL
)
_WHERE: Final = {
    "service": "of the service (deploy: labels: in a stack file)",
    "container": "of its containers (labels: beside image: in a stack file)",
    "node": "of the node (docker node update --label-add)",
    "node_engine": "of the node's engine (dockerd --label)",
    "network": "of the network",
}
_BEGINNING: Final = re.compile(r"__meta_[a-z]+_(?:[a-z_]+?_label_)?")
_ALIKE: Final = 0.75


class Level(NamedTuple):
    """The parts of a meta label that stands for a label of Docker's."""

    prefix: str
    of: str
    key: str

    def where(self) -> str:
        """Where Docker's label is written."""
        return _WHERE[self.of]


def level(name: str) -> Level | None:
    """The level of a meta label; None where it stands for no label of Docker's."""
    found = _LEVEL.fullmatch(name)
    return Level(*found.groups()) if found else None


class Meant(NamedTuple):
    """A name that is there, and ``how``: the same letters (``same``), another ``level``, or ``alike``."""

    name: str
    how: str


def meant(name: str, there: Collection[str]) -> Meant | None:
    """What was probably meant by ``name``, which no target has, of the names that are ``there``."""
    for how, candidates in (("same", _same(name, there)), ("level", _twins(name, there))):
        if found := sorted(candidates):
            return Meant(found[0], how)
    alike = {_own_part(one): one for one in sorted(there) if _beginning(one) == _beginning(name)}
    close = difflib.get_close_matches(_own_part(name), alike, n=1, cutoff=_ALIKE)
    return Meant(alike[close[0]], "alike") if close else None


def _beginning(name: str) -> str:
    """What labels of one kind and level have in common, and what says nothing of how alike they are."""
    found = _BEGINNING.match(name)
    return found[0] if found else ""


def _own_part(name: str) -> str:
    return name[len(_beginning(name)) :]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _same(name: str, there: Iterable[str]) -> Iterator[str]:
    """Those that differ in letter case, dots, dashes and underscores alone."""
    plain = _plain(name)
    return (one for one in there if one != name and _plain(one) == plain)


def _twins(name: str, there: Iterable[str]) -> Iterator[str]:
    """The same label of Docker's on another level."""
    own = level(name)
    if own is None:
        return
    for one in there:
        other = level(one)
        if other is not None and one != name and _plain(other.key) == _plain(own.key):
            yield one


def misplaced(name: str, other: str, owners: Mapping[str, Collection[str]]) -> tuple[str, str]:
    """(cause, way out) where a rule looks at ``name`` and the label is there as ``other``.

    ``owners``: the names of services by meta label, where they are known.
    """
    looked, there = level(name), level(other)
    if looked is None or there is None:
        raise ValueError(f"no label of Docker's: {name} or {other}")
    services = sorted(owners.get(other, ()))
    of = f" of {', '.join(services[:3])}" if services else ""
    cause = f"the rule looks at the labels {looked.where()}; {there.key!r}{of} is one {there.where()}"
    ways = [f"let the rule look at {other}"] if looked.prefix == there.prefix else []
    if looked.of == "service":
        ways.append(
            f"write it where the rule looks:\n  services: {{{services[0] if services else 'NAME'}: "
            f"{{deploy: {{labels: {{{there.key}: ...}}}}}}}}"
        )
    elif looked.of == "container":
        ways.append(
            f"write it where the rule looks:\n  services: {{{services[0] if services else 'NAME'}: "
            f"{{labels: {{{there.key}: ...}}}}}}"
        )
    return cause, "; or ".join(ways) or f"write it as a label {looked.where()}"
