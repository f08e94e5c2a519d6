"""The container image: built by Docker, started as it is meant to be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarm_sd import __version__

from ..packages import packages
from ..programs import becomes, needs
from .built import NAME, FailedError, adocker, image
from .cluster import Cluster, Engine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CONFIG = "scrape_configs:\n- job_name: swarm\n  swarm_sd_configs:\n  - masters: [http://127.0.0.1:1]\n"


@pytest.fixture
async def engine(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine with the image."""
    needs("docker")
    made = cluster.engines["m1"]
    await asyncio.to_thread(image, made, packages(tmp_path_factory))
    return made


@pytest.fixture
async def container(engine: Engine, tmp_path: Path) -> AsyncIterator[str]:
    """A container that may write nowhere and do nothing, but for its volume."""
    (tmp_path / "prometheus.yml").write_text(CONFIG)
    tmp_path.chmod(0o755)  # else nobody but root may look into it
    mounted = f"{tmp_path}:/etc/swarm-sd:ro"
    closed = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none")
    name = await adocker(engine, "run", "-d", *closed, "--health-interval=1s", "-v", mounted, NAME)
    yield name
    await adocker(engine, "logs", name)
    await adocker(engine, "rm", "-f", "-v", name)


async def inspected(engine: Engine, container: str) -> Any:
    (found,) = json.loads(await adocker(engine, "inspect", container))
    return found


async def test_it_starts_read_only_as_nobody_is_healthy_and_tells_its_version(
    engine: Engine, container: str
) -> None:
    async def health() -> str:
        state: dict[str, Any] = (await inspected(engine, container))["State"]
        assert state["Running"], state
        return str(state["Health"]["Status"])

    await becomes(health, "healthy")
    assert await adocker(engine, "exec", container, "id", "-u") == "65532"
    with pytest.raises(FailedError, match="Read-only file system"):
        await adocker(engine, "exec", container, "touch", "/opt/swarm-sd/x")
    await adocker(engine, "exec", container, "touch", "/var/lib/swarm-sd/x")
    assert ": healthy" in await adocker(engine, "exec", container, "swarm-sd", "healthy")
    with pytest.raises(FailedError, match="onnection refused"):
        await adocker(engine, "exec", container, "swarm-sd", "healthy", "http://127.0.0.1:1")
    config = (await inspected(engine, NAME))["Config"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert (
        await adocker(engine, "exec", container, "swarm-sd", "--version")
        == f"swarm-sd, version {__version__}"
    )
    listed = (await adocker(engine, "exec", container, "ls", "/opt/swarm-sd/bin", "/")).split()
    assert "swarm-sd" in listed
    assert not {"pip", "build", "made"} & set(listed)
    await adocker(engine, "stop", container)
    assert (await inspected(engine, container))["State"]["ExitCode"] == 0
