"""A daemon with a probe of its event loop (``loop_lag.py``), beside a process with the probe alone."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import typing
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.daemon import free_port, wait_for

LOOK = 0.02
"""Seconds between two looks."""

Report: typing.TypeAlias = Mapping[str, Any]
"""``late`` and ``longest``, as in ``loop_lag.py``."""

CONFIG = """
global: {{scrape_interval: 1h}}
scrape_configs:
- job_name: tasks
  dockerswarm_sd_configs:
  - {{host: 'http://127.0.0.1:{port}', role: tasks, refresh_interval: 60s}}
  relabel_configs:
  - {{source_labels: [__meta_dockerswarm_service_name], regex: 'service-\\d+00', action: keep}}
  - {{source_labels: [__meta_dockerswarm_task_id], target_label: task}}
  - {{source_labels: [__meta_dockerswarm_task_state], target_label: state}}
"""


class Probe:
    """A process with ``loop_lag.py`` in it, and its report."""

    def __init__(self, pid: int, report: Path) -> None:
        self.pid = pid
        self._report = report

    def report(self) -> Report:
        """What was found since it was asked last."""
        self._report.unlink()
        os.kill(self.pid, signal.SIGUSR1)
        found: Report = json.loads(_written(self._report))
        return found


class Tool:
    """The daemon, and its list."""

    def __init__(self, daemon: Probe, idle: Probe, port: int) -> None:
        self.pid = daemon.pid
        self._daemon, self._idle = daemon, idle
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._etag, self._states = "", dict[str, str]()

    def reports(self) -> tuple[Report, Report]:
        """What was found since then in the daemon, and in a process that does nothing."""
        return self._daemon.report(), self._idle.report()

    def states(self) -> Mapping[str, str]:
        """State by task, of the relabelled list: asked for with the ETag of the last one."""
        headers = {"If-None-Match": self._etag, "Accept-Encoding": "identity"}
        self._connection.request("GET", "/sd/tasks?relabel=1", headers=headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status == 200:
            self._etag = response.headers["ETag"]
            self._states = {group["labels"]["task"]: group["labels"]["state"] for group in json.loads(body)}
        return self._states


@contextmanager
def probed(swarm: int) -> Iterator[Tool]:
    """The daemon on the swarm at this port, as soon as its list is there."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, port = Path(name), free_port()
        (folder / "prometheus.yml").write_text(CONFIG.format(port=swarm))
        idle = stack.enter_context(_probe(folder / "idle", "IDLE"))
        flags = [f"--config.file={folder}/prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
        daemon = stack.enter_context(_probe(folder / "report", "serve", *flags))
        wait_for(f"http://127.0.0.1:{port}/-/ready")
        tool = Tool(daemon, idle, port)
        while not tool.states():
            time.sleep(LOOK)
        yield tool


@contextmanager
def _probe(report: Path, *command: str) -> Iterator[Probe]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.loop_lag", report, *command], stderr=subprocess.DEVNULL
    )
    try:
        _written(report)
        yield Probe(process.pid, report)
    finally:
        process.terminate()
        process.wait()


def _written(report: Path) -> str:
    """What is in a report, as soon as it is there."""
    for _ in range(3000):
        if report.exists():
            return report.read_text()
        time.sleep(LOOK)
    sys.exit(f"{report}: not written within a minute")
