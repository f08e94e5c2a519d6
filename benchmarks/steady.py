"""What does it cost to follow a swarm in which nothing changes, and then a change, by the size of the swarm?

``swarm-sd serve`` follows the events of a mock of 20 tasks a service; role tasks, ``refresh_interval: 60s``,
relabelling that keeps 1 % of the services. First nothing changes and a collector fetches the relabelled list
every 5 s. Then a task fails twenty times, one every half second, each with the event of its service. Then
as many again, one after the other, with a look at the list every 20 ms: how long until it is right.
The longest pause is how late a timer of 5 ms came within the daemon (``loop_lag.py``): also at the start, and
when 1 % of the tasks had changed and no event told of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.daemon import get
from benchmarks.measure import cpu_seconds, memory, table
from benchmarks.probed import LOOK, Report, Tool, probed
from benchmarks.swarm_mode import mock

SIZES = ((50, 1_000, 30), (500, 10_000, 60), (5_000, 100_000, 130))
"""(nodes, tasks, seconds in which nothing changes): several refreshes, the largest two intervals."""

CHANGES, PAUSE = 20, 0.5
SILENT = 0.01  # of the tasks
FETCH = 5.0
_SETTLED = 3.0  # seconds after which a change is over: services are asked for again for two
_EVERY = 100  # every so many services are kept


class Asked(NamedTuple):
    """What the mock was asked for so far: requests and bytes of bodies, by path."""

    requests: Counter[str]
    bytes: Counter[str]


class Swarm:
    """The mock at ``port``."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def asked(self) -> Asked:
        """What was asked for so far."""
        found = (Counter(json.loads(get(f"{self.url}/__{what}"))) for what in ("requests", "bytes"))
        return Asked(*found)

    def change(self, service: int) -> Mapping[str, Any]:
        """Changes a service and tells of it; not while a whole list is on its way."""
        while not (done := json.loads(get(f"{self.url}/__change?service={service}")))["changed"]:
            time.sleep(LOOK)
        found: Mapping[str, Any] = done
        return found

    def change_some(self, share: float) -> None:
        """Changes so many tasks, which no event tells."""
        while not json.loads(get(f"{self.url}/__change?share={share}"))["changed"]:
            time.sleep(LOOK)


class Spent(NamedTuple):
    """What a phase took: CPU seconds of the daemon, seconds, and what was asked for."""

    cpu: float
    wall: float
    asked: Asked

    @property
    def whole(self) -> int:
        """How often every task was asked for."""
        return self.asked.requests["/tasks"]

    def of_parts(self) -> tuple[int, int]:
        """(requests, bytes) for parts of lists."""
        counts = [sum(n for path, n in one.items() if path.endswith("?part")) for one in self.asked]
        return counts[0], counts[1]


def spent(swarm: Swarm, tool: Tool, phase: Callable[[], None]) -> Spent:
    """What ``phase`` takes."""
    asked, cpu, began = swarm.asked(), cpu_seconds(tool.pid), time.monotonic()
    phase()
    cpu, wall, now = cpu_seconds(tool.pid) - cpu, time.monotonic() - began, swarm.asked()
    return Spent(cpu, wall, Asked(now.requests - asked.requests, now.bytes - asked.bytes))


def fetching(tool: Tool, seconds: float) -> None:
    """A collector for so long."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        tool.states()
        time.sleep(min(FETCH, left))


def rest(swarm: Swarm, tool: Tool) -> None:
    """Until a refresh of everything has just ended: the next one is as far off as can be."""
    before = swarm.asked().requests["/tasks"]
    while swarm.asked().requests["/tasks"] == before:
        time.sleep(LOOK)
    busy = True
    while busy:
        cpu = cpu_seconds(tool.pid)
        time.sleep(0.5)
        busy = cpu_seconds(tool.pid) - cpu > 0.1


def changes(swarm: Swarm, tool: Tool, kept: list[int]) -> None:
    """Twenty changes at their pace, with a collector; until all is settled."""
    fetched = began = time.monotonic()
    for number in range(CHANGES):
        swarm.change(kept[number % len(kept)])
        if time.monotonic() - fetched > FETCH:
            tool.states()
            fetched = time.monotonic()
        time.sleep(max(0.0, began + PAUSE * (number + 1) - time.monotonic()))
    fetching(tool, _SETTLED)


def delays(swarm: Swarm, tool: Tool, kept: list[int]) -> list[float]:
    """Seconds from each change to the list that tells of it."""
    found = []
    for number in range(CHANGES):
        changed = swarm.change(kept[number % len(kept)])
        began = time.monotonic()
        while tool.states()[changed["task"]] != changed["state"]:
            time.sleep(LOOK)
        found.append(time.monotonic() - began)
        time.sleep(PAUSE)
    return found


class Figures(NamedTuple):
    """What was found at one size."""

    quiet: Spent
    changing: Spent
    delays: list[float]
    most: float  # RSS in MiB
    reports: Mapping[str, tuple[Report, Report]]  # by phase: the daemon's, an idle process's


def measured(nodes: int, tasks: int, seconds: float) -> Figures:
    """One size."""
    kept = list(range(0, tasks // 20, _EVERY))
    with mock(nodes, tasks) as port, probed(port) as tool:
        swarm = Swarm(port)
        reports = {"start": tool.reports()}
        rest(swarm, tool)
        tool.reports()
        quiet = spent(swarm, tool, lambda: fetching(tool, seconds))
        reports["nothing changes"] = tool.reports()
        rest(swarm, tool)
        tool.reports()
        changing = spent(swarm, tool, lambda: changes(swarm, tool, kept))
        reports["changes"] = tool.reports()
        rest(swarm, tool)
        tool.reports()
        swarm.change_some(SILENT)
        rest(swarm, tool)
        tool.states()
        reports[f"{SILENT:.0%} changed, without events"] = tool.reports()
        rest(swarm, tool)
        times = delays(swarm, tool, kept)
        return Figures(quiet, changing, times, memory(tool.pid)[1], reports)


def main(sizes: tuple[tuple[int, int, int], ...] = SIZES) -> None:
    found = {(nodes, tasks): measured(nodes, tasks, seconds) for nodes, tasks, seconds in sizes}
    print("Nothing changes:\n")
    header = ("nodes", "tasks", "share of a core", "refreshes/min", "requests/min", "MB/min", "most RSS MiB")
    table(header, [(*size, *_quiet(one)) for size, one in found.items()])
    print(f"\nA change, {CHANGES} of them, {PAUSE} s apart; CPU without refreshes of everything meanwhile:\n")
    header = ("nodes", "tasks", "CPU ms", "requests", "kB", "median ms till right", "worst ms")
    table(header, [(*size, *_change(one)) for size, one in found.items()])
    print("\nHow late a timer of 5 ms is, ms; and the callbacks of the loop with the most work:\n")
    header = ("nodes", "tasks", "phase", "median", "p99", "most", "idle process: p99", "most")
    rows = [(*size, *row) for size, one in found.items() for row in _late(one)]
    table((*header, "CPU ms (ms) what"), rows)


def _quiet(one: Figures) -> tuple[str, ...]:
    minutes, asked = one.quiet.wall / 60, one.quiet.asked
    counts = one.quiet.whole, asked.requests.total(), asked.bytes.total() / 1e6
    return f"{one.quiet.cpu / one.quiet.wall:.1%}", *(f"{n / minutes:.1f}" for n in counts), f"{one.most:.0f}"


def _change(one: Figures) -> tuple[str, ...]:
    whole = one.quiet.cpu / max(one.quiet.whole, 1) * one.changing.whole
    requests, sent = one.changing.of_parts()
    each = ((one.changing.cpu - whole) * 1000, requests, sent / 1000)
    times = statistics.median(one.delays), max(one.delays)
    return *(f"{n / CHANGES:.1f}" for n in each), *(f"{n * 1000:.0f}" for n in times)


def _late(one: Figures) -> Iterator[tuple[str, ...]]:
    for phase, (ours, idle) in one.reports.items():
        late = (f"{ours['late'][name]:.1f}" for name in ("median", "p99", "most"))
        longest = "; ".join(f"{cpu:.0f} ({wall:.0f}) {what}" for cpu, wall, what in ours["longest"][:3])
        yield phase, *late, f"{idle['late']['p99']:.1f}", f"{idle['late']['most']:.1f}", longest


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", type=int, default=SIZES[-1][1], help="tasks; larger sizes are left out")
    largest = parser.parse_args().largest
    main(tuple(size for size in SIZES if size[1] <= largest))
