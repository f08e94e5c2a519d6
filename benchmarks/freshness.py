"""How long after a change of a real cluster is the list of targets right, beside Prometheus' built-in?

Three managers and two workers, each a real dockerd, as the tests have them. Services are created, scaled and
removed, a container dies, a worker is drained, another's plug is pulled. What the leader tells is the truth:
its tasks that run and shall run. Looked at every 10 ms or so: that truth, swarm-sd's answers (``?relabel=1``,
with their ETag) and, in the first rounds, the targets of a Prometheus that asks the leader with its built-in
discovery and swarm-sd over HTTP SD (every 5 s, as ``swarm-sd convert`` writes). A time ends when the list
became what stays.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.e2e.real.cluster import Cluster, Engine, ImpossibleError, shared, wait
from tests.e2e.real.services import FRONT, create, replicas, service

from benchmarks.daemon import free_port, wait_for
from benchmarks.measure import table
from benchmarks.watching import Listing, Seen, Truth, of_groups, of_prometheus
from swarm_sd.discovery.dockerswarm.provider import DockerSwarmSDConfig

ROUNDS, PROMETHEUS_ROUNDS, INTERVAL = 20, 3, "60s"
NEEDED = ("dockerd", "containerd", "iptables", "ip", "unshare", "busybox")

_STAYS = 1.0  # what was so for this many seconds stays
_FEW, _MANY = 4, 8
_DIES = "container killed"
_STEADY = 16
"""Tasks that stay: so many that what goes is no mass loss, for which swarm-sd waits 2 minutes."""

RULES = """
  relabel_configs:
  - source_labels: [__meta_dockerswarm_task_state, __meta_dockerswarm_task_desired_state]
    action: keep
    regex: running;running
  - {source_labels: [__meta_dockerswarm_task_id], target_label: task}
"""


def roles() -> list[str]:
    """The roles whose targets are tasks."""
    known = typing.get_args(typing.get_type_hints(DockerSwarmSDConfig)["role"])
    return [role for role in ("tasks", "endpoints") if role in known]


@contextlib.contextmanager
def running(program: str | Path, *flags: str, port: int) -> Iterator[None]:
    """A program that is ready at ``port``."""
    process = subprocess.Popen([program, *flags], stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/-/ready")
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def swarm_sd(hosts: Sequence[str], interval: str, folder: str) -> Iterator[int]:
    """``swarm-sd serve`` with a job named like each role; its port."""
    port, config = free_port(), Path(folder, "swarm-sd.yml")
    entry = f"hosts: {json.dumps(hosts)}\n    refresh_interval: {interval}"
    own = {"endpoints": "\n    scrape: all"}
    config.write_text(
        "scrape_configs:\n"
        + "".join(
            f"- job_name: {role}\n  dockerswarm_sd_configs:\n"
            f"  - role: {role}\n    {entry}{own.get(role, '')}{RULES}"
            for role in roles()
        )
    )
    flags = ["serve", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
    with running(Path(sys.executable).with_name("swarm-sd"), *flags, port=port):
        yield port


@contextlib.contextmanager
def prometheus(host: str, interval: str, swarm_sd_port: int, folder: str) -> Iterator[int]:
    """A Prometheus with the jobs ``built-in`` and ``http_sd``, that scrapes nothing; its port."""
    port, config = free_port(), Path(folder, "prometheus.yml")
    built_in = f"dockerswarm_sd_configs:\n  - host: {host}\n    role: tasks\n    refresh_interval: {interval}"
    http_sd = (
        f"http_sd_configs:\n  - url: http://127.0.0.1:{swarm_sd_port}/sd/tasks\n    refresh_interval: 5s"
    )
    config.write_text(
        "global: {scrape_interval: 1h}\nscrape_configs:\n"
        f"- job_name: built-in\n  {built_in}{RULES}- job_name: http_sd\n  {http_sd}{RULES}"
    )
    flags = [f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
    with running("prometheus", *flags, f"--web.listen-address=127.0.0.1:{port}", port=port):
        yield port


Times: typing.TypeAlias = dict[tuple[str, str], list[float]]
"""Seconds by (change, who)."""


class Rounds:
    """Makes the changes and takes the times; ``told`` and ``down`` are what the manager tells."""

    def __init__(self, cluster: Cluster, manager: Engine, truth: Truth, told: Seen, down: Seen) -> None:
        self._cluster, self._manager = cluster, manager
        self._truth, self._told, self._down = truth, told, down
        self._nodes = {node["Description"]["Hostname"]: node["ID"] for node in manager.get("/nodes")}
        self.times: Times = defaultdict(list)

    def round(self, watched: Mapping[str, Seen], pause: float, *, all_changes: bool) -> None:
        """Every change once, each after a random pause of up to ``pause`` seconds; ``watched``: by whom.

        Of a container that dies on a worker no manager tells an event: that one is for the rounds that wait
        for the built-in anyway.
        """
        spec = service("fresh", on=[FRONT], mode=replicas(_FEW), constraints=["node.role==worker"])
        drained, killed = self._cluster.workers
        changes: tuple[tuple[str, Callable[[], object], int, Engine | None], ...] = (
            ("service create", lambda: create(self._manager, [spec]), _FEW, None),
            ("scale up", lambda: self._scale(_MANY), _MANY, None),
            ("scale down", lambda: self._scale(_FEW), _FEW, None),
            (_DIES, lambda: self._kill_container(drained), _FEW, None),
            ("node drain", lambda: self._availability(drained, "drain"), _FEW, drained),
            ("worker killed", lambda: self._cluster.tell("kill", killed.name), _FEW, killed),
            ("service rm", lambda: self._manager.delete("/services/fresh"), 0, None),
        )
        for name, change, count, without in changes:
            if name == _DIES and not all_changes:
                continue
            time.sleep(random.uniform(0, pause))
            self._measure(name, change, _STEADY + count, without, watched)
            if without is not None:
                self._cluster.heal()

    def _measure(
        self,
        name: str,
        change: Callable[[], object],
        count: int,
        without: Engine | None,
        watched: Mapping[str, Seen],
    ) -> None:
        node = self._nodes[without.name] if without else ""
        everybody = (self._told, *watched.values())
        before = self._told.now

        def right() -> bool:
            tasks = self._told.now
            if tasks == before or len(tasks) != count or node in self._truth.on.values():
                return False
            at_rest = time.monotonic() - max(seen.since for seen in everybody) > _STAYS
            return at_rest and all(seen.now == tasks for seen in everybody)

        began = time.monotonic()
        change()
        wait(right, f"{name}: everybody is right", seconds=300)
        taken = {"the manager": self._told.since, **{who: seen.since for who, seen in watched.items()}}
        for who, at in taken.items():
            self.times[name, who].append(at - began)
            self.times[f"{name}, behind", who].append(at - self._told.since)
        if name == "worker killed":
            for who, at in taken.items():
                self.times["since down", who].append(at - self._down.since)
            self.times["down", "the manager"].append(self._down.since - began)

    def _kill_container(self, engine: Engine) -> None:
        # one of those that are to go away anyway may still be there
        task = next(id_ for id_, node in self._truth.on.items() if node == self._nodes[engine.name])
        found = engine.get("/containers/json", {"label": [f"com.docker.swarm.task.id={task}"]})
        engine.post(f"/containers/{found[0]['Id']}/kill")

    def _scale(self, count: int) -> None:
        found = self._manager.get("/services/fresh")
        spec = found["Spec"] | {"Mode": replicas(count)}
        self._manager.post(f"/services/{found['ID']}/update", spec, version=found["Version"]["Index"])

    def _availability(self, engine: Engine, wanted: str) -> None:
        node = self._manager.get(f"/nodes/{engine.name}")
        spec = node["Spec"] | {"Availability": wanted}
        self._manager.post(f"/nodes/{node['ID']}/update", spec, version=node["Version"]["Index"])


def measured(cluster: Cluster, rounds: int, prometheus_rounds: int, interval: str) -> Times:
    """The times of so many rounds on a cluster on which nothing runs."""
    manager = cluster.leader()
    manager.post("/networks/create", {"Name": FRONT, "Driver": "overlay"})
    create(
        manager, [service("steady", on=[FRONT], mode=replicas(_STEADY), constraints=["node.role==manager"])]
    )
    hosts = sorted((one.host for one in cluster.managers), key=lambda host: host != manager.host)
    truth = Truth(manager)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        port = stack.enter_context(swarm_sd(hosts, interval, folder))
        told, down = (stack.enter_context(Seen(look)) for look in (truth.tasks, truth.down))
        ours = {
            f"swarm-sd, role {role}": stack.enter_context(
                Seen(Listing(port, f"/sd/{role}?relabel=1", of_groups))
            )
            for role in roles()
        }
        theirs = {}
        if prometheus_rounds:
            asked = stack.enter_context(prometheus(manager.host, interval, port, folder))
            for who, job in (
                ("Prometheus, http_sd of swarm-sd", "http_sd"),
                ("Prometheus' built-in", "built-in"),
            ):
                look = Listing(asked, "/api/v1/targets?state=active", of_prometheus(job))
                theirs[who] = stack.enter_context(Seen(look))
        made = Rounds(cluster, manager, truth, told, down)
        for number in range(rounds):
            first = number < prometheus_rounds
            # wherever in its interval the built-in happens to be
            pause = float(interval.rstrip("s")) if first else 1
            made.round(ours | theirs if first else ours, pause, all_changes=number < PROMETHEUS_ROUNDS)
    return made.times


def main(rounds: int = ROUNDS, prometheus_rounds: int = PROMETHEUS_ROUNDS, interval: str = INTERVAL) -> None:
    if missing := [program for program in NEEDED if not shutil.which(program)]:
        print(f"not installed: {', '.join(missing)}")
        return
    if not shutil.which("prometheus"):
        print("Prometheus is not installed: no peer\n")
        prometheus_rounds = 0
    try:
        with tempfile.TemporaryDirectory() as control, shared(Path(control)) as cluster:
            times = measured(cluster, rounds, prometheus_rounds, interval)
    except ImpossibleError as err:
        print(f"no dockerd can run here: {err}")
        return
    print(f"refresh_interval {interval}, seconds\n")
    _print(times)


def _print(times: Times) -> None:
    rows: list[tuple[object, ...]] = [
        (change, who, len(taken), *_cells(taken), *_cells(times[f"{change}, behind", who]))
        for (change, who), taken in times.items()
        if (f"{change}, behind", who) in times
    ]
    header = ("change", "list", "times", "median", "worst", "behind the manager, median", "worst")
    table(header, rows)
    print("\nA worker killed: seconds since a manager says that it is down\n")
    rows = [("(from the kill until then)", *_cells(times["down", "the manager"]))]
    rows += [(who, *_cells(taken)) for (what, who), taken in times.items() if what == "since down"]
    table(("list", "median", "worst"), rows)


def _cells(taken: Sequence[float]) -> tuple[str, str]:
    return f"{statistics.median(taken):.2f}", f"{max(taken):.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--prometheus-rounds", type=int, default=PROMETHEUS_ROUNDS, help="in how many of them, the first ones"
    )
    parser.add_argument("--refresh-interval", default=INTERVAL, help="in seconds, such as 60s")
    options = parser.parse_args()
    main(options.rounds, options.prometheus_rounds, options.refresh_interval)
