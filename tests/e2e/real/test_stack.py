"""The stack of packaging/swarm, deployed as it is; images are made here, and exporters are stood in for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ..packages import ROOT, packages
from ..programs import NotYetError, becomes, needs
from .base_image import one_program
from .built import FailedError, adocker, image
from .cluster import IMAGE, MACHINES, MANAGERS, Cluster, Engine, wait
from .services import service
from .zoo import Zoo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

STACK = "packaged"
NGINX, PROMETHEUS = "nginx-of-this-computer:1", "prometheus-of-this-computer:1"
IMAGES = {
    "NGINX_IMAGE": NGINX,
    "PROMETHEUS_IMAGE": PROMETHEUS,
    "NODE_EXPORTER_IMAGE": IMAGE,
    "CADVISOR_IMAGE": IMAGE,
}
ASK = """
import sys, urllib.request, urllib.error
method, url = sys.argv[1:]
try:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as err:
    print(err.code)
"""


def here(cluster: Cluster, prometheus: Path) -> dict[str, Any]:
    """What is different on this cluster: where sockets and images are, what the machines lack, how often."""

    def stands_in(port: int, *mounted: str) -> dict[str, Any]:
        nothing = [{"type": "tmpfs", "target": target} for target in mounted]
        command = ["httpd", "-f", "-p", str(port), "-h", "/www"]
        return {"command": command, "volumes": nothing, "stop_grace_period": "0s"}

    socket = f"{cluster.folder}/{{{{.Node.Hostname}}}}/docker.sock"
    first: dict[str, Any] = {"deploy": {"placement": {"constraints": ["node.hostname == m1"]}}}
    services = {
        "docker-api": {"volumes": [f"{socket}:/var/run/docker.sock:ro"]},
        "swarm-sd": first | {"healthcheck": {"interval": "1s"}},
        "prometheus": first,
        "node-exporter": stands_in(9100, "/host"),
        "cadvisor": stands_in(8080, "/rootfs", "/var/run", "/sys", "/var/lib/docker"),
    }
    often = {"prometheus": {"name": f"{STACK}-prometheus", "file": str(prometheus)}}
    return {"version": "3.8", "services": services, "configs": often}


def imported(engine: Engine, name: str, tag: str, *entrypoint: str) -> None:
    """An image of a program of this computer."""
    repository, version = tag.split(":")
    words = ", ".join(f'"{word}"' for word in entrypoint)
    query = urlencode(
        {"fromSrc": "-", "repo": repository, "tag": version, "changes": f"ENTRYPOINT [{words}]"}
    )
    engine.ask("POST", f"/images/create?{query}", one_program(name))


class Stack:
    """The stack while it is deployed."""

    def __init__(self, zoo: Zoo) -> None:
        self.zoo, self.cluster = zoo, zoo.cluster
        self.first = zoo.cluster.engines["m1"]

    async def prepare(self, packages: Path) -> None:
        """The images on the machines that run them."""
        await asyncio.gather(
            asyncio.to_thread(image, self.first, packages),
            asyncio.to_thread(imported, self.first, "prometheus", PROMETHEUS, "/bin/prometheus"),
            *(asyncio.to_thread(imported, engine, "nginx", NGINX) for engine in self.cluster.managers),
        )

    async def deploy(self, folder: Path) -> None:
        """As the file says, and as it must be here."""
        often = (ROOT / "packaging" / "swarm" / "prometheus.yml").read_text().replace("15s", "1s")
        (folder / "prometheus.yml").write_text(often)
        (folder / "here.yml").write_text(json.dumps(here(self.cluster, folder / "prometheus.yml")))
        files = ("-c", "stack.yml", "-c", str(folder / "here.yml"))
        await adocker(self.first, "stack", "deploy", "--resolve-image", "never", *files, STACK, **IMAGES)

    def remove(self) -> None:
        """Nothing of it is left."""

        def gone() -> bool:
            labelled = {"label": [f"com.docker.stack.namespace={STACK}"]}
            for kind in ("services", "configs", "networks"):
                for one in self.first.get(f"/{kind}", labelled):
                    self.first.delete(f"/{kind}/{one.get('ID') or one['Id']}")
            return not any(self.first.get(f"/{kind}", labelled) for kind in ("services", "networks"))

        wait(gone, "the stack is removed")

    async def container(self, name: str) -> str:
        """The container of a service on the first machine."""
        labelled = {"label": [f"com.docker.swarm.service.name={STACK}_{name}"]}
        found = await self.first.aget("/containers/json", labelled)
        if len(found) != 1:
            raise NotYetError(f"{len(found)} containers of {name}")
        return str(found[0]["Id"])

    async def ask(self, method: str, url: str) -> tuple[int, str]:
        """What a program beside swarm-sd, on its networks, is answered."""
        inside = await self.container("swarm-sd")
        words = ("/opt/swarm-sd/bin/python", "-c", ASK, method, url)
        try:
            status, _, body = (await adocker(self.first, "exec", inside, *words)).partition(" ")
        except FailedError as err:
            raise NotYetError(str(err)) from err
        return int(status), body

    async def health(self) -> dict[str, list[str]]:
        """Of Prometheus' targets by service, in order."""
        _, answer = await self.ask("GET", "http://tasks.prometheus:9090/api/v1/targets?state=active")
        found: dict[str, list[str]] = {}
        for target in json.loads(answer)["data"]["activeTargets"]:
            labels = target["labels"]
            found.setdefault(labels.get("service", labels["job"]), []).append(target["health"])
        return {name: sorted(health) for name, health in found.items()}


@pytest.fixture
async def stack(zoo: Zoo, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    for tool in ("docker", "nginx", "prometheus"):
        needs(tool)
    made = Stack(zoo)
    await made.prepare(packages(tmp_path_factory))
    try:
        await made.deploy(tmp_path)
        yield made
    finally:
        await asyncio.to_thread(made.remove)


async def test_the_stack_finds_itself_and_whatever_joins_it_through_a_socket_that_takes_no_orders(
    stack: Stack,
) -> None:
    everywhere = ["up"] * len(MACHINES)
    expected = {
        f"{STACK}_node-exporter": everywhere,
        f"{STACK}_cadvisor": everywhere,
        f"{STACK}_prometheus": ["up"],
        "swarm-sd": ["up"],
    }
    await becomes(stack.health, expected, seconds=120)
    await asks_no_more_than_it_may(stack)
    await joins_at_once(stack)


async def asks_no_more_than_it_may(stack: Stack) -> None:
    """One proxy on each manager, and none of them lets anything else through."""
    api = "http://docker-api:2375/v1.41"
    running = [
        task for task in await stack.zoo.tasks(f"{STACK}_docker-api") if task["Status"]["State"] == "running"
    ]
    assert len(running) == len(MANAGERS)
    assert (await stack.ask("GET", f"{api}/nodes"))[0] == 200
    assert (await stack.ask("HEAD", f"{api}/nodes"))[0] == 404  # let through: Docker has GET alone
    for method, path in (
        ("GET", "/secrets"),
        ("GET", "/swarm/unlockkey"),
        ("GET", "/nodes/../secrets"),
        ("GET", "/nodes%2f..%2fsecrets"),
        ("GET", "/containers/json"),
        ("POST", "/nodes"),
        ("POST", "/services"),
        ("DELETE", "/networks"),
    ):
        assert (await stack.ask(method, api + path))[0] in (403, 404), (method, path)


async def joins_at_once(stack: Stack) -> None:
    """Events come through as they happen: long before the next time that everything is asked for."""
    metrics = (await stack.ask("GET", "http://swarm-sd:9963/metrics"))[1]
    assert 'swarm_sd_event_stream_up{entry="0",job="swarm"} 1.0' in metrics
    joining = service("joining", "httpd", "-f", "-p", "8000", "-h", "/www", on=["monitoring"])
    joining["Labels"] = {"prometheus.port": "8000"}

    async def listed() -> bool:
        return "joining.1:8000" in (await stack.ask("GET", "http://swarm-sd:9963/sd/swarm"))[1]

    async with stack.zoo.more(joining):
        await becomes(listed, True, seconds=12)
    with contextlib.suppress(NotYetError):
        await becomes(listed, False)
