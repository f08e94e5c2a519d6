"""``swarm-sd explain`` on a real swarm: the true cause why a service's tasks are not scraped."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..programs import SWARM_SD, becomes, run
from .cluster import Engine
from .services import BACK, FRONT, service
from .zoo import Zoo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

KEEP = "  relabel_configs:\n  - {{source_labels: [{label}], regex: front, action: keep}}\n"


async def explained(folder: Path, leader: Engine, target: str, *lines: str, label: str = "") -> list[str]:
    """The lines of what is told of ``target`` in a job with one entry."""
    file = folder / "swarm.yml"
    entry = "".join(f"    {line}\n" for line in lines)
    rules = KEEP.format(label=label) if label else ""
    text = f"- job_name: job\n  dockerswarm_sd_configs:\n  - host: {leader.host}\n{entry}{rules}"
    file.write_text(f"scrape_configs:\n{text}")
    done = await run(SWARM_SD, "explain", file, "--target", target)
    assert (done.code, done.err) == (0, ""), done
    return [line.strip() for line in done.out.replace(f" ({file}:", " (").splitlines()]


async def runs(zoo: Zoo, name: str) -> None:
    """Waits until the service's one task runs."""

    async def states() -> list[str]:
        return [task["Status"]["State"] for task in await zoo.tasks(name)]

    await becomes(states, ["running"], seconds=60)


async def test_a_service_that_declares_nothing(zoo: Zoo, leader: Engine, tmp_path: Path) -> None:
    async with zoo.more(service("unlabelled", on=[FRONT])):
        await runs(zoo, "unlabelled")
        told = await explained(tmp_path, leader, "unlabelled", "role: endpoints", f"networks: {FRONT}")
    assert told[0].startswith("task unlabelled.1: no target in job job (service unlabelled, node ")
    assert told[1].startswith("not_labelled: Nothing declares an endpoint: write prometheus.scrape")


async def test_a_service_on_a_network_that_is_not_shared(zoo: Zoo, leader: Engine, tmp_path: Path) -> None:
    spec = service("elsewhere", on=[BACK])
    spec["Labels"]["prometheus.port"] = "8000"
    async with zoo.more(spec):
        await runs(zoo, "elsewhere")
        told = await explained(tmp_path, leader, "elsewhere", "role: endpoints", f"networks: {FRONT}")
    assert told[1] == f"no_shared_network: it is on the network {BACK}; the entry wants {FRONT}"


async def test_a_label_on_the_containers_where_a_rule_looks_at_the_service(
    zoo: Zoo, leader: Engine, tmp_path: Path
) -> None:
    label = "__meta_dockerswarm_service_label_com_example_tier"
    async with zoo.more(service("inside", on=[FRONT], Labels={"com.example.tier": "front"})):
        await runs(zoo, "inside")
        told = await explained(tmp_path, leader, "inside", "role: tasks", label=label)
    there = label.replace("service_label", "container_label")
    assert told[0].endswith(": dropped in job job")
    assert told[1] == (
        f"Rule 1 (7:5) dropped it: {label}='' (there is no {label}, but {there}) does not match 'front'."
    )


async def test_a_service_that_no_node_may_run(zoo: Zoo, leader: Engine, tmp_path: Path) -> None:
    spec = service("homeless", on=[FRONT], constraints=["node.labels.gpu==yes"])
    spec["Labels"]["prometheus.port"] = "8000"
    async with zoo.more(spec):
        told = await explained(tmp_path, leader, "homeless", "role: endpoints", f"networks: {FRONT}")
    assert told[0] == "task homeless.1: no target in job job (service homeless)"
    assert told[1] in {
        f"not_running: it is {state}, and to be running" for state in ("new", "pending", "allocated")
    }
