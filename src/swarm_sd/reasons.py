"""Every reason for which something is not scraped, in words: what it means and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from swarm_sd.explanation import RULE_REASON

REASONS: Final[Mapping[str, str]] = {
    # a target that Prometheus refuses after relabelling
    "no_address_left": "The rules left it without __address__: give it one, or drop it by a rule.",
    "not_an_address": "The rules made an __address__ with a slash; a path belongs into __metrics_path__.",
    "bad_interval": "Its scrape interval or timeout is no duration, is 0, or the timeout is the longer one.",
    "not_utf8": "A label that the rules made is not UTF-8.",
    # role endpoints
    "not_labelled": (
        "Nothing declares an endpoint: write prometheus.scrape or prometheus.port into deploy.labels "
        "(or labels), or scrape: all into the entry."
    ),
    "not_running": "The task does not run (yet, or any more), or is about to end.",
    "node_not_ready": "The node of the task is down or not listed.",
    "no_service": "The service of the task was removed.",
    "no_shared_network": (
        "The task is on none of the entry's networks and has no port on its node: attach its service to one."
    ),
    "same_address": (
        "Another one is at the same address: two tasks of a service on one host's network, "
        "or a node that is listed twice."
    ),
    "bad_label": "A prometheus.* label cannot be used; the detail says why.",
    # Docker's objects
    "no_network": "It is on no network that can be scraped and has no port on its node.",
    "no_virtual_ip": (
        "The service has no virtual IP: endpoint mode dnsrr, ports in host mode, or no port and no network."
    ),
    "no_address": "A network or its node gives it no address.",
    "bad_address": "Its address cannot be read.",
    "null_network": "Docker tells a network of the container as null: it is being connected or removed.",
    "no_name": "Docker tells no name of the container: it is being removed.",
    "networks_unknown": "The list of networks could not be had: no label speaks of a network.",
    "odd_object": "A field of the object is of another type than Docker's: it cannot be read.",
    "unknown_node": "The node of the container cannot be told (yet).",
    # classic Swarm's text, and stores
    "odd_row": "A row of the manager's answer cannot be understood.",
    "orphan_row": "A row of the manager's answer belongs to no node.",
    "mesos_offer": "The manager runs on Mesos: its offers are no nodes.",
    "invalid_address": "What is registered is not host:port.",
    "invalid_range": "The registered range of addresses cannot be understood.",
}


def in_words(reason: str) -> str:
    """What ``reason`` means; "" for one that is not ours, as of a third party's kind."""
    if found := RULE_REASON.fullmatch(reason):
        return f"Rule {found[1]} of the job's relabel_configs dropped it."
    return REASONS.get(reason, "")
