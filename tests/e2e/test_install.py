"""The wheel in an empty environment is the whole program, and it reads what an earlier one has left."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swarm_sd import __version__

from .conftest import StartSwarmSD
from .packages import LOCK, offline, packages, wheel
from .programs import Program, SwarmSD, becomes, run
from .swarm import Swarm

pytestmark = pytest.mark.e2e

STORE = Path(__file__).parents[1] / "fixtures" / "store"
JOBS = sorted(path.stem for path in (STORE / "served").glob("*.json"))


class Installed(SwarmSD):
    """``swarm-sd`` of another environment."""

    program: Path

    def command(self) -> list[str | Path]:
        return [self.program, *list(super().command())[1:]]


def installed(folder: Path, packages: Path) -> Path:
    """The program in an environment that was made for it; nothing but the wheels is asked."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    for what in (["--require-hashes", "-r", LOCK], [wheel(packages)]):
        subprocess.run([*pip, *what], check=True, env=offline(packages), cwd=folder)
    return folder / "bin" / "swarm-sd"


async def test_the_wheel_in_an_empty_environment_is_the_whole_program(
    swarm: Swarm, started: list[Program], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = installed(tmp_path / "environment", packages(tmp_path_factory))
    assert await run(program, "--version") == (0, f"swarm-sd, version {__version__}\n", "")
    for command in ("schema", "completion bash", "serve --help"):
        done = await run(program, *command.split())
        assert (done.code, done.err) == (0, ""), command
    sd = Installed(tmp_path, swarm.config())
    sd.program = program
    started.append(sd)
    await sd.start()
    await becomes(sd.addresses, swarm.targets())
    page = await sd.get("/")
    assert (page.status, page.headers["Content-Type"].partition(";")[0]) == (200, "text/html")
    assert (await run(program, "healthy", sd.url)).code == 0


async def _ready(sd: SwarmSD) -> bool:
    return (await sd.get("/-/ready")).status == 200


async def test_what_an_earlier_version_stored_is_served_at_once(
    swarm_sd: StartSwarmSD, tmp_path: Path
) -> None:
    shutil.copytree(STORE / "saved", tmp_path / "state", copy_function=shutil.copyfile)
    sd = await swarm_sd((STORE / "prometheus.yml").read_text(), f"--storage.path={tmp_path / 'state'}")
    assert len(JOBS) == 4
    await becomes(lambda: _ready(sd), True)  # whether anybody answers or not
    for job in JOBS:
        answer = await sd.get(f"/sd/{job}")
        assert (answer.status, answer.headers["X-Swarm-SD-Stale"]) == (200, "true")
        assert answer.body == (STORE / "served" / f"{job}.json").read_bytes()
