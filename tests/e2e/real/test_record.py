"""A snapshot of the real swarm: played back it has the targets that are served, and no secret."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ..conftest import StartSwarmSD
from ..programs import SWARM_SD, SwarmSD, run, until
from .cluster import Engine
from .labelled import labelled
from .zoo import Zoo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ENTRIES = {
    "nodes": "role: nodes",
    "workers": "role: nodes, port: 9100, filters: [{name: role, values: [worker]}]",
    "services": "role: services",
    "tasks": "role: tasks, filters: [{name: desired-state, values: [running]}]",
    "by-name": "role: tasks, filters: [{name: name, values: [ingress, several-networks]}]",
    "endpoints": "role: endpoints, scrape: all",
}
RULES = """\
  relabel_configs:
  - {source_labels: [__meta_dockerswarm_service_name], regex: ingress.*, action: drop}
  - {source_labels: [__meta_dockerswarm_node_hostname], target_label: node}
  - {regex: __meta_dockerswarm_service_label_(.+), action: labelmap}
"""
SECRETS = (
    *("value-in-the-environment", "/private/place", "argument-of-the-command", "value-of-a-token"),
    *("what-the-secret-holds", "name-of-the-secret", "name-of-its-file"),
)


def config(managers: list[Engine], plain: Engine) -> str:
    hosts = json.dumps([manager.host for manager in managers])
    jobs = [
        f"- job_name: {name}\n  dockerswarm_sd_configs:\n  - {{hosts: {hosts}, {entry}}}\n{RULES}"
        for name, entry in ENTRIES.items()
    ]
    engine = f"- job_name: engine\n  docker_sd_configs:\n  - host: {plain.host}\n{RULES}"
    return "scrape_configs:\n" + "".join(jobs) + engine


def secretive(secret: str) -> dict[str, Any]:
    """A service that has everything that nobody else shall know."""
    return labelled(
        *("secretive", "sleep", "100000", "argument-of-the-command"),
        labels={"prometheus.port": "8000", "com.example.token": "value-of-a-token"},
        Env=["PASSWORD=value-in-the-environment"],
        Mounts=[{"Type": "tmpfs", "Target": "/private/place"}],
        Secrets=[
            {
                "SecretID": secret,
                "SecretName": "name-of-the-secret",
                "File": {"Name": "name-of-its-file", "UID": "0", "GID": "0", "Mode": 0o444},
            }
        ],
    )


async def served(sd: SwarmSD, job: str) -> list[dict[str, Any]]:
    """What is served, as targets that are expected exactly; of those that Prometheus takes for one, one."""
    targets = [
        {"address": address, "labels": group.get("labels", {}), "exact": True}
        for group in await sd.served(f"/sd/{job}?relabel=1")
        for address in group["targets"]
    ]
    return list({json.dumps(target, sort_keys=True): target for target in targets}.values())


async def test_played_back_it_has_the_targets_that_are_served_and_no_secret(
    zoo: Zoo, leader: Engine, swarm_sd: StartSwarmSD, tmp_path: Path
) -> None:
    data = base64.b64encode(b"what-the-secret-holds").decode()
    secret = (await leader.apost("/secrets/create", {"Name": "name-of-the-secret", "Data": data}))["ID"]
    try:
        async with zoo.more(secretive(secret)):
            await until(lambda: _runs(zoo, "secretive"), "the service runs")
            sd = await swarm_sd(config(zoo.cluster.managers, zoo.plain))
            jobs = [*ENTRIES, "engine"]
            snapshot = tmp_path / "snapshot.json"

            async def look() -> bool:
                done = await run(SWARM_SD, "record", sd.config_file, "-o", snapshot)
                assert done.code == 0, done
                assert done.err.splitlines()[1].strip().startswith("com.example.token"), done
                tests = [
                    {"name": job, "job": job, "expect": {"targets": await served(sd, job)}} for job in jobs
                ]
                rules = tmp_path / "rules.yml"
                written = {"config": sd.config_file.name, "snapshot": snapshot.name, "tests": tests}
                rules.write_text(json.dumps(written))
                done = await run(SWARM_SD, "test", rules)
                print(done.out[:5000], done.err)
                return done.code == 0 and all(test["expect"]["targets"] for test in tests)  # type: ignore[index]

            # the zoo lives: a task may be restarted between the two looks
            await until(look, "the snapshot gives what is served", seconds=60)
    finally:
        await leader.adelete(f"/secrets/{secret}")
    text = snapshot.read_text()
    assert [one for one in SECRETS if one in text] == []
    assert "secretive" in text


async def _runs(zoo: Zoo, service: str) -> bool:
    return any(task["Status"]["State"] == "running" for task in await zoo.tasks(service))
