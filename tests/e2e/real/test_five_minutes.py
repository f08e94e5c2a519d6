"""The guide docs/five-minutes.md, run as it is written on a machine of its own.

What is not as in the guide: ``venv`` is the environment that the tests run in, and the images are made here,
under the guide's names: a real Prometheus, and a busybox that serves metrics at the ports of the exporters.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from ..programs import NotYetError, becomes, needs
from .cluster import Cluster
from .solo import FailedError, Machine, machine, program

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

GUIDE = Path(__file__).parents[3] / "docs" / "five-minutes.md"
_BLOCK = re.compile(r"^(?:<!-- ([^\n]*?) -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

EXPORTERS = {"prom/node-exporter": 9100, "prom/pushgateway": 9091}
LOOK, INSTALL, SCALE, AWAY = "look", "install", "scale", "away"


class Block(NamedTuple):
    """A block of the guide, and the comment above it."""

    title: str
    language: str
    text: str


def blocks() -> list[Block]:
    """All blocks, in order."""
    return [Block(found[1] or "", found[2], found[3]) for found in _BLOCK.finditer(GUIDE.read_text())]


def titled(title: str) -> str:
    """The text of the block with this title."""
    (text,) = [block.text for block in blocks() if block.title == title]
    return text


def images(on: Machine) -> None:
    """Those that the guide names."""
    busybox = program("busybox")
    for name, port in EXPORTERS.items():
        files = {**busybox, "www/metrics": b"# TYPE exporter_info gauge\nexporter_info 1\n"}
        on.image(name, files, "/bin/busybox", "httpd", "-f", "-p", str(port), "-h", "/www")
    flags = ("--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus")
    on.image("prom/prometheus", program("prometheus"), "/bin/prometheus", *flags)


async def test_the_guide_leads_to_green_targets(cluster: Cluster, tmp_path: Path) -> None:
    for tool in ("docker", "curl", "jq", "prometheus"):
        needs(tool)
    (tmp_path / "venv").symlink_to(sys.prefix)
    with machine(cluster) as on:
        await asyncio.to_thread(images, on)

        async def run(script: str) -> str:
            return await asyncio.to_thread(on.run, script, tmp_path)

        for block in blocks():
            if block.language == "yaml":
                (tmp_path / block.title).write_text(block.text)
            elif block.language == "sh" and not block.title:
                await run(block.text)

        async def looks() -> list[str]:
            try:
                return sorted((await run(titled(LOOK))).splitlines())
            except FailedError as err:  # Prometheus is on its way
                raise NotYetError from err

        (shown,) = [block.text.splitlines() for block in blocks() if not block.language]
        await becomes(looks, sorted(shown), seconds=60)
        await run(titled(SCALE))
        await becomes(looks, sorted([*shown, "up gateway.3:9091"]), seconds=60)
        await run(titled(AWAY))
        await becomes(lambda: listed(tmp_path / "sd" / "swarm_0.json"), 0)


async def listed(file: Path) -> int:
    """How many target groups a file of swarm-sd lists."""
    return len(json.loads(file.read_bytes()))
