"""What a running swarm-sd tells of itself: version, flags, the configuration it goes by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LastReload:
    """How the configuration was last read: at the start, or by a reload. ``at``: seconds since the epoch.

    ``error``: every complaint, a line each, where the new configuration was refused and the old one stands.
    """

    successful: bool
    at: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """One running swarm-sd. ``flags`` are those of ``serve`` without their dashes, with the values in force.

    ``config`` gives the configuration in force as YAML, every secret as ``<secret>``: it may take a while the
    first time, so it belongs in a thread.
    """

    version: str
    python: str
    started_at: float  # seconds since the epoch
    flags: Mapping[str, str]
    config_file: str  # as given; "--docker" without one
    config: Callable[[], str] = field(repr=False)
    reload: LastReload
