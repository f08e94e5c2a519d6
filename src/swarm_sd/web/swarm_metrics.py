"""``/metrics/swarm``: the state of the clusters themselves, as kinds tell it, in Prometheus' text format.

Apart from the daemon's own metrics, so that each can be scraped, kept and dropped by itself.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakKeyDictionary

import structlog
from aiohttp import web

from swarm_sd.provider import ClusterState, Family, Metric

log = structlog.stdlib.get_logger("web")

AGE: Final = Metric(
    "swarm_state_age_seconds", "gauge", "How long ago all that is told of the cluster was last confirmed."
)

# no other format: these many lines are put together here, several times quicker than by the library
_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class SwarmMetrics:
    """Answers from what stands; what is the same as at the scrape before is not put into text again."""

    def __init__(self, states: Callable[[], Sequence[ClusterState]]) -> None:
        self._states = states
        # for as long as somebody keeps the family, to tell it again; with the name of the cluster
        self._texts: WeakKeyDictionary[Family, tuple[str, bytes]] = WeakKeyDictionary()
        self._one_at_a_time = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """``/metrics/swarm``."""
        return [web.get("/metrics/swarm", self.answer)]

    async def answer(self, request: web.Request) -> web.Response:
        """The metrics of all clusters."""
        zipped = "gzip" in request.headers.get("Accept-Encoding", "").lower()
        async with self._one_at_a_time:
            body = await asyncio.to_thread(self._body, self._states(), zipped)
        headers = {"Content-Type": _TYPE, "Vary": "Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    def _body(self, states: Sequence[ClusterState], zipped: bool) -> bytes:
        told = _Told()
        once: dict[object, ClusterState] = {}
        for state in states:
            once.setdefault(state.key, state)
        for state in once.values():
            try:
                for family in state.families():
                    told.add(family.metric, state.cluster, self._text(family, state.cluster))
            except Exception:
                log.exception("the state of a cluster could not be told", cluster=state.cluster)
            told.add(AGE, state.cluster, samples(_age(state), state.cluster))
        return gzip.compress(told.text(), 1) if zipped else told.text()

    def _text(self, family: Family, cluster: str) -> bytes:
        known = self._texts.get(family)
        if known is None or known[0] != cluster:
            known = self._texts[family] = cluster, samples(family, cluster)
        return known[1]


class _Told:
    """The samples of all clusters, metric by metric."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Metric, dict[str, bytes]]] = {}  # by name, and by name of the cluster

    def add(self, metric: Metric, cluster: str, text: bytes) -> None:
        """Adds the samples, unless another entry that asks the same host in another way told them already."""
        _, by_cluster = self._found.setdefault(metric.name, (metric, {}))
        by_cluster[cluster] = by_cluster.get(cluster) or text

    def text(self) -> bytes:
        """Each metric that has samples, once."""
        return b"".join(
            part
            for metric, by_cluster in self._found.values()
            if any(by_cluster.values())
            for part in (_header(metric), *by_cluster.values())
        )


def _header(metric: Metric) -> bytes:
    return f"# HELP {metric.name} {metric.text}\n# TYPE {metric.name} {metric.type}\n".encode()


def _age(state: ClusterState) -> Family:
    return Family(AGE, lambda: [((), round(max(0.0, time.time() - state.told_at), 3))])


def samples(family: Family, cluster: str) -> bytes:
    """A line for each sample. Source: Prometheus' docs/instrumenting/exposition_formats.md."""
    start = f'{family.metric.name}{{cluster="{_escaped(cluster)}"'
    names = [f',{name}="' for name in family.metric.labels]
    lines = []
    for values, value in family.samples():
        pairs = [f'{name}{_escaped(one)}"' for name, one in zip(names, values, strict=True)]
        lines.append(f"{start}{''.join(pairs)}}} {+value}\n")  # +: True is 1
    return "".join(lines).encode("utf-8", "replace")


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value
