"""The ``instance`` of a target: a name that people can read, and that a restart does not change. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, TypeAlias

from swarm_sd.discovery.docker_api.wire import Service
from swarm_sd.model import join_host_port

Preset: TypeAlias = Literal["task", "hostname", "address"]

MODES = ("replicated", "global", "replicated_job", "global_job")


def service_mode(service: Service) -> str:
    """``replicated``, ``global``, ``replicated-job``, ``global-job``; "" for none that is known."""
    mode = service.spec.mode
    found = (mode.replicated, mode.global_, mode.replicated_job, mode.global_job)
    names = (name.replace("_", "-") for name, there in zip(MODES, found, strict=True) if there is not None)
    return next(names, "")


def task_name(service: str, mode: str, slot: int, hostname: str) -> str:
    """``<service>.<slot>``, or ``<service>.<node's host name>`` where there is one task a node.

    Not the task's ID, which a restart changes.
    """
    return f"{service}.{hostname}" if mode.startswith("global") else f"{service}.{slot}"


def forms(preset: Preset, task: str, hostname: str, port: int, endpoint: str) -> tuple[str, ...]:
    """How a target may be called, the best first; each later one tells more targets apart.

    None at all: Prometheus takes the address. ``port`` is the one that the task listens on: a published
    one may be another after a restart.
    """
    if preset == "address":
        return ()
    own = join_host_port(task, port)
    on_node = (join_host_port(hostname, port),) if preset == "hostname" and hostname else ()
    return (*on_node, own, *((f"{own}/{endpoint}",) if endpoint else ()))


def told_apart(of: Sequence[Sequence[str]]) -> list[str]:
    """For each target the first of its forms that no other one has; "" where none is left."""
    chosen = [0] * len(of)
    names = [_form(one, 0) for one in of]
    while same := _repeated(names):
        for those in same:
            able = [index for index in those if chosen[index] + 1 < len(of[index])]
            # one that has no other form may keep the one it has
            for index in able if len(able) + 1 >= len(those) else those:
                chosen[index] += 1
                names[index] = _form(of[index], chosen[index])
    return names


def _form(of: Sequence[str], number: int) -> str:
    return of[number] if number < len(of) else ""


def _repeated(names: Sequence[str]) -> list[list[int]]:
    """The places of each name that is there more than once."""
    if len(set(names)) == len(names):
        return []
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        places[name].append(index)
    return [those for name, those in places.items() if name and len(those) > 1]
