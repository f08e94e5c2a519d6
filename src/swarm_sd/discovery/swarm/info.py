"""Reads a classic Swarm manager's ``/info``: the nodes out of its crude rows of text. Pure.

Source: what `swarm manage` of every tag from v0.1.0 to v1.2.9 answers (cluster/swarm/cluster.go, Info;
api/handlers.go, getInfo). docs/classic-swarm.md describes the dialects.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from swarm_sd.model import join_host_port
from swarm_sd.provider import DiscoveryError

Row = Sequence[Any]


class Node(NamedTuple):
    """One engine of the Swarm.

    ``name`` is None while the manager never reached it. ``address`` is host:port as discovery gave it
    (IPv6 in brackets), ``host`` its host without brackets. ``rows`` are the sub-rows as they are, by
    their names (Status, Labels, Error, ...); which there are depends on the manager's version.
    """

    name: str | None
    address: str
    host: str
    rows: Mapping[str, str]

    @property
    def id(self) -> str | None:
        """The engine's ID (managers from v1.2.1). From v1.2.7 on it ends in ``|<address>``."""
        return self.rows.get("ID") or None

    @property
    def status(self) -> str | None:
        """Healthy, Unhealthy, Pending, Disconnected; None from managers before v1.0.1."""
        return self.rows.get("Status") or None

    @property
    def server_version(self) -> str | None:
        """The engine's version (managers from v1.2.0)."""
        return self.rows.get("ServerVersion") or None

    @property
    def error(self) -> str | None:
        """Why the manager cannot use the engine, where it says so."""
        text = self.rows.get("Error", "")
        return None if text in ("", "(none)") else text

    @property
    def containers(self) -> int | None:
        """How many containers the manager has cached; both forms, ``2`` and ``2 (1 Running, ...)``."""
        found = re.match(r"\d+", self.rows.get("Containers", "").strip())
        return int(found[0]) if found else None

    @property
    def labels(self) -> dict[str, str] | None:
        """The engine's labels, built-in ones included; None where the manager lists none (before v0.3.0)."""
        return parse_labels(self.rows["Labels"]) if "Labels" in self.rows else None


class Info(NamedTuple):
    """What one ``/info`` says. ``skipped`` counts, by reason, the rows that could not be understood."""

    nodes: tuple[Node, ...]
    role: str | None = None  # primary or replica; None before v0.3.0
    primary: str | None = None  # a replica's primary, host:port; "" while there is none
    strategy: str | None = None
    skipped: Mapping[str, int] = {}


class _Body(msgspec.Struct, rename={"driver": "DriverStatus", "system": "SystemStatus"}):
    driver: list[tuple[str, str]] | None = None
    system: list[tuple[str, str]] | None = None


class _OddBody(msgspec.Struct, rename={"driver": "DriverStatus", "system": "SystemStatus"}):
    driver: Any = None
    system: Any = None


_read = msgspec.json.Decoder(_Body).decode
_read_odd = msgspec.json.Decoder(_OddBody).decode


def parse_info(body: bytes | bytearray) -> Info:
    """What the answer says, in any dialect.

    ``DiscoveryError``: ``not_json`` where it is no JSON object (a truncated one included), ``not_a_swarm``
    where it is somebody else's, such as a plain engine's.
    """
    return _info(_status_rows(body))


def trusted(info: Info) -> Info:
    """``info`` if it can be believed; DiscoveryError where "no nodes" is "don't know"."""
    if info.role == "replica" and not info.nodes and not info.skipped:
        # before v1.0.0 a replica knows no node until the store changes; of any version, none while it
        # cannot reach the store: "none" from it is "don't know"
        raise DiscoveryError("replica_without_nodes", "is a replica that does not know any node (yet)")
    if not info.nodes and info.skipped and "mesos_offer" not in info.skipped:
        rows = sum(info.skipped.values())
        raise DiscoveryError("not_understood", f"lists nodes, but none of {rows} rows can be understood")
    return info


class Reader:
    """``parse_info`` for answer after answer: one in which nothing lasting changed gives the Info before.

    Source of what lasts: of a node's rows, the counts, reservations, errors and times move all the time.
    """

    def __init__(self) -> None:
        self._last: tuple[list[Row], Info] | None = None

    def __call__(self, body: bytes | bytearray) -> Info:
        """The Info of ``body``: the very object of the last answer where that one says the same."""
        rows = _status_rows(body)
        lasting = _lasting(rows)
        last = self._last  # two masters' answers may be read at once, each in a thread
        if last is None or last[0] != lasting:
            last = self._last = lasting, _info(rows)
        return last[1]


_MOVING = frozenset(
    prefix + name
    for prefix in ("  └ ", " └ ")
    for name in ("Containers", "Reserved CPUs", "Reserved Memory", "Error", "UpdatedAt")
)


def lasting_rows(body: bytes | bytearray) -> list[Row]:
    """The status rows of the answer that an Info is made of; DiscoveryError as of ``parse_info``."""
    return _lasting(_status_rows(body))


def _lasting(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if not row or row[0] not in _MOVING]


def _status_rows(body: bytes | bytearray) -> Sequence[Row]:
    # v1.1.0 to v1.2.8 may answer in the form another client asked for: never go by the version
    driver, system = _lists(body)
    for rows in (system, driver):
        if any(row and row[0].strip(" \b") in ("Nodes", "Offers") for row in rows[:_HEADER_AT_MOST]):
            return rows
    raise DiscoveryError(
        "not_a_swarm", "answers, but not as a classic Swarm manager: no Nodes in its status rows"
    )


_HEADER_AT_MOST = 50
"""Rows to look at for the header; there are up to five."""


def _lists(body: bytes | bytearray) -> tuple[Sequence[Row], Sequence[Row]]:
    try:
        read = _read(body)
        return read.driver or (), read.system or ()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # one odd row is no reason to lose the others: look closer
    try:
        odd = _read_odd(body.decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as err:
        raise DiscoveryError("not_json", f"answers with something else than a JSON object: {err}") from None
    return tuple(_rows(odd.driver)), tuple(_rows(odd.system))


def _rows(value: object) -> Iterator[Row]:
    """The rows; of one that is not two texts only the key, if it has one."""
    if isinstance(value, list):
        for row in value:
            cells = row if isinstance(row, list) else []
            if len(cells) == 2 and all(isinstance(cell, str) for cell in cells):
                yield cells
            else:
                yield cells[:1] if cells and isinstance(cells[0], str) else ()


def _header(rows: Sequence[Row]) -> tuple[dict[str, str], int]:
    """The rows that speak of the whole Swarm, and where the rows of its nodes start."""
    header: dict[str, str] = {}
    for index, row in enumerate(rows):
        if not row:
            continue
        key = row[0].strip(" \b")
        header.setdefault(key, row[1] if len(row) > 1 else "")
        if key in ("Nodes", "Offers"):
            return header, index + 1
    return header, len(rows)


def _info(rows: Sequence[Row]) -> Info:
    header, start = _header(rows)
    if "Nodes" not in header:
        return _mesos(header, rows[start:])
    skipped: Counter[str] = Counter()
    nodes: dict[str, Node] = {}
    for name, address, sub in _blocks(rows[start:], header, skipped):
        host_port = split_address(address)
        if host_port is None:
            skipped["bad_address"] += 1
            continue
        host, port = host_port
        address = host if port is None else join_host_port(host, port)
        node = Node(None if name == "(unknown)" else name, address, host, sub)
        known = nodes.get(address)
        if known is None:
            nodes[address] = node
        else:  # the same address twice is one node: the row that knows more speaks for it
            skipped["same_address"] += 1
            nodes[address] = known if known.name is not None else node
    return Info(
        tuple(nodes.values()),
        _or_none(header, "Role"),
        header.get("Primary"),
        header.get("Strategy"),
        skipped,
    )


def _or_none(header: Mapping[str, str], key: str) -> str | None:
    return header.get(key) or None


def _blocks(
    rows: Sequence[Row], header: dict[str, str], skipped: Counter[str]
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(name, address, sub-rows) of each node: a row, and the rows with ``└`` that follow it.

    Rows of the whole Swarm that come late go to ``header``.
    """
    names: dict[str, str] = {}  # a sub-row's key as written -> its name; there are about ten
    indented = any(row and row[0].startswith(" ") and not _is_sub(row[0]) for row in rows)
    block: tuple[str, str, dict[str, str]] | None = None
    sub: dict[str, str] = {}
    for row in rows:
        key = row[0] if row else ""
        name = names.get(key)
        if name is None and _is_sub(key):
            name = names[key] = key.lstrip(" \b")[1:].strip()
        if len(row) != 2:
            skipped["odd_row"] += 1
            if name is None and block is not None:  # perhaps a node's: what follows is not the last one's
                yield block
                block = None
        elif name is not None:
            if block is None:
                skipped["orphan_row"] += 1
            else:
                sub[name] = row[1]
        elif key.startswith("\b") or (indented and not key.startswith(" ")):
            header.setdefault(key.strip(" \b"), row[1])
        else:
            if block is not None:
                yield block
            sub = {}
            block = (key.lstrip(" "), row[1], sub)
    if block is not None:
        yield block


def _is_sub(key: str) -> bool:
    return key.lstrip(" \b").startswith("└")


def _mesos(header: Mapping[str, str], rows: Sequence[Row]) -> Info:
    """Swarm on Mesos tells offers of resources, not nodes. Source: cluster/mesos/cluster.go, Info."""
    offers = sum(1 for row in rows if row and row[0].strip(" \b") == "Offer")
    skipped = {"mesos_offer": offers} if offers else {}
    return Info((), _or_none(header, "Role"), header.get("Primary"), header.get("Strategy"), skipped)


@lru_cache(maxsize=131_072)  # a refresh sees the addresses of the one before
def split_address(text: str) -> tuple[str, str | None] | None:
    """(host without brackets, port or None) of ``host:port``; None where it is neither.

    Takes IPv6 without brackets too, as v1.1.x shows it: ``fd99::14:2375``.
    """
    text = text.strip()
    host, colon, port = text.rpartition(":")
    if not colon:
        return (text, None) if _is_host(text) else None
    if ":" not in host:
        return (host, port) if _is_port(port) and _is_host(host) else None
    if text.endswith("]"):
        return (text[1:-1], None) if text.startswith("[") and _is_ipv6(text[1:-1]) else None
    if host.startswith("[") and host.endswith("]"):
        return (host[1:-1], port) if _is_port(port) and _is_ipv6(host[1:-1]) else None
    if _is_port(port) and _is_ipv6(host):
        return host, port
    return (text, None) if _is_ipv6(text) else None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text[:6]) <= 65535


_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


def _is_host(text: str) -> bool:
    return len(text) <= 253 and _HOST.fullmatch(text) is not None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def parse_labels(text: str) -> dict[str, str]:
    """The labels in a ``Labels`` row."""
    return {key: value for key, _, value in (pair.partition("=") for pair in split_labels(text))}


def split_labels(text: str) -> list[str]:
    """The ``k=v`` pairs in a ``Labels`` row: sorted and joined with ", ", never quoted.

    A value that holds ", " cannot be told from a separator for certain. Two things help: a piece without
    "=" goes on with the value before it, and, since managers sort the pairs, so does a piece that is out
    of order (``list=a, b=c, path=x``: ``b=c`` belongs to ``list``).
    """
    if not text or text == "(none)":
        return []
    pieces = text.split(", ")
    if pieces == sorted(pieces) and all("=" in piece for piece in pieces):
        return pieces
    pairs: list[str] = []
    starts = _starts(pieces)
    for index, piece in enumerate(pieces):
        if index in starts:
            pairs.append(piece)
        elif pairs:
            pairs[-1] += f", {piece}"
    return pairs


def _starts(pieces: list[str]) -> set[int]:
    """Which pieces start a pair: those with "=", and where the list is a manager's, only in order.

    Every manager lists storagedriver: a list without it was made by something else and may be unsorted.
    """
    candidates = [index for index, piece in enumerate(pieces) if "=" in piece]
    if not any(pieces[index].startswith("storagedriver=") for index in candidates):
        return set(candidates)
    # the longest run in order, the earlier piece where there is a choice
    best: dict[int, tuple[int, int | None]] = {}
    for at in reversed(range(len(candidates))):
        here = candidates[at]
        length, following = 0, None
        for later in candidates[at + 1 :]:
            if pieces[later] >= pieces[here] and best[later][0] > length:
                length, following = best[later][0], later
        best[here] = (length + 1, following)
    starts: set[int] = set()
    step: int | None = candidates[0]
    while step is not None:
        starts.add(step)
        step = best[step][1]
    return starts
