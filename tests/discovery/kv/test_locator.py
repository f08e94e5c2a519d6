"""The discovery URL and its options, as Swarm takes them, and what is said of those it does not."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_sd.discovery.http_client import Authorization, BasicAuth, HTTPClientConfig, TLSConfig
from swarm_sd.discovery.kv import stores
from swarm_sd.discovery.kv.consul import Consul
from swarm_sd.discovery.kv.etcd import Etcd
from swarm_sd.discovery.kv.etcd3 import Etcd3
from swarm_sd.discovery.kv.file import File
from swarm_sd.discovery.kv.locator import Discovery, DiscoveryOpts, KeyPath, leader_key, nodes_key
from swarm_sd.discovery.kv.static import Static
from swarm_sd.discovery.kv.zookeeper import ZooKeeper
from swarm_sd.scalars import FilePath, Secret

NO_OPTS = DiscoveryOpts()
TLS = DiscoveryOpts(ca_file=FilePath("/ca"), cert_file=FilePath("/cert"), key_file=FilePath("/key"))


@pytest.mark.parametrize(
    ("text", "shown", "endpoints", "path"),
    [
        ("etcd://10.0.0.1:2379/p", "etcd://10.0.0.1:2379/p", ("10.0.0.1:2379",), "p"),
        ("etcd://10.0.0.1:2379", "etcd://10.0.0.1:2379", ("10.0.0.1:2379",), ""),
        ("etcd://10.0.0.1/", "etcd://10.0.0.1:2379", ("10.0.0.1:2379",), ""),
        ("etcd3://a,b:1/p/q/", "etcd3://a:2379,b:1/p/q", ("a:2379", "b:1"), "p/q"),
        ("zk://a,a:2181,b/p//q", "zk://a:2181,b:2181/p/q", ("a:2181", "b:2181"), "p/q"),
        ("consul://a/p", "consul://a:8500/p", ("a:8500",), "p"),
        ("zk://[fd00::1],b:2/p", "zk://[fd00::1]:2181,b:2/p", ("[fd00::1]:2181", "b:2"), "p"),
        (" etcd://a/p ", "etcd://a:2379/p", ("a:2379",), "p"),
    ],
)  # fmt: skip
def test_a_store_has_addresses_and_a_prefix(text, shown, endpoints, path):
    found = Discovery.from_yaml(text)
    assert (found, found.scheme) == (shown, shown.partition("://")[0])
    assert (found.endpoints, found.path, found.entries) == (endpoints, path, ())


@pytest.mark.parametrize("text", ["nodes://10.0.0.[1:2]:2375,a:1", "10.0.0.[1:2]:2375,a:1"])
def test_without_a_scheme_it_is_a_list_of_nodes(text):
    found = Discovery.from_yaml(text)
    assert (found, found.scheme) == ("nodes://10.0.0.[1:2]:2375,a:1", "nodes")
    assert found.entries == ("10.0.0.1:2375", "10.0.0.2:2375", "a:1")


def test_a_file_is_named_by_its_path():
    found = Discovery.from_yaml("file:///etc/swarm/my nodes")
    assert (found, found.scheme, found.path) == ("file:///etc/swarm/my nodes", "file", "/etc/swarm/my nodes")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing to discover from"),
        ("etcd://", "nothing to discover from"),
        ("token://abc", "hosted discovery service, which is gone.*nodes://"),
        ("http://10.0.0.1:2375", "no discovery; a Swarm manager belongs into masters"),
        ("tcp://10.0.0.1:2375", "belongs into masters"),
        ("zookeeper://a/p", "did you mean zk://"),
        ("ZK://a/p", "did you mean zk://"),
        ("etcdv3://a/p", "did you mean etcd3://"),
        ("redis://a/p", "unsupported discovery 'redis'; write it as swarm join has it"),
        ("a b://c", "not a discovery URL"),
        ("etcd:///p", "a host is missing"),
        ("etcd://a,/p", "a comma too many"),
        ("etcd://a:x/p", "no valid address of a store: 'a:x'; write it like etcd://10.0.0.1:2379"),
        ("etcd://a:0/p", "no valid address"),
        ("zk://fd00::1/p", "no valid address"),
        ("etcd://10.0.0.[1:3]:2379/p", "no valid address"),
        ("consul://a/p/../q", r"goes up with '\.\.'"),
        ("consul://a/p?q=1", "holds a character that no key of Swarm has"),
        ("zk://a/a b", "holds a character"),
        ("file://nodes", "names no file by its full path; write it like file:///etc/swarm/nodes"),
        ("file:///etc/swarm/", "names no file"),
        ("nodes://10.0.0.1", "not host:port"),
        ("10.0.0.1:2375,", "a comma too many"),
    ],
)
def test_what_is_no_discovery_is_told_with_the_way_out(text, message):
    with pytest.raises(ValueError, match=message):
        Discovery.from_yaml(text)


@pytest.mark.parametrize(
    "text", ["etcd://u:secret@a/p", "zk://u:secret@a,b/p", "nodes://u:secret@a:1", "x://u:secret@"]
)
def test_a_password_in_the_url_is_refused_and_not_shown(text):
    with pytest.raises(ValueError, match="give it as basic_auth") as caught:
        Discovery.from_yaml(text)
    assert "secret" not in str(caught.value)


@given(
    st.text(max_size=40),
    st.sampled_from(["", "etcd://", "etcd3://", "zk://", "consul://", "file://", "nodes://"]),
)
def test_any_text_is_a_discovery_or_an_error_and_what_is_shown_means_the_same(text, scheme):
    try:
        found = Discovery.from_yaml(scheme + text)
    except ValueError as err:
        assert str(err)
        return
    again = Discovery.from_yaml(str(found))
    assert (again, again.scheme, again.endpoints, again.path, again.entries) == (
        found, found.scheme, found.endpoints, found.path, found.entries,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("prefix", "path", "nodes", "leader"),
    [
        ("", "docker/swarm/nodes", "docker/swarm/nodes", "docker/swarm/leader"),
        ("/p", "docker/swarm/nodes", "p/docker/swarm/nodes", "p/docker/swarm/leader"),
        ("/p/q", "/other//nodes/", "p/q/other/nodes", "p/q/docker/swarm/leader"),
        ("/p", ".", "p", "p/docker/swarm/leader"),  # v0.1 and v0.2 register right below the prefix
        ("", ".", "", "docker/swarm/leader"),
    ],
)
def test_keys_are_where_swarm_has_them(prefix, path, nodes, leader):
    found = Discovery.from_yaml(f"etcd://a{prefix}")
    opts = DiscoveryOpts(path=KeyPath.from_yaml(path))
    assert (nodes_key(found, opts), leader_key(found)) == (nodes, leader)


@pytest.mark.parametrize("text", ["", "a/../b", "a?b", "a b"])
def test_a_path_that_no_key_has_is_an_error(text):
    with pytest.raises(ValueError, match=r"write the path|write a path|holds a character"):
        KeyPath.from_yaml(text)


def test_options_have_swarms_names():
    names = [field.encode_name for field in msgspec.structs.fields(DiscoveryOpts)]
    assert names == ["kv.path", "kv.cacertfile", "kv.certfile", "kv.keyfile"]
    assert NO_OPTS.path == "docker/swarm/nodes"


def test_tls_needs_all_three_files():
    assert TLS.problems() == NO_OPTS.problems() == []
    [(field, why)] = DiscoveryOpts(cert_file=FilePath("/cert")).problems()
    assert field == "kv.certfile"
    assert why.startswith("needs kv.cacertfile and kv.keyfile, too: Swarm uses TLS only with all three")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("etcd://a/p", Etcd),
        ("etcd3://a/p", Etcd3),
        ("consul://a/p", Consul),
        ("zk://a/p", ZooKeeper),
        ("file:///x", File),
        ("a:1", Static),
    ],
)
async def test_every_scheme_has_its_backend(url, kind):
    made = stores.backend(Discovery.from_yaml(url), NO_OPTS, HTTPClientConfig())
    assert type(made) is kind
    assert [host.name for host in made.hosts()] == list(Discovery.from_yaml(url).endpoints)
    await made.close()


def complaints(url, opts=NO_OPTS, **http):
    return stores.problems(Discovery.from_yaml(url), opts, HTTPClientConfig(**http))


def test_what_does_not_fit_together_is_told():
    assert complaints("etcd://a/p") == complaints("zk://a/p", TLS) == []
    basic = BasicAuth(username="u", password=Secret("p"))
    assert complaints("zk://a/p", basic_auth=basic) == []
    assert complaints("nodes://a:1", TLS)[0][0] == "discovery_opts"
    # as Swarm itself has them: these for the store, that for whoever is asked beside it
    assert complaints("etcd://a/p", TLS, tls_config=TLSConfig()) == []
    assert complaints("zk://a/p", proxy_url="http://proxy:1")[0][0] == "proxy_url"
    assert "give basic_auth" in complaints("zk://a/p", authorization=Authorization())[0][1]


def test_zookeeper_without_kazoo_is_told_with_the_way_out(monkeypatch):
    monkeypatch.setattr(stores, "is_installed", lambda: False)
    [(field, why)] = complaints("zk://a/p")
    assert field == "discovery"
    assert "pip install 'prometheus-swarm-sd[zookeeper]'" in why
    assert complaints("etcd://a/p") == []
