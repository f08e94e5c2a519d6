"""Of what Swarm's own discovery and masters tell together, it is known what made the one look that told."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.discovery.swarm.worlds import IMPATIENT

from swarm_sd.discovery.docker_api.host import Host
from swarm_sd.discovery.kv.locator import Discovery
from swarm_sd.discovery.swarm.provider import SwarmSDConfig
from swarm_sd.provider import Choosy, PassedOver, Prompted
from swarm_sd.scalars import Interval
from swarm_sd.sim.cluster import Container
from swarm_sd.sim.clusters import example
from swarm_sd.sim.consul import Consul
from swarm_sd.sim.manager import Manager


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for where, name, seconds in IMPATIENT:
        monkeypatch.setattr(where, name, seconds)


@asynccontextmanager
async def told(config):
    """The provider, and (prompt, sources with targets' addresses) of each update."""
    provider, updates = config.provider(), []

    def up(groups, /):
        found = {one.source: [target["__address__"] for target in one.targets] for one in groups}
        updates.append((provider.prompt(), found))

    task = asyncio.create_task(provider.run(up))
    try:
        yield provider, updates
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true, seconds=10):
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


async def test_who_told_last_tells_what_made_it_look(tmp_path):
    file = tmp_path / "nodes"
    file.write_text("10.0.0.11:2375\n")
    async with Manager(example()) as manager:
        config = SwarmSDConfig(
            discovery=Discovery.from_yaml(f"file://{file}"),
            masters=(Host.from_yaml(manager.url),),
            refresh_interval=Interval(3600),
        )
        async with told(config) as (provider, updates):
            assert isinstance(provider, Prompted)
            await until(lambda: updates and "10.0.0.11:2375" in str(updates[-1]).replace("8070", "2375"))
            assert {prompt for prompt, _ in updates} == {"start"}
            await until(lambda: provider.status().refreshes >= 2)
            before = len(updates)
            file.write_text("10.0.0.11:2375\n10.0.0.99:2375\n")
            await until(lambda: any("10.0.0.99" in str(found) for _, found in updates[before:]))
            assert {prompt for prompt, found in updates if "10.0.0.99" in str(found)} == {"event"}


async def test_containers_without_a_target_are_those_that_the_leader_tells():
    cluster = example()
    cluster.run("node-a", Container(name="alone", network_mode="none", networks={"none": ""}))
    async with Manager(cluster) as manager, Consul() as consul:
        consul.put("docker/swarm/nodes/10.0.0.11:2375", "10.0.0.11:2375")
        consul.put("docker/swarm/leader", manager.address, session=consul.session(ttl=1000))
        config = SwarmSDConfig(
            discovery=Discovery.from_yaml(f"consul://{consul.address}"),
            role="containers",
            refresh_interval=Interval(0.05),
        )
        async with told(config) as (provider, _):
            assert isinstance(provider, Choosy)
            assert provider.passed_over() == ()
            await until(provider.passed_over)
            (one,) = [one for one in provider.passed_over() if one.name == "alone"]
            assert isinstance(one, PassedOver)
            assert (one.reason, one.kind, one.node) == ("no_address", "container", "node-a")
            assert (
                one.detail == "it has no address in a network, and publishes no port of its own on its node"
            )
