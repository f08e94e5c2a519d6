"""What the ``prometheus.*`` labels of a service say: which endpoints it has. Pure.

docs/endpoints.md has the rules.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from swarm_sd.model import SCHEME, Labels

PREFIX: Final = "prometheus."
FIELDS: Final = ("scrape", "port", "path", "scheme", "job", "network")
FAMILIES: Final = ("param", "label")
METRICS_PATH: Final = "__metrics_path__"
PARAM: Final = "__param_"

_FOREIGN = PREFIX + "io/"  # the annotations of Kubernetes, which mean something else to whoever wrote them
_ENDPOINT_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_PARAM_NAME = re.compile(r"[a-zA-Z0-9_]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of a service. ``labels`` are what its targets get of it, Prometheus' own included."""

    name: str = ""
    port: int | None = None  # None: the ports that the service publishes, else the entry's port
    network: str = ""  # "": the entry chooses
    network_key: str = ""  # the label that names the network
    labels: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Declared:
    """What the labels of a service and of its containers say. ``complaints`` name service and label."""

    endpoints: tuple[Endpoint, ...] = ()
    complaints: tuple[str, ...] = ()


class _Given(NamedTuple):
    """A label of the convention: its key, its value (None: it cannot be used), and whose label it is."""

    key: str
    value: str | None
    where: str


_Field = tuple[str, str]  # a field and, of param and label, the name behind it
_Fields = dict[_Field, _Given]


class _BadValueError(Exception):
    """What is wrong with a value, and the way out."""


def declared(
    service_name: str, service: Labels | None, container: Labels | None, *, everything: bool = False
) -> Declared:
    """The endpoints that a service's labels declare; those of its containers win, key by key.

    ``everything``: a service that declares none has one all the same, unless ``prometheus.scrape`` is false.
    """
    return _Reading(service_name).read(service or {}, container or {}, everything)


class _Reading:
    """Reads the labels of one service, and gathers what is wrong with them."""

    def __init__(self, service_name: str) -> None:
        self._service_name = service_name
        self._complaints: dict[str, None] = {}
        self._by_endpoint: dict[str, _Fields] = {"": {}}

    def read(self, service: Labels, container: Labels, everything: bool) -> Declared:
        labels = {key: (value, "label") for key, value in service.items()}
        labels |= {key: (value, "container label") for key, value in container.items()}
        for key, (value, where) in sorted(labels.items()):
            self._take(key, value, where)
        endpoints = tuple(self._endpoints(everything))
        return Declared(endpoints, tuple(self._complaints))

    def _complain(self, where: str, key: str, what: str) -> None:
        self._complaints[f"service {self._service_name}: {where} {key}: {what}"] = None

    def _take(self, key: str, value: str, where: str) -> None:
        if not key.startswith(PREFIX):
            first, _, rest = key.partition(".")
            if rest and _is_misspelt(first) and _split(PREFIX + rest) is not None:
                self._complain(where, key, f"unknown, did you mean {PREFIX}{rest}?")
            return
        if key.startswith(_FOREIGN):
            return
        found = _split(key)
        if found is None:
            self._complain(where, key, _unknown(key))
            return
        endpoint, name = found
        given: str | None = value
        try:
            _check(name, value)
        except _BadValueError as err:
            self._complain(where, key, str(err))
            if name[0] in ("scrape", *FAMILIES):
                return  # what is left still says where to scrape
            given = None
        self._by_endpoint.setdefault(endpoint, {})[name] = _Given(key, given, where)

    def _endpoints(self, everything: bool) -> Iterator[Endpoint]:
        default, named = self._by_endpoint[""], sorted(self._by_endpoint.items())[1:]
        scrape = default.pop(("scrape", ""), None)
        if scrape is not None and scrape.value == "false":
            return
        with_port = {name: fields for name, fields in named if self._has_port(name, fields)}
        shared = {name: given for name, given in default.items() if name != ("port", "")}
        seen: dict[object, str] = {}
        wanted = scrape is not None or everything
        if ("port", "") in default or (wanted and not with_port):
            yield from self._endpoint("", default, seen)
        for name, fields in with_port.items():
            yield from self._endpoint(name, {**shared, **fields}, seen)

    def _has_port(self, name: str, fields: _Fields) -> bool:
        if ("port", "") in fields:
            return True
        first = min(fields.values())
        self._complain(
            first.where, first.key, f"endpoint {name!r} has no port; write {PREFIX}{name}.port too"
        )
        return False

    def _endpoint(self, name: str, fields: _Fields, seen: dict[object, str]) -> Iterator[Endpoint]:
        if any(given.value is None for given in fields.values()):
            return  # told already: a wrong address is worse than none
        port, labels = fields.get(("port", "")), _labels(fields)
        asked = sorted(pair for pair in labels.items() if pair[0].startswith((METRICS_PATH, PARAM)))
        same = (port and port.value, *asked)
        if port is not None and same in seen:
            what = f"the same port and path as {PREFIX}{seen[same]}port; change one of them"
            self._complain(port.where, port.key, what)
            return
        seen[same] = f"{name}." if name else ""
        network = fields.get(("network", ""))
        yield Endpoint(
            name,
            int(port.value) if port is not None and port.value is not None else None,
            (network.value or "") if network is not None else "",
            f"{network.where} {network.key}" if network is not None else "",
            labels,
        )


def _split(key: str) -> tuple[str, _Field] | None:
    """(endpoint, field) of a key; None where it is none of the convention."""
    first, dot, rest = key.removeprefix(PREFIX).partition(".")
    if first in FAMILIES:
        return ("", (first, rest)) if rest else None
    if not dot:
        return ("", (first, "")) if first in FIELDS else None
    name, dot, of_family = rest.partition(".")
    if first in FIELDS or not _ENDPOINT_NAME.fullmatch(first):
        return None
    if name in FAMILIES:
        return (first, (name, of_family)) if of_family else None
    return (first, (name, "")) if name in FIELDS and name != "scrape" and not dot else None


def _unknown(key: str) -> str:
    parts = key.removeprefix(PREFIX).split(".")
    for position, part in enumerate(parts[:2]):
        others = [[*parts[:position], close, *parts[position + 1 :]] for close in _close(part)]
        for other in others:
            meant = PREFIX + ".".join(other)
            if _split(meant) is not None:
                return f"unknown, did you mean {meant}?"
    return f"unknown; there are {', '.join(FIELDS)}, param.<name> and label.<name>"


def _close(word: str) -> Iterable[str]:
    return difflib.get_close_matches(word.lower(), (*FIELDS, *FAMILIES), n=2, cutoff=0.6)


@lru_cache(maxsize=4096)
def _is_misspelt(word: str) -> bool:
    """Whether somebody who wrote it meant ``prometheus``."""
    return difflib.SequenceMatcher(None, word.lower(), PREFIX[:-1]).ratio() >= 0.8


def _check(name: _Field, value: str) -> None:
    """``_BadValueError`` where a label cannot be used."""
    if name[0] in FAMILIES:
        _check_name(*name)
    elif name[0] in _CHECKS:
        _CHECKS[name[0]](value)


def _check_name(family: str, name: str) -> None:
    if family == "param" and not _PARAM_NAME.fullmatch(name):
        raise _BadValueError(f"{name[:60]!r} cannot be a parameter here; use letters, digits and _")
    if family == "label" and not _LABEL_NAME.fullmatch(name):
        raise _BadValueError(f"{name[:60]!r} is no label name; use letters, digits and _, no __ in front")


def _check_scrape(value: str) -> None:
    if value not in ("true", "false"):
        raise _BadValueError(f'{value[:60]!r}; write "true" or "false"')


def _check_port(value: str) -> None:
    if "," in value:
        raise _BadValueError(f"{value[:60]!r} is no port; for several write {PREFIX}<endpoint>.port for each")
    if not (value.isascii() and value.isdigit() and len(value) < 6 and 0 < int(value) <= 65535):
        raise _BadValueError(f"{value[:60]!r} is no port; write a number from 1 to 65535")


def _check_path(value: str) -> None:
    if not value.startswith("/"):
        raise _BadValueError(f"{value[:60]!r} is no path; begin it with a slash")
    if "?" in value:
        raise _BadValueError(f"{value[:60]!r}: a path has no parameters; write {PREFIX}param.<name> for each")


def _check_scheme(value: str) -> None:
    if value not in ("http", "https"):
        raise _BadValueError(f"{value[:60]!r}; write http or https")


_CHECKS: Final = {
    "scrape": _check_scrape,
    "port": _check_port,
    "path": _check_path,
    "scheme": _check_scheme,
}


def _labels(fields: Mapping[_Field, _Given]) -> Labels:
    """The labels of an endpoint's targets. An empty value takes a label away again."""
    names = {"path": METRICS_PATH, "scheme": SCHEME, "job": "job"}
    found = {name[1]: given.value for name, given in fields.items() if name[0] == "label"}
    found |= {PARAM + name[1]: given.value for name, given in fields.items() if name[0] == "param"}
    found |= {names[name[0]]: given.value for name, given in fields.items() if name[0] in names}
    return {name: value for name, value in found.items() if value}
