"""Times, shares and tables for the benchmarks."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def seconds(work: Callable[[], object], *, rounds: int = 15) -> float:
    """Median CPU seconds of ``work``; CPU time, since another program may have the core meanwhile."""
    times = []
    for _ in range(rounds):
        gc.collect()
        started = time.process_time()
        result = work()
        times.append(time.process_time() - started)
        del result  # freeing what was made is not part of the question
    return statistics.median(times)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that is not below ``share`` of them; 0 where there are none."""
    ranked = sorted(values)
    return ranked[min(int(len(ranked) * share), len(ranked) - 1)] if ranked else 0.0


def cpu_seconds(pid: int) -> float:
    """CPU seconds, user and system, that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> tuple[float, float]:
    """(resident now, the most it was) of a process, in MiB."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[name] = int(rest.split()[0]) / 1024
    return found["VmRSS"], found["VmHWM"]


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a Markdown table."""
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
