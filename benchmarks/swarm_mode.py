"""What does a full refresh of 5,000 nodes and 100,000 tasks cost, beside Prometheus' built-in?

Both ask the same mock (2.5 KB a task, served from memory by a process of its own) in the same run, one after
the other: role tasks, relabelling that keeps 1 % (hashmod), ``refresh_interval`` short enough for several
refreshes. swarm-sd relabels too: its ``?relabel=1`` list is fetched all the time, as a collector would. The
mock counts refreshes: requests for every task. swarm-sd makes more of them than the interval asks for while
tasks change of which no event told. CPU is user and system time of the tool, RSS the most it was (VmHWM).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.daemon import free_port, get, wait_for
from benchmarks.measure import cpu_seconds, memory, table

NODES, TASKS = 5000, 100_000
WARM_UP, ROUNDS = 2, 4
_LOOK = 0.2  # seconds between two looks


def _config(mock: int, interval: str, jobs: int = 1) -> str:
    text = "global: {scrape_interval: 1h}\nscrape_configs:\n"
    for number in range(jobs):
        text += (
            f"- job_name: tasks-{number}\n  dockerswarm_sd_configs:\n"
            f"  - {{host: 'http://127.0.0.1:{mock}', role: tasks, refresh_interval: {interval}}}\n"
            "  relabel_configs:\n"
            "  - {source_labels: [__address__], modulus: 100, target_label: __tmp_shard, action: hashmod}\n"
            "  - {source_labels: [__tmp_shard], regex: '0', action: keep}\n"
        )
    return text


@contextmanager
def mock(nodes: int, tasks: int, change: float = 0.0) -> Iterator[int]:
    """A swarm served from memory; ``change``: the share of tasks that differ from answer to answer."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "swarm_sd.sim.mock",
        f"--nodes={nodes}",
        f"--tasks={tasks}",
        f"--port={port}",
    ]
    process = subprocess.Popen([*command, f"--change={change}"], stdout=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/_ping")
        yield port
    finally:
        process.terminate()
        process.wait()


class Cost(NamedTuple):
    """CPU seconds a refresh, seconds from one to the next, most RSS in MiB, targets kept."""

    cpu: float
    seconds: float
    most: float
    kept: int


def _measured(pid: int, mock_port: int, rounds: int, kept: Callable[[], int]) -> Cost:
    """``kept`` is called all the time."""

    def refreshes() -> int:
        return int(json.loads(get(f"http://127.0.0.1:{mock_port}/__requests")).get("/tasks", 0))

    def until(count: int) -> int:
        while (now := refreshes()) < count:
            found.append(kept())
            time.sleep(_LOOK)
        return now

    found: list[int] = []
    first = until(refreshes() + WARM_UP)
    cpu, started = cpu_seconds(pid), time.monotonic()
    done = until(first + rounds) - first
    cpu, took = cpu_seconds(pid) - cpu, time.monotonic() - started
    return Cost(cpu / done, took / done, memory(pid)[1], found[-1])


@contextmanager
def _running(config: str, command: Callable[[Path, int], list[object]]) -> Iterator[tuple[int, int]]:
    """(process, port) of a tool that ``command`` makes of the path of ``config`` and a port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "prometheus.yml")
        path.write_text(config)
        process = subprocess.Popen(command(path, port), stderr=subprocess.DEVNULL)  # type: ignore[arg-type]
        try:
            wait_for(f"http://127.0.0.1:{port}/-/ready")
            yield process.pid, port
        finally:
            process.terminate()
            process.wait()


def prometheus(mock_port: int, interval: str, rounds: int = ROUNDS) -> Cost:
    """What Prometheus' built-in costs."""

    def command(config: Path, port: int) -> list[object]:
        flags = [f"--config.file={config}", f"--storage.tsdb.path={config.parent}/data"]
        return ["prometheus", *flags, f"--web.listen-address=127.0.0.1:{port}"]

    with _running(_config(mock_port, interval), command) as (pid, port):
        found = _measured(pid, mock_port, rounds, lambda: 0)
        active = json.loads(get(f"http://127.0.0.1:{port}/api/v1/targets?state=active"))
        return found._replace(kept=len(active["data"]["activeTargets"]))


def swarm_sd(
    mock_port: int, interval: str, *, jobs: int = 1, relabel: bool = True, rounds: int = ROUNDS
) -> Cost:
    """What swarm-sd costs, its list fetched all the time."""

    def command(config: Path, port: int) -> list[object]:
        flags = [f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
        return [Path(sys.executable).with_name("swarm-sd"), "serve", *flags]

    with _running(_config(mock_port, interval, jobs), command) as (pid, port):
        listing = f"http://127.0.0.1:{port}/sd/tasks-0{'?relabel=1' if relabel else ''}"
        return _measured(pid, mock_port, rounds, lambda: len(json.loads(get(listing))))


def main(nodes: int = NODES, tasks: int = TASKS) -> None:
    rows: list[tuple[object, ...]] = []
    interval = "20s" if tasks > 20_000 else "5s"
    with mock(nodes, tasks) as port:
        if shutil.which("prometheus"):
            peer = prometheus(port, interval)
            rows.append(("Prometheus' built-in", *_cells(peer), *_ratios(peer, peer)))
        else:
            peer = Cost(0.0, 0.0, 0.0, 0)
            print("Prometheus is not installed: no peer\n")
        ours = swarm_sd(port, interval)
        rows.append(("swarm-sd, nothing changes", *_cells(ours), *_ratios(ours, peer)))
    for share in (0.01, 1.0):
        with mock(nodes, tasks, share) as port:
            ours = swarm_sd(port, interval)
            rows.append((f"swarm-sd, {share:.0%} of the tasks change", *_cells(ours), *_ratios(ours, peer)))
    print(f"{nodes} nodes, {tasks} tasks, refresh_interval {interval}\n")
    header = ("tool", "CPU s a refresh", "s between refreshes", "most RSS MiB", "kept")
    table((*header, "CPU ratio", "memory ratio"), rows)


def _cells(found: Cost) -> tuple[str, str, str, int]:
    return f"{found.cpu:.2f}", f"{found.seconds:.1f}", f"{found.most:.0f}", found.kept


def _ratios(ours: Cost, peer: Cost) -> tuple[str, str]:
    return _ratio(ours.cpu, peer.cpu), _ratio(ours.most, peer.most)


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}" if other else "-"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--tasks", type=int, default=TASKS)
    options = parser.parse_args()
    main(options.nodes, options.tasks)
