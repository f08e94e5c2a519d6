"""The web configuration file while it is served from: read again when it, or a file it names, changed."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from swarm_sd.config.web import ConfigError, TLSServerConfig, Web, WebConfig, load
from swarm_sd.web import tls

log = structlog.stdlib.get_logger("web")

T = TypeVar("T")
Stamp = tuple[tuple[int, ...], ...]

_TICK = 0.02  # seconds; two writes within a tick of the kernel's clock have the same time


class WebConfigFile:
    """Users and headers as the file says now, certificates as their files are now.

    What cannot be read or is wrong is told once, and what was right before stands. Source: Serve and
    webHandler of prometheus/exporter-toolkit, which read everything every time.
    """

    def __init__(self, path: Path) -> None:
        """Reads everything at once. ``ConfigError`` with what is wrong, with its place in the file."""
        self._path = path
        self._seen = _stamp([path], settled=True)
        self._read = load(path)
        self._tls_seen = self._state_of_tls(settled=True)
        self._context = _context(self._read)
        self.rate_limit = self._read.config.rate_limit  # of the start: later ones do not count
        self._refused: dict[str, str] = {}
        self._reading = asyncio.Lock()

    @property
    def standing(self) -> WebConfig:
        """What was last read and right."""
        return self._read.config

    @property
    def speaks_tls(self) -> bool:
        """Whether it is HTTPS that is served; of the start."""
        return self._context is not None

    @property
    def refused(self) -> bool:
        """Whether the files as they are now cannot be used, and older ones stand."""
        return bool(self._refused)

    async def config(self) -> WebConfig:
        """The file as it is now, or as it last was right. Costs a stat where it did not change."""
        if _stamp([self._path]) != self._seen:
            async with self._reading:
                if _stamp([self._path]) != self._seen:
                    await self._read_again()
        return self._read.config

    async def context(self) -> ssl.SSLContext:
        """TLS as the files are now, or as they last were right. Costs stats where they did not change."""
        await self.config()
        if self._state_of_tls() != self._tls_seen:
            async with self._reading:
                if self._state_of_tls() != self._tls_seen:
                    await self._certify_again()
        assert self._context is not None  # noqa: S101 - nobody asks for it who does not speak TLS
        return self._context

    def _state_of_tls(self, *, settled: bool = False) -> tuple[TLSServerConfig, Stamp]:
        config = self._read.config.tls_server_config
        return config, _stamp(tls.files(config), settled=settled)

    async def _read_again(self) -> None:
        seen = await asyncio.to_thread(_stamp, [self._path], settled=True)
        if (read := await self._attempt("the file", self._load)) is not None:
            self._read = read
        self._seen = seen  # not before: others are to wait for it

    def _load(self) -> Web:
        read = load(self._path)
        if read.config.tls_server_config.enabled != self.speaks_tls:
            what = "TLS is switched on and off when swarm-sd starts; start it again"
            raise read.refused([("tls_server_config", what)])
        return read

    async def _certify_again(self) -> None:
        seen = await asyncio.to_thread(self._state_of_tls, settled=True)
        read = self._read
        if (made := await self._attempt("TLS", lambda: _context(read))) is not None:
            self._context = made
        self._tls_seen = seen

    async def _attempt(self, what: str, make: Callable[[], T]) -> T | None:
        """What ``make`` gives, in a thread; ``None`` where the files are wrong, which is told once."""
        try:
            made = await asyncio.to_thread(make)
        except ConfigError as err:
            if self._refused.get(what) != str(err):
                log.error("the web configuration is refused, the old one stands", err=str(err))
            self._refused[what] = str(err)
            return None
        self._refused.pop(what, None)
        log.info("web configuration loaded", file=str(self._path), read=what)
        return made


def _context(read: Web) -> ssl.SSLContext | None:
    config = read.config.tls_server_config
    if not config.enabled:
        return None
    try:
        return tls.context(config)
    except tls.TLSFileError as err:
        raise read.refused([(f"tls_server_config.{err.where}", err.what)]) from err


def _stamp(paths: Sequence[str | Path], *, settled: bool = False) -> Stamp:
    """Something that is another when a file was changed or replaced.

    ``settled``: also if that is done right after this; waits until the clock that files have moved on.
    """
    found: list[tuple[int, ...]] = []
    for path in paths:
        try:
            state = Path(path).stat()
        except (OSError, ValueError):
            found.append(())
            continue
        if settled and 0 <= (age := time.time() - state.st_mtime) < _TICK:
            time.sleep(_TICK - age)
        found.append((state.st_mtime_ns, state.st_size, state.st_ino))
    return tuple(found)
