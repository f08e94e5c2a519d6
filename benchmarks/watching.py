"""Who tells of which tasks, and since when: a manager, HTTP SD, Prometheus. For ``freshness``."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.e2e.real.cluster import APIError, Engine

Tasks: typing.TypeAlias = frozenset[str]
"""Their IDs."""

_PAUSE = 0.01  # between two looks


class Seen:
    """What somebody tells, looked at all the time in a thread: ``now``, and ``since`` when (monotonic)."""

    def __init__(self, look: Callable[[], Tasks]) -> None:
        self.now: Tasks = frozenset()
        self.since = 0.0
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Seen:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_PAUSE):
            with contextlib.suppress(OSError, http.client.HTTPException, APIError):
                if (found := self._look()) != self.now:
                    self.now, self.since = found, time.monotonic()


class Truth:
    """What a manager tells: the tasks that run and shall run, the nodes they are on, and the nodes down."""

    def __init__(self, manager: Engine) -> None:
        self._manager = manager
        self.on: Mapping[str, str] = {}  # node by task

    def tasks(self) -> Tasks:
        """Asks for the tasks."""
        running = ("running", "running")
        self.on = {
            task["ID"]: task["NodeID"]
            for task in self._manager.get("/tasks")
            if (task["Status"]["State"], task["DesiredState"]) == running
        }
        return frozenset(self.on)

    def down(self) -> Tasks:
        """Asks for the nodes that are down."""
        return frozenset(n["ID"] for n in self._manager.get("/nodes") if n["Status"]["State"] == "down")


class Listing:
    """The tasks in an answer over HTTP, asked for with the ETag of the last one."""

    def __init__(self, port: int, path: str, read: Callable[[Any], Iterator[str]]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._path, self._read = path, read
        self._etag, self._last = "", frozenset[str]()

    def __call__(self) -> Tasks:
        """Asks; what was told last where nothing changed."""
        try:
            self._connection.request("GET", self._path, headers={"If-None-Match": self._etag})
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        if response.status == 200:
            self._etag = response.headers.get("ETag", "")
            self._last = frozenset(self._read(json.loads(body)))
        return self._last


def of_groups(groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The tasks in an answer of HTTP SD."""
    return (group["labels"]["task"] for group in groups)


def of_prometheus(job: str) -> Callable[[Any], Iterator[str]]:
    """The tasks among Prometheus' active targets of a job."""

    def read(answer: Any) -> Iterator[str]:
        active = answer["data"]["activeTargets"]
        return (target["labels"]["task"] for target in active if target["scrapePool"] == job)

    return read
