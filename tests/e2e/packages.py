"""What is installed: the wheel of this checkout, and the wheels of the libraries that its lock file names."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"


def packages(factory: pytest.TempPathFactory) -> Path:
    """A folder with ``dist/`` (our wheel) and ``wheels/`` (all others), made once for the whole run.

    The libraries come from the package index that pip is set up for, with the hashes of the lock file.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "packages"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            _run(folder, "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist"))
            checked = ("--no-deps", "--require-hashes", "--only-binary", ":all:")
            _run(folder, "pip", "download", *checked, "-r", str(LOCK), "-d", str(folder / "wheels"))
            (folder / "done").touch()
    return folder


def wheel(folder: Path) -> Path:
    """Our own."""
    (found,) = (folder / "dist").glob("*.whl")
    return found


def offline(folder: Path) -> dict[str, str]:
    """An environment in which pip has these packages, and nothing else to ask."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    return mine | {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder / "wheels"),
        "PIP_CONFIG_FILE": os.devnull,
    }


def _run(folder: Path, *module: str) -> None:
    with (folder / "log").open("ab") as log:
        done = subprocess.run([sys.executable, "-m", *module], cwd=ROOT, stdout=log, stderr=log, check=False)
    if done.returncode:
        pytest.fail(f"python -m {' '.join(module)}:\n{(folder / 'log').read_text()[-3000:]}")
