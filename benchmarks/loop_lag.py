"""``swarm-sd`` with a probe of its event loop: ``python -m benchmarks.loop_lag REPORT serve FLAGS``.

Runs the command in this process; ``IDLE`` in its place is the probe alone, which shows what the machine does
to it. At its start and at SIGUSR1, REPORT gets what was found since the last one, as JSON: ``late``, how many
ms late a timer of 5 ms came (median, p99, the most), and ``longest``, the callbacks of more than 10 ms with
the most work: (ms of CPU of the loop's own thread, ms, name). Where the two differ the thread had to wait,
for the interpreter's lock or a core.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from asyncio.events import Handle
from pathlib import Path

from benchmarks.measure import quantile
from swarm_sd.cli import cli
from swarm_sd.serve import Daemon

_EVERY, _LONG = 0.005, 0.01  # seconds
_SHOWN = 8

_late: list[float] = []
_longest: list[tuple[float, float, str]] = []


def _watched() -> None:
    """From now on each callback of a loop is timed."""
    run = Handle._run  # type: ignore[attr-defined]

    def timed(handle: Handle) -> None:
        began, cpu = time.perf_counter(), time.thread_time()
        run(handle)
        took = time.perf_counter() - began
        if took > _LONG:
            _longest.append(((time.thread_time() - cpu) * 1000, took * 1000, _name(handle)))

    Handle._run = timed  # type: ignore[attr-defined]


def _name(handle: Handle) -> str:
    """Of a task: what it runs, and where it is waiting after the step that was timed."""
    callback = handle._callback  # type: ignore[attr-defined]
    task = getattr(callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return str(getattr(callback, "__qualname__", callback))
    inner = coroutine = task.get_coro()
    while getattr(inner, "cr_await", None) is not None and hasattr(inner.cr_await, "cr_frame"):
        inner = inner.cr_await
    at = f", then at {inner.__qualname__}:{inner.cr_frame.f_lineno}" if inner.cr_frame else ", then done"
    return f"{coroutine.__qualname__}{at}"


async def _probe(report: Path) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _write, report)
    _write(report)  # a signal before this line would have ended the process
    while True:
        due = time.perf_counter() + _EVERY
        await asyncio.sleep(_EVERY)
        _late.append((time.perf_counter() - due) * 1000)


def _write(report: Path) -> None:
    late = {"median": quantile(_late, 0.5), "p99": quantile(_late, 0.99), "most": max(_late, default=0.0)}
    unfinished = report.with_suffix(".part")
    longest = sorted(_longest, reverse=True)[:_SHOWN]
    unfinished.write_text(json.dumps({"late": late, "longest": longest}))
    unfinished.rename(report)
    _late.clear()
    _longest.clear()


def _probed() -> None:
    """From now on a daemon runs with the probe beside it."""
    run = Daemon.run

    async def probed(daemon: Daemon) -> None:
        probe = asyncio.create_task(_probe(Path(sys.argv[1])))
        try:
            await run(daemon)
        finally:
            probe.cancel()

    Daemon.run = probed  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[2:] == ["IDLE"]:
        asyncio.run(_probe(Path(sys.argv[1])))
    _watched()
    _probed()
    cli(sys.argv[2:], prog_name="swarm-sd")
