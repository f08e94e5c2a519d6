"""How soon is each view of the page and each answer of the API there at 100,000 targets, and how large is it?

One task a target, 1 % of which the rules keep; the same at 1,000. Each URL is fetched by one client over
loopback: once cold (nothing was asked before), then ``ROUNDS`` times, of which the median is shown, with
gzip as browsers ask for it; the size is told before and after. The peer is the answer that Prometheus'
service discovery page is made of, ``/api/v1/targets``, for the same list through file_sd and the same rules.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from benchmarks.daemon import free_port, get, wait_for
from benchmarks.measure import memory, table
from benchmarks.swarm_mode import mock

SIZES = ((50, 1000), (5000, 100_000))
ROUNDS = 5

_RULES = """\
  relabel_configs:
  - {source_labels: [__address__], modulus: 100, target_label: __tmp_shard, action: hashmod}
  - {source_labels: [__tmp_shard], regex: '0', action: keep}
"""


class Fetched(NamedTuple):
    """Milliseconds of the first answer and of the later ones; bytes, plain and as sent."""

    first: float
    later: float
    plain: int
    sent: int


def fetched(url: str, rounds: int = ROUNDS) -> Fetched:
    """What it takes to have all of ``url``."""
    times = []
    for _ in range(1 + rounds):
        request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
        started = time.perf_counter()
        with urllib.request.urlopen(request, timeout=300) as answer:
            body = answer.read()
            zipped = answer.headers["Content-Encoding"] == "gzip"
        times.append((time.perf_counter() - started) * 1000)
    plain = len(gzip.decompress(body)) if zipped else len(body)
    return Fetched(times[0], statistics.median(times[1:]), plain, len(body))


def paths(base: str, tasks: int) -> list[tuple[str, str]]:
    """What is fetched: (what it is, path)."""
    target = json.loads(get(f"{base}/api/v1/targets?job=tasks&state=scraped&limit=1"))["data"]["targets"][0]
    place = urlencode({"job": "tasks", "source": target["source"], "address": target["address"]})
    search = urlencode({"job": "tasks", "search": target["discoveredLabels"]["__meta_dockerswarm_task_id"]})
    return [
        ("overview", "/"),
        ("targets", "/targets?job=tasks"),
        ("targets, the last page", f"/targets?job=tasks&offset={tasks - 50}"),
        ("targets that are scraped", "/targets?job=tasks&state=scraped"),
        ("targets, search for one", f"/targets?{search}"),
        ("why", f"/targets/why?{place}"),
        ("without a target", "/passed-over?job=tasks"),
        ("cluster", "/cluster"),
        ("nodes by services", "/cluster/matrix?job=tasks"),
        ("history", "/history"),
        ("configuration", "/configuration"),
        ("API: jobs", "/api/v1/jobs"),
        ("API: 100 targets", "/api/v1/targets?job=tasks"),
        ("API: search for one", f"/api/v1/targets?{search}"),
        ("API: explanation", f"/api/v1/targets/explanation?{place}"),
        ("API: passed over", "/api/v1/passed_over?job=tasks"),
        ("API: clusters", "/api/v1/clusters"),
        ("API: matrix", "/api/v1/matrix?job=tasks"),
        ("API: history", "/api/v1/history"),
    ]


@contextmanager
def _running(command: Sequence[object], port: int) -> Iterator[int]:
    process = subprocess.Popen([str(part) for part in command], stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/-/ready")
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _measure(nodes: int, tasks: int, folder: Path) -> list[tuple[object, ...]]:
    port, config = free_port(), folder / f"swarm-sd-{tasks}.yml"
    with mock(nodes, tasks) as docker:
        config.write_text(
            "global: {scrape_interval: 1h}\nscrape_configs:\n- job_name: tasks\n  dockerswarm_sd_configs:\n"
            f"  - {{host: 'http://127.0.0.1:{docker}', role: tasks, refresh_interval: 1h}}\n{_RULES}"
        )
        program = Path(sys.executable).with_name("swarm-sd")
        flags = [f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
        with _running([program, "serve", *flags], port) as pid:
            base = f"http://127.0.0.1:{port}"
            get(f"{base}/-/ready")
            # the very first question counts them all, whatever it is
            first = fetched(f"{base}/", rounds=1).first
            rows: list[tuple[object, ...]] = []
            for what, path in paths(base, tasks):
                rows.append((tasks, what, *_cells(fetched(base + path))))
            rows[0] = (*rows[0][:2], f"{first:.0f}", *rows[0][3:])
            rows.append((tasks, f"swarm-sd, most RSS {memory(pid)[1]:.0f} MiB", "", "", "", ""))
            if shutil.which("prometheus"):
                (folder / f"tasks-{tasks}.json").write_bytes(get(f"{base}/sd/tasks"))
        if shutil.which("prometheus"):
            rows += _prometheus(tasks, folder)
        return rows


def _prometheus(tasks: int, folder: Path) -> list[tuple[object, ...]]:
    port, config = free_port(), folder / f"prometheus-{tasks}.yml"
    config.write_text(
        "global: {scrape_interval: 1h}\nscrape_configs:\n- job_name: tasks\n  file_sd_configs:\n"
        f"  - files: [{folder}/tasks-{tasks}.json]\n{_RULES}"
    )
    flags = [f"--config.file={config}", f"--storage.tsdb.path={folder}/data-{tasks}"]
    with _running(["prometheus", *flags, f"--web.listen-address=127.0.0.1:{port}"], port) as pid:
        base = f"http://127.0.0.1:{port}/api/v1/targets"

        def seen() -> int:
            with urllib.request.urlopen(base, timeout=300) as answer:
                data = json.load(answer)["data"]
            return len(data["activeTargets"]) + len(data["droppedTargets"])

        while seen() < tasks:
            time.sleep(1)
        peer = fetched(base, rounds=3)
        memory_row = (tasks, f"Prometheus, most RSS {memory(pid)[1]:.0f} MiB", "", "", "", "")
        return [(tasks, "Prometheus: /api/v1/targets", *_cells(peer)), memory_row]


def _cells(found: Fetched) -> tuple[str, str, str, str]:
    return f"{found.first:.0f}", f"{found.later:.0f}", f"{found.plain / 1e3:.0f}", f"{found.sent / 1e3:.0f}"


def main(sizes: Sequence[tuple[int, int]] = SIZES) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for nodes, tasks in sizes:
            rows += _measure(nodes, tasks, Path(folder))
    table(("targets", "what", "first ms", "later ms", "KB", "KB sent"), rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="only the 1,000 targets")
    main(SIZES[:1] if parser.parse_args().small else SIZES)
