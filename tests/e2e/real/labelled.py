"""Services that serve metrics and say so by labels, one for each way to reach a task."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..programs import becomes
from .cluster import Engine
from .services import GLOBAL, GLOBAL_JOB, JOB, port, replicas, service
from .zoo import Zoo

MONITORING, SECOND, PRIVATE, SIX = "monitoring", "second", "private", "monitoring-six"
SHARED = (MONITORING, SECOND)
"""The networks of the scraper, the best first; that with IPv6 has a job of its own."""

ON_HOST, ON_NODE = 18_181, 18_102
ENDPOINTS = {
    "on-overlay": (3, MONITORING),
    "published-too": (2, MONITORING),
    "on-node": (5, ""),
    "on-any-port": (2, ""),
    "on-host": (2, ""),
    "three-networks": (2, MONITORING),
    "chooses": (1, SECOND),
    "several": (4, MONITORING),
    "works": (2, MONITORING),
    "works-everywhere": (2, MONITORING),
}
"""How many endpoints each service has, and their network; "" where they are at their node's address."""

UNREACHABLE = ("ingress-alone", "unshared")
"""Services of one task each that whoever scrapes has no way to."""

_SERVE = ("httpd", "-f", "-p", "8000", "-h", "/www")
_SERVE_TWICE = (
    "busybox mkdir /www/internal; busybox cp /www/metrics /www/internal/metrics; "
    "httpd -p 9000 -h /www; exec httpd -f -p 8000 -h /www"
)


def networks() -> list[dict[str, Any]]:
    """Two that are shared, one that is not, and one with IPv6."""
    ipv6 = [{"Subnet": "10.96.0.0/24"}, {"Subnet": "fd96::/64"}]
    return [
        *({"Name": name, "Attachable": True} for name in SHARED),
        {"Name": PRIVATE},
        {"Name": SIX, "Attachable": True, "EnableIPv6": True, "IPAM": {"Config": ipv6}},
    ]


def labelled(
    name: str, *command: str, labels: Mapping[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """A service that serves ``/metrics`` at port 8000 and says so, unless it is told otherwise."""
    made = service(name, *(command or _SERVE), **spec)
    made["Labels"] = {
        "com.example.suite": "endpoints",
        **({"prometheus.port": "8000"} if labels is None else labels),
    }
    return made


def reachable() -> list[dict[str, Any]]:
    """Those of ``ENDPOINTS``."""
    scrape = {"prometheus.scrape": "true"}  # the port is that which is published
    workers = ["node.role==worker"]
    several = {
        "prometheus.app.port": "8000",
        "prometheus.admin.port": "9000",
        "prometheus.admin.path": "/internal/metrics",
        "prometheus.label.team": "core",
    }
    at_second = {"prometheus.port": "8000", "prometheus.network": SECOND}
    works = {"ReplicatedJob": JOB["ReplicatedJob"] | {"TotalCompletions": 2}}
    return [
        labelled("on-overlay", on=[MONITORING], mode=replicas(3)),
        labelled(
            "published-too", labels=scrape, ports=[port(8000, 18_100)], on=[MONITORING], mode=replicas(2)
        ),
        labelled("on-node", ports=[port(8000, ON_NODE, mode="host")], mode=GLOBAL),
        labelled("on-any-port", labels=scrape, ports=[port(8000, mode="host")], mode=replicas(2)),
        labelled(
            *("on-host", "httpd", "-f", "-p", str(ON_HOST), "-h", "/www"),
            labels={"prometheus.port": str(ON_HOST)},
            on=["host"],
            mode=GLOBAL,
            constraints=workers,
        ),
        labelled("three-networks", on=[PRIVATE, SECOND, MONITORING], mode=replicas(2)),
        labelled("chooses", labels=at_second, on=[MONITORING, SECOND]),
        labelled("several", "sh", "-c", _SERVE_TWICE, labels=several, on=[MONITORING], mode=replicas(2)),
        labelled("works", on=[MONITORING], mode=works),
        labelled("works-everywhere", on=[MONITORING], mode=GLOBAL_JOB, constraints=workers),
    ]


def unreachable() -> list[dict[str, Any]]:
    """Those of ``UNREACHABLE``: on the ingress network alone, and on one that nobody shares."""
    return [
        labelled("ingress-alone", ports=[port(8000, 18_101)]),
        labelled("unshared", on=[PRIVATE]),
    ]


@contextlib.asynccontextmanager
async def running(zoo: Zoo, *specs: Mapping[str, Any]) -> AsyncIterator[dict[str, str]]:
    """These services, for a while; their IDs by name. Jobs end before: Docker 20.10 leaves the tasks of a job
    that is removed alone, for ever.
    """
    async with zoo.more(*specs) as made:
        try:
            yield made
        finally:
            leader = await zoo.cluster.aleader()
            for spec in specs:
                if spec["Mode"].keys() & {"ReplicatedJob", "GlobalJob"}:
                    await end(leader, made[str(spec["Name"])])


async def end(leader: Engine, job: str) -> None:
    """Takes a job's tasks away: by an iteration that has none."""
    found = await leader.aget(f"/services/{job}")
    spec = found["Spec"]
    if "ReplicatedJob" in spec["Mode"]:
        spec["Mode"]["ReplicatedJob"] = {"MaxConcurrent": 0, "TotalCompletions": 0}
    spec["TaskTemplate"]["Placement"]["Constraints"] = ["node.labels.zone==moon"]
    spec["TaskTemplate"]["ForceUpdate"] = 1
    await leader.apost(f"/services/{job}/update", spec, version=found["Version"]["Index"])
    await becomes(lambda: leader.aget("/tasks", {"service": [job]}), [])
