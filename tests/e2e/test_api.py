"""The API of the real program: who polls, what is in force, and streams that end with it."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from .conftest import StartPrometheus, StartSwarmSD
from .programs import SWARM_SD, SwarmSD, becomes, run
from .swarm import SECOND, Swarm

pytestmark = pytest.mark.e2e


@pytest.fixture
async def sd(swarm: Swarm, swarm_sd: StartSwarmSD) -> SwarmSD:
    """One that knows all its targets."""
    started = await swarm_sd(swarm.config())
    await becomes(started.addresses, swarm.targets())
    return started


async def test_a_real_prometheus_is_known_with_the_interval_that_it_announces(
    sd: SwarmSD, prometheus: StartPrometheus
) -> None:
    entry = f"{{url: {sd.url}/sd/swarm, refresh_interval: 1500ms}}"
    await prometheus(f"{SECOND}- job_name: swarm\n  http_sd_configs: [{entry}]\n")

    async def polls() -> list[tuple[float, str, int]]:
        told = (await sd.get("/api/v1/clients")).json()["data"]
        of_prometheus = [one for one in told if one["userAgent"].startswith("Prometheus/")]
        return [
            (one["interval"], one["path"], one["lastStatus"]) for one in of_prometheus if one["requests"] > 1
        ]

    await becomes(polls, [(1.5, "/sd/swarm", 200)])
    # the test itself asked as well
    assert await sd.metric("swarm_sd_clients", job="swarm") == 2


async def test_status_tells_that_all_is_well_and_that_a_manager_is_away(sd: SwarmSD, swarm: Swarm) -> None:
    code, output, errors = await run(SWARM_SD, "status", sd.url)
    assert (code, errors) == (0, ""), output
    assert "entry 0, swarm: known, confirmed, 5 discovered" in output
    await swarm.managers[0].stop()

    async def exit_code() -> int:
        return (await run(SWARM_SD, "status", sd.url))[0]

    await becomes(exit_code, 1)


async def test_the_configuration_shown_is_the_one_in_force(sd: SwarmSD, swarm: Swarm) -> None:
    in_force = (await sd.get("/api/v1/status/config")).json()["data"]["yaml"]
    sd.write("scrape_configs: [{jobname: x}]\n")
    async with aiohttp.ClientSession() as session, session.post(f"{sd.url}/-/reload") as answer:
        assert answer.status == 500
    runtime = (await sd.get("/api/v1/status/runtimeinfo")).json()["data"]
    assert runtime["reloadConfigSuccess"] is False
    assert "unknown field 'jobname'" in runtime["lastReloadError"]
    assert (await sd.get("/api/v1/status/config")).json()["data"]["yaml"] == in_force
    flags = (await sd.get("/api/v1/status/flags")).json()["data"]
    assert (flags["config.file"], flags["log.level"]) == (str(sd.config_file), "info")


async def test_a_stream_tells_of_a_node_that_joins_and_ends_whole_with_the_program(
    sd: SwarmSD, swarm: Swarm
) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{sd.url}/api/v1/live") as stream:
        async with asyncio.timeout(20):
            assert (await stream.content.readuntil(b"\n\n")).startswith(b"retry:")
            first = await stream.content.readuntil(b"\n\n")
            await swarm.join()
            assert await stream.content.readuntil(b"\n\n") != first
            started = asyncio.get_running_loop().time()
            await sd.stop()
            await stream.content.read()  # raises where the stream is cut
            assert asyncio.get_running_loop().time() - started < 2
