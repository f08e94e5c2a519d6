"""The file that ``record`` writes and ``test`` reads: what was answered, by whom. JSON.

An answer is written as Docker writes it, so that one fetched with curl can be put into the file as it is.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Cluster(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What Docker APIs answer, by path and query. Each of ``hosts`` tells them; none: whoever is asked."""

    hosts: list[str] = []
    answers: dict[str, msgspec.Raw]


class Store(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Who is registered at a discovery URL: addresses as ``host:port``."""

    discovery: str
    nodes: list[str]
    leader: str | None = None


class Group(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Targets with the same labels, as file SD writes them."""

    targets: tuple[str, ...]
    labels: dict[str, str] = {}


class Told(msgspec.Struct, forbid_unknown_fields=True):
    """The targets of an entry whose kind is not ours to take apart; ``entry`` as in ``job.Entry``."""

    job: str
    entry: int
    groups: list[Group]


class Recording(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """All of it. ``own_container``: the ID of the one that swarm-sd was in."""

    version: Literal[1] = msgspec.field(name="swarm_sd_snapshot")
    own_container: str = ""
    clusters: list[Cluster] = []
    stores: list[Store] = []
    entries: list[Told] = []


def parse(text: bytes) -> Recording:
    """The recording that a file holds. ``ValueError`` where it is none."""
    try:
        return msgspec.json.decode(text, type=Recording)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ValueError(f"no file of swarm-sd record: {err}") from None


def written(recording: Recording) -> str:
    """The text of the file, a value a line: a change of a label is a line of a diff."""
    return msgspec.json.format(msgspec.json.encode(recording), indent=2).decode() + "\n"
