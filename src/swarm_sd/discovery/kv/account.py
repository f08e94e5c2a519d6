"""The user that a store is asked as, where it does not take HTTP's own way to tell."""

from __future__ import annotations

import asyncio
from pathlib import Path

from swarm_sd.discovery.http_client import HTTPClientConfig
from swarm_sd.provider import DiscoveryError
from swarm_sd.scalars import Secret


class Account:
    """``basic_auth``'s user and password; those in files are read anew every time."""

    def __init__(self, http: HTTPClientConfig) -> None:
        self._basic = http.basic_auth

    @property
    def is_given(self) -> bool:
        """Whether there is one."""
        return self._basic is not None

    async def read(self) -> tuple[str, Secret]:
        """(user, password). DiscoveryError ``credentials`` where a file cannot be read."""
        basic = self._basic
        if basic is None:
            return "", Secret("")
        user = await _content(basic.username_file) if basic.username_file else basic.username
        password = Secret(await _content(basic.password_file)) if basic.password_file else basic.password
        return user, password


async def _content(path: str) -> str:
    try:
        return (await asyncio.to_thread(Path(path).read_text)).strip()
    except (OSError, UnicodeDecodeError) as err:
        cause = getattr(err, "strerror", None) or err
        raise DiscoveryError("credentials", f"cannot read {path}: {cause}") from err
