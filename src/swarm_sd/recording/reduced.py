"""What is kept of an answer: the fields that discovery uses, in an order that does not change. Pure.

Never an environment, a mount, a command or the name of a secret: what has no field in ``wire.py`` is passed
over. Versions and times are left out too, they change while the targets stay the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from swarm_sd.discovery.docker_api import wire
from swarm_sd.discovery.docker_api.listed import ListReader
from swarm_sd.discovery.docker_api.lists import CONTAINERS, KINDS, NETWORKS, NODES, SERVICES, TASKS
from swarm_sd.discovery.swarm import containers
from swarm_sd.discovery.swarm.info import lasting_rows
from swarm_sd.discovery.swarm.inspection import Details
from swarm_sd.provider import DiscoveryError

INFO: Final = "/info"
_ALL_CONTAINERS: Final = f"{CONTAINERS}?all=1"
_DETAILS: Final = re.compile(r"/containers/[^/?]+/json")
_OF_NO_TARGET: Final = frozenset({"version", "updated_at", "resources", "job_iteration", "job_status"})


def named(url: str) -> str:
    """How an answer is called: path and query, readable, without ``limit=0``, which asks for everything."""
    path, _, query = url.partition("?")
    given = [f"{name}={value}" for name, value in parse_qsl(query) if name != "limit"]
    return f"{path}?{'&'.join(given)}" if given else path


def reduced(name: str, answer: bytes) -> Any:
    """What is kept of an answer, as JSON data; None where discovery makes nothing of it."""
    path = name.partition("?")[0]
    try:
        if name == INFO:
            return {"SystemStatus": lasting_rows(answer)}
        if name == _ALL_CONTAINERS:
            # in Docker's order: which of a node's containers is looked into depends on it
            return [kept(_lasting(one)) for one in ListReader(containers.Container).read(answer)]
        if path in KINDS:
            objects = ListReader(KINDS[path]).read(answer)
            return [kept(_lasting(one)) for one in sorted(objects, key=_ORDERS[path])]
        return kept(msgspec.json.decode(answer, type=Details)) if _DETAILS.fullmatch(path) else None
    except (DiscoveryError, msgspec.DecodeError):
        return None  # nor does discovery


def _lasting(one: Any) -> Any:
    """An object without what is another at each look: the order of ports, the time in ``Up 5 minutes``."""
    replace = msgspec.structs.replace
    if isinstance(one, wire.Container):
        one = replace(one, ports=sorted(one.ports or (), key=msgspec.structs.astuple))
    if isinstance(one, containers.Container):
        status = one.status if one.status in containers.NODE_DOWN else one.status.partition(" ")[0]
        one = replace(one, status=status)
    return one


def _of_a_task(task: wire.Task) -> tuple[Any, ...]:
    return task.service_id, task.slot, task.node_id, task.id


_ORDERS: Final[Mapping[str, Callable[[Any], tuple[Any, ...]]]] = {
    NODES: lambda node: (node.description.hostname, node.id),
    SERVICES: lambda service: (service.spec.name, service.id),
    TASKS: _of_a_task,
    NETWORKS: lambda network: (network.name, network.id),
    CONTAINERS: lambda container: (container.names or (), container.id),
}


def kept(value: Any) -> Any:
    """A Struct as JSON data without what is zero, which is what a field that is missing means."""
    if isinstance(value, msgspec.Struct):
        found = ((name, getattr(value, own), zero) for name, own, zero in _fields(type(value)))
        # an empty list or map is as good as none
        return {name: kept(one) for name, one, zero in found if one not in (zero, [], {})}
    if isinstance(value, Mapping):
        return {name: kept(one) for name, one in sorted(value.items())}
    return [kept(one) for one in value] if isinstance(value, list | tuple) else value


@cache
def _fields(kind: type[msgspec.Struct]) -> list[tuple[str, str, Any]]:
    """(name in JSON, own name, zero) of the fields that are kept."""
    return [
        (field.encode_name, field.name, _zero(field))
        for field in msgspec.structs.fields(kind)
        if field.name not in _OF_NO_TARGET
    ]


def _zero(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
