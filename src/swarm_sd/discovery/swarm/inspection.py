"""Exact labels of nodes, and the nodes of containers, out of ``/containers/<ID>/json``.

A master tells a node's labels as ambiguous text in ``/info`` and as an object in the details of any of the
node's containers. Of those details nothing but the node is decoded: they hold the environment.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from swarm_sd.discovery.docker_api.client import Get
from swarm_sd.discovery.swarm.containers import Container, node_and_name
from swarm_sd.discovery.swarm.info import Info, Node
from swarm_sd.provider import DiscoveryError

AT_ONCE, IN_A_ROUND = 8, 64
"""Inspections that go on at a time, and in one refresh; the others come in the next."""

PATIENCE = 1.0
"""Seconds that a round waits for inspections: an engine that hangs holds up nobody's list."""

AGAIN_AFTER = 60.0
"""Seconds after which a container whose inspection failed is asked for again."""

_Row: TypeAlias = tuple[str | None, str | None]


class _Node(msgspec.Struct):
    """v0.2.0 writes no labels."""

    address: str = msgspec.field(default="", name="Addr")
    labels: dict[str, str] | None = msgspec.field(default=None, name="Labels")


class Details(msgspec.Struct):
    """What is read of ``/containers/<ID>/json``."""

    node: _Node = msgspec.field(default_factory=_Node, name="Node")


_decode = msgspec.json.Decoder(Details).decode
_ID = re.compile(r"[0-9A-Za-z]{1,128}")


def by_name(info: Info) -> Mapping[str, Sequence[Node]]:
    """The nodes by their names, which several may share."""
    found: dict[str, list[Node]] = defaultdict(list)
    for node in info.nodes:
        if node.name:
            found[node.name].append(node)
    return found


class Inspector:
    """Remembers what inspections told; asks once a node, and once a container where nodes share a name.

    A node is asked for anew when ``/info`` shows another ID or other labels of it.
    """

    def __init__(self) -> None:
        self._labels: dict[str, tuple[_Row, Mapping[str, str] | None]] = {}  # by address
        self._addresses: dict[str, str] = {}  # by container, of nodes that share a name
        self._not_before: dict[str, float] = {}  # by container: failed
        self.learned = 0  # how often something new was told

    def labels_of(self, node: Node) -> Mapping[str, str] | None:
        """Its exact labels; None while they are not known."""
        row, labels = self._labels.get(node.address, (None, None))
        return labels if row == _row(node) else None

    def address_of(self, container: Container) -> str | None:
        """The address of its node, if that was asked for."""
        return self._addresses.get(container.id)

    async def learn(self, get: Get, info: Info, listed: Iterable[Container]) -> None:
        """Inspects what is not known yet, at most IN_A_ROUND containers; a failure is no reason to fail."""
        listed = list(listed)
        self._forget(info, listed)
        nodes = {node.address: node for node in info.nodes}
        shared = {name for name, nodes_ in by_name(info).items() if len(nodes_) > 1}
        wanted = [one for _, one in zip(range(IN_A_ROUND), self._wanted(info, listed), strict=False)]
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(container: Container) -> None:
            async with turns:
                await self._inspect(get, container, nodes, shared)

        asked = [asyncio.ensure_future(one(container)) for container in wanted]
        try:
            if asked:
                await asyncio.wait(asked, timeout=PATIENCE)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    def _forget(self, info: Info, listed: Iterable[Container]) -> None:
        addresses = {node.address for node in info.nodes}
        self._labels = {address: told for address, told in self._labels.items() if address in addresses}
        if self._addresses or self._not_before:
            ids = {container.id for container in listed}
            self._addresses = {one: where for one, where in self._addresses.items() if one in ids}
            self._not_before = {one: when for one, when in self._not_before.items() if one in ids}

    def _wanted(self, info: Info, listed: Iterable[Container]) -> Iterator[Container]:
        """Containers to inspect: any one of a node, every one where nodes share a name."""
        now = time.monotonic()
        open_ = {
            name: nodes
            for name, nodes in by_name(info).items()
            if len(nodes) > 1 or (_answers(nodes[0]) and self._asks_for(nodes[0]))
        }
        if not open_:
            return
        asked: set[str] = set()
        for container in listed:
            found = node_and_name(container)
            nodes = open_.get(found[0], ()) if found else ()
            if not found or not nodes or found[0] in asked or not _ID.fullmatch(container.id):
                continue
            if container.id in self._addresses or self._not_before.get(container.id, now) > now:
                continue
            if len(nodes) == 1:
                asked.add(found[0])
            yield container

    def _asks_for(self, node: Node) -> bool:
        return self._labels.get(node.address, (None,))[0] != _row(node)

    async def _inspect(
        self, get: Get, container: Container, nodes: Mapping[str, Node], shared: Collection[str | None]
    ) -> None:
        self._not_before[container.id] = time.monotonic() + AGAIN_AFTER  # unless it tells
        try:
            told = await get(f"/containers/{container.id}/json", _read)
        except DiscoveryError:
            return
        node = nodes.get(told.address)
        if node is None:
            return
        del self._not_before[container.id]
        self._labels[node.address] = _row(node), told.labels
        self.learned += 1
        if node.name in shared:
            self._addresses[container.id] = node.address


def _row(node: Node) -> _Row:
    return node.rows.get("ID"), node.rows.get("Labels")


def _answers(node: Node) -> bool:
    return node.status in (None, "Healthy")


def _read(body: bytes | bytearray) -> _Node:
    try:
        return _decode(body).node
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise DiscoveryError("not_json", f"answers with something else than a container: {err}") from None
