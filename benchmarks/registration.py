"""How soon after it registers is a node in swarm-sd's answer, and what do 5,000 that beat cost?

A real etcd and ZooKeeper of three members, a file, and beside them a simulated master that is polled: a node
is written there at a moment of no special phase, and ``swarm-sd serve`` is asked every few milliseconds for
its list. A master's time begins when it knows the node already, which a real one has to learn from the store.
Then 5,000 nodes register in one etcd, each setting its key every 20 s, as ``swarm join`` with a heartbeat of
20 s does, and the daemon is watched for a minute without and a minute with heartbeats.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import itertools
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
from tests.e2e.kv import stores, swarms

from benchmarks.daemon import free_port
from benchmarks.measure import cpu_seconds, memory, quantile, table
from swarm_sd.sim import faults
from swarm_sd.sim.cluster import Engine
from swarm_sd.sim.clusters import example
from swarm_sd.sim.manager import Manager

TIMES, NODES, EVERY, SECONDS = 20, 5000, 20.0, 60

_PAUSE = 0.002  # between two looks
_AT_ONCE = 16  # heartbeats on their way

Join = Callable[[str], Awaitable[object]]


class Daemon:
    """``swarm-sd serve`` with one entry."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, session: aiohttp.ClientSession) -> None:
        self.pid = process.pid
        self._url, self._session = url, session

    async def get(self, path: str) -> bytes:
        """What it answers."""
        async with self._session.get(self._url + path) as answer:
            return await answer.read()

    async def lists(self, text: str) -> None:
        """Waits until its list holds ``text``."""
        while text.encode() not in await self.get("/sd/swarm"):
            await asyncio.sleep(_PAUSE)

    async def metric(self, name: str) -> float:
        """The value of one of its metrics."""
        found = re.search(
            rf"^swarm_sd_{name}(?:\{{.*\}})? (\S+)", (await self.get("/metrics")).decode(), re.M
        )
        return float(found[1]) if found else 0.0


@contextlib.asynccontextmanager
async def serving(entry: str, folder: Path) -> AsyncIterator[Daemon]:
    """The daemon while inside."""
    port = free_port()
    config = folder / f"swarm-sd-{port}.yml"
    config.write_text(f"scrape_configs:\n- job_name: swarm\n  swarm_sd_configs:\n  - {{{entry}}}\n")
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("swarm-sd"),
        "serve",
        f"--config.file={config}",
        f"--web.listen-address=127.0.0.1:{port}",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:
            daemon = Daemon(process, f"http://127.0.0.1:{port}", session)
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(aiohttp.ClientError):
                        if await daemon.get("/-/healthy"):
                            break
                    await asyncio.sleep(0.05)
            yield daemon
    finally:
        process.terminate()
        await process.wait()


# -- how soon ---------------------------------------------------------------------------------------------


async def sooner(
    name: str, entry: str, join: Join, folder: Path, times: int, *, interval: float = 1
) -> tuple[object, ...]:
    """A row of the table: how long ``join`` takes until it is seen."""
    took, chance = [], random.Random(1)
    async with serving(entry, folder) as daemon:
        await join("10.7.0.0:2375")
        await daemon.lists("10.7.0.0:2375")
        await asyncio.sleep(2)
        for number in range(times):
            await asyncio.sleep(chance.uniform(0.5, 0.5 + interval))  # any moment between two polls
            node = f"10.7.1.{number}:2375"
            began = time.monotonic()
            await join(node)
            await daemon.lists(node)
            took.append((time.monotonic() - began) * 1000)
    return name, f"{statistics.median(took):.0f}", f"{quantile(took, 0.95):.0f}", f"{max(took):.0f}"


async def on_etcd(folder: Path, times: int) -> tuple[object, ...]:
    async with stores.etcd_cluster(folder) as members:
        swarm = swarms.OnEtcd(members)
        return await sooner("etcd, watched", f"discovery: '{swarm.url}'", swarm.join, folder, times)


async def on_zookeeper(folder: Path, times: int) -> tuple[object, ...]:
    async with stores.zookeeper_ensemble(folder) as members:
        swarm = swarms.OnZooKeeper(members)
        try:
            return await sooner("ZooKeeper, watched", f"discovery: '{swarm.url}'", swarm.join, folder, times)
        finally:
            await swarm.close()


async def on_a_file(folder: Path, times: int) -> tuple[object, ...]:
    nodes: list[str] = []

    async def join(node: str) -> None:
        nodes.append(node)
        (folder / "new").write_text("\n".join(nodes))
        (folder / "new").replace(folder / "nodes")

    return await sooner("file, looked at", f"discovery: 'file://{folder}/nodes'", join, folder, times)


async def on_a_master(folder: Path, times: int, *, interval: int, events: bool) -> tuple[object, ...]:
    cluster = example()
    async with Manager(cluster) as master:
        if not events:
            master.inject(faults.status(404), path="/events")

        async def join(node: str) -> None:
            cluster.join(Engine(name=f"node-{node}", address=node))

        entry = f"masters: ['{master.url}'], refresh_interval: {interval}s"
        name = f"a master asked every {interval}s{', with its events' if events else ''}"
        return await sooner(name, entry, join, folder, times, interval=interval)


async def how_soon(times: int) -> None:
    """The first table."""
    rows = []
    # the stores' logs, which the tests want to see
    with tempfile.TemporaryDirectory() as made, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(made)
        if shutil.which("etcd"):
            rows.append(await on_etcd(folder, times))
        if shutil.which("java") and Path("/usr/share/java/zookeeper.jar").exists():
            rows.append(await on_zookeeper(folder, times))
        rows.append(await on_a_file(folder, times))
        rows.append(await on_a_master(folder, times, interval=1, events=False))
        rows.append(await on_a_master(folder, times, interval=5, events=False))
        rows.append(await on_a_master(folder, times, interval=5, events=True))
    print(f"From the registration to the answer, {times} nodes each, ms:\n")
    table(("where, and how it is followed", "median", "95 %", "most"), rows)


# -- what it costs ----------------------------------------------------------------------------------------


async def cost(nodes: int, seconds: float) -> None:
    """The second table."""
    if not shutil.which("etcd"):
        print("etcd is not installed")
        return
    with tempfile.TemporaryDirectory() as made, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(made)
        async with stores.etcd_cluster(folder, size=1) as [member], aiohttp.ClientSession() as session:
            addresses = [f"10.{8 + n // 65536}.{n // 256 % 256}.{n % 256}:2375" for n in range(nodes)]

            async def beat(node: str) -> None:
                url = f"{member.url}/v2/keys/{swarms.NODES}/{node}"
                async with session.put(url, data={"value": node, "ttl": "600"}) as answer:
                    await answer.read()

            await _each(addresses, beat)
            discovery = f"discovery: 'etcd://127.0.0.1:{member.client_port}/demo'"
            async with serving(discovery, folder) as daemon:
                await daemon.lists(addresses[-1])
                await asyncio.sleep(3)
                rows = [await _phase("no heartbeats", daemon, seconds)]
                beating = asyncio.create_task(_beat(addresses, beat))
                await asyncio.sleep(3)
                rows.append(await _phase(f"each every {EVERY:g} s", daemon, seconds))
                beating.cancel()
    print(f"\n{nodes} nodes in etcd, {seconds:g} s a phase:\n")
    table(("heartbeats", "share of a core", "RSS MiB", "most RSS MiB", "lists", "deliveries"), rows)


async def _each(addresses: list[str], beat: Join) -> None:
    waiting = iter(addresses)

    async def some() -> None:
        for node in waiting:
            await beat(node)

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))


async def _beat(addresses: list[str], beat: Join) -> None:
    """One after the other, so many a second that each has its turn every ``EVERY`` seconds."""
    started, on_their_way = time.monotonic(), set[asyncio.Task[object]]()
    for number, node in enumerate(itertools.cycle(addresses)):
        await asyncio.sleep(max(0.0, started + number * EVERY / len(addresses) - time.monotonic()))
        while len(on_their_way) >= _AT_ONCE:
            _, on_their_way = await asyncio.wait(on_their_way, return_when=asyncio.FIRST_COMPLETED)
        on_their_way.add(asyncio.ensure_future(beat(node)))


async def _phase(name: str, daemon: Daemon, seconds: float) -> tuple[object, ...]:
    lists, delivered = await daemon.metric("refreshes_total"), await daemon.metric("deliveries_total")
    cpu, started = cpu_seconds(daemon.pid), time.monotonic()
    await asyncio.sleep(seconds)
    share = (cpu_seconds(daemon.pid) - cpu) / (time.monotonic() - started)
    now, most = memory(daemon.pid)
    lists = await daemon.metric("refreshes_total") - lists
    delivered = await daemon.metric("deliveries_total") - delivered
    return name, f"{share:.1%}", f"{now:.0f}", f"{most:.0f}", f"{lists:.0f}", f"{delivered:.0f}"


def main(times: int = TIMES, nodes: int = NODES, seconds: float = SECONDS) -> None:
    asyncio.run(how_soon(times))
    asyncio.run(cost(nodes, seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    main(options.times, options.nodes, options.seconds)
