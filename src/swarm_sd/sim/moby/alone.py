"""``python -m swarm_sd.sim --mode swarm`` and ``--mode engine``: Docker that lives by itself."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from swarm_sd.sim.moby.clusters import engine_on_loopback, on_loopback
from swarm_sd.sim.moby.daemon import Daemon
from swarm_sd.sim.moby.engine import Engine
from swarm_sd.sim.moby.swarm import Swarm
from swarm_sd.sim.nodes import Nodes
from swarm_sd.sim.stage import end, until_told

_TICK = 1.0  # seconds: a task takes some of them from new to running

Say = Callable[[str], None]


async def run_docker(options: argparse.Namespace) -> None:
    """Runs until the duration is over or a signal comes; prints what happens."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:8.1f}s  {text}", flush=True)

    async with AsyncExitStack() as stack:
        start = _swarm if options.mode == "swarm" else _engine
        await start(stack, options, say)
        await until_told(options.duration)
        say("the end")


def _listen(options: argparse.Namespace, number: int) -> str:
    return f"tcp://127.0.0.1:{options.port + number if options.port else 0}"


async def _swarm(stack: AsyncExitStack, options: argparse.Namespace, say: Say) -> None:
    swarm = on_loopback(options.managers, options.nodes, seed=options.seed)
    nodes = Nodes(_answering(swarm), port=options.metrics_port)
    await stack.enter_async_context(nodes)
    # one service of several, so that both can be seen: tasks that declare an endpoint and tasks that do not
    swarm.update_service("web", labels={"prometheus.port": str(nodes.port)})
    daemons: dict[str, Daemon] = {}
    for number, node in enumerate(swarm.nodes.values()):
        daemon = Daemon.on(swarm, node["ID"], listen=_listen(options, number))
        daemons[node["ID"]] = await stack.enter_async_context(daemon)
        leads = ", leader" if node["ID"] == swarm.leader else ""
        say(f"{node['Spec']['Role']} {node['Description']['Hostname']} at {daemon.url}{leads}")
    say(f"{len(nodes.scrapes)} nodes, tasks and services with /metrics on port {nodes.port}")

    async def tick() -> None:
        swarm.tick()
        for node_id, daemon in daemons.items():
            await (daemon.stop() if node_id in swarm.killed else daemon.start())
        await nodes.run_at(_answering(swarm))

    living = asyncio.create_task(_live(swarm.churn, tick, options.churn, say))
    stack.push_async_callback(end, living)


def _answering(swarm: Swarm) -> set[str]:
    """The addresses of living nodes, of what runs on them, and of the services they belong to."""
    alive = [node for node in swarm.nodes.values() if node["ID"] not in swarm.killed]
    found = {node["Status"]["Addr"] for node in alive}
    monitored = swarm.network("monitoring").id
    for task in swarm.tasks.values():
        if task["Status"]["State"] != "running" or task.get("NodeID") in swarm.killed:
            continue
        service = swarm.services.get(task["ServiceID"], {"Endpoint": {}})
        ends = [(end["Network"]["ID"], end["Addresses"][0]) for end in task.get("NetworksAttachments", ())]
        ends += [(end["NetworkID"], end["Addr"]) for end in service["Endpoint"].get("VirtualIPs", ())]
        found |= {address.partition("/")[0] for network, address in ends if network == monitored}
    return found


async def _engine(stack: AsyncExitStack, options: argparse.Namespace, say: Say) -> None:
    engine = engine_on_loopback(options.nodes, seed=options.seed)
    daemon = await stack.enter_async_context(Daemon(engine, listen=_listen(options, 0)))
    say(f"engine {engine.name} at {daemon.url}")
    nodes = Nodes(engine.addresses(), port=options.metrics_port)
    await stack.enter_async_context(nodes)
    say(f"{len(nodes.scrapes)} containers with /metrics on port {nodes.port}")

    async def tick() -> None:
        await _serve(engine, nodes)

    living = asyncio.create_task(_live(engine.churn, tick, options.churn, say))
    stack.push_async_callback(end, living)


async def _serve(engine: Engine, nodes: Nodes) -> None:
    await nodes.run_at(engine.addresses())


async def _live(
    churn: Callable[[], str], tick: Callable[[], Awaitable[None]], every: float, say: Say
) -> None:
    """A tick a second, and ``every`` so many seconds something happens; 0: nothing ever does."""
    next_time = time.monotonic() + every
    while True:
        await asyncio.sleep(min(_TICK, every) if every else _TICK)
        if every and time.monotonic() >= next_time:
            next_time += every
            say(churn())
        await tick()
