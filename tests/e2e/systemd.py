"""A computer of its own under a real systemd, with swarm-sd installed as docs/install.md says.

Everything is a namespace of this machine's: processes, mounts, host name, network, cgroups. What is written
is written to memory, and all of it is gone when its first process is killed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

from .packages import ROOT

UNIT = ROOT / "packaging" / "systemd" / "swarm-sd.service"
USERS = ROOT / "packaging" / "systemd" / "swarm-sd.sysusers"

# into cgroups of its own, of version 1 or 2, which the first process then takes for all there are
_OUTSIDE = """
if [ -e /sys/fs/cgroup/cgroup.procs ]; then all=/sys/fs/cgroup; else all=$(ls -d /sys/fs/cgroup/*); fi
for top in $all; do
  [ -e "$top/cgroup.procs" ] || continue
  mkdir "$top/$1"
  for file in cpuset.cpus cpuset.mems; do
    [ -e "$top/tasks" ] && [ -e "$top/$file" ] && cat "$top/$file" >"$top/$1/$file"
  done
  echo $$ >"$top/$1/cgroup.procs" || :
done
shift
exec unshare --pid --mount --uts --ipc --net --cgroup --fork --kill-child --mount-proc \\
  --propagation private "$@"
"""

_INSIDE = """
hostname under-systemd
umount -R /sys/fs/cgroup
if [ "$1" = 2 ]; then mount -t cgroup2 cgroup2 /sys/fs/cgroup; else
  mount -t tmpfs tmpfs /sys/fs/cgroup
  mkdir /sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
fi
for folder in /run /opt /var/lib /var/tmp /lib/systemd/system/*.wants; do mount -t tmpfs tmpfs "$folder"; done
mkdir /run/etc
cp -a /etc/. /run/etc/
mount --bind /run/etc /etc
rm -rf /etc/systemd/system /etc/machine-id
mkdir -p /etc/systemd/system /opt/python /opt/swarm-sd/bin /opt/swarm-sd/src
mkdir -p "/opt/swarm-sd/lib/$2/site-packages"
: >/etc/machine-id
mount --bind "$3" /opt/python
mount --bind "$4" "/opt/swarm-sd/lib/$2/site-packages"
mount --bind "$5/src" /opt/swarm-sd/src
ln -s "/opt/python/bin/$2" /opt/swarm-sd/bin/python
echo "home = /opt/python/bin" >/opt/swarm-sd/pyvenv.cfg
printf '#!/opt/swarm-sd/bin/python\\nfrom swarm_sd.cli import main\\nmain()\\n' >/opt/swarm-sd/bin/swarm-sd
chmod 755 /opt/swarm-sd/bin/swarm-sd
cp "$6" /etc/systemd/system/
printf '[Unit]\\nDefaultDependencies=no\\n' >/etc/systemd/system/nothing.target
systemd-sysusers "$7"
mount -t tmpfs tmpfs /tmp
mount -o remount,bind,ro /sys
ip link set lo up
exec env -i container=test "PATH=$PATH" /lib/systemd/systemd --system --unit=nothing.target
"""


class ImpossibleError(Exception):
    """No systemd can run here."""


class Computer:
    """The computer; ``pid`` is its first process."""

    def __init__(self, pid: int) -> None:
        self._into = ("nsenter", f"--target={pid}", "--all")

    def run(self, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a program there; ``given`` is for it to read."""
        return subprocess.run(
            [*self._into, *words], input=given or "", capture_output=True, text=True, timeout=30, check=False
        )

    def told(self, *words: str) -> str:
        """What a program there tells that ends well."""
        done = self.run(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        """A file there; its folder is made."""
        made = self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1"', "write", path, given=text)
        assert made.returncode == 0, made.stderr

    def show(self, name: str) -> str:
        """What systemd knows of the service, such as ``ActiveState``."""
        return self.told("systemctl", "show", "--value", "-p", name, "swarm-sd")


@contextlib.contextmanager
def computer(folder: Path) -> Iterator[Computer]:
    """A computer while it is on; ``folder`` gets its log. ImpossibleError."""
    name = f"under-systemd-{os.getpid()}"
    version = "2" if Path("/sys/fs/cgroup/cgroup.procs").exists() else "1"
    python, installed = Path(sys.executable).resolve().name, sysconfig.get_path("purelib")
    arguments = (version, python, sys.base_prefix, installed, str(ROOT), str(UNIT), str(USERS))
    inside = ("sh", "-e", "-c", _INSIDE, "inside", *arguments)
    with (folder / "systemd.log").open("ab") as log:
        first = subprocess.Popen(
            ["sh", "-c", _OUTSIDE, "outside", name, *inside],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield _booted(first, folder / "systemd.log")
    finally:
        first.kill()
        first.wait(timeout=20)
        _remove_cgroups(name)


def _booted(first: subprocess.Popen[bytes], log: Path) -> Computer:
    end = time.monotonic() + 30
    while time.monotonic() < end and first.poll() is None:
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split():
                made = Computer(int(child))
                if made.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"):
                    return made
        time.sleep(0.05)
    raise ImpossibleError(log.read_text(errors="replace")[-2000:])


def _remove_cgroups(name: str) -> None:
    """They are empty, and still there; the kernel may need a moment to see that."""
    root = Path("/sys/fs/cgroup")
    for top in (*root.glob(f"*/{name}"), root / name):
        for folder, _, _ in os.walk(top, topdown=False):
            for _ in range(20):
                with contextlib.suppress(FileNotFoundError):
                    try:
                        Path(folder).rmdir()
                    except OSError:
                        time.sleep(0.05)
                        continue
                break
