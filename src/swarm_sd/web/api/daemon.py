"""The swarm-sd that answers: its version, flags, configuration, and how it fares."""

from __future__ import annotations

import asyncio
import time

from swarm_sd.web.api.answers import Answer, Time, at
from swarm_sd.web.api.endpoint import Running
from swarm_sd.web.api.parameters import Asked


class BuildInfo(Answer, frozen=True, kw_only=True):
    """What runs."""

    version: str
    python_version: str


class RuntimeInfo(Answer, frozen=True, kw_only=True):
    """How it fares. `ready` is what `/-/ready` says; the counts are since the start."""

    start_time: Time
    server_time: Time
    config_file: str
    reload_config_success: bool
    last_reload_time: Time
    last_reload_error: str
    ready: bool
    deliveries: int
    delivery_failures: int
    store_failures: int


class Configuration(Answer, frozen=True, kw_only=True):
    """The configuration in force. What `scrape_config_files` includes follows as further YAML documents."""

    yaml: str


async def build_info(running: Running, asked: Asked) -> BuildInfo:
    """The version."""
    about = running.about()
    return BuildInfo(version=about.version, python_version=about.python)


async def runtime_info(running: Running, asked: Asked) -> RuntimeInfo:
    """Since when it runs, its last reload, whether it is ready.

    After a reload that was refused, `lastReloadError` has every complaint and the old configuration stands.
    """
    about, status = running.about(), running.status()
    return RuntimeInfo(
        start_time=at(about.started_at),
        server_time=at(time.time()),
        config_file=about.config_file,
        reload_config_success=about.reload.successful,
        last_reload_time=at(about.reload.at),
        last_reload_error=about.reload.error,
        ready=status.ready,
        deliveries=status.deliveries,
        delivery_failures=status.delivery_failures,
        store_failures=status.store_failures,
    )


async def flags(running: Running, asked: Asked) -> dict[str, str]:
    """The flags of `serve` with the values in force."""
    return dict(running.about().flags)


async def config(running: Running, asked: Asked) -> Configuration:
    """The configuration as loaded: every secret is `<secret>`, comments are gone, aliases written out."""
    return Configuration(yaml=await asyncio.to_thread(running.about().config))
