"""A real swarm-mode cluster: three managers and two workers, each a dockerd on a machine of its own.

One for a whole run of the tests, however many processes run them: the first one that needs it starts it,
and it is gone when the last one has ended, in whatever way.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import http.client
import io
import json
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlencode

T = TypeVar("T")

MANAGERS, WORKERS = ("m1", "m2", "m3"), ("w1", "w2")
MACHINES = (*MANAGERS, *WORKERS)
IMAGE, OTHER_IMAGE = "box:1", "box:2"
_PAUSE = 0.05

_KEEPER = Path(__file__).with_name("keeper.py")
_INTO_NAMESPACES = (
    *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("--propagation", "private"),
)


class APIError(Exception):
    """An engine that answers with something else than success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


def wait(look: Callable[[], T], what: str, *, seconds: float = 60) -> T:
    """The first true thing that ``look`` gives; an engine that fails is a look, too."""
    last: object = None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if last := look():
                return last
        except (OSError, http.client.HTTPException, APIError) as err:
            last = err
        time.sleep(_PAUSE)
    raise TimeoutError(f"not within {seconds:g} s: {what}; the last look gave {last!r}")


class _OverSocket(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Engine:
    """The API of one dockerd. What blocks has a twin that does not, with an ``a`` before its name."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.socket = folder / name / "docker.sock"
        self.log = folder / name / "log"
        self.certificate = folder / name / "tls"
        self.key = folder / name / "root" / "swarm" / "certificates" / "swarm-node.key"
        self.address = ""

    @property
    def host(self) -> str:
        """As ``host:`` takes it."""
        return f"unix://{self.socket}"

    @property
    def tcp(self) -> str:
        """As ``host:`` takes it, for programs inside the cluster's network."""
        return f"tcp://{self.address}:{2376 if self.certificate.exists() else 2375}"

    def ask(self, method: str, path: str, body: object = None, *, seconds: float = 30) -> Any:
        """The answer, decoded. ``body`` is bytes (a tar) or something for JSON. APIError, OSError."""
        packed = isinstance(body, bytes)
        content = body if packed or body is None else json.dumps(body)
        connection = _OverSocket(self.socket, seconds)
        with contextlib.closing(connection):
            kind = {"Content-Type": "application/x-tar" if packed else "application/json"}
            connection.request(method, f"/v1.41{path}", content, kind)  # type: ignore[arg-type]
            response = connection.getresponse()
            text = response.read().decode()
        if response.status >= 400:
            raise APIError(response.status, text)
        if response.headers.get_content_type() != "application/json" or not text:
            return None
        return json.loads(text.splitlines()[-1]) if packed else json.loads(text)

    def get(self, path: str, filters: Mapping[str, Iterable[str]] | None = None, **query: object) -> Any:
        """The answer to a GET; ``filters`` and ``query`` as Docker's own client writes them."""
        if filters is not None:
            query["filters"] = json.dumps(
                {name: dict.fromkeys(values, True) for name, values in filters.items()}
            )
        return self.ask("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, body: object = None, **query: object) -> Any:
        """The answer to a POST."""
        return self.ask("POST", f"{path}?{urlencode(query)}" if query else path, body)

    def delete(self, path: str) -> None:
        """Removes something, if it is there."""
        with contextlib.suppress(APIError):
            self.ask("DELETE", path)

    async def aask(self, method: str, path: str, body: object = None, *, seconds: float = 30) -> Any:
        """As ``ask``."""
        return await asyncio.to_thread(self.ask, method, path, body, seconds=seconds)

    async def aget(
        self, path: str, filters: Mapping[str, Iterable[str]] | None = None, **query: object
    ) -> Any:
        """As ``get``."""
        return await asyncio.to_thread(self.get, path, filters, **query)

    async def apost(self, path: str, body: object = None, **query: object) -> Any:
        """As ``post``."""
        return await asyncio.to_thread(self.post, path, body, **query)

    async def adelete(self, path: str) -> None:
        """As ``delete``."""
        await asyncio.to_thread(self.delete, path)


class Cluster:
    """The cluster in ``folder``, whose keeper is the process ``keeper``."""

    def __init__(self, folder: Path, keeper: int) -> None:
        self.folder, self.keeper = folder, keeper
        self.engines = {name: Engine(folder, name) for name in MACHINES}

    @property
    def managers(self) -> list[Engine]:
        """Those that are managers when all is well."""
        return [self.engines[name] for name in MANAGERS]

    @property
    def workers(self) -> list[Engine]:
        """Those that are workers."""
        return [self.engines[name] for name in WORKERS]

    @property
    def namespace(self) -> Path:
        """The network that every machine is attached to."""
        return Path(f"/proc/{self.keeper}/ns/net")

    # -- machines ---------------------------------------------------------------------------------------

    def tell(self, verb: str, name: str = "") -> str:
        """What the keeper answers."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.folder / "keeper"))
            with connection.makefile("rwb") as lines:
                lines.write(json.dumps([verb, name]).encode() + b"\n")
                lines.flush()
                answer = str(json.loads(lines.readline() or '"nothing"'))
        if answer.startswith("failed"):
            raise OSError(f"{verb} {name}: {answer}")
        return answer

    def start(self, *names: str) -> None:
        """Switches machines on, and waits until their engines answer."""
        for name in names:
            self.engines[name].address = self.tell("start", name)
        for name in names:
            wait(lambda name=name: self.engines[name].get("/version"), f"{name} answers")  # type: ignore[misc]

    async def kill(self, *engines: Engine) -> None:
        """Pulls the plugs."""
        for engine in engines:
            await asyncio.to_thread(self.tell, "kill", engine.name)

    def restart(self, engine: Engine) -> None:
        """Switches a machine off and on."""
        self.tell("kill", engine.name)
        self.start(engine.name)

    def secure(self, engine: Engine, files: Mapping[str, bytes]) -> None:
        """From now on it speaks TLS over TCP, with ``ca.pem``, ``cert.pem`` and ``key.pem``."""
        engine.certificate.mkdir(exist_ok=True)
        for name, content in files.items():
            (engine.certificate / name).write_bytes(content)
        self._restart_one_of_all(engine)

    # -- the swarm --------------------------------------------------------------------------------------

    def form(self) -> None:
        """Images on every machine, and all of them in one swarm; they are switched on."""
        first, *others = self.managers
        with ThreadPoolExecutor(len(MACHINES)) as pool:
            importing = [pool.submit(_import_images, engine) for engine in self.engines.values()]
            first.post("/swarm/init", _membership(first))
            tokens = first.get("/swarm")["JoinTokens"]
            joining = [pool.submit(_join, engine, first, tokens["Worker"]) for engine in self.workers]
            for engine in others:
                _join(engine, first, tokens["Manager"])
            for done in (*importing, *joining):
                done.result()
        self.heal()

    def heal(self) -> None:
        """Whatever was done to it: every machine on, ready, active and what it was; back when it is so."""
        for engine in self.engines.values():
            engine.address = self.tell("start", engine.name)
        for engine in self.engines.values():
            if engine.certificate.exists():
                shutil.rmtree(engine.certificate)
                self._restart_one_of_all(engine)
        self._wait_until_whole()

    def _restart_one_of_all(self, engine: Engine) -> None:
        """Two managers that are off at a time are too many."""
        self._wait_until_whole()
        self.restart(engine)

    def _wait_until_whole(self) -> None:
        wait(self._whole, "every node is ready, every manager reachable and one the leader", seconds=90)

    def _whole(self) -> bool:
        leader = self.leader()
        for node in leader.get("/nodes"):
            self._restore(leader, node)
        self._unlock_all(leader)
        for manager in self.managers:
            nodes = manager.get("/nodes")
            states = [node["Status"]["State"] for node in nodes]
            reachable = [node["ManagerStatus"]["Reachability"] for node in nodes if "ManagerStatus" in node]
            if states != ["ready"] * len(MACHINES) or reachable != ["reachable"] * len(MANAGERS):
                return False
        return True

    def _restore(self, manager: Engine, node: dict[str, Any]) -> None:
        labels = {"zone": node["Description"]["Hostname"], "com.example.disk-type": "ssd", "empty": ""}
        role = "manager" if node["Description"]["Hostname"] in MANAGERS else "worker"
        wanted = {"Availability": "active", "Labels": labels, "Role": role}
        if node["Spec"] | wanted != node["Spec"]:
            path = f"/nodes/{node['ID']}/update"
            manager.post(path, node["Spec"] | wanted, version=node["Version"]["Index"])

    def lock(self, engine: Engine) -> None:
        """Switches a manager off and on; then it waits to be unlocked."""
        self._lock_when_off(self.leader(), True)
        wait(lambda: "ENCRYPTED" in engine.key.read_text(), f"{engine.name} has locked its key away")
        self.restart(engine)
        wait(lambda: _is_locked(engine), f"{engine.name} is locked")

    def unlock(self, engine: Engine) -> None:
        """With the key that the other managers know."""
        engine.post("/swarm/unlock", {"UnlockKey": self.leader().get("/swarm/unlockkey")["UnlockKey"]})

    def _unlock_all(self, leader: Engine) -> None:
        if leader.get("/swarm")["Spec"]["EncryptionConfig"]["AutoLockManagers"]:
            for manager in self.managers:
                if _is_locked(manager):
                    self.unlock(manager)
            self._lock_when_off(leader, False)

    def _lock_when_off(self, leader: Engine, wanted: bool) -> None:
        swarm = leader.get("/swarm")
        spec = swarm["Spec"] | {"EncryptionConfig": {"AutoLockManagers": wanted}}
        leader.post("/swarm/update", spec, version=swarm["Version"]["Index"])

    def leader(self) -> Engine:
        """The manager that leads. APIError while there is none."""
        for manager in self.managers:
            with contextlib.suppress(OSError, APIError):
                for node in manager.get("/nodes"):
                    if node.get("ManagerStatus", {}).get("Leader"):
                        return self.engines[node["Description"]["Hostname"]]
        raise APIError(503, "no manager tells of a leader")

    async def aleader(self) -> Engine:
        """As ``leader``."""
        return await asyncio.to_thread(wait, self.leader, "a leader")

    async def update_node(self, engine: Engine, **spec: object) -> None:
        """Changes what is wanted of the node of ``engine``, such as ``Availability``."""

        def change() -> bool:
            leader = self.leader()
            node = leader.get(f"/nodes/{engine.name}")
            leader.post(f"/nodes/{node['ID']}/update", node["Spec"] | spec, version=node["Version"]["Index"])
            return True

        await asyncio.to_thread(wait, change, f"{engine.name} is told {spec}")


def _is_locked(engine: Engine) -> bool:
    return bool(engine.get("/info")["Swarm"]["LocalNodeState"] == "locked")


def _membership(engine: Engine) -> dict[str, object]:
    return {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": engine.address, "DataPathAddr": engine.address}


def _join(engine: Engine, first: Engine, token: str) -> None:
    engine.post(
        "/swarm/join", _membership(engine) | {"RemoteAddrs": [f"{first.address}:2377"], "JoinToken": token}
    )


def _import_images(engine: Engine) -> None:
    for image in (IMAGE, OTHER_IMAGE):
        repository, _, tag = image.partition(":")
        engine.post("/images/create", _box(image), fromSrc="-", repo=repository, tag=tag)


def _box(image: str) -> bytes:
    """A machine of busybox alone, that can serve ``/metrics``."""
    busybox = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    metrics = f'# TYPE box_info gauge\nbox_info{{image="{image}"}} 1\n'.encode()
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content, mode in (("bin/busybox", busybox, 0o755), ("www/metrics", metrics, 0o644)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
        for name in ("sh", "httpd", "sleep", "true", "false"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return made.getvalue()


# -- sharing ------------------------------------------------------------------------------------------------


class ImpossibleError(Exception):
    """No dockerd can run here."""


@contextlib.contextmanager
def shared(control: Path) -> Iterator[Cluster]:
    """The cluster of this run of tests; ``control`` is a folder that all processes of the run know.

    ImpossibleError where there can be none.
    """
    control.mkdir(parents=True, exist_ok=True)
    with (control / "users").open("ab") as users:
        with locked(control / "starting"):
            fcntl.flock(users, fcntl.LOCK_SH)
            cluster = _running(control) or _started(control)
        yield cluster
    with locked(control / "starting"), (control / "users").open("ab") as users:
        if not _others(users):
            wait(lambda: not cluster.folder.exists(), f"the keeper of {cluster.folder} ends")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else is inside with the same path."""
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _others(users: IO[bytes]) -> bool:
    """Whether somebody still uses the cluster; otherwise the keeper has the lock, or will have it now."""
    if _can_lock(users, fcntl.LOCK_EX):
        return False
    return _can_lock(users, fcntl.LOCK_SH)


def _can_lock(file: IO[bytes], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return True


def _running(control: Path) -> Cluster | None:
    where = control / "where"
    if not where.exists():
        return None
    folder, keeper = json.loads(where.read_text())
    if not keeper:
        raise ImpossibleError(folder)
    cluster = Cluster(Path(folder), keeper)
    try:
        cluster.tell("ping")
    except OSError:
        return None
    return cluster


def _started(control: Path) -> Cluster:
    folder = Path(tempfile.mkdtemp(prefix="real-swarm-"))  # short: the sockets in it have some 100 characters
    command = [*_INTO_NAMESPACES, sys.executable, str(_KEEPER), str(folder), str(control / "users")]
    with (control / "keeper.log").open("ab") as log:
        # not in our session: Ctrl-C is for the tests, and the keeper's time is when they are over
        keeper = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    cluster = Cluster(folder, keeper.pid)
    try:
        wait(lambda: keeper.poll() is not None or cluster.tell("ping"), "the keeper answers")
        cluster.start(*MACHINES)
    except (OSError, TimeoutError) as err:
        why = "".join(_tail(path) for path in (control / "keeper.log", cluster.managers[0].log)) or str(err)
        keeper.kill()
        shutil.rmtree(folder, ignore_errors=True)
        (control / "where").write_text(json.dumps([why, 0]))
        raise ImpossibleError(why) from err
    keeper.returncode = 0  # it is nobody's to wait for: it outlives us where others use the cluster
    cluster.form()
    (control / "where").write_text(json.dumps([str(folder), keeper.pid]))
    return cluster


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-2000:] if path.exists() else ""
