"""What is wrong with the targets of an entry, and of several entries together. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations

from swarm_sd.discovery.docker.provider import DockerSDConfig
from swarm_sd.discovery.docker_api.sd_config import DockerAPIConfig
from swarm_sd.discovery.docker_api.targets import (
    BAD_LABEL,
    NO_NETWORK,
    NO_SHARED_NETWORK,
    NO_VIRTUAL_IP,
    NOT_LABELLED,
)
from swarm_sd.discovery.dockerswarm.provider import DockerSwarmSDConfig
from swarm_sd.discovery.swarm.provider import SwarmSDConfig
from swarm_sd.doctor import rules
from swarm_sd.doctor.findings import Finding, counted, listed, ok, problem, warning
from swarm_sd.doctor.look import Looked
from swarm_sd.job import Job
from swarm_sd.model import ADDRESS, Labels
from swarm_sd.provider import PassedOver, SDConfig

_DEFAULT_PORT = 80
_NETWORK_INGRESS = "__meta_dockerswarm_network_ingress"
_SERVICE = "__meta_dockerswarm_service_name"


def judged(job: Job, config: SDConfig, looked: Looked, owners: rules.Owners) -> list[Finding]:
    """What is to be said of an entry whose discovery gave something, or nothing."""
    if looked.failure:
        return [problem("discovery", f"nothing is discovered: {looked.failure}", "", "")]
    counts = f"{counted(len(looked.targets), 'target')} discovered, {len(looked.kept)} to scrape"
    found = list(passed_over(looked.passed_over, has_targets=bool(looked.targets)))
    if not looked.targets:
        found = [one for one in found if one.state == "problem"] or [no_targets(config), *found]
    elif not looked.kept:
        found += rules.dropped(looked.targets, job.rules, owners)
    else:
        found += [ok("targets", counts), *rules.misdirected(looked.targets, job.rules, owners)]
        found += [one for one in (default_port(config, looked), ingress(looked)) if one is not None]
    return sorted(found, key=lambda one: one.state != "ok")


def no_targets(config: SDConfig) -> Finding:
    """Discovery works and finds nothing."""
    filtered = isinstance(config, DockerAPIConfig) and config.filters
    if filtered and isinstance(config, DockerAPIConfig):
        shown = "; ".join(f"{one.name}: {listed(one.values)}" for one in config.filters)
        return problem(
            "no-targets",
            "discovery works and finds nothing",
            f"nothing matches the filters ({shown}), or there is nothing at all",
            "take the filters out and look: swarm-sd targets",
        )
    if isinstance(config, DockerSwarmSDConfig):
        cause = f"the swarm has no {'services' if config.role == 'endpoints' else config.role} that run"
        return problem(
            "no-targets", "discovery works and finds nothing", cause, "docker service ls (on a manager)"
        )
    if isinstance(config, DockerSDConfig):
        cause = "no container runs on the engine; those that are stopped are left out"
        return problem("no-targets", "discovery works and finds nothing", cause, "docker ps (on the engine)")
    cause = "the masters know no node" if isinstance(config, SwarmSDConfig) else "the kind lists no target"
    return problem("no-targets", "discovery works and finds nothing", cause, "")


def passed_over(objects: Sequence[PassedOver], *, has_targets: bool) -> Iterator[Finding]:
    """What has no target by the rules of its role. A problem where the entry has none for that reason."""
    by_reason: dict[str, list[PassedOver]] = {}
    for one in objects:
        by_reason.setdefault(one.reason, []).append(one)
    for one in by_reason.get(BAD_LABEL, ()):
        yield problem(
            "bad-label",
            one.detail or one.name,
            "the label cannot be used",
            "mend the label: docs/endpoints.md",
        )
    say = warning if has_targets else problem
    if no_ip := by_reason.get(NO_VIRTUAL_IP):
        yield say(
            "no-virtual-ip",
            f"{counted(len(no_ip), 'service')} without an address: {listed(one.name for one in no_ip)}",
            "role: services gives a service's virtual IP, and a service has none that is dnsrr, or that "
            "publishes no port (mode ingress) and is on no overlay network",
            "role: tasks (or endpoints) has an address for each task; or put the service on an overlay",
        )
    if unshared := by_reason.get(NO_SHARED_NETWORK):
        services = Counter(one.service or one.name for one in unshared)
        details = sorted({f"{one.service or one.name}: {one.detail}" for one in unshared if one.detail})
        yield problem(
            "no-shared-network",
            f"{counted(len(unshared), 'task')} of {listed(services)} on none of the networks of networks:",
            listed(details, at_most=3),
            "put the service on a network that the scraper is on (networks: in its stack file), or name its "
            "network under networks:",
        )
    if not has_targets and (unlabelled := by_reason.get(NOT_LABELLED)):
        services = Counter(one.service or one.name for one in unlabelled)
        yield problem(
            "not-labelled",
            f"no service says that it is to be scraped; running: {listed(services)}",
            "role: endpoints scrapes what has the label prometheus.port or prometheus.scrape",
            'deploy: {labels: {prometheus.port: "9100"}} in the stack file; or scrape: everything here',
        )
    if not has_targets and (alone := by_reason.get(NO_NETWORK)):
        yield problem(
            "no-network",
            f"no network that can be scraped: {listed(Counter(one.service or one.name for one in alone))}",
            "they are on no overlay network and publish no port in mode host",
            "put them on an overlay network that Prometheus is on, too",
        )


def default_port(config: SDConfig, looked: Looked) -> Finding | None:
    """Whether every target is at port 80 because nothing says another."""
    if not isinstance(config, DockerAPIConfig) or int(config.port) != _DEFAULT_PORT:
        return None
    if isinstance(config, DockerSwarmSDConfig) and config.role == "endpoints":
        return None  # there a label says the port, or complaints tell that it is wrong
    for one in looked.kept:
        told = any("_port_" in name for name in one.discovered if name.startswith("__meta_docker"))
        if told or not (one.labels or {}).get(ADDRESS, "").endswith(f":{_DEFAULT_PORT}"):
            return None
    return warning(
        "default-port",
        f"{counted(len(looked.kept), 'target')} at port 80, the default of port:, and none tells another",
        "none of them publishes a port that Docker's API tells of, and neither port: nor a rule names one",
        "port: 9100 (the port at which they serve /metrics), or role: endpoints and labels prometheus.port",
    )


def ingress(looked: Looked) -> Finding | None:
    """Addresses on the ingress network, at which only Docker's own load balancer reaches a task."""
    there = [one for one in looked.kept if one.discovered.get(_NETWORK_INGRESS) == "true"]
    if not there:
        return None
    services = Counter(one.discovered.get(_SERVICE, "") for one in there)
    return warning(
        "ingress-address",
        f"{counted(len(there), 'target')} on the ingress network: {listed(services)}",
        "a task's address on ingress answers nobody but Docker's load balancer: the scrape will time out",
        "relabel_configs:\n  - source_labels: [__meta_dockerswarm_network_ingress]\n    regex: true\n"
        "    action: drop",
    )


# -- several entries ----------------------------------------------------------------------------------------


def same_targets(
    looked: Mapping[tuple[str, int], Looked], swarms: Mapping[tuple[str, int], Collection[str]]
) -> dict[tuple[str, int], list[Finding]]:
    """What is scraped twice, by the later one of two entries. ``swarms``: those whose managers each asks."""
    found: dict[tuple[str, int], list[Finding]] = {}
    urls = {
        entry: {url(one.labels): one.labels for one in of.kept if one.labels} for entry, of in looked.items()
    }
    for first, second in combinations(urls, 2):
        both = urls[first].keys() & urls[second].keys()
        if both and len(both) == min(len(urls[first]), len(urls[second])):
            same = sum(_series(urls[first][one]) == _series(urls[second][one]) for one in both)
            one_swarm = bool({*swarms.get(first, ())} & {*swarms.get(second, ())})
            found.setdefault(second, []).append(_twice(first, second, len(both), same, one_swarm))
    return found


def url(labels: Labels) -> tuple[str, ...]:
    """What is asked when a target is scraped."""
    params = sorted(f"{name}={value}" for name, value in labels.items() if name.startswith("__param_"))
    return (labels.get("__scheme__", ""), labels[ADDRESS], labels.get("__metrics_path__", ""), *params)


def _series(labels: Labels) -> dict[str, str]:
    return {name: value for name, value in labels.items() if not name.startswith("__")}


def _twice(first: tuple[str, int], second: tuple[str, int], both: int, same: int, one_swarm: bool) -> Finding:
    message = f"{counted(both, 'target')} as in {first[0]}/{first[1]}"
    if one_swarm:
        cause = "both entries ask managers of the same swarm, and each manager tells everything"
        way_out = "write one entry with all of them: hosts: [tcp://manager-1:2375, tcp://manager-2:2375]"
    else:
        cause = "both entries find the same"
        way_out = "remove one of them, or let a rule of each keep what is its own"
    if same and first[0] != second[0]:
        what = (
            f"; {same} with the very same labels: Prometheus refuses the second one's samples as duplicates"
        )
        return problem("same-targets", message + what, cause, way_out)
    harm = ": Prometheus scrapes them once" if same == both else ": each is scraped twice"
    return warning("same-targets", message + harm, cause, way_out)
