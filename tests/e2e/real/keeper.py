"""Owns the machines of a cluster: one process in a PID namespace of its own, whose end is the end of all.

Run as ``unshare --net --mount --pid --fork --kill-child --mount-proc python keeper.py FOLDER USERS``. Its
network namespace holds the bridge that the machines are attached to. Each machine is a namespace of
everything (network, host name, mounts, processes) with a dockerd in it, so that killing its first process
is pulling its plug. It ends, and removes FOLDER, when nobody holds a lock on the file USERS any more: also
when those who held it were killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

PREFIX = "10.99.77."
BRIDGE = f"{PREFIX}1"

# the first process waits, so that it buries the orphans of the others
BOOT = """
echo made
read -r go
set -e
hostname "$1"
mount -t tmpfs tmpfs /run
mkdir -p /etc/docker
mount -t tmpfs tmpfs /etc/docker
ip link set lo up
ip addr add "$2/24" dev eth0
ip -6 addr add "fd99:77::${2##*.}/64" dev eth0
ip link set eth0 up
if [ -d "$3/tls" ]; then
  tls="$3/tls"
  set -- "$@" -H "tcp://$2:2376" --tlsverify
  set -- "$@" --tlscacert "$tls/ca.pem" --tlscert "$tls/cert.pem" --tlskey "$tls/key.pem"
else
  set -- "$@" -H "tcp://$2:2375" --tls=false
fi
name=$1 folder=$3 group=$4
shift 4
dockerd --data-root "$folder/root" --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs \
  --cgroup-parent "$group" -H "unix://$folder/docker.sock" "$@" \
  --label "engine.zone=zone-$name" --label com.example.rack-no=r1 --ip-forward=true &
wait
"""


class Machine:
    """A computer with a dockerd; ``number`` makes its address. Over TCP it speaks TLS where there is a
    folder ``tls`` with its certificate when it starts.
    """

    def __init__(self, folder: Path, name: str, number: int) -> None:
        self.folder, self.name, self.address = folder / name, name, f"{PREFIX}{10 + number}"
        self._link = f"veth{number}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Switches it on."""
        if self._process is not None:
            return
        self.folder.mkdir(exist_ok=True)
        (self.folder / "docker.sock").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = process = subprocess.Popen(
                [
                    *("unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child"),
                    *("--mount-proc", "--propagation", "private"),
                    *("sh", "-c", BOOT, "machine", self.name, self.address, str(self.folder)),
                    f"/{self.folder.parent.name}/{self.name}",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"DOCKER_SERVICE_PREFER_OFFLINE_IMAGE": "1"},
            )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        # what an earlier life of the machine left goes with its namespace, some time later
        ip("link", "del", self._link, may_fail=True)
        ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
        ip("link", "set", self._link, "master", "br0", "up")
        process.stdin.write(b"go\n")
        process.stdin.close()

    def kill(self) -> None:
        """Pulls its plug: every process of it is gone when this is back."""
        if self._process is not None:
            pid = self._process.pid
            # its first process, with which the kernel ends all others; then unshare ends, too
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
            self._thaw()
            self._process.wait(timeout=20)
            self._process = None

    def _thaw(self) -> None:
        """A paused container dies of nothing before it goes on, with cgroups of version 1."""
        for state in Path("/sys/fs/cgroup/freezer").glob(
            f"{self.folder.parent.name}/{self.name}/**/freezer.state"
        ):
            with contextlib.suppress(OSError):
                state.write_text("THAWED")


def ip(*command: str, may_fail: bool = False) -> None:
    """Runs ``ip``."""
    subprocess.run(
        ["ip", *command], check=not may_fail, stderr=subprocess.DEVNULL if may_fail else None, timeout=20
    )


class Keeper:
    """Does what it is told over the socket ``FOLDER/keeper``: a line of JSON each way, a connection each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._machines: dict[str, Machine] = {}
        self._lock = threading.Lock()
        ip("link", "set", "lo", "up")
        ip("link", "add", "br0", "type", "bridge")
        ip("addr", "add", f"{BRIDGE}/24", "dev", "br0")
        ip("-6", "addr", "add", "fd99:77::1/64", "dev", "br0")
        ip("link", "set", "br0", "up")

    def serve(self) -> None:
        """Answers, for ever."""
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self._folder / "keeper"))
            listening.listen()
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as lines:
            asked = json.loads(lines.readline())
            try:
                with self._lock:
                    answer = self._do(*asked)
            except (OSError, subprocess.SubprocessError, AssertionError) as err:
                answer = f"failed: {err!r}"
            lines.write(json.dumps(answer).encode() + b"\n")

    def _do(self, verb: str, name: str = "") -> str:
        """The machine's address. ``verb``: start, kill or (of none) ping."""
        if verb == "ping":
            return "here"
        if name not in self._machines:
            self._machines[name] = Machine(self._folder, name, len(self._machines) + 1)
        machine = self._machines[name]
        {"start": machine.start, "kill": machine.kill}[verb]()
        return machine.address

    def end(self) -> None:
        """Switches everything off and removes it."""
        with self._lock:
            for machine in self._machines.values():
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    machine.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        remove_cgroups(self._folder.name)


def remove_cgroups(name: str) -> None:
    """The groups are empty, and still there."""
    root = Path("/sys/fs/cgroup")
    for top in (*root.glob(f"*/{name}"), root / name):
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def main(folder: Path, users: Path) -> None:
    """Keeps the cluster until its last user is gone."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    keeper = Keeper(folder)
    threading.Thread(target=keeper.serve, daemon=True).start()
    try:
        with users.open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keeper.end()  # under the lock: a newcomer waits until all is gone
    finally:
        keeper.end()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
