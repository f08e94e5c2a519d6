"""Where Swarm's discovery is: the URL given to ``swarm join`` and ``swarm manage``, and its options."""

from __future__ import annotations

import posixpath
import re
from typing import Self

import msgspec

from swarm_sd.discovery.kv import entries
from swarm_sd.scalars import FilePath

_DEFAULT_PORT = {"etcd": 2379, "etcd3": 2379, "zk": 2181, "consul": 8500}
STORES = frozenset(_DEFAULT_PORT)
"""The schemes that ask a store over the network."""

_WAY_OUT = (
    "write it as swarm join has it: etcd://host:port,host:port/prefix, zk://..., consul://..., "
    "file:///path or nodes://host:port,host:port"
)
_MEANT = {
    "zookeeper": "zk",
    "etcdv2": "etcd",
    "etcd2": "etcd",
    "etcdv3": "etcd3",
    "node": "nodes",
}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


class Discovery(str):
    """Swarm's discovery URL: ``nodes``, ``file``, ``etcd``, ``etcd3``, ``zk`` or ``consul``; none is nodes.

    The text itself is the URL, good to show: it holds no secret. ``endpoints`` are the addresses of a
    store as ``host:port``; ``path`` is the prefix of its keys ("" or without slashes at its ends), or the
    file; ``entries`` are the nodes of ``nodes://``.

    Source: docs/discovery.md and discovery/ of classic Swarm; docker/pkg/discovery from v1.1.0 on.
    """

    scheme: str
    endpoints: tuple[str, ...]
    path: str
    entries: tuple[str, ...]

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """What ``text`` names. ``ValueError`` says what is wrong with it, and never shows a password."""
        scheme, mark, rest = text.strip().partition("://")
        if not mark:
            scheme, rest = "nodes", text.strip()
        if "@" in rest:
            raise ValueError(
                "a user or password has no place in a discovery URL; give it as basic_auth beside it"
            )
        if not rest:
            raise ValueError(f"nothing to discover from in {text!r}; {_WAY_OUT}")
        if scheme in STORES:
            return cls._store(scheme, rest)
        if scheme == "file":
            return cls._file(rest)
        if scheme == "nodes":
            found = entries.listed(rest)
            return cls._made(f"nodes://{rest}", "nodes", entries=found)
        raise ValueError(_unsupported(scheme))

    @classmethod
    def _made(
        cls,
        text: str,
        scheme: str,
        *,
        endpoints: tuple[str, ...] = (),
        path: str = "",
        entries: tuple[str, ...] = (),
    ) -> Self:
        self = cls(text)
        self.scheme, self.endpoints, self.path, self.entries = scheme, endpoints, path, entries
        return self

    @classmethod
    def _store(cls, scheme: str, rest: str) -> Self:
        hosts, _, prefix = rest.partition("/")
        endpoints = tuple(dict.fromkeys(_endpoint(host, scheme) for host in hosts.split(",")))
        path = _key(prefix, "the prefix")
        return cls._made(
            f"{scheme}://{','.join(endpoints)}{f'/{path}' if path else ''}",
            scheme,
            endpoints=endpoints,
            path=path,
        )

    @classmethod
    def _file(cls, rest: str) -> Self:
        if not rest.startswith("/") or rest.endswith("/"):
            raise ValueError(
                f"file://{rest} names no file by its full path; write it like file:///etc/swarm/nodes"
            )
        if "\0" in rest:
            raise ValueError("a path holds no NUL")
        return cls._made(f"file://{rest}", "file", path=rest)


def _unsupported(scheme: str) -> str:
    if scheme == "token":
        return (
            "token:// asked Docker's hosted discovery service, which is gone for good; "
            "let the nodes join through etcd, Consul or ZooKeeper, or list them with nodes:// or file://"
        )
    if scheme in ("http", "https", "tcp"):
        return f"{scheme}:// is no discovery; a Swarm manager belongs into masters:, and a store is written etcd://..."
    if meant := _MEANT.get(scheme.lower()) or (scheme.lower() if scheme.lower() in STORES else ""):
        return f"unsupported discovery {scheme!r}, did you mean {meant}://?"
    if _SCHEME.fullmatch(scheme) is None:
        return f"not a discovery URL; {_WAY_OUT}"
    return f"unsupported discovery {scheme!r}; {_WAY_OUT}"


def _endpoint(text: str, scheme: str) -> str:
    """``host:port`` of one address of a store; the port may be left out."""
    text = text.strip()
    if not text:
        raise ValueError(f"an empty address in {scheme}://: a host is missing, or there is a comma too many")
    has_port = re.search(r":[0-9]+\Z", text) if not text.startswith("[") else re.search(r"\]:[0-9]+\Z", text)
    whole = text if has_port else f"{text}:{_DEFAULT_PORT[scheme]}"
    if not entries.is_entry(whole):
        raise ValueError(
            f"no valid address of a store: {text!r}; write it like {scheme}://10.0.0.1:{_DEFAULT_PORT[scheme]}"
        )
    return whole


def _key(text: str, what: str) -> str:
    """A path of keys without slashes at its ends, as Go's path.Join would make it."""
    if not text.isprintable() or any(mark in text for mark in "?#\\ "):
        raise ValueError(f"{what} {text!r} holds a character that no key of Swarm has")
    path = posixpath.normpath(f"/{text}").strip("/")
    if ".." in text.split("/"):
        raise ValueError(f"{what} {text!r} goes up with '..'; write the path that is meant")
    return path


class KeyPath(str):
    """``kv.path``: where below the prefix the nodes register. ``.`` is the prefix itself."""

    __slots__ = ()

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """The path that ``text`` writes. ``ValueError`` where it is none."""
        if not text:
            raise ValueError("write a path such as docker/swarm/nodes; '.' is the prefix itself")
        return cls(_key(text, "the path"))


class DiscoveryOpts(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={
        "path": "kv.path",
        "ca_file": "kv.cacertfile",
        "cert_file": "kv.certfile",
        "key_file": "kv.keyfile",
    },
):
    """The options that ``swarm --discovery-opt`` takes, under their names there.

    Source: getDiscoveryOpt in cli/manage.go, Initialize in docker/pkg/discovery/kv/kv.go.
    """

    path: KeyPath = KeyPath("docker/swarm/nodes")
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None

    def problems(self) -> list[tuple[str, str]]:
        """A part of the TLS options without the rest: Swarm would then speak without TLS."""
        files = {"kv.cacertfile": self.ca_file, "kv.certfile": self.cert_file, "kv.keyfile": self.key_file}
        given = [name for name, file in files.items() if file]
        if not given or len(given) == len(files):
            return []
        missing = " and ".join(name for name in files if name not in given)
        return [
            (given[0], f"needs {missing}, too: Swarm uses TLS only with all three; for less, use tls_config")
        ]

    @property
    def tls(self) -> bool:
        """Whether they ask for TLS."""
        return self.ca_file is not None


def leader_key(discovery: Discovery) -> str:
    """The key that holds the primary manager's address, without a leading slash.

    Source: leaderElectionPath in cli/manage.go (v0.3.0 leaves out the prefix).
    """
    return posixpath.join(discovery.path, "docker/swarm/leader")


def nodes_key(discovery: Discovery, opts: DiscoveryOpts) -> str:
    """The directory that the nodes register in, without slashes at its ends; "" is the root."""
    return posixpath.join(discovery.path, opts.path).strip("/")
