"""The backend for a discovery URL, and what is wrong with its options."""

from __future__ import annotations

import msgspec

from swarm_sd.discovery.answers import ANSWERS
from swarm_sd.discovery.http_client import HTTPClientConfig, TLSConfig
from swarm_sd.discovery.kv.answered import Answered
from swarm_sd.discovery.kv.backend import Backend
from swarm_sd.discovery.kv.consul import Consul
from swarm_sd.discovery.kv.etcd import Etcd
from swarm_sd.discovery.kv.etcd3 import Etcd3
from swarm_sd.discovery.kv.file import File
from swarm_sd.discovery.kv.http_store import HTTPStore
from swarm_sd.discovery.kv.kazoo_session import MISSING, is_installed
from swarm_sd.discovery.kv.locator import STORES, Discovery, DiscoveryOpts
from swarm_sd.discovery.kv.static import Static
from swarm_sd.discovery.kv.zookeeper import ZooKeeper

_OVER_HTTP: dict[str, type[HTTPStore]] = {"etcd": Etcd, "etcd3": Etcd3, "consul": Consul}


def backend(discovery: Discovery, opts: DiscoveryOpts, http: HTTPClientConfig) -> Backend:
    """What lists and watches ``discovery``; ``http`` says as whom, and how to trust it."""
    asking, answers = _asking(discovery, opts, http), ANSWERS.get()
    return asking if answers is None else Answered(str(discovery), asking, answers)


def _asking(discovery: Discovery, opts: DiscoveryOpts, http: HTTPClientConfig) -> Backend:
    if discovery.scheme == "nodes":
        return Static(discovery)
    if discovery.scheme == "file":
        return File(discovery)
    if opts.tls:
        tls = TLSConfig(ca_file=opts.ca_file, cert_file=opts.cert_file, key_file=opts.key_file)
        http = msgspec.structs.replace(http, tls_config=tls)
    if discovery.scheme == "zk":
        return ZooKeeper(discovery, opts, http)
    return _OVER_HTTP[discovery.scheme](discovery, opts, http)


def problems(discovery: Discovery, opts: DiscoveryOpts, http: HTTPClientConfig) -> list[tuple[str, str]]:
    """What does not fit together: (field beside ``discovery``, why). ``opts`` has ``problems`` of its own."""
    found = []
    if discovery.scheme not in STORES and opts != DiscoveryOpts():
        found.append(("discovery_opts", f"{discovery.scheme}:// asks no store, so there is nothing to set"))
    if discovery.scheme == "zk":
        if not is_installed():
            found.append(("discovery", MISSING))
        if http.proxy_url or http.proxy_from_environment:
            found.append(("proxy_url", "ZooKeeper does not speak HTTP and cannot be asked through a proxy"))
        if http.authorization or http.bearer_token or http.bearer_token_file:
            found.append(("authorization", "ZooKeeper takes a user and a password; give basic_auth"))
    return found
