"""``make demo`` as a process, as one would run it."""

import asyncio
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.e2e


async def start(*flags, env=None):
    return await asyncio.create_subprocess_exec(
        sys.executable, ROOT / "examples/demo.py", *flags, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, cwd=ROOT, env=env,
    )  # fmt: skip


async def read_until(demo, text):
    output = b""
    while text not in output:
        line = await demo.stdout.readline()
        assert line, output.decode()
        output += line
    return output


async def listens(host, port):
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def processes_with(text):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if text in command:
            found.append(int(process.name))
    return found


def folder_of(output):
    return re.search(r"^files +(\S+)$", output, re.M)[1]


async def assert_nothing_is_left(output):
    ports = set(re.findall(r"http://([0-9.]+):([0-9]+)", output))
    assert len(ports) >= 6  # swarm-sd, two managers of the one cluster and three of the other at least
    assert [port for port in ports if await listens(*port)] == []
    assert processes_with(f"{folder_of(output)}/") == []


async def test_the_demo_shows_what_happens_and_ends_by_itself():
    demo = await start("--duration", "20")
    output = (await demo.communicate())[0].decode()
    assert demo.returncode == 0, output
    in_order = [
        "classic     swarm-sd   serves 6 targets (2 masters, 4 nodes); asks m1",
        "swarm mode  swarm-sd   serves 5 targets (2 agent, 1 api, 2 web); asks mgr1",
        "all         demo       all targets are there",
        "classic     Swarm      node-4 joins",
        "classic     swarm-sd   serves 7 targets (2 masters, 5 nodes): +node-4",
        "swarm mode  Swarm      service web is scaled to 3",
        "swarm mode  swarm-sd   serves 6 targets (2 agent, 1 api, 3 web): +web.3@wrk2",
        "discovery   Swarm      engine-3 joins through",
        "discovery   swarm-sd   serves 4 targets (4 nodes): +engine-3",
        "classic     Swarm      node-1 leaves",
        "classic     swarm-sd   serves 6 targets (2 masters, 4 nodes): -node-1",
        "swarm mode  Swarm      manager mgr1 dies; mgr2 is elected",
        "swarm mode  swarm-sd   asks mgr2 instead of mgr1",
        "classic     Swarm      node-2 stops answering and turns unhealthy",
        "classic     swarm-sd   node-2 is now Unhealthy",
        "swarm mode  Swarm      node wrk2 is drained: its tasks go elsewhere",
        "swarm mode  swarm-sd   serves 5 targets (1 agent, 1 api, 3 web): "
        "+web.2@wrk1 +web.3@wrk1 -agent@wrk2 -web.2@wrk2 -web.3@wrk2",
        "classic     Swarm      manager m1 dies; m2 is elected",
        "classic     swarm-sd   asks m2 instead of m1",
        "swarm mode  Swarm      service api is removed",
        "swarm mode  swarm-sd   serves 4 targets (1 agent, 3 web): -api.1@wrk1",
        "classic     Swarm      manager m1 returns, as a replica",
        "classic     Swarm      manager m2 has just restarted and lists no nodes yet",
        "classic     swarm-sd   holds the loss back, still serves 6 targets (2 masters, 4 nodes)",
        "targets lost to trouble: 0",
    ]
    where = 0
    for line in in_order:
        assert line in output[where:], f"{line!r} is missing, or at another place, in:\n{output}"
        where = output.index(line, where)
    assert "LOST" not in output
    for line in ("classic     Prometheus sees 6 of 6 up", "swarm mode  Prometheus sees 5 of 5 up"):
        assert (line in output) == bool(shutil.which("prometheus"))
    await assert_nothing_is_left(output)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_demo_and_all_that_it_started(number):
    demo = await start()
    output = await read_until(demo, b"joins")
    demo.send_signal(number)
    output += (await demo.communicate())[0]
    assert demo.returncode == 0, output.decode()
    assert "targets lost to trouble: 0" in output.decode()
    await assert_nothing_is_left(output.decode())


async def test_a_demo_beside_another_takes_other_ports_and_says_so():
    first = await start()
    try:
        assert await first.stdout.readline()
        second = await start("--duration", "1")  # everything is shown all the same, only faster
        output = (await second.communicate())[0].decode()
        assert second.returncode == 0, output
        assert re.search(
            r"^port 9963 belongs to the demo that runs already: swarm-sd listens on \d+$", output, re.M
        )
        assert "targets lost to trouble: 0" in output
        await assert_nothing_is_left(output)
    finally:
        first.send_signal(signal.SIGTERM)
        await first.communicate()
    assert first.returncode == 0


async def test_without_prometheus_the_demo_goes_on_and_a_crash_of_swarm_sd_is_its_failure():
    demo = await start(env={**os.environ, "PATH": ""})
    output = await read_until(demo, b"joins")
    assert b"prometheus is not installed: the demo goes on without it" in output
    [swarm_sd] = processes_with(f"{folder_of(output.decode())}/swarm-sd.yml")
    os.kill(swarm_sd, signal.SIGKILL)
    output += (await demo.communicate())[0]
    assert demo.returncode == 1
    assert b"something went wrong: swarm-sd ended with exit code -9" in output
    await assert_nothing_is_left(output.decode())
