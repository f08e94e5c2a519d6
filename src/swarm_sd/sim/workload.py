"""One container of a simulated engine, by name, for whoever wants more of it than that it counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Port(NamedTuple):
    """A port of a container; ``public`` 0: not published. ``ip``: where on the node it is published."""

    private: int
    public: int = 0
    ip: str = "0.0.0.0"  # noqa: S104 - what Docker writes for every address
    type: str = "tcp"


@dataclass(slots=True, kw_only=True)
class Container:
    """A container; ``networks`` are its addresses by network. ``created`` in seconds since 1970."""

    name: str
    id: str = ""  # made of the name without one
    image: str = "busybox:1"
    image_id: str = "sha256:273234bc6ad920c9b0c46431bccec9ddc313f5aebb42f885754791aa411b3ad4"
    command: str = "sleep 100000"
    created: int = 1795416505
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[Port] = ()
    networks: Mapping[str, str] = field(default_factory=dict)
    network_mode: str = "default"
    env: Sequence[str] = ()
    state: str = "running"  # created, running, paused, restarting, exited
    exit_code: int = 0
    age: str = "5 minutes"

    def __post_init__(self) -> None:
        self.id = self.id or hashlib.sha256(self.name.encode()).hexdigest()

    @property
    def up(self) -> bool:
        """Whether it is listed without ``all=1``."""
        return self.state in ("running", "paused", "restarting")

    @property
    def status(self) -> str:
        """The state in the engine's words. Source: container/state.go of docker, String."""
        if self.state == "restarting":
            return f"Restarting ({self.exit_code}) {self.age} ago"
        if self.up:
            return f"Up {self.age}" + (" (Paused)" if self.state == "paused" else "")
        return "Created" if self.state == "created" else f"Exited ({self.exit_code}) {self.age} ago"
