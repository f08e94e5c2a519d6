"""``file://``: a file with a node or a range of them a line."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TypeAlias

from swarm_sd.discovery.kv import entries
from swarm_sd.discovery.kv.backend import Changed, Last, Registered
from swarm_sd.discovery.kv.locator import Discovery
from swarm_sd.provider import DiscoveryError, HostStatus

LOOK = 0.5
"""Seconds between two looks whether the file changed. A look works where events do not: on network file
systems, bind mounts, and where a symbolic link on the way is what is replaced.
"""

SETTLED = 0.2
"""Seconds for which a file is left alone before it is believed: it may be half written."""

MAX_BYTES = 16 * 1024 * 1024

Stamp: TypeAlias = tuple[int, int, int, int, int]


class File:
    """Read when it changed, by whatever means it was written or replaced."""

    def __init__(self, discovery: Discovery) -> None:
        self._path = Path(discovery.path)
        self._last = Last()

    async def nodes(self) -> Registered:
        """The nodes in the file. DiscoveryError ``file`` where it cannot be read."""
        content = await asyncio.to_thread(self._settled)
        nodes, skipped = entries.of_file(content)
        return self._last.same(Registered(nodes, None, skipped))

    def _settled(self) -> str:
        """What is in the file; waits, but not for ever, while it is being written."""
        end = time.monotonic() + 10 * SETTLED
        try:
            while True:
                stamp = _stamp(self._path.stat())
                content = self._read()
                age = time.time() - self._path.stat().st_mtime
                same = stamp == _stamp(self._path.stat())
                if (same and not 0 <= age < SETTLED) or time.monotonic() > end:
                    return content
                time.sleep(SETTLED / 2)
        except OSError as err:
            raise DiscoveryError("file", f"cannot read {self._path}: {err.strerror or err}") from err

    def _read(self) -> str:
        with self._path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DiscoveryError("too_large", f"{self._path} is larger than {MAX_BYTES} bytes")
        try:
            return content.decode()
        except UnicodeDecodeError as err:
            raise DiscoveryError("file", f"{self._path} is no text: {err.reason}") from err

    async def watch(self, changed: Changed) -> None:
        """Looks at the file's stamp, which tells a change as well as a replacement."""
        seen: object = ()  # a first look always tells: the file may have changed before it
        while True:
            now = await asyncio.to_thread(self._look)
            if now != seen:
                seen = now
                changed()
            await asyncio.sleep(LOOK)

    def _look(self) -> Stamp | None:
        try:
            return _stamp(self._path.stat())
        except OSError:
            return None

    def hosts(self) -> tuple[HostStatus, ...]:
        """None."""
        return ()

    async def close(self) -> None:
        """Nothing is open."""


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
