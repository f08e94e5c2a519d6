"""``python -m swarm_sd.sim``: a cluster that stands alone, for the demo and to try by hand.

``--mode`` says which: a classic Swarm, a swarm mode cluster, or a single Docker engine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from swarm_sd.sim.cluster import Cluster, Status
from swarm_sd.sim.clusters import Newcomers, on_loopback
from swarm_sd.sim.manager import Manager
from swarm_sd.sim.moby.alone import run_docker
from swarm_sd.sim.nodes import Nodes
from swarm_sd.sim.stage import end, until_told
from swarm_sd.sim.tags import TAGS
from swarm_sd.sim.workload import Container, Port

_ELECTION_EVERY = 10  # with several managers, one in so many things that happen is an election


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(prog="python -m swarm_sd.sim", description=__doc__)
    parser.add_argument(
        "--mode", default="classic", choices=("classic", "swarm", "engine"), help="what it is (classic)"
    )
    parser.add_argument("--tag", default="v1.2.9", choices=TAGS, help="release of classic managers (v1.2.9)")
    parser.add_argument("--managers", type=int, default=1, metavar="N", help="how many managers (1)")
    parser.add_argument(
        "--nodes", type=int, default=3, metavar="N", help="how many nodes, workers or containers at first (3)"
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port of the first manager, the others follow (any)"
    )
    parser.add_argument("--metrics-port", type=int, default=0, help="port of /metrics on every node (any)")
    parser.add_argument(
        "--churn", type=float, default=0, metavar="SECONDS", help="let something happen so often"
    )
    parser.add_argument("--seed", type=int, default=0, help="what happens follows from it (0)")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="end after that time (never)")
    return parser.parse_args(argv)


async def run(options: argparse.Namespace) -> None:
    """Runs until the duration is over or a signal comes; prints what happens."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:8.1f}s  {text}", flush=True)

    cluster = on_loopback(options.nodes, seed=options.seed)
    async with AsyncExitStack() as stack:
        managers = [await stack.enter_async_context(manager) for manager in _managers(cluster, options)]
        cluster.elect(managers[0].advertise)
        nodes = Nodes([_host(engine.address) for engine in cluster.engines], port=options.metrics_port)
        await stack.enter_async_context(nodes)
        _run_containers(cluster, nodes.port)
        for manager in managers:
            say(f"manager {manager.tag} at {manager.url}{', primary' if manager.leads else ', replica'}")
        some = ", ".join(list(nodes.scrapes)[:3])
        say(f"{options.nodes} nodes with /metrics on port {nodes.port}: {some}, ...")
        living = asyncio.create_task(_live(cluster, managers, nodes, options, say))
        stack.push_async_callback(end, living)
        await until_told(options.duration)
        say(f"{sum(len(manager.requests) for manager in managers)} requests answered; the end")


def _run_containers(cluster: Cluster, port: int) -> None:
    """One container a node that is a target which is up: on an overlay where it has the node's address.

    Published it would be none: ports on loopback addresses are for the node alone.
    """
    for number, engine in enumerate(cluster.engines):
        networks = {"monitoring": _host(engine.address)}
        labels = {"com.example.team": ("core", "data")[number % 2]}
        web = Container(name=f"web-{number}", ports=[Port(port)], networks=networks, labels=labels)
        cluster.run(engine.name, web)


def _managers(cluster: Cluster, options: argparse.Namespace) -> list[Manager]:
    ports = [options.port + number if options.port else 0 for number in range(options.managers)]
    several = options.managers > 1 and options.tag not in ("v0.1.0", "v0.2.0")
    return [
        Manager(cluster, tag=options.tag, listen=f"tcp://127.0.0.1:{port}", replication=several)
        for port in ports
    ]


async def _live(
    cluster: Cluster,
    managers: Sequence[Manager],
    nodes: Nodes,
    options: argparse.Namespace,
    say: Callable[[str], None],
) -> None:
    if not options.churn:
        return
    newcomers = Newcomers(options.nodes)
    chance = random.Random(options.seed)
    while True:
        await asyncio.sleep(options.churn)
        if len(managers) > 1 and chance.randrange(_ELECTION_EVERY) == 0:
            leader = chance.choice([manager for manager in managers if not manager.leads])
            cluster.elect(leader.advertise)
            say(f"{leader.url} is elected")
            continue
        say(cluster.churn(newcomers))
        await _follow(cluster, nodes)


async def _follow(cluster: Cluster, nodes: Nodes) -> None:
    """Nodes run where engines answer, and nowhere else."""
    await nodes.run_at(_host(engine.address) for engine in cluster.engines if engine.status == Status.HEALTHY)


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    options = arguments(argv)
    asyncio.run(run(options) if options.mode == "classic" else run_docker(options))


if __name__ == "__main__":
    main()
