"""``python -m swarm_sd.sim.mock``: a very large swarm that costs next to nothing to serve.

The four lists lie in files and go out with sendfile, so that what is measured is the client. Of filters only
those are applied that ask for a part: ``id``, and ``service`` of tasks; any others get the whole list.
``/events`` is a stream that tells of services that ``/__change`` changed.

``GET /__requests`` and ``/__bytes`` count requests and the bytes of their bodies by path, those for a part
under ``/tasks?part`` and so on. ``GET /__change?share=0.01`` gives so many tasks a new Version.Index and
another state where they lie, and no event tells of it; ``/__change?service=7`` does that with a task of the
eighth service and the service's version, and tells of it unless there is a ``silent=1``.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from swarm_sd.sim.moby import large, told
from swarm_sd.sim.moby.answers import ApiError, Json, encoded
from swarm_sd.sim.moby.filters import parse
from swarm_sd.sim.moby.stored import CHANGING, LISTS, StoredLists

_Query = dict[str, list[str]]


class Mock:
    """Serves ``large_swarm(nodes, tasks, seed)`` at ``url`` from a thread of its own while it is entered.

    ``cache`` is a directory where the lists are kept for the next time. ``change`` is the share of tasks
    that differ from one whole answer of ``/tasks`` to the next.
    """

    def __init__(
        self,
        nodes: int = 5000,
        tasks: int = 100_000,
        *,
        seed: int = 0,
        port: int = 0,
        cache: Path | None = None,
        change: float = 0.0,
    ) -> None:
        self.requests: Counter[str] = Counter()  # by path without the version, parts apart
        self.bytes: Counter[str] = Counter()  # of their bodies
        self._change = change
        self._port = port
        self._arguments = (nodes, tasks, seed)
        self._cache = cache
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._sending = 0  # whole answers with what may change that are on their way
        self._streams: set[queue.SimpleQueue[bytes]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        own = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="swarm-sd-mock-")))
        files = large.written(self._cache or own, *self._arguments)
        if self._cache:  # what is kept for the next time is not changed
            files |= {kind: Path(shutil.copyfile(files[kind], own / kind)) for kind in CHANGING}
        self._lists = self._stack.enter_context(StoredLists(files, *self._arguments))
        self._listener = self._stack.enter_context(
            socket.create_server(("127.0.0.1", self._port), backlog=128)
        )
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._stack.close()

    # -- changes ------------------------------------------------------------------------------------

    def change(self, share: float) -> int:
        """So many tasks differ from now on, the next ones in turn; how many. None while lists are sent."""
        with self._lock:
            return 0 if self._sending else self._lists.change(share)

    def change_service(self, number: int, *, silent: bool = False) -> Json:
        """A task of a service differs: what of; nothing while lists are sent. An event tells of it."""
        with self._lock:
            if self._sending:
                return {"changed": 0}
            changed = self._lists.change_service(number % self._lists.services())
            if not silent:
                for stream in self._streams:
                    stream.put(_service_update(changed["service"]))
        return {"changed": 1, **changed}

    # -- connections --------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as reader:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while line := reader.readline(65536):
                while reader.readline(65536) not in (b"\r\n", b"\n", b""):
                    pass
                words = line.decode("latin-1").split(" ")
                if len(words) != 3:
                    return
                self._answer(connection, words[0], words[1])

    def _answer(self, connection: socket.socket, method: str, target: str) -> None:
        parts = urlsplit(target)
        path, query = parts.path, parse_qs(parts.query)
        if path.startswith("/v") and path[2:3].isdigit():
            path = "/" + path.partition("/")[2].partition("/")[2]
        if path.startswith("/__"):
            _send(connection, self._about(path, query))
        elif path == "/events":
            self._stream(connection)
        elif path[1:] in LISTS:
            self._answer_list(connection, path, query)
        else:
            body = b"" if method == "HEAD" else _small(path)
            self._count(path, len(body))
            _send(connection, body)

    def _about(self, path: str, query: _Query) -> bytes:
        if path == "/__bytes":
            return encoded(dict(self.bytes))
        if path != "/__change":
            return encoded(dict(self.requests))
        if "service" in query:
            return encoded(self.change_service(int(query["service"][0]), silent="silent" in query))
        return encoded({"changed": self.change(float(query.get("share", ["0"])[0]))})

    def _count(self, path: str, sent: int) -> int:
        """Counts an answer; how many there were."""
        with self._lock:
            self.requests[path] += 1
            self.bytes[path] += sent
            return self.requests[path]

    # -- lists --------------------------------------------------------------------------------------

    def _answer_list(self, connection: socket.socket, path: str, query: _Query) -> None:
        try:
            with self._lock:  # no change may be half done
                body = self._lists.part(path[1:], parse(query.get("filters", [""])[0]))
        except ApiError as err:
            refused = encoded({"message": str(err)})
            self._count(f"{path}?part", len(refused))
            _send(connection, refused, f"{err.status} {HTTPStatus(err.status).phrase}")
            return
        if body is None:
            self._send_whole(connection, path)
        else:
            self._count(f"{path}?part", len(body))
            _send(connection, body)

    def _send_whole(self, connection: socket.socket, path: str) -> None:
        with self._lists.files[path[1:]].open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            counted = self._count(path, size)
            if path == "/tasks" and self._change and counted > 1:
                self.change(self._change)
            changing = int(path[1:] in CHANGING)
            with self._lock:
                self._sending += changing
            try:
                connection.sendall(_head(size))
                sent = 0
                while sent < size:
                    sent += os.sendfile(connection.fileno(), file.fileno(), sent, size - sent)
            finally:
                with self._lock:
                    self._sending -= changing

    # -- events -------------------------------------------------------------------------------------

    def _stream(self, connection: socket.socket) -> None:
        """Sends what happens from now on, until the client is found to be gone."""
        events: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        with self._lock:
            self.requests["/events"] += 1
            self._streams.add(events)
        try:
            connection.sendall(_head(None))
            while event := events.get():
                connection.sendall(b"%x\r\n%b\r\n" % (len(event), event))
                with self._lock:
                    self.bytes["/events"] += len(event)
        finally:
            with self._lock:
                self._streams.discard(events)


def _service_update(service: str) -> bytes:
    now = time.time_ns()
    actor = {"ID": service, "Attributes": {"name": f"service-{int(service[:7]):06d}"}}
    return encoded({"Type": "service", "Action": "update", "Actor": actor, "scope": "swarm",
                    "time": now // 1_000_000_000, "timeNano": now})  # fmt: skip


def _head(size: int | None, status: str = "200 OK") -> bytes:
    """The head of an answer; ``size`` None: of one without end."""
    lines = (
        f"HTTP/1.1 {status}",
        "Api-Version: 1.41",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _send(connection: socket.socket, body: bytes, status: str = "200 OK") -> None:
    connection.sendall(_head(len(body), status) + body)


def _small(path: str) -> bytes:
    if path == "/_ping":
        return b"OK"
    if path == "/version":
        return encoded(told.version(told.Release()))
    return encoded([] if path == "/containers/json" else {})


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m swarm_sd.sim.mock", description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000, metavar="N", help="how many nodes (5000)")
    parser.add_argument("--tasks", type=int, default=100_000, metavar="N", help="how many tasks (100000)")
    parser.add_argument("--port", type=int, default=0, help="where to listen (any)")
    parser.add_argument("--seed", type=int, default=0, help="the lists follow from it (0)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the lists there for the next time")
    parser.add_argument(
        "--change", type=float, default=0.0, metavar="SHARE", help="share of tasks that differ every time (0)"
    )
    options = parser.parse_args(argv)
    mock = Mock(options.nodes, options.tasks, seed=options.seed, port=options.port, cache=options.cache,
                change=options.change)  # fmt: skip
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    with mock:
        print(mock.url, flush=True)
        told.wait()
    print(json.dumps(dict(mock.requests)), flush=True)


if __name__ == "__main__":
    main()
