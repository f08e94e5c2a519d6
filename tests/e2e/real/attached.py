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
    await engine.adelete(f"/containers/{name}?force=1")
    first, *others = networks
    spec = {"Image": IMAGE, "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": first}}
    made = await engine.apost("/containers/create", spec, name=name)
    try:
        for network in others:
            await engine.apost(f"/networks/{network}/connect", {"Container": name})
        await engine.apost(f"/containers/{name}/start")
        pid = await asyncio.to_thread(wait, lambda: _process(made["Id"]), "the container's process")
        yield Path(f"/proc/{pid}/ns/net")
    finally:
        with contextlib.suppress(OSError, APIError):
            await engine.adelete(f"/containers/{name}?force=1")


def _process(container: str) -> int:
    """A process of the container as it is numbered here; 0 while there is none."""
    for groups in Path("/proc").glob("[0-9]*/cgroup"):
        with contextlib.suppress(OSError):  # it has just ended
            if f"/{container}" in groups.read_text():
                return int(groups.parent.name)
    return 0
