"""A machine of its own beside the cluster, on which a shell has Docker's command line, and images by name."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

from .cluster import Cluster, Engine, wait

NAME = "machine"


class FailedError(Exception):
    """A script that ended with something else than 0, and what it told."""


class Machine:
    """The machine while it is on. Docker listens where it does by default."""

    def __init__(self, engine: Engine, process: int) -> None:
        self.engine = engine
        self._into = ("nsenter", f"--target={process}", "--net", "--uts", "--mount", "--pid")

    def run(self, script: str, folder: Path, *, path: Sequence[Path] = ()) -> str:
        """What a shell script tells, that is run in ``folder``. FailedError."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        environment["PATH"] = ":".join([*map(str, path), environment["PATH"]])
        with (folder / "told").open("w+") as told:  # no pipe: what goes on in the background would hold it
            done = subprocess.run(
                [*self._into, "sh", "-e", "-c", f"cd {folder}\n{script}"],
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                env=environment,
                timeout=120,
                check=False,
            )
            told.seek(0)
            text = told.read()
        if done.returncode:
            raise FailedError(f"{script}\n{text}")
        return text

    def image(self, name: str, files: Mapping[str, bytes], entrypoint: str, *command: str) -> None:
        """Makes an image of these files, by path; all of them can be run."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            for path, content in {**files, "tmp/made": b""}.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(content), 0o755
                tar.addfile(entry, io.BytesIO(content))
        words = ", ".join(f'"{word}"' for word in command)
        changes = [("changes", f'ENTRYPOINT ["{entrypoint}"]'), ("changes", f"CMD [{words}]")]
        query = urlencode([("fromSrc", "-"), ("repo", name), ("tag", "latest"), *changes])
        self.engine.ask("POST", f"/images/create?{query}", made.getvalue())


def program(name: str) -> dict[str, bytes]:
    """A program of this computer as ``bin/<name>``, with the libraries that it is linked with."""
    path = shutil.which(name)
    assert path is not None, name
    linked = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    libraries = [word for word in linked.split() if word.startswith("/")]
    return {f"bin/{name}": Path(path).read_bytes()} | {
        library[1:]: Path(library).read_bytes() for library in libraries
    }


@contextlib.contextmanager
def machine(cluster: Cluster) -> Iterator[Machine]:
    """A machine whose Docker is in no swarm; nothing of it is left."""
    engine = Engine(cluster.folder, NAME)
    shutil.rmtree(cluster.folder / NAME, ignore_errors=True)
    try:
        engine.address = cluster.tell("start", NAME)
        wait(lambda: engine.get("/version"), f"{NAME} answers")
        made = Machine(engine, _dockerd(engine))
        made.run(f"ln -sf {engine.socket} /run/docker.sock; ip -6 addr flush dev eth0", cluster.folder)
        yield made
    finally:
        cluster.tell("kill", NAME)
        shutil.rmtree(cluster.folder / NAME, ignore_errors=True)


def _dockerd(engine: Engine) -> int:
    """The dockerd of a machine, as its process is numbered here."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            words = line.read_bytes().split(b"\0")
            if words[0].endswith(b"dockerd") and f"unix://{engine.socket}".encode() in words:
                return int(line.parent.name)
    raise AssertionError(f"no dockerd of {engine.name}")
