"""What an entry of ``swarm_sd_configs`` with ``discovery`` may say, and which targets it means."""

import pytest

from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.http_client import BasicAuth
from swarm_sd.discovery.kv.locator import Discovery, DiscoveryOpts
from swarm_sd.discovery.swarm.provider import SwarmSDConfig
from swarm_sd.scalars import Interval


def entry(discovery, masters=(), **options):
    hosts = tuple(Host.from_yaml(one) for one in masters)
    return SwarmSDConfig(discovery=discovery and Discovery.from_yaml(discovery), masters=hosts, **options)


@pytest.mark.parametrize(
    ("settings", "field", "why"),
    [
        (entry(None), "masters", "Swarm SD configuration requires at least one Swarm master"),
        (entry(None, ["m:1"], discovery_opts=DiscoveryOpts(path="x")), "discovery_opts", "no discovery"),
        (entry("etcd://e/p", ["m:1"], role="containers"), "discovery", "give one of the two"),
        (entry("nodes://a:1", role="masters"), "role", "give masters"),
        (entry("file:///x", role="containers"), "role", "give masters"),
        (entry("file:///x", discovery_opts=DiscoveryOpts(path="x")), "discovery_opts", "no store"),
    ],
)
def test_what_does_not_go_together_is_told(settings, field, why):
    [(told, because)] = settings.problems()
    assert told == field
    assert why in because


@pytest.mark.parametrize(
    "settings",
    [
        entry("etcd://e/p"),
        entry("etcd://e/p", ["m:1"]),
        entry("etcd://e/p", role="containers"),
        entry("zk://e/p", role="masters", basic_auth=BasicAuth(username="u")),
        entry("nodes://a:1", ["m:1"], role="masters"),
        entry("file:///x", role="nodes"),
    ],
)
def test_what_goes_together_is_taken(settings):
    assert settings.problems() == []
    provider = settings.provider()
    assert provider.status().refreshes == 0


def test_an_entry_is_the_same_whichever_member_of_the_store_is_asked():
    one = entry("etcd://e1,e2/p")
    assert one.identity() == entry("etcd://e3/p", refresh_interval=Interval(9)).identity()
    others = [
        entry("etcd://e1,e2/q"),
        entry("etcd3://e1,e2/p"),
        entry("etcd://e1,e2/p", ["m:1"]),
        entry("etcd://e1,e2/p", discovery_opts=DiscoveryOpts(path="x")),
        entry("nodes://a:1"),
        entry("nodes://a:2"),
        entry(None, ["m:1"]),
    ]
    assert len({repr(other.identity()) for other in (one, *others)}) == 8
