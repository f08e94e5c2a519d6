"""The daemon: configuration, manager, sinks and server, until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import platform
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from swarm_sd import __version__
from swarm_sd.brake import MassLoss
from swarm_sd.config import Config, ConfigError
from swarm_sd.deliver.clients import Clients
from swarm_sd.deliver.file import FileSD
from swarm_sd.deliver.http import HTTPSD
from swarm_sd.insight import Insight
from swarm_sd.manager import Manager
from swarm_sd.notify import keep_alive, notify, reloading
from swarm_sd.store import Store
from swarm_sd.web.about import About, LastReload
from swarm_sd.web.api import API
from swarm_sd.web.api.endpoint import Running
from swarm_sd.web.config_file import WebConfigFile
from swarm_sd.web.metrics import Reloads, registry
from swarm_sd.web.page.views import Page
from swarm_sd.web.server import Server
from swarm_sd.web.swarm_metrics import SwarmMetrics

log = structlog.stdlib.get_logger("main")


COUNT_WITHIN = 0.5
"""Seconds for which an answer with metrics waits until targets are counted; later it has the last numbers."""


@dataclass(frozen=True, slots=True)
class Options:
    """The flags of ``swarm-sd serve``; spans of time in seconds."""

    read: Callable[[], Config]  # the configuration, at start and at every reload
    listen: Sequence[tuple[str, int]]
    web_config: WebConfigFile | None = None
    file_sd_directory: Path | None = None
    storage_path: Path | None = None
    storage_max_age: float = 86_400
    mass_loss: MassLoss = field(default_factory=MassLoss)
    lifecycle: bool = True
    shown: Mapping[str, str] = field(default_factory=dict)  # all flags without their dashes, to be shown


class Daemon:
    """One running ``swarm-sd serve``."""

    def __init__(self, config: Config, options: Options) -> None:
        self._config = config
        self._options = options
        self._started_at = time.time()
        self._files = FileSD(options.file_sd_directory) if options.file_sd_directory else None
        store = Store(options.storage_path, max_age=options.storage_max_age) if options.storage_path else None
        self._manager = Manager([self._files] if self._files else [], store=store, brake=options.mass_loss)
        web = options.web_config
        self._reloads = Reloads((lambda: web.refused) if web else (lambda: False))
        self._reloading = asyncio.Lock()
        self._insight = Insight(self._manager)
        self._clients = Clients()
        self._api = API(Running(self._insight, self._manager.status, self.about, self._clients))
        self._server = Server(
            status=self._manager.status,
            metrics=registry(
                self._manager.status,
                self._reloads,
                self._file_counts,
                lambda: self._insight.counted,
                self._clients,
            ),
            reload=self.reload,
            count=lambda: self._insight.counts_within(COUNT_WITHIN),
            routes=[
                *HTTPSD(self._manager, self._clients).routes(),
                *SwarmMetrics(self._manager.cluster_states).routes(),
                *self._api.routes(),
                *Page(self._manager.status, self._insight, self.about, self._clients).routes(),
            ],
            lifecycle=options.lifecycle,
            config=options.web_config,
        )

    def _file_counts(self) -> tuple[int, int]:
        return (self._files.writes, self._files.failures) if self._files else (0, 0)

    def about(self) -> About:
        """What it tells of itself now."""
        return About(
            version=__version__,
            python=platform.python_version(),
            started_at=self._started_at,
            flags=self._options.shown,
            config_file=str(self._config.path),
            config=self._config.shown,
            reload=LastReload(self._reloads.successful, self._reloads.last_at, self._reloads.last_error),
        )

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT. OSError where an address cannot be listened on."""
        tune_garbage_collection()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        reloads: set[asyncio.Task[str | None]] = set()

        def on_hangup() -> None:
            reloads.add(task := asyncio.ensure_future(self.reload()))
            task.add_done_callback(reloads.discard)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
        ended = asyncio.create_task(stop.wait())
        async with self._server.listening(self._options.listen) as urls:
            # not before: a second daemon started by mistake must not touch the first one's files
            manager = asyncio.create_task(self._manager.run(self._config.jobs))
            alive = asyncio.create_task(keep_alive())
            try:
                log.info("listening", version=__version__, urls=" ".join(urls), jobs=len(self._config.jobs))
                await notify("READY=1", f"STATUS={len(self._config.jobs)} jobs, {' '.join(urls)}")
                await asyncio.wait((manager, ended), return_when=asyncio.FIRST_COMPLETED)
                await notify("STOPPING=1")
            finally:
                self._api.live.end()
                for task in (manager, ended, alive, *reloads):
                    task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await manager
        log.info("stopped")

    async def reload(self) -> str | None:
        """Reads the configuration again; None, or why it was refused: the old one stands then."""
        async with self._reloading:
            await reloading()
            try:
                return await self._reload()
            finally:
                refused = "" if self._reloads.successful else "; the new configuration is refused"
                await notify("READY=1", f"STATUS={len(self._config.jobs)} jobs{refused}")

    async def _reload(self) -> str | None:
        try:
            config = await asyncio.to_thread(self._options.read)
        except ConfigError as err:
            self._reloads.failed(str(err))
            log.error("the new configuration is refused, the old one stands", err=str(err))
            return str(err)
        self._config = config
        await self._manager.apply(config.jobs)
        self._reloads.succeeded()
        log.info("configuration loaded", file=str(config.path), jobs=len(config.jobs))
        return None


def tune_garbage_collection() -> None:
    """Looks for cycles seldom: a refresh makes a million objects, none of them in a cycle.

    At Python's own thresholds a third of a large refresh goes into looking at what is known to stay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
