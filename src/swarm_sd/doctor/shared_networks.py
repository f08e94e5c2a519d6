"""Networks that are named and are not there, and those that nobody who scrapes is on. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

from swarm_sd.discovery.docker_api.wire import Network
from swarm_sd.discovery.dockerswarm.own_networks import AUTO
from swarm_sd.doctor.findings import Finding, counted, listed, problem, warning
from swarm_sd.target import Populated

_META = "__meta_dockerswarm_"


def unknown(wanted: Sequence[str], networks: Iterable[Network]) -> list[Finding]:
    """Those of an entry's ``networks`` that there are not, and which were probably meant."""
    there = [one for one in networks if one.scope == "swarm"]
    known = {AUTO, *(one.name for one in there), *(one.id for one in there)}
    names = sorted({one.name for one in there if not one.ingress})
    return [_unknown(name, names) for name in wanted if name not in known]


def _unknown(name: str, names: Sequence[str]) -> Finding:
    stacks = [one for one in names if one.endswith(f"_{name}")]
    close = stacks or difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    cause = f"the swarm has {listed(names, at_most=9) or 'none'}"
    if stacks:
        cause = f"a stack puts its own name in front of its networks: {listed(stacks)}"
    way_out = f"networks: [{', '.join(close)}]" if close else "docker network ls --filter scope=swarm"
    return problem("unknown-network", f"the swarm has no network {name!r}", cause, way_out)


def apart(kept: Sequence[Populated], own: Collection[str] | None) -> Finding | None:
    """Services all of whose addresses are on networks that swarm-sd's own container is not on.

    ``own``: their IDs; None where swarm-sd is in no container, or knows them not.
    """
    if own is None:
        return None
    theirs: dict[str, dict[str, str]] = {}
    for one in kept:
        labels = one.discovered
        if network := labels.get(_META + "network_id", ""):
            service = labels.get(_META + "service_name", "")
            theirs.setdefault(service, {})[network] = labels.get(_META + "network_name", network)
    lonely = {service: found for service, found in theirs.items() if not found.keys() & {*own}}
    if not lonely:
        return None
    told = (f"{service} is on {listed(sorted(found.values()))}" for service, found in sorted(lonely.items()))
    return warning(
        "network-apart",
        f"{counted(len(lonely), 'service')} on no network that swarm-sd's own container is on",
        f"{listed(told, at_most=4)}; who scrapes from another network gets no answer from them",
        "if Prometheus is on the networks of swarm-sd, put both on the service's (networks: in their stacks)",
    )
