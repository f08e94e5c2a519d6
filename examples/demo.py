"""Swarms that live and break, swarm-sd on all of them, and a real Prometheus on swarm-sd: ``make demo``.

One is a classic Swarm, one a cluster in swarm mode, and of one only its own discovery is there: nodes that
register in etcd where it is installed, else in a file. Everything runs on loopback addresses and ends with
the demo; what is written goes to ``.demo/``. Exit code 0 only if every target was served all the time,
whatever happened to the Swarms.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import math
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import aiohttp

from swarm_demo import DemoError
from swarm_demo.classic import Classic
from swarm_demo.cluster import Cluster, Deed, turns
from swarm_demo.programs import Program, port_for, prometheus_command, swarm_sd_command
from swarm_demo.registering import Registering
from swarm_demo.screen import Screen, table
from swarm_demo.swarm_mode import SwarmMode
from swarm_demo.watch import Watch, look

T = TypeVar("T")

HOME = Path(__file__).resolve().parent.parent / ".demo"
SWARM_SD_PORT, PROMETHEUS_PORT = 9963, 9090

CONFIG = """\
# Written by the demo: a prometheus.yml with a kind of discovery that Prometheus does not have, and one
# (dockerswarm_sd_configs) for which it takes a single manager only.
global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: swarm
    swarm_sd_configs:
      - masters: [{masters}]
        refresh_interval: 1s
        metrics_port: {classic_port}
    relabel_configs:
      - source_labels: [__meta_swarm_role]
        target_label: role
      - source_labels: [__meta_swarm_node_name]
        target_label: node
  - job_name: swarm-mode
    dockerswarm_sd_configs:
      - hosts: [{hosts}]
        role: tasks
        port: {tasks_port}
        refresh_interval: 1s
    relabel_configs:
      - source_labels: [__meta_dockerswarm_task_desired_state]
        regex: running
        action: keep
      - source_labels: [__meta_dockerswarm_network_ingress]
        regex: 'true'
        action: drop
      - source_labels: [__meta_dockerswarm_service_name]
        target_label: service
      - source_labels: [__meta_dockerswarm_node_hostname]
        target_label: node
  - job_name: discovery
    swarm_sd_configs:
      - discovery: {discovery}
        metrics_port: {discovery_port}
  - job_name: swarm-sd
    static_configs:
      - targets: ['{swarm_sd}']
"""

_BEGINNING = 20.0  # seconds until everything must be up
_SETTLING = 15.0  # seconds until what is served must tell what has happened; it takes about one
_END = 2.0  # seconds that the end of a bounded demo takes
_LONGEST_PAUSE, _SHORTEST_PAUSE = 5.0, 0.5  # seconds between two deeds, and after one is seen


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(prog="make demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="end after that time (never)")
    return parser.parse_args(argv)


@contextmanager
def folder() -> Iterator[tuple[Path, bool]]:
    """(an empty folder for this run, whether no other demo of this checkout runs)."""
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            here, alone = HOME / "run", True
        except BlockingIOError:
            here, alone = HOME / f"run-{os.getpid()}", False
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir(exist_ok=True)
        yield here, alone
        if not alone:
            shutil.rmtree(here)  # after trouble it stays, for its logs


class Demo:
    """One run. ``here``: the folder for its files; ``alone``: the usual ports are for this one."""

    def __init__(self, here: Path, screen: Screen, *, alone: bool, duration: float | None) -> None:
        self._here = here
        self._alone = alone
        self._screen = screen
        self._duration = duration
        self._classic, self._swarm_mode = Classic(alone=alone), SwarmMode(alone=alone)
        self._registering = Registering(here, alone=alone)
        self._clusters: tuple[Cluster, ...] = (self._classic, self._swarm_mode, self._registering)
        self._watches: list[Watch] = []
        self._urls: list[tuple[str, str]] = []
        self._programs: list[Program] = []
        self._known: dict[str, str] = {}  # names by host:port, also of what is gone

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until ``stop`` or the duration is over. ``DemoError`` where something went wrong."""
        async with self._classic, self._swarm_mode, self._registering, AsyncExitStack() as programs:
            swarm_sd, prometheus = self._addresses()
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
                self._watches = [
                    Watch(
                        session, cluster, name=self._name, say=self._screen.say, swarm_sd=f"http://{swarm_sd}"
                    )
                    for cluster in self._clusters
                ]
                shown = self._screen.live(lambda: table(self._watches, self._urls))
                async with shown, _alongside(look(self._watches)) as looking:
                    story = self._story(lambda: self._start(programs, swarm_sd, prometheus))
                    await _first_of(story, stop.wait(), looking)
                    if not self._all(lambda watch: watch.served is not None):
                        return  # told to stop before there was anything
                    for cluster in self._clusters:
                        await cluster.mend()
                    await self._followed()
            for program in reversed(self._programs):
                await program.stop()
        self._sum_up()

    def _all(self, true: Callable[[Watch], bool]) -> bool:
        return all(map(true, self._watches))

    def _addresses(self) -> tuple[str, str | None]:
        """``host:port`` for swarm-sd and, where it is installed, for Prometheus; shows what to open."""
        swarm_sd = f"127.0.0.1:{self._port('swarm-sd', SWARM_SD_PORT)}"
        lists = "  ".join(f"/sd/{cluster.job}" for cluster in self._clusters)
        self._urls.append(("swarm-sd", f"http://{swarm_sd}/  {lists}"))
        prometheus = None
        if prometheus_command() is None:
            self._screen.show("prometheus is not installed: the demo goes on without it")
        else:
            prometheus = f"127.0.0.1:{self._port('Prometheus', PROMETHEUS_PORT)}"
            self._urls.append(("Prometheus", f"http://{prometheus}/targets"))
        for cluster in self._clusters:
            self._urls.append((cluster.name, cluster.urls()))
        self._urls.append(("files", os.path.relpath(self._here)))
        self._screen.introduce(self._urls)
        return swarm_sd, prometheus

    async def _start(self, stack: AsyncExitStack, swarm_sd: str, prometheus: str | None) -> None:
        config = self._here / "swarm-sd.yml"
        config.write_text(self._configuration(swarm_sd))
        flags = [f"--config.file={config}", f"--web.listen-address={swarm_sd}"]
        flags.append(f"--storage.path={self._here / 'storage'}")
        await self._program(stack, "swarm-sd", [*swarm_sd_command(), "serve", *flags])
        converted = await self._converted(config, f"http://{swarm_sd}") if prometheus else None
        # Prometheus asks at once and then only every 5 s: it must not come before there is an answer
        if not await self._until(lambda: self._all(lambda watch: watch.served is not None), _BEGINNING):
            raise DemoError(f"swarm-sd serves nothing after {_BEGINNING:g} s")
        if (command := prometheus_command()) and prometheus:
            flags = [f"--config.file={converted}", f"--web.listen-address={prometheus}"]
            flags.append(f"--storage.tsdb.path={self._here / 'prometheus'}")
            await self._program(stack, "Prometheus", [command, *flags])
            for watch in self._watches:
                watch.prometheus = f"http://{prometheus}"

    def _configuration(self, swarm_sd: str) -> str:
        classic, swarm_mode = self._classic, self._swarm_mode
        return CONFIG.format(
            masters=", ".join(manager.url for manager in classic.managers.values()),
            classic_port=classic.metrics_port,
            hosts=", ".join(f"tcp://{manager.address}" for manager in swarm_mode.managers.values()),
            tasks_port=swarm_mode.metrics_port,
            discovery=self._registering.store.discovery,
            discovery_port=self._registering.metrics_port,
            swarm_sd=swarm_sd,
        )

    async def _converted(self, config: Path, swarm_sd: str) -> Path:
        converted = self._here / "prometheus.yml"
        argv = [*swarm_sd_command(), "convert", str(config), f"--sd.url={swarm_sd}", f"-o{converted}"]
        async with Program("swarm-sd convert", argv, self._here / "convert.log") as convert:
            if code := await convert.wait():
                raise convert.failure(code)
        return converted

    def _port(self, name: str, preferred: int) -> int:
        port = port_for(preferred if self._alone else 0)
        if port != preferred:
            why = "is taken" if self._alone else "belongs to the demo that runs already"
            self._screen.show(f"port {preferred} {why}: {name} listens on {port}")
        return port

    async def _program(self, stack: AsyncExitStack, name: str, argv: Sequence[str]) -> None:
        program = Program(name, argv, self._here / f"{name.lower()}.log")
        self._programs.append(await stack.enter_async_context(program))

    def _name(self, address: str) -> str:
        """The name of a target or a manager at ``host:port``, also of one that is gone."""
        for cluster in self._clusters:
            self._known.update((manager.address, name) for name, manager in cluster.managers.items())
            self._known.update((one.address, one.name) for one in cluster.truth())
        return self._known.get(address, address or "nobody")

    async def _story(self, start: Callable[[], Awaitable[None]]) -> None:
        await start()
        if not await self._until(lambda: self._all(Watch.all_up), _BEGINNING):
            raise DemoError(f"not everything was served and up after {_BEGINNING:g} s")
        self._screen.say("all", "demo", "all targets are there: now things happen to the Swarms")
        script = list(turns(self._clusters, lambda cluster: cluster.script()))
        for number, (cluster, deed) in enumerate(script):
            await self._happens(cluster, deed, self._left() / (len(script) - number))
        for cluster, deed in turns(self._clusters, lambda cluster: cluster.chance()):
            if self._left() <= 0:
                return
            await self._happens(cluster, deed, self._left())

    async def _happens(self, cluster: Cluster, deed: Deed, seconds: float) -> None:
        """Does it, waits until swarm-sd serves it, and takes so many ``seconds`` where there is time."""
        due = self._screen.elapsed() + min(seconds, _LONGEST_PAUSE)
        self._screen.say(cluster.name, "Swarm", await deed())
        await self._followed()
        await self._until(lambda: False, max(due - self._screen.elapsed(), _SHORTEST_PAUSE))

    async def _followed(self) -> None:
        if not await self._until(lambda: self._all(Watch.in_step), _SETTLING):
            raise DemoError(f"swarm-sd does not serve what is true, {_SETTLING:g} s after it is")

    async def _until(self, true: Callable[[], bool], seconds: float) -> bool:
        """Waits until ``true()``, ``seconds`` at the most; whether it is. ``DemoError``: a program ended."""
        latest = self._screen.elapsed() + seconds
        while not true() and self._screen.elapsed() < latest:
            for program in self._programs:
                program.check()
            await asyncio.sleep(0.05)
        return true()

    def _left(self) -> float:
        """Seconds until a bounded demo has to come to its end."""
        return math.inf if self._duration is None else self._duration - _END - self._screen.elapsed()

    def _sum_up(self) -> None:
        """Says what was measured. ``DemoError`` where that is not as it must be."""
        lost = sorted(self._name(address) for watch in self._watches for address in watch.lost)
        served = sum(watch.served_tally.looks for watch in self._watches)
        scraped = sum(watch.scraped_tally.looks for watch in self._watches)
        right = self._all(lambda watch: watch.served_tally.right)
        silent = sum(watch.silent for watch in self._watches)
        self._screen.show()
        self._screen.show(f"targets lost to trouble: {len(lost)}{': ' if lost else ''}{', '.join(lost)}")
        self._screen.show(f"lists of swarm-sd compared with the truth: {served}; the last ones "
                          f"{'are' if right else 'are NOT'} the truth")  # fmt: skip
        if scraped:
            self._screen.show(f"target lists of Prometheus compared with the truth: {scraped}")
        complaints = [
            f"{one.name} ended with exit code {one.exit_code}" for one in self._programs if one.exit_code
        ]
        complaints += ["targets were lost"] * bool(lost)
        complaints += ["the last lists served are not the truth"] * (not right)
        complaints += [f"swarm-sd did not answer {silent} times"] * bool(silent)
        if complaints:
            raise DemoError("; ".join(complaints))


@asynccontextmanager
async def _alongside(work: Coroutine[None, None, T]) -> AsyncIterator[asyncio.Task[T]]:
    """A task that runs while inside."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _first_of(
    story: Coroutine[None, None, None], stopped: Coroutine[None, None, object], looking: asyncio.Task[None]
) -> None:
    """Waits for the first that ends; raises what it raised."""
    async with _alongside(story) as telling, _alongside(stopped) as stop:
        done, _ = await asyncio.wait([telling, stop, looking], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


async def run(duration: float | None, screen: Screen) -> None:
    """The demo, until its time is over or a signal comes."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with folder() as (here, alone):
        await Demo(here, screen, alone=alone, duration=duration).run(stop)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; gives the exit code."""
    options = arguments(argv)
    screen = Screen()
    try:
        asyncio.run(run(options.duration, screen))
    except (DemoError, OSError) as err:
        screen.show(f"something went wrong: {err}")
        return 1
    screen.show("everything as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
