"""A container on overlay networks of the swarm, into whose network programs can be put."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .cluster import IMAGE, APIError, Engine, wait
from .zoo import Zoo


@contextlib.asynccontextmanager
async def overlays(zoo: Zoo, *specs: Mapping[str, Any]) -> AsyncIterator[None]:
    """Networks, for a while; what is attached to them when they go has to be on its way, too."""
    names = [str(spec["Name"]) for spec in specs]
    leader = await zoo.cluster.aleader()
    await asyncio.to_thread(_remove, leader, names)
    for spec in specs:
        await leader.apost("/networks/create", {"Driver": "overlay", **spec})
    try:
        yield
    finally:
        await asyncio.to_thread(_remove, await zoo.cluster.aleader(), names)


def _remove(engine: Engine, networks: Sequence[str]) -> None:
    def gone() -> bool:
        for network in networks:
            engine.delete(f"/networks/{network}")
        return not engine.get("/networks", {"name": networks})

    wait(gone, f"{networks} are gone", seconds=90)


@contextlib.asynccontextmanager
async def attached(engine: Engine, networks: Sequence[str]) -> AsyncIterator[Path]:
    """The network namespace of a container that sleeps on these networks, for a while."""
    name = "scraper"
    try:
        made = await asyncio.to_thread(wait, lambda: _start(engine, name, networks), "it is attached")
        pid = await asyncio.to_thread(wait, lambda: _process(made), "the container's process")
        yield Path(f"/proc/{pid}/ns/net")
    finally:
        with contextlib.suppress(OSError, APIError):
            await engine.adelete(f"/containers/{name}?force=1")


def _start(engine: Engine, name: str, networks: Sequence[str]) -> str:
    """The container's ID. APIError where it cannot be attached: each engine chooses IPv6 addresses for itself
    (Docker 20.10), and may take one that another one has.
    """
    first, *others = networks
    spec = {"Image": IMAGE, "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": first}}
    engine.delete(f"/containers/{name}?force=1")
    made = engine.post("/containers/create", spec, name=name)
    for network in others:
        engine.post(f"/networks/{network}/connect", {"Container": name})
    engine.post(f"/containers/{name}/start")
    return str(made["Id"])


def _process(container: str) -> int:
    """A process of the container as it is numbered here; 0 while there is none."""
    for groups in Path("/proc").glob("[0-9]*/cgroup"):
        with contextlib.suppress(OSError):  # it has just ended
            if f"/{container}" in groups.read_text():
                return int(groups.parent.name)
    return 0
