"""What the mappings of Docker's objects share: what they give, networks' labels, addresses, memory. Pure."""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from swarm_sd.discovery.docker_api.wire import Network
from swarm_sd.model import Labels, TargetGroup, meta_labels

# Why something could not be used; Prometheus would fail the whole refresh for most of them
BAD_ADDRESS: Final = "bad_address"  # not in CIDR form
NO_ADDRESS: Final = "no_address"  # the virtual IP of a service on the host's network has none
NULL_NETWORK: Final = "null_network"  # a container's network that is null
NO_NAME: Final = "no_name"  # a container without a name: Prometheus passes it over too
NETWORKS_UNKNOWN: Final = "networks_unknown"  # the list could not be had: no label speaks of a network
BAD_LABEL: Final = "bad_label"  # a label of the convention for endpoints that cannot be used

# Why something is no target by Prometheus' own rules
NO_VIRTUAL_IP: Final = "no_virtual_ip"  # a service: dnsrr, host mode or no port and no network
NO_NETWORK: Final = "no_network"  # a task without attachment and host port, a container without network

# Why a task has no endpoint
NOT_LABELLED: Final = "not_labelled"  # nothing declares one, or prometheus.scrape is false
NOT_RUNNING: Final = "not_running"  # not yet, not any more, or about to end
NODE_NOT_READY: Final = "node_not_ready"  # down, or not listed
NO_SERVICE: Final = "no_service"  # its service is not listed: removed
NO_SHARED_NETWORK: Final = "no_shared_network"  # none of the networks that the entry names
SAME_ADDRESS: Final = "same_address"  # another task of the service is at that very address

REASONS: Final = frozenset(
    {
        *("odd_object", BAD_ADDRESS, NO_ADDRESS, NULL_NETWORK, NO_NAME, NETWORKS_UNKNOWN, BAD_LABEL),
        *(NO_NETWORK, NOT_LABELLED, NOT_RUNNING, NODE_NOT_READY, NO_SERVICE, NO_SHARED_NETWORK, SAME_ADDRESS),
    }
)
"""Every reason that is counted and shown; those of the second line for role endpoints alone."""


class Odd(NamedTuple):
    """Why an object (a node, service, task or container) has no target, or not all that it could have."""

    reason: str
    what: Any
    detail: str = ""  # what of it, where the reason does not tell


class Mapped(NamedTuple):
    """Every group there is, and what has none.

    Each group has targets. ``skipped`` counts by reason what was odd (``REASONS``), without what the
    decoding skipped; ``untargeted`` counts by reason the objects that have no target by the rules.
    ``complaints``: what is wrong with labels that people wrote, as sentences for them. ``odd``: each of
    those counted, some objects at a time.
    """

    groups: tuple[TargetGroup, ...]
    skipped: Mapping[str, int]
    untargeted: Mapping[str, int]
    complaints: tuple[str, ...] = ()
    odd: Sequence[Sequence[Odd]] = ()


class Made(NamedTuple):
    """What a group's objects became: skipped and untargeted as in ``Mapped``, one by one."""

    group: TargetGroup
    skipped: Sequence[Odd] = ()
    untargeted: Sequence[Odd] = ()
    complaints: Sequence[str] = ()


K = TypeVar("K")


class Memo(Generic[K]):
    """The work of the mapping before, for one entry: an object that is the same gets the same group object.

    ``context`` is what all objects depend on; where it changed, everything is made anew.
    """

    def __init__(self) -> None:
        self._context: object = None
        self.made: dict[str, tuple[K, Made]] = {}  # by source

    def start(self, context: object) -> None:
        """Forgets everything unless ``context`` is as it was."""
        if context != self._context:
            self._context = context
            self.made = {}


def mapped(
    objects: Iterable[tuple[str, K]],
    make: Callable[[str, K], Made],
    *,
    memo: Memo[K] | None,
    context: object,
    known_networks: bool = True,
) -> Mapped:
    """What ``make`` gives for each (source, object), in order of source; by memory where it is the same.

    An object whose source is taken (two without an ID) gets the source with ``#2`` behind it, and so on.
    """
    memo = Memo() if memo is None else memo
    memo.start(context)
    done: dict[str, tuple[K, Made]] = {}
    for source, item in objects:
        source = unique(source, done)
        last = memo.made.get(source)
        done[source] = last if last is not None and last[0] == item else (item, make(source, item))
    memo.made = done
    return collected([made for _, (_, made) in sorted(done.items(), key=_source)], known_networks)


def _source(item: tuple[str, Any]) -> str:
    return item[0]


def unique(source: str, taken: Mapping[str, object]) -> str:
    """``source``, or the first of ``source#2``, ``source#3``, ... that is not taken."""
    if source not in taken:
        return source
    count = 2
    while f"{source}#{count}" in taken:
        count += 1
    return f"{source}#{count}"


def collected(made: Iterable[Made], known_networks: bool) -> Mapped:
    """All of ``made`` as one."""
    made = tuple(made)
    skipped = Counter(odd.reason for one in made for odd in one.skipped)
    if not known_networks:
        skipped[NETWORKS_UNKNOWN] = 1
    untargeted = Counter(odd.reason for one in made for odd in one.untargeted)
    complaints = tuple(complaint for one in made for complaint in one.complaints)
    groups = tuple(one.group for one in made if one.group.targets)
    odd = [several for one in made for several in (one.skipped, one.untargeted) if several]
    return Mapped(groups, skipped, untargeted, complaints, odd)


def filled(labels: Labels) -> dict[str, str]:
    """``labels`` without the empty ones, which Prometheus drops."""
    return {name: value for name, value in labels.items() if value}


def network_labels(prefix: str, networks: Iterable[Network] | None) -> dict[str, Labels]:
    """By ID, the labels that speak of a network; of two with one ID, the last."""
    return {network.id: _network(prefix, network) for network in networks or ()}


def _network(prefix: str, network: Network) -> Labels:
    own = {
        prefix + "network_id": network.id,
        prefix + "network_name": network.name,
        prefix + "network_scope": network.scope,
        prefix + "network_internal": flag(network.internal),
        prefix + "network_ingress": flag(network.ingress),
    }
    return {**filled(own), **meta_labels(prefix + "network_label_", (network.labels or {}).items())}


def flag(value: bool) -> str:
    """A bool as Go prints it."""
    return "true" if value else "false"


def cidr_ip(text: str) -> str | None:
    """The address of ``10.0.0.5/24`` in its shortest form; None where it is not CIDR.

    Source: net.ParseCIDR and IP.String of Go: IPv4 written as IPv6 becomes IPv4, zones are refused.
    """
    host, slash, bits = text.partition("/")
    if bits not in _BITS and not (slash and bits.isascii() and bits.isdigit()):
        return None
    if ":" in host:
        return _ipv6(host) if int(bits[:4]) <= 128 else None
    try:
        socket.inet_pton(socket.AF_INET, host)
    except (OSError, ValueError):
        return None
    return host if bits in _BITS or int(bits[:3]) <= 32 else None


_BITS: Final = frozenset(map(str, range(33)))  # a look-up instead of reading the number


def _ipv6(text: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    return None if address.scope_id else str(address.ipv4_mapped or address)
