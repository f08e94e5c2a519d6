"""The last good groups on disk: written atomically, versioned, restored at start.

One file a provider, named by what decides its targets (``SDConfig.identity``): two daemons with other
configurations can share a folder, and another configuration never gets another cluster's targets. The
file's time of change says when its targets were last confirmed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from swarm_sd.model import Labels, TargetGroup, merged
from swarm_sd.provider import SDConfig

log = structlog.stdlib.get_logger("store")

VERSION = 1


class _Group(msgspec.Struct, array_like=True):
    source: str
    targets: Sequence[Labels]
    labels: Labels


class _File(msgspec.Struct):
    version: int
    kind: str
    groups: list[_Group]


class _Head(msgspec.Struct):
    version: int = 0


class Saved(NamedTuple):
    """Groups from disk; ``confirmed`` is when they were last known to be right, seconds since the epoch."""

    groups: tuple[TargetGroup, ...]
    confirmed: float


class Store:
    """A folder of saved groups. ``max_age``: seconds after which saved groups are no longer believed."""

    def __init__(self, folder: Path, *, max_age: float) -> None:
        self._folder = folder
        self._max_age = max_age

    def path(self, config: SDConfig) -> Path:
        """Where the groups of ``config`` are."""
        name = hashlib.sha256(repr(config.identity()).encode()).hexdigest()[:32]
        return self._folder / f"{config.kind}-{name}.json"

    def save(self, config: SDConfig, groups: Iterable[TargetGroup]) -> None:
        """Replaces what was saved. OSError where that cannot be done; the old file is whole then."""
        rows = [_Group(group.source, group.targets, group.labels) for group in groups]
        # labels that are no dict become one while they are written: never all at once
        body = msgspec.json.encode(_File(VERSION, config.kind, rows), enc_hook=merged)
        write_atomically(self.path(config), body)

    def confirm(self, config: SDConfig) -> None:
        """Notes that what was saved is still right now."""
        os.utime(self.path(config))

    def load(self, config: SDConfig) -> Saved | None:
        """What was saved, or None where there is nothing that can be believed (and the log says why)."""
        path = self.path(config)
        try:
            confirmed = path.stat().st_mtime
            body = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            log.warning("cannot read the saved targets", file=str(path), err=str(err))
            return None
        if (age := time.time() - confirmed) > self._max_age:
            log.warning("the saved targets are too old", file=str(path), age_seconds=round(age))
            return None
        try:
            version = msgspec.json.decode(body, type=_Head).version
            if version != VERSION:
                log.warning("the saved targets are of another format", file=str(path), version=version)
                return None
            rows = msgspec.json.decode(body, type=_File).groups
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
            log.warning("the saved targets are damaged", file=str(path), err=str(err))
            return None
        return Saved(
            tuple(TargetGroup(row.source, tuple(row.targets), row.labels) for row in rows), confirmed
        )


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replaces the file as one step: readers see the old bytes or the new ones, also after a crash.

    The new bytes are written beside it under a name that starts with a dot and ends in ``.tmp``.
    """
    temporary = path.with_name(f".{path.name[-200:]}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
