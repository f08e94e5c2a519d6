"""The image of packaging/Dockerfile on an engine of the cluster, and Docker's command line on it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from swarm_sd import __version__

from ..packages import LOCK, ROOT
from .base_image import root_filesystem
from .cluster import APIError, Engine

NAME = f"prometheus-swarm-sd:{__version__}"
_BASE = "python-of-this-computer:1"


class FailedError(Exception):
    """A command of Docker's that ended with something else than 0, and what it told."""


def docker(engine: Engine, *words: str, seconds: float = 120, **environment: str) -> str:
    """What ``docker`` tells on standard output. FailedError."""
    done = subprocess.run(
        ["docker", "-H", engine.host, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        env=os.environ | {"DOCKER_BUILDKIT": "0"} | environment,
        cwd=ROOT / "packaging" / "swarm",
        check=False,
    )
    print(done.stderr)  # pytest shows it where the test fails
    if done.returncode:
        told = done.stdout[-3000:] + done.stderr[-3000:]
        raise FailedError(f"docker {' '.join(words)}: {done.returncode}\n{told}")
    return done.stdout.strip()


async def adocker(engine: Engine, *words: str, **environment: str) -> str:
    """As ``docker``."""
    return await asyncio.to_thread(docker, engine, *words, **environment)


def image(engine: Engine, packages: Path) -> None:
    """Builds it on the engine as ``make image`` does, without a network; once for the whole run."""
    try:
        engine.get(f"/images/{NAME}/json")
    except APIError:
        repository, tag = _BASE.split(":")
        engine.ask("POST", f"/images/create?fromSrc=-&repo={repository}&tag={tag}", root_filesystem())
        with tempfile.TemporaryDirectory() as folder:
            context = Path(folder)
            for path in (LOCK, ROOT / ".dockerignore"):
                shutil.copy(path, context)
            for name in ("dist", "wheels"):
                shutil.copytree(packages / name, context / name)
            given = {"PYTHON": _BASE, "VERSION": __version__, "PIP_NO_INDEX": "1"}
            arguments = [word for pair in given.items() for word in ("--build-arg", "=".join(pair))]
            file = ROOT / "packaging" / "Dockerfile"
            docker(engine, "build", "-t", NAME, "-f", str(file), *arguments, str(context))
